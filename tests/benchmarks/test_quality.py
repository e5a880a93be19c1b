"""The results page is made of the scores and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import quality
from diffwave.audio import read_audio
from diffwave.baseline import griffin_lim
from diffwave.evaluation.perceptual import pesq_wb
from diffwave.vocoder import Vocoder

ROOT = Path(__file__).resolve().parents[2]


def _rows(values: list[float], speakers: list[str], names: list[str]) -> list[dict[str, Any]]:
    return [
        {"speaker": s, "utterance": f"{s}-{i}", **dict.fromkeys(names, v)}
        for i, (v, s) in enumerate(zip(values, speakers, strict=True))
    ]


def test_summary_is_the_mean_with_an_interval_over_speakers() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(3.0, 0.4, 40)
    rows = _rows(list(values), [str(i) for i in range(40)], list(quality.DIGITS))
    pesq = quality.summarize(rows)["PESQ-WB"]
    assert pesq["mean"] == pytest.approx(values.mean())
    half = (pesq["high"] - pesq["low"]) / 2
    assert half == pytest.approx(1.96 * values.std() / np.sqrt(40), rel=0.15)


def test_utterances_of_one_speaker_are_not_independent() -> None:
    """Ten copies of each speaker's value must not narrow the interval."""
    rng = np.random.default_rng(1)
    values = rng.normal(3.0, 0.4, 20)
    once = _rows(list(values), [str(i) for i in range(20)], list(quality.DIGITS))
    often = _rows(list(np.repeat(values, 10)), [str(i // 10) for i in range(200)], list(quality.DIGITS))
    widths = [s["high"] - s["low"] for s in (quality.summarize(rows)["PESQ-WB"] for rows in (once, often))]
    assert widths[1] == pytest.approx(widths[0], rel=0.15)


def test_block_is_replaced_and_the_rest_kept() -> None:
    text = "above\n<!-- results: generated -->\nold\n<!-- results: end -->\nbelow\n"
    once = quality.replace_block(text, "results", "new")
    assert once == "above\n<!-- results: generated -->\nnew\n<!-- results: end -->\nbelow\n"
    assert quality.replace_block(once, "results", "new") == once


def test_griffin_lim_floor_is_aligned_speech() -> None:
    """A wrong frame offset would cost the floor its score and flatter the network."""
    vocoder = Vocoder.from_pretrained("default", device="cpu")
    wav = read_audio(ROOT / "tests" / "data" / "839-130898-0000.flac").wav
    estimate = griffin_lim(vocoder.front_end, vocoder.mel(wav))[: len(wav)]
    assert estimate.shape == wav.shape
    assert pesq_wb(wav.numpy(), estimate.numpy()) > 2.5
    envelopes = [x.abs().unfold(0, 400, 160).mean(1) for x in (wav, torch.as_tensor(estimate))]
    lags = range(-4, 5)
    match = [float((envelopes[0][4:-4] * envelopes[1].roll(lag)[4:-4]).sum()) for lag in lags]
    assert lags[int(np.argmax(match))] == 0
