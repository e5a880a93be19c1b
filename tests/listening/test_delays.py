from __future__ import annotations

import numpy as np
import pytest

from diffwave.listening.anchors import griffin_lim_anchor
from diffwave.listening.delays import delay, describe_delay
from recordings import RATE, speech


@pytest.mark.parametrize("late", [-40, 0, 12, 40, 800])
def test_a_delay_is_found(late: int) -> None:
    wav = speech()[2]
    moved = np.pad(wav, (late, 0))[: len(wav)] if late >= 0 else np.pad(wav[-late:], (0, -late))
    noisy = -0.3 * (moved + 0.01 * np.random.default_rng(1).standard_normal(len(wav)))
    assert delay(wav, noisy, RATE) == late


def test_another_phase_is_no_delay() -> None:
    wav = speech()[2]
    assert delay(wav, np.random.default_rng(0).standard_normal(len(wav)), RATE) == 0
    assert delay(wav, 0 * wav, RATE) == 0
    assert describe_delay(wav, 0 * wav, RATE) == ""


def test_a_delay_of_an_output_with_another_phase_is_found() -> None:
    """By half an FFT, as if its frames were centred where those of the reference begin."""
    wav = np.concatenate(speech())
    output = griffin_lim_anchor(wav, RATE)
    assert delay(wav, output, RATE) == 0
    assert describe_delay(wav, output, RATE) == ""
    said = describe_delay(wav, np.pad(output, (512, 0)), RATE)
    assert said.endswith(" ms late")
    assert float(said.split()[0]) == pytest.approx(32, abs=1.5)


def test_words() -> None:
    wav = speech()[2]
    assert describe_delay(wav, np.pad(wav, (15, 0)), RATE) == ""
    assert describe_delay(wav, np.pad(wav, (32, 0)), RATE) == "2.0 ms late"
    assert describe_delay(wav, wav[64:], RATE) == "4.0 ms early"
