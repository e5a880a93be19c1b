"""Padded batches, and the names that TTS code calls a vocoder by."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from diffwave.adapters import (
    CoquiVocoder,
    HifiGanVocoder,
    NemoVocoder,
    SpeechBrainVocoder,
    TorchaudioVocoder,
    VocosVocoder,
)
from diffwave.adapters.padded import speak
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
    wavs, alone = vocoder.synthesize(mels), vocoder.synthesize(mels[0])
    own = "hifigan-16k"
    speechbrain = SpeechBrainVocoder(vocoder, own)
    calls = [
        (TorchaudioVocoder(vocoder, own)(mels)[0], wavs),
        (VocosVocoder(vocoder, own).decode(mels), wavs),
        (NemoVocoder(vocoder, own).convert_spectrogram_to_audio(spec=mels), wavs),
        (HifiGanVocoder(vocoder, own)(mels), wavs.unsqueeze(1)),
        (CoquiVocoder(vocoder, own).inference(mels), wavs.unsqueeze(1)),
        (speechbrain.decode_batch(mels), wavs.unsqueeze(1)),
        (speechbrain.decode_batch(spectrogram=mels, hop_len=HOP), wavs.unsqueeze(1)),
        (speechbrain.decode_spectrogram(mels[0]), alone.unsqueeze(0)),
    ]
    for got, expected in calls:
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_lengths_make_each_example_as_if_it_were_alone(vocoder: Vocoder, mels: torch.Tensor) -> None:
    padded = mels.clone()
    padded[1, :, 5:] = 0.0  # which would be loud
    for lengths in (torch.tensor([12, 5]), torch.tensor([12.0, 5.0]), [12, 5], np.array([12, 5])):
        wavs, samples = speak(vocoder, padded, lengths)  # type: ignore[arg-type]
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
        speak(vocoder, mels, lengths)  # type: ignore[arg-type]


def test_what_is_no_batch_of_mels_is_refused(vocoder: Vocoder, mels: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"expected mels \[B, M, F\], a tensor; got shape \[80, 12\]"):
        speak(vocoder, mels[0])
    with pytest.raises(ValueError, match="got ndarray"):
        speak(vocoder, mels.numpy())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="transposed"):
        speak(vocoder, mels.transpose(1, 2))


def test_results_may_be_changed_in_place(vocoder: Vocoder, mels: torch.Tensor) -> None:
    wavs = speak(vocoder, mels)[0]
    wavs /= wavs.abs().max()
    lengths = torch.tensor([12, 5])
    padded, _ = speak(vocoder, mels, lengths)
    padded *= 2
    assert not padded.is_inference()


def test_a_prediction_a_little_below_the_floor_is_silence(vocoder: Vocoder, mels: torch.Tensor) -> None:
    low = mels.clone()
    low[:, 3, 4] = -11.9
    on_floor = mels.clone()
    on_floor[:, 3, 4] = -11.512925
    torch.testing.assert_close(speak(vocoder, low)[0], speak(vocoder, on_floor)[0], rtol=0, atol=1e-5)
    low[:, 3, 4] = -13
    with pytest.raises(ValueError, match="floor"):
        speak(vocoder, low)[0]
