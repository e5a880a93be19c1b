"""The benchmark of framings: finer mels score higher, and the page is that of its figures."""

from __future__ import annotations

import json
from pathlib import Path

import framing
from diffwave.assets import bundled_utterance
from diffwave.audio.file import read_audio
from diffwave.config import mel_preset

DOCS = Path(__file__).parents[2] / "docs" / "benchmarks"


def test_the_packaged_conventions_are_rows_with_their_own_mel() -> None:
    named = {each.name: each.mel for each in framing.FRAMINGS if each.name}
    assert named == {name: mel_preset(name) for name in ("default", "10ms")}
    labels = [each.label for each in framing.FRAMINGS]
    assert labels[0] == "64.0 ms every 16.0 ms, 80 bands"
    assert len(set(labels)) == len(labels)


def test_a_finer_mel_holds_more_of_the_speech() -> None:
    wav = read_audio(bundled_utterance(), 16000).wav
    coarse, fine = (framing.measure([wav], mel_preset(name), 30) for name in ("default", "10ms"))
    assert fine["pesq_wb"][0] > coarse["pesq_wb"][0] + 0.2
    assert fine["estoi"][0] > coarse["estoi"][0]
    assert fine["mr_stft_aligned"][0] < coarse["mr_stft_aligned"][0]


def test_the_page_is_that_of_the_figures() -> None:
    results = json.loads((DOCS / "framing.json").read_text(encoding="utf-8"))
    assert (DOCS / "framing.md").read_text(encoding="utf-8") == framing.page(results)
    means = framing.summarize(results["scores"], range(results["utterances"]))
    for label, row in means.items():
        assert round(row["pesq_wb"]["mean"], 9) == round(results["means"][label]["pesq_wb"]["mean"], 9)
