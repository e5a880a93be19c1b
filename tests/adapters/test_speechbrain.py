"""SpeechBrain's Tacotron2 interface with random weights, and its vocoders' signatures and shapes."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("speechbrain", reason="pip install 'diffwave-vocoder[tts]'")

from speechbrain.inference.TTS import Tacotron2 as Tacotron2Interface
from speechbrain.inference.vocoders import HIFIGAN
from speechbrain.lobes.models.HifiGAN import HifiganGenerator, mel_spectrogram
from speechbrain.lobes.models.Tacotron2 import Tacotron2
from speechbrain.utils.text_to_sequence import text_to_sequence

from diffwave.adapters import SpeechBrainVocoder, mel_convention
from diffwave.config import MelConfig
from diffwave.mel.spectrogram import MelSpectrogram
from tiny import tiny_vocoder

HOP = 256


@pytest.fixture(scope="module")
def tacotron2() -> Tacotron2Interface:
    torch.manual_seed(0)
    model = Tacotron2(
        n_symbols=148, symbols_embedding_dim=32, encoder_embedding_dim=32, attention_rnn_dim=32, attention_dim=16,
        decoder_rnn_dim=32, prenet_dim=16, postnet_embedding_dim=32, max_decoder_steps=30,
    ).eval()  # fmt: skip
    with torch.no_grad():
        model.decoder.linear_projection.linear_layer.bias.fill_(-5.0)
        model.decoder.gate_layer.linear_layer.bias.fill_(-20.0)
    return Tacotron2Interface(modules={"model": model}, hparams={"model": model, "text_to_sequence": text_to_sequence})


@pytest.fixture(scope="module")
def hifigan() -> HIFIGAN:
    torch.manual_seed(0)
    generator = HifiganGenerator(
        in_channels=80, out_channels=1, resblock_type="1", resblock_dilation_sizes=[[1, 3, 5], [1, 3, 5]],
        resblock_kernel_sizes=[3, 5], upsample_kernel_sizes=[16, 16, 4, 4], upsample_initial_channel=32,
        upsample_factors=[8, 8, 2, 2], inference_padding=0,
    )  # fmt: skip
    return HIFIGAN(modules={"generator": generator}, hparams={"generator": generator})


@pytest.mark.parametrize("network", ["speechbrain-22k", "default"])
def test_tacotron2_speaks_through_us(tacotron2: Tacotron2Interface, network: str) -> None:
    own = tiny_vocoder(mel_convention(network).mel)
    vocoder = SpeechBrainVocoder(own)
    mels, lengths, _ = tacotron2.encode_batch(["Mary had a little lamb", "Odd or even"])
    assert mels.shape[:2] == (2, 80)
    lengths = torch.tensor([mels.shape[2], 20])
    wavs = vocoder.decode_batch(mels, lengths, HOP)
    assert wavs.shape == (2, 1, mels.shape[2] * HOP)
    for wav, mel, count in zip(wavs[:, 0], mels, lengths.tolist(), strict=True):
        expected = own.with_mel("speechbrain-22k").synthesize(mel[:, :count])
        torch.testing.assert_close(wav[: count * HOP], expected, rtol=1e-4, atol=1e-5)
        assert bool((wav[count * HOP :] == 0).all())


def test_shapes_are_those_of_speechbrains_hifigan(hifigan: HIFIGAN) -> None:
    own = tiny_vocoder(MelConfig(sample_rate=22050, framing="centre"))
    mels = torch.randn(2, 80, 20, generator=torch.Generator().manual_seed(0)) * 1.5 - 5
    lengths = torch.tensor([20, 7])
    ours = SpeechBrainVocoder(own)
    assert hifigan.decode_batch(mels).shape == ours.decode_batch(mels).shape == (2, 1, 20 * HOP)
    assert hifigan.decode_spectrogram(mels[0]).shape == ours.decode_spectrogram(mels[0]).shape == (1, 20 * HOP)
    theirs, cut = hifigan.decode_batch(mels, lengths, HOP), ours.decode_batch(mels, lengths, HOP)
    for wavs in (theirs, cut):
        assert bool((wavs[1, 0, 7 * HOP :] == 0).all())
        assert bool((wavs[1, 0, : 7 * HOP] != 0).any())
    assert hifigan(mels).shape == SpeechBrainVocoder(own)(mels).shape


def test_the_signature_is_speechbrains() -> None:
    theirs = inspect.signature(HIFIGAN.decode_batch).parameters
    ours = inspect.signature(SpeechBrainVocoder.decode_batch).parameters
    assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]


def test_another_hop_is_refused() -> None:
    own = tiny_vocoder(MelConfig(sample_rate=22050, framing="centre"))
    with pytest.raises(ValueError, match="expected 256, the model's samples per frame; got 300"):
        SpeechBrainVocoder(own).decode_batch(torch.full((1, 80, 4), -5.0), hop_len=300)


@pytest.mark.parametrize(("name", "rate"), [("speechbrain-22k", 22050), ("speechbrain-16k", 16000)])
def test_the_presets_are_what_speechbrain_makes(name: str, rate: int) -> None:
    wav = 0.1 * torch.randn(HOP * 30, generator=torch.Generator().manual_seed(0))
    # Settings of recipes/LJSpeech/TTS/vocoder/hifigan/hparams/train.yaml and of LibriTTS's, at its rate.
    settings = SimpleNamespace(
        sample_rate=rate, hop_length=256, win_length=1024, n_fft=1024, n_mels=80, f_min=0.0, f_max=8000.0, power=1,
        normalized=False, norm="slaney", mel_scale="slaney", compression=True,
    )  # fmt: skip
    theirs = mel_spectrogram(audio=wav, **vars(settings))
    ours = MelSpectrogram(mel_convention(name).mel)(wav.unsqueeze(0))[0]
    torch.testing.assert_close(theirs[:, :30], ours, rtol=0, atol=1e-3)
