"""NeMo's own code calls our vocoder; its HiFi-GAN has the same signature and shapes.

The package needs much that we do not: it is installed apart, see ``test_peers.py``.
"""

from __future__ import annotations

import inspect
import math

import pytest
import torch

pytest.importorskip("nemo.collections.tts.models.hifigan", reason="installed apart: see tests/adapters/test_peers.py")

from nemo.collections.asr.parts.preprocessing.features import FilterbankFeatures
from nemo.collections.tts.models.hifigan import HifiGanModel
from nemo.collections.tts.modules.hifigan_modules import Generator
from nemo.collections.tts.parts.utils.callbacks import FastPitchArtifactGenerator

from diffwave.adapters import NemoVocoder, mel_convention
from diffwave.config import MelConfig
from diffwave.mel.spectrogram import MelSpectrogram
from tiny import tiny_vocoder

HOP = 256


def mels() -> torch.Tensor:
    return torch.randn(2, 80, 20, generator=torch.Generator().manual_seed(0)) * 1.5 - 5


def test_nemos_code_speaks_through_us() -> None:
    own = tiny_vocoder(MelConfig())
    logger = FastPitchArtifactGenerator.__new__(FastPitchArtifactGenerator)  # its constructor wants checkpoints
    logger.vocoder = NemoVocoder(own)
    wavs, samples = logger._generate_audio(mels=mels(), mels_len=torch.tensor([20, 20]), hop_length=HOP)
    assert samples.tolist() == [20 * HOP] * 2
    torch.testing.assert_close(wavs, own.with_mel("nemo-22k").synthesize(mels()), rtol=1e-4, atol=1e-5)


def test_shapes_are_those_of_nemos_hifigan() -> None:
    torch.manual_seed(0)
    generator = Generator(
        resblock=1, upsample_rates=[8, 8, 2, 2], upsample_kernel_sizes=[16, 16, 4, 4], upsample_initial_channel=32,
        resblock_kernel_sizes=[3], resblock_dilation_sizes=[[1, 3, 5]],
    )  # fmt: skip
    theirs = generator(x=mels())
    ours = NemoVocoder(tiny_vocoder(MelConfig()))
    assert ours(spec=mels()).shape == theirs.shape == (2, 1, 20 * HOP)
    # HifiGanModel.convert_spectrogram_to_audio is this squeeze.
    assert "self(spec=spec).squeeze(1)" in inspect.getsource(HifiGanModel.convert_spectrogram_to_audio)
    assert ours.convert_spectrogram_to_audio(spec=mels()).shape == theirs.squeeze(1).shape


def test_the_preset_is_what_fastpitchs_preprocessor_makes() -> None:
    # fastpitch_align_v1.05.yaml
    extractor = FilterbankFeatures(
        sample_rate=22050, n_window_size=1024, n_window_stride=256, n_fft=1024, nfilt=80, lowfreq=0, highfreq=8000,
        normalize=None, preemph=None, dither=0.0, log_zero_guard_type="add", log_zero_guard_value=1e-5, pad_to=1,
        mag_power=1.0,
    ).eval()  # fmt: skip
    wav = 0.1 * torch.randn(1, HOP * 30, generator=torch.Generator().manual_seed(0))
    theirs = extractor(wav, torch.tensor([wav.shape[1]]))[0]
    ours = MelSpectrogram(mel_convention("nemo-22k").mel)(wav)
    # The ends are padded with zeros there, reflected here; and the floor is added there, which is .01 at 1e-3.
    loud = ours > math.log(1e-3)
    loud[..., :3] = loud[..., 27:] = False
    assert bool(loud[..., 3:27].float().mean() > 0.9)
    torch.testing.assert_close(theirs[..., :30][loud], ours[loud], rtol=0, atol=1.1e-2)
