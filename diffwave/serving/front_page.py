"""The page at ``/``: what this service is and how to ask it; it loads nothing from anywhere."""

from __future__ import annotations

from typing import Any

from diffwave.web.page import Raw, escape, heading, page, paragraph, table

_ENDPOINTS = (
    ("POST /synthesize", 'audio, a mel as .npy, or JSON {"mel": [[...]]} in; a WAV file out'),
    ("POST /stream", "the same, or frames of a mel as they are made (input=rows); audio out as it becomes known"),
    ("GET /health", "what runs here: checkpoint, mel convention, limits"),
    ("GET /metrics", "counts and times for Prometheus"),
    ("GET /openapi.json", "all parameters, for programs"),
)
_EXAMPLES = """curl --data-binary @speech.wav {url}synthesize --output out.wav
curl --data-binary @mel.npy '{url}synthesize?steps=6&seed=1' --output out.wav
curl --no-buffer --data-binary @speech.flac {url}stream --output out.wav"""


def front_page(health: dict[str, Any], url: str) -> str:
    """HTML for people.

    Args:
        health: as ``/health`` tells it.
        url: of this page, as the client called it.
    """
    limits, sampling = health["limits"], health["sampling"]
    facts = [
        ("checkpoint", f"{health['checkpoint']} (diffwave {health['version']})"),
        ("mel", f"{health['mel']['name']}: {health['mel']['description']}; others as mel=NAME"),
        ("defaults", ", ".join(f"{name} {value}" for name, value in sampling.items())),
        ("runs on", f"{health['device']}, {health['backend']}, {health['precision']}"),
        ("longest utterance", f"{limits['audio_seconds']:g} s, {limits['stream_audio_seconds']:g} s as a stream"),
        ("largest body", f"{limits['body_bytes'] / 2**20:g} MiB"),
    ]
    return page(
        "diffwave",
        [
            paragraph("A vocoder that listens: mels or recordings in, speech out.", "lead"),
            table(["", "this service"], facts, numbers=False),
            heading("Endpoints"),
            table(["request", "answer"], _ENDPOINTS, numbers=False),
            heading("Examples"),
            paragraph(Raw(f"<pre>{escape(_EXAMPLES.format(url=url))}</pre>")),
        ],
    )
