"""Between sample rates: as libraries do it, and the same in windows as in one piece."""

from __future__ import annotations

import math

import librosa
import pytest
import scipy.signal
import torch
from torch import Tensor

from diffwave.dsp.resampling import reach_of, resample

RATES = [(16000, 22050), (22050, 16000), (24000, 16000), (16000, 24000), (44100, 16000), (16000, 11025), (16000, 15991)]
any_rates = pytest.mark.parametrize(("source", "target"), RATES)


def noise(samples: int, examples: int = 1) -> Tensor:
    return torch.randn(examples, samples, generator=torch.Generator().manual_seed(0))


def whole(wav: Tensor, source: int, target: int) -> Tensor:
    return resample(wav, source, target, first=0, begin=0, end=wav.shape[1] * target // source)


@any_rates
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_a_tone_stays_the_tone(source: int, target: int, share: float) -> None:
    hertz = share * min(source, target) / 2
    wav = torch.sin(2 * math.pi * hertz / source * torch.arange(source // 4, dtype=torch.float64))
    made = whole(wav.float().unsqueeze(0), source, target)[0]
    expected = torch.sin(2 * math.pi * hertz / target * torch.arange(len(made), dtype=torch.float64))
    # Beyond the ends there is silence.
    inside = slice(200, -200)
    assert float((made[inside] - expected[inside]).abs().max()) < 2e-3


@pytest.mark.parametrize(("source", "target"), [(22050, 16000), (24000, 16000), (44100, 16000)])
def test_what_does_not_fit_is_gone(source: int, target: int) -> None:
    wav = torch.sin(2 * math.pi * 1.06 * target / 2 / source * torch.arange(source // 4, dtype=torch.float64))
    made = whole(wav.float().unsqueeze(0), source, target)[0]
    assert float(made[200:-200].abs().max()) < 2e-3


@any_rates
def test_it_is_what_libraries_make_of_what_both_keep(source: int, target: int) -> None:
    band = scipy.signal.firwin(401, 0.8 * min(source, target) / source)
    wav = scipy.signal.lfilter(band, 1, noise(source // 2)[0].double().numpy())
    theirs = librosa.resample(wav, orig_sr=source, target_sr=target, res_type="soxr_vhq")
    ours = whole(torch.from_numpy(wav).float().unsqueeze(0), source, target)[0].double().numpy()
    inside = slice(300, len(ours) - 300)
    assert abs(ours[inside] - theirs[: len(ours)][inside]).max() < 2e-3 * abs(theirs).max()


@any_rates
@pytest.mark.parametrize("examples", [1, 3])
def test_windows_equal_the_whole(source: int, target: int, examples: int) -> None:
    wav, reach = noise(16000, examples), reach_of(source, target)
    expected = whole(wav, source, target)
    for begin, end in ((0, 100), (1, 2), (777, 3001), (2000, expected.shape[1] - 1), (4000, expected.shape[1])):
        first = max(0, begin * source // target - reach - 1)
        last = min(wav.shape[1], -(-end * source // target) + reach + 1)
        made = resample(wav[:, first:last], source, target, first=first, begin=begin, end=end)
        # Products of other sizes round otherwise.
        torch.testing.assert_close(made, expected[:, begin:end], rtol=0, atol=1e-5)


@any_rates
def test_no_more_of_the_source_is_heard_than_is_said(source: int, target: int) -> None:
    wav, at = noise(4000), 1000
    beyond = -(-at * source // target) + reach_of(source, target) + 1
    other = torch.cat([wav[:, :beyond], 0 * wav[:, beyond:]], dim=1)
    one, two = (whole(each, source, target) for each in (wav, other))
    assert torch.equal(one[:, : at + 1], two[:, : at + 1])
    assert not torch.equal(one, two)


@any_rates
def test_an_example_of_a_batch_is_as_alone(source: int, target: int) -> None:
    wav = noise(3001, 3)
    together = whole(wav, source, target)
    assert all(
        torch.equal(whole(row, source, target)[0], made) for row, made in zip(wav.split(1), together, strict=True)
    )


def test_equal_rates_change_nothing_and_zeros_lie_beyond_the_ends() -> None:
    wav = noise(50)
    assert torch.equal(resample(wav, 8000, 8000, first=10, begin=20, end=40), wav[:, 10:30])
    padded = resample(wav, 8000, 8000, first=10, begin=0, end=70)
    assert torch.equal(padded[:, 10:60], wav)
    assert not padded[:, :10].any()
    assert not padded[:, 60:].any()
    assert not resample(wav, 8000, 16000, first=10, begin=5000, end=5100).any()
    assert not resample(wav, 16000, 8000, first=100000, begin=0, end=100).any()
