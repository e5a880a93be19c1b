"""Small listening tests made of tones, for the tests of the page, the server and the browser."""

from __future__ import annotations

import io

import numpy as np
import soundfile

from diffwave.listening.design import ANCHOR, REFERENCE, SYSTEM, ListeningTest, Stimulus, Trial

SAMPLE_RATE = 16000
SYSTEMS = ("ours", "theirs", "anchor35")


def flac(frequency: float, seconds: float = 0.6) -> bytes:
    """A quiet tone as a FLAC file."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.sin(2 * np.pi * frequency * time), SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def tone_test(method: str, trials: int = 3, seconds: float = 0.6) -> tuple[ListeningTest, dict[str, bytes]]:
    """A test of ``trials`` made-up utterances, and its sounds; the stimuli of a trial differ in pitch."""
    stimuli: list[Stimulus] = []
    audio: dict[str, bytes] = {}

    def stimulus(item: str, system: str) -> str:
        name = f"s{len(stimuli):02d}q"
        kind = {"reference": REFERENCE, "anchor35": ANCHOR}.get(system, SYSTEM)
        source = f"/secret-folder/{system}/{item}.wav"
        stimuli.append(Stimulus(name, item, system, kind, source, "secret-hash", seconds, 0.0, -23.0, -20.0))
        audio[name] = flac(300 + 40 * len(stimuli), seconds)
        return name

    def trial(number: int, item: str) -> Trial:
        systems = ("reference", *SYSTEMS) if method == "mushra" else SYSTEMS[:2]
        reference = stimulus(item, "reference") if method in ("mushra", "cmos") else ""
        # Worst first, so that the order of the sheet would tell if it were not sorted.
        return Trial(f"t{number}", item, reference, tuple(stimulus(item, system) for system in systems)[::-1])

    test = ListeningTest(
        test_id=f"tones-{method}",
        title=f"Tones <b>&</b> \"{method}\" </script><script>alert('x')</script>",
        method=method,
        seed=987654321,
        order_seed="c0ffee",
        sample_rate=SAMPLE_RATE,
        trials=tuple(trial(i, f"hidden-item-{i}") for i in range(trials)),
        training=(trial(99, "hidden-item-training"),),
        volume=stimulus("hidden-item-volume", "reference"),
        package_version="0.0.0-secret",
        stimuli=tuple(stimuli),
    )
    return test, audio
