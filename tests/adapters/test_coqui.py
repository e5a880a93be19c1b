"""Coqui's Synthesizer runs our vocoder by its own code; its AudioProcessor says what its mels are.

The package needs much that we do not: it is installed apart, see ``test_peers.py``.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("TTS.utils.synthesizer", reason="tests/adapters/test_peers.py installs coqui-tts apart")


from TTS.config.shared_configs import BaseAudioConfig
from TTS.utils.audio import AudioProcessor
from TTS.utils.synthesizer import Synthesizer

from diffwave.adapters import coqui_convention
from diffwave.adapters.coqui import plug_into
from diffwave.config import ConfigError, MelConfig
from diffwave.mel.conversion import Conversion
from diffwave.mel.spectrogram import MelSpectrogram
from tiny import tiny_vocoder

HOP = 256
THROUGH = "through a consistent waveform to the network's mel of 22050 Hz"
# The library's default, HiFi-GAN's as its LJSpeech models have it, and others of its recipes.
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {"mel_fmax": 8000.0},
    "HiFi-GAN": {
        "mel_fmax": 8000.0, "spec_gain": 1, "log_func": "np.log", "signal_norm": False, "symmetric_norm": False,
    },
    "asymmetric": {"mel_fmax": 8000.0, "symmetric_norm": False, "max_norm": 1.0},
    "decibel": {"mel_fmax": 8000.0, "signal_norm": False},
    "tacotron": {"mel_fmin": 50.0, "mel_fmax": 7600.0, "ref_level_db": 20, "min_level_db": -110},
}  # fmt: skip


def processor(name: str) -> AudioProcessor:
    return AudioProcessor(BaseAudioConfig(**SETTINGS[name]))


def noise(seconds: float = 0.5) -> torch.Tensor:
    """Noise that swells from below any floor to loud."""
    samples = int(seconds * 22050) // HOP * HOP
    swell = torch.logspace(-6, -1, samples)
    return (swell * torch.randn(samples, generator=torch.Generator().manual_seed(0))).unsqueeze(0)


@pytest.mark.parametrize("name", SETTINGS)
def test_what_the_processor_makes_is_read_as_its_convention_says(name: str) -> None:
    ap = processor(name)
    theirs = torch.from_numpy(ap.melspectrogram(noise()[0].numpy()))  # [M, F], with librosa's extra frame
    convention = coqui_convention(ap)
    model = MelConfig(sample_rate=22050, f_min=convention.mel.f_min, f_max=convention.mel.f_max, framing="centre")
    ours = MelSpectrogram(model)(noise())
    conversion = Conversion(MelSpectrogram(convention.mel), MelSpectrogram(model))
    converted = conversion(theirs.unsqueeze(0))[..., : ours.shape[2]]
    floor = math.log(max(convention.mel.floor, model.floor))
    torch.testing.assert_close(converted.clamp_min(floor), ours.clamp_min(floor), rtol=0, atol=2e-3)


@pytest.mark.parametrize("name", ["default", "HiFi-GAN"])
def test_the_synthesizer_speaks_through_us(name: str) -> None:
    own = tiny_vocoder(MelConfig(sample_rate=22050, framing="centre"))
    ap = processor(name)
    synthesizer = Synthesizer.__new__(Synthesizer)  # its constructor wants checkpoints
    torch.nn.Module.__init__(synthesizer)
    synthesizer.tts_model = SimpleNamespace(ap=ap)
    # A vocoder that was there is replaced.
    synthesizer.vocoder_model = torch.nn.Linear(1, 1)
    adapter = plug_into(synthesizer, own)
    assert synthesizer.output_sample_rate == 22050
    mel = torch.from_numpy(ap.melspectrogram(noise()[0].numpy()))
    wav = synthesizer._run_vocoder(mel.t(), next(synthesizer.vocoder_model.parameters()).device)
    assert wav.shape == (1, 1, mel.shape[1] * HOP)
    expected = own.with_mel(coqui_convention(ap)).synthesize(mel)
    torch.testing.assert_close(wav[0, 0], expected, rtol=1e-3, atol=1e-4)
    # The default's normalisation clips more than our floor does.
    assert [note.split(":")[0] for note in adapter.notes] == (["values"] if name == "HiFi-GAN" else [THROUGH])


def test_statistics_come_from_the_processor(tmp_path: Any) -> None:
    audio = BaseAudioConfig(**SETTINGS["default"])
    statistics = {
        "mel_mean": np.linspace(-20, -60, 80), "mel_std": np.linspace(10, 30, 80), "linear_mean": np.zeros(513),
        "linear_std": np.ones(513), "audio_config": {"sample_rate": 22050},
    }  # fmt: skip
    path = tmp_path / "scale_stats.npy"
    np.save(path, statistics, allow_pickle=True)
    audio.stats_path = str(path)
    with pytest.raises(ConfigError, match="expected an AudioProcessor, which has read"):
        coqui_convention(audio)
    ap = AudioProcessor(audio)
    theirs = torch.from_numpy(ap.melspectrogram(noise()[0].numpy()))
    model = MelConfig(sample_rate=22050, framing="centre")
    conversion = Conversion(MelSpectrogram(coqui_convention(ap).mel), MelSpectrogram(model))
    ours = MelSpectrogram(model)(noise())
    converted = conversion(theirs.unsqueeze(0))[..., : ours.shape[2]]
    torch.testing.assert_close(converted, ours, rtol=0, atol=2e-3)


def test_pre_emphasis_and_models_without_mels_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"preemphasis: expected 0, it cannot be undone in a mel; got 0\.97"):
        coqui_convention(BaseAudioConfig(preemphasis=0.97))
    with pytest.raises(ConfigError, match="no audio processor"):
        plug_into(SimpleNamespace(tts_model=SimpleNamespace(ap=None)), tiny_vocoder(MelConfig()))
