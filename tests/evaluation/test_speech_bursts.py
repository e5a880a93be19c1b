"""Speech bursts are counted before PESQ, which has room for 50 and does not look, is asked."""

from __future__ import annotations

import numpy as np
import pytest

from diffwave.evaluation.perceptual import MOST_BURSTS, MetricError, pesq_wb
from diffwave.evaluation.speech_bursts import count_bursts

RATE = 16000


def bursts(count: int, on: float = 0.3, off: float = 0.3, frequency: float = 1000, level: float = 0.3) -> np.ndarray:
    time = np.arange(round(on * RATE)) / RATE
    tone = level * np.sin(2 * np.pi * frequency * time)
    return np.tile(np.concatenate([tone, np.zeros(round(off * RATE))]), count).astype(np.float32)


def hum(samples: int, frequency: float, level: float) -> np.ndarray:
    return (level * np.sin(2 * np.pi * frequency * np.arange(samples) / RATE)).astype(np.float32)


@pytest.mark.parametrize("count", [1, 7, 44, 60, 200])
def test_tone_bursts_are_counted(count):
    assert count_bursts(bursts(count), RATE) == count


def test_pauses_below_200_ms_join_bursts():
    assert count_bursts(bursts(30, off=0.15), RATE) == 1
    assert count_bursts(bursts(30, off=0.22), RATE) == 30


def test_level_does_not_matter():
    assert count_bursts(1e-4 * bursts(9), RATE) == 9


def test_white_noise_does_not_hide_bursts():
    signal = bursts(60) + 0.01 * np.random.default_rng(0).standard_normal(len(bursts(60)))
    assert count_bursts(signal, RATE) == 60


@pytest.mark.parametrize(("frequency", "level"), [(20, 0.1), (50, 0.3), (100, 0.1)])
def test_hum_that_pesq_filters_out_does_not_hide_bursts(frequency, level):
    signal = bursts(60, level=0.1)
    assert count_bursts(signal + hum(len(signal), frequency, level), RATE) == 60


@pytest.mark.parametrize("offset", [0.1, 0.5, -0.9])
def test_a_constant_offset_does_not_hide_bursts(offset):
    assert count_bursts(bursts(60, level=0.02) + np.float32(offset), RATE) == 60


def test_bursts_that_pesq_lengthens_to_200_ms_are_counted():
    # It adds two frames of 4 ms to either end of a burst before it looks how long the burst is.
    assert count_bursts(bursts(60, on=0.19, off=0.25), RATE) == 60


@pytest.mark.parametrize("count", [MOST_BURSTS + 1, 60, 1000])
def test_more_bursts_than_pesq_has_room_for_are_refused(count):
    signal = bursts(count)
    with pytest.raises(MetricError, match=f"at most {MOST_BURSTS} speech bursts; got {count}"):
        pesq_wb(signal, signal)


def test_as_many_bursts_as_there_is_room_for_are_scored():
    signal = bursts(MOST_BURSTS)
    assert pesq_wb(signal, signal) == pytest.approx(4.6439, abs=1e-3)


def test_ordinary_speech_passes(clips):
    assert 1 <= count_bursts(clips[0], RATE) <= 4
    minute = np.tile(np.concatenate(clips), 11)  # 63 s
    assert 5 <= count_bursts(minute, RATE) <= MOST_BURSTS


def test_nothing_and_silence_have_none():
    assert count_bursts(np.zeros(0, np.float32), RATE) == 0
    assert count_bursts(np.zeros(RATE, np.float32), RATE) == 0
