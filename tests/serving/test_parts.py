"""Turns, budget and waveforms."""

from __future__ import annotations

import io
import threading
import wave

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffwave.serving.budget import Budget
from diffwave.serving.limits import RefusedError
from diffwave.serving.turns import Turns
from diffwave.serving.waveforms import pcm_bytes, wav_file, wav_header
from services import wait_until


def test_turns_go_in_the_order_of_asking() -> None:
    turns, order, threads = Turns(), [], []
    turns.acquire()
    for number in range(5):

        def ask(number: int = number) -> None:
            with turns.taken():
                order.append(number)

        threads.append(threading.Thread(target=ask))
        threads[-1].start()
        wait_until(lambda: len(turns._waiting) == len(threads))
    turns.release()
    for thread in threads:
        thread.join(5)
    assert order == [0, 1, 2, 3, 4]


def test_giving_way_lets_each_of_those_that_wait_have_one_turn() -> None:
    turns, order = Turns(), []
    turns.acquire()

    def ask() -> None:
        with turns.taken():
            order.append("other")

    other = threading.Thread(target=ask)
    other.start()
    wait_until(lambda: len(turns._waiting) == 1)
    with turns.given_way():
        pass
    order.append("we")
    turns.release()
    other.join(5)
    assert order == ["other", "we"]


def test_only_one_has_a_turn() -> None:
    turns, inside, most = Turns(), [], []

    def work() -> None:
        for _ in range(50):
            with turns.taken():
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(most) == 200
    assert max(most) == 1


def test_budget_refuses_what_does_not_fit_and_takes_everything_back() -> None:
    budget = Budget(100)
    with budget.allowance() as one, budget.allowance() as other:
        one.take(60)
        with pytest.raises(RefusedError) as refused:
            other.take(41)
        assert refused.value.status == 503
        assert refused.value.retry_after
        other.take(40)
        assert budget.used == 100
    assert budget.used == 0


@given(st.lists(st.floats(-1.5, 1.5, width=32), min_size=1, max_size=64))
def test_pcm_is_what_libsndfile_writes(values: list[float]) -> None:
    samples = np.array(values, np.float32)
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(samples, -1, 1), 16000, format="WAV", subtype="PCM_16")
    assert wav_file(torch.from_numpy(samples), 16000) == buffer.getvalue()


def test_wave_reads_the_header() -> None:
    with wave.open(io.BytesIO(wav_file(torch.zeros(100), 22050))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()) == (1, 2, 22050, 100)


def test_a_header_without_length_is_read_to_the_end() -> None:
    data = wav_header(16000, None) + pcm_bytes(torch.full((1000,), 0.5))
    samples, rate = soundfile.read(io.BytesIO(data))
    assert rate == 16000
    assert len(samples) == 1000


def test_infinite_samples_are_no_audio() -> None:
    with pytest.raises(ValueError, match="finite"):
        pcm_bytes(torch.tensor([0.0, float("nan")]))
