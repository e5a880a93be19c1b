"""``hift.inference`` as CosyVoice 1 to 3 and Chatterbox call it."""

from __future__ import annotations

import pytest
import torch

from diffwave.adapters import CosyVoiceVocoder
from diffwave.config import MelConfig
from tiny import tiny_vocoder

HOP = 480


@pytest.fixture(scope="module")
def hift() -> CosyVoiceVocoder:
    return CosyVoiceVocoder(tiny_vocoder(MelConfig()), consistency=2)


def some_mel(hift: CosyVoiceVocoder, frames: int) -> torch.Tensor:
    wav = 0.1 * torch.randn(1, frames * HOP, generator=torch.Generator().manual_seed(0))
    return hift.vocoder.mel(wav)


def test_it_gives_speech_and_what_is_kept_of_it(hift: CosyVoiceVocoder) -> None:
    mel = some_mel(hift, 20)
    speech, source = hift.inference(speech_feat=mel, cache_source=torch.zeros(1, 1, 0))
    assert hift.sample_rate == 24000
    assert torch.equal(speech, hift.vocoder.synthesize(mel))
    assert source[:, :, -8 * HOP :].shape == (1, 1, 8 * HOP)
    speech[:, :100] *= 0.5  # Chatterbox fades its beginning in, in place


def test_what_is_given_of_an_unfinished_mel_stays_as_it_is(hift: CosyVoiceVocoder) -> None:
    """CosyVoice 3 hands over all frames so far each time, and takes the samples beyond those it has."""
    mel = some_mel(hift, 150)
    whole, _ = hift.inference(speech_feat=mel, finalize=True)
    lengths = []
    for frames in (10, 100, 130):
        speech, source = hift.inference(speech_feat=mel[..., :frames], finalize=False)
        assert torch.equal(speech, whole[:, : speech.shape[1]])
        assert source.shape == (1, 1, speech.shape[1])
        lengths.append(speech.shape[1])
    assert lengths[0] == 0 < lengths[1] <= lengths[2] < 130 * HOP
