"""The names that TTS code calls a vocoder by, of the vocoder itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from diffwave.config import MelConfig
from diffwave.vocoder import Vocoder
from tiny import tiny_vocoder

HOP = 256


@pytest.fixture(scope="module")
def vocoder() -> Vocoder:
    return tiny_vocoder(MelConfig())


@pytest.fixture(scope="module")
def mels() -> torch.Tensor:
    return torch.randn(2, 80, 12, generator=torch.Generator().manual_seed(0)) * 1.5 - 5


def test_every_name_gives_what_synthesize_gives(vocoder: Vocoder, mels: torch.Tensor) -> None:
    wavs = vocoder.synthesize(mels)
    alone = vocoder.synthesize(mels[0])
    calls = [
        (vocoder(mels)[0], wavs),
        (vocoder(mels, None)[0], wavs),
        (vocoder.decode(mels), wavs),
        (vocoder.convert_spectrogram_to_audio(spec=mels), wavs),
        (vocoder.inference(mels), wavs.unsqueeze(1)),  # Coqui
        (vocoder.inference(mels[0].t()), alone.unsqueeze(1)),  # ParallelWaveGAN: frames first
        (vocoder.decode_batch(mels), wavs.unsqueeze(1)),
        (vocoder.decode_batch(spectrogram=mels, hop_len=HOP), wavs.unsqueeze(1)),
        (vocoder.decode_spectrogram(mels[0]), alone.unsqueeze(0)),
    ]
    for got, expected in calls:
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_lengths_make_each_example_as_if_it_were_alone(vocoder: Vocoder, mels: torch.Tensor) -> None:
    padded = mels.clone()
    padded[1, :, 5:] = 0.0  # which would be loud
    for lengths in (torch.tensor([12, 5]), torch.tensor([12.0, 5.0]), [12, 5], np.array([12, 5])):
        wavs, samples = vocoder(padded, lengths)  # type: ignore[arg-type]
        assert samples is not None
        assert samples.tolist() == [12 * HOP, 5 * HOP]
        torch.testing.assert_close(wavs[0], vocoder.synthesize(mels[0]), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(wavs[1, : 5 * HOP], vocoder.synthesize(mels[1, :, :5]), rtol=1e-4, atol=1e-5)
        assert bool((wavs[1, 5 * HOP :] == 0).all())


@pytest.mark.parametrize(
    "lengths", [[12], [12, 13], [12, 0], [12, -1], [12, 5.5], torch.tensor([0.9, 1.0]), [12, math.nan]]
)
def test_lengths_that_do_not_fit_are_refused(vocoder: Vocoder, mels: torch.Tensor, lengths: object) -> None:
    with pytest.raises(ValueError, match=r"lengths: expected 2 whole numbers in 1\.\.12, of mel frames; got \["):
        vocoder(mels, lengths)  # type: ignore[arg-type]


def test_what_is_no_batch_of_mels_is_refused(vocoder: Vocoder, mels: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"expected mels \[B, M, F\], a tensor; got shape \[80, 12\]"):
        vocoder(mels[0])
    with pytest.raises(ValueError, match="got ndarray"):
        vocoder.decode(mels.numpy())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="transposed"):
        vocoder.decode(mels.transpose(1, 2))
    with pytest.raises(ValueError, match="transposed"):
        vocoder.inference(mels[0])  # ParallelWaveGAN has frames first


def test_results_may_be_changed_in_place(vocoder: Vocoder, mels: torch.Tensor) -> None:
    wavs = vocoder.decode(mels)
    wavs /= wavs.abs().max()
    lengths = torch.tensor([12, 5])
    padded, _ = vocoder(mels, lengths)
    padded *= 2
    assert not padded.is_inference()


def test_a_prediction_a_little_below_the_floor_is_silence(vocoder: Vocoder, mels: torch.Tensor) -> None:
    low = mels.clone()
    low[:, 3, 4] = -11.9
    on_floor = mels.clone()
    on_floor[:, 3, 4] = -11.512925
    torch.testing.assert_close(vocoder.decode(low), vocoder.decode(on_floor), rtol=0, atol=1e-5)
    low[:, 3, 4] = -13
    with pytest.raises(ValueError, match="floor"):
        vocoder.decode(low)
