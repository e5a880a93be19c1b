"""torchaudio's Tacotron2 with random weights speaks through us, by its bundle's own code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torchaudio.models import Tacotron2
from torchaudio.pipelines import Tacotron2TTSBundle
from torchaudio.pipelines._tts import utils
from torchaudio.pipelines._tts.impl import _CharMixin, _GriffinLimVocoder, _Tacotron2Mixin

from diffwave.adapters import TorchaudioVocoder
from diffwave.config import mel_preset
from diffwave.vocoder import Vocoder
from tiny import tiny_vocoder

HOP = 256


def random_tacotron2(parameters: dict[str, Any]) -> Tacotron2:
    torch.manual_seed(0)
    model = Tacotron2(**parameters).eval()
    with torch.no_grad():
        model.decoder.linear_projection.bias.fill_(-5.0)
        # The gate opens only at the longest.
        model.decoder.gate_layer.bias.fill_(-20.0)
        model.decoder.decoder_max_step = 40
    return model


@dataclass
class RandomBundle(_Tacotron2Mixin, _CharMixin, Tacotron2TTSBundle):
    """A bundle as torchaudio makes them, but for the downloads: its weights are random and the vocoder is ours."""

    _vocoder: Vocoder

    def get_tacotron2(self, *, dl_kwargs: object = None) -> Tacotron2:
        return random_tacotron2(self._tacotron2_params)

    def get_vocoder(self, *, dl_kwargs: object = None) -> TorchaudioVocoder:
        return TorchaudioVocoder(self._vocoder)


def bundle(vocoder: Vocoder) -> RandomBundle:
    small = {
        "encoder_embedding_dim": 32, "decoder_rnn_dim": 32, "prenet_dim": 16, "attention_rnn_dim": 32,
        "attention_hidden_dim": 16, "symbol_embedding_dim": 32, "postnet_embedding_dim": 32,
    }  # fmt: skip
    return RandomBundle("no file", {**utils._get_taco_params(n_symbols=38), **small}, vocoder)


@pytest.mark.parametrize("network", ["tacotron2-22k", "default"])
def test_the_bundles_code_speaks_through_us(network: str) -> None:
    own = tiny_vocoder(mel_preset(network))
    made = bundle(own)
    processor, tacotron2, vocoder = made.get_text_processor(), made.get_tacotron2(), made.get_vocoder()
    assert isinstance(vocoder, Tacotron2TTSBundle.Vocoder)
    with torch.inference_mode():
        tokens, lengths = processor(["Hello world, text to speech!", "Hello"])
        mels, lengths, _ = tacotron2.infer(tokens, lengths)
        lengths = torch.tensor([40, 25])  # as if the second had ended early
        wavs, samples = vocoder(mels, lengths)
    assert vocoder.sample_rate == 22050
    assert samples.tolist() == [40 * HOP, 25 * HOP]
    assert wavs.shape == (2, 40 * HOP)
    for wav, mel, count in zip(wavs, mels, [40, 25], strict=True):
        expected = own.with_mel("tacotron2-22k").synthesize(mel[:, :count])
        torch.testing.assert_close(wav[: count * HOP], expected, rtol=1e-4, atol=1e-5)
        assert bool((wav[count * HOP :] == 0).all())


def test_own_mels_with_torchaudios_interface() -> None:
    own = tiny_vocoder(mel_preset("hifigan-22k"))
    mels = torch.randn(2, 80, 20, generator=torch.Generator().manual_seed(0)) * 1.5 - 5
    wavs, samples = TorchaudioVocoder(own, "hifigan-22k")(mels)
    assert samples is None
    torch.testing.assert_close(wavs, own.synthesize(mels), rtol=1e-4, atol=1e-5)
    # torchaudio's own vocoder takes the same and gives the same shape, but for the length of its STFT.
    theirs, their_samples = _GriffinLimVocoder()(mels)
    assert their_samples is None
    assert theirs.shape == (2, 19 * HOP)
    wavs *= 0.5  # not an inference tensor


def test_torchaudios_griffin_lim_reads_mels_as_the_preset_says() -> None:
    """Its InverseMelScale has the filterbank of the convention, and undoes ln."""
    import torchaudio

    from diffwave.adapters import mel_convention
    from diffwave.mel.spectrogram import MelSpectrogram, mel_filterbank

    convention = mel_convention("tacotron2-22k")
    theirs = _GriffinLimVocoder()
    assert theirs.sample_rate == convention.mel.sample_rate
    torch.testing.assert_close(theirs._inv_mel.fb.t(), mel_filterbank(convention.mel), rtol=0, atol=1e-6)
    wav = 0.1 * torch.randn(1, HOP * 30, generator=torch.Generator().manual_seed(0))
    spectrum = torchaudio.transforms.Spectrogram(n_fft=1024, hop_length=256, power=1)(wav)[..., :30]
    torch.testing.assert_close(
        MelSpectrogram(convention.mel)(wav),
        (theirs._inv_mel.fb.t() @ spectrum).clamp_min(1e-5).log(),
        rtol=0,
        atol=1e-3,
    )
