"""What the package ships: the default checkpoint and one utterance to try it on."""

from __future__ import annotations

from pathlib import Path

ASSETS = Path(__file__).parent


def bundled_utterance() -> Path:
    """The recording inside the package (LibriSpeech, CC BY 4.0; see ``assets/README.md``)."""
    return ASSETS / "utterance.flac"
