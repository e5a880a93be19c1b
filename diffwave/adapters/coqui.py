"""Coqui TTS: the ``vocoder_model`` of a ``Synthesizer``."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from diffwave.adapters.adapter import Adapter
from diffwave.config import ConfigError, MelConfig, MelConvention
from diffwave.vocoder import Vocoder


class CoquiVocoder(Adapter):
    """``inference`` and ``forward``; for arguments see :class:`~diffwave.adapters.adapter.Adapter`.

    Coqui's models differ in their mels: :func:`coqui_convention` reads what one has, and :func:`plug_into` does all.
    """

    usual_convention = "hifigan-22k"

    def inference(self, c: Tensor) -> Tensor:
        """Mels ``[B, M, F]`` to waveforms ``[B, 1, N]``."""
        return self.waveforms(c)[0].unsqueeze(1)

    forward = inference


def plug_into(synthesizer: Any, vocoder: Vocoder) -> CoquiVocoder:
    """Let a ``TTS.utils.synthesizer.Synthesizer`` speak through a vocoder.

    Args:
        synthesizer: with a TTS model; a vocoder that it has is replaced.
        vocoder: who speaks.

    Raises:
        ConfigError: if it makes no mels, or such as cannot be written down or spoken.
    """
    processor = getattr(synthesizer.tts_model, "ap", None)
    if processor is None:
        raise ConfigError("expected a TTS model that makes mels; it has no audio processor")
    adapter = CoquiVocoder(vocoder, coqui_convention(processor))
    # The synthesizer undoes the model's normalisation and applies the vocoder's: with the same, nothing happens.
    synthesizer.vocoder_ap = processor
    synthesizer.vocoder_config = {"audio": {"sample_rate": processor.sample_rate}}
    synthesizer.output_sample_rate = processor.sample_rate
    synthesizer.vocoder_model = adapter
    return adapter


def coqui_convention(audio: Any) -> MelConvention:
    """The convention of Coqui's audio settings.

    Args:
        audio: an ``AudioProcessor``, ``synthesizer.tts_model.ap`` for one, or a ``BaseAudioConfig``.

    Raises:
        ConfigError: with pre-emphasis, and with statistics in a file, which only an ``AudioProcessor`` has read.
    """
    if audio.preemphasis:
        raise ConfigError(f"audio.preemphasis: expected 0, it cannot be undone in a mel; got {audio.preemphasis}")
    kind = _logarithm(audio) if audio.do_amp_to_db_mel else "linear"
    # spec_gain * log: "decibels" are log10 in units of 1 / 20.
    mean, scale = _statistics(audio, unit=1 / float(audio.spec_gain) if audio.do_amp_to_db_mel else 1.0)
    mel = MelConfig(
        sample_rate=audio.sample_rate,
        n_fft=audio.fft_size,
        win_length=audio.win_length,
        hop_length=audio.hop_length,
        n_mels=audio.num_mels,
        f_min=float(audio.mel_fmin or 0),
        f_max=float(audio.mel_fmax or audio.sample_rate / 2),
        framing="centre",
        log=kind,
        floor=_floor(audio),
        mean=mean,
        scale=scale,
    )
    return MelConvention(mel, "Coqui")


def _logarithm(audio: Any) -> str:
    return "ln" if audio.log_func == "np.log" else "log10"


def _floor(audio: Any) -> float:
    """1e-8, or what the clipping of the normalised range leaves."""
    floor = 1e-8
    if audio.do_amp_to_db_mel and audio.signal_norm and audio.clip_norm:
        lowest = (audio.ref_level_db + audio.min_level_db) / float(audio.spec_gain)
        floor = max(floor, math.exp(lowest) if _logarithm(audio) == "ln" else 10.0**lowest)
    return floor


def _statistics(audio: Any, unit: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and scale of the normalisation, in logarithms of magnitudes."""
    if not audio.signal_norm:
        return ((), ()) if unit == 1 else ((0.0,), (unit,))
    scaler = getattr(audio, "mel_scaler", None)
    if scaler is not None:
        return tuple(float(m) * unit for m in scaler.mean_), tuple(float(s) * unit for s in scaler.scale_)
    if audio.stats_path:
        raise ConfigError(
            f"audio.stats_path: expected an AudioProcessor, which has read {audio.stats_path}; got settings"
        )
    # normalised = (decibel - ref - min) / -min * span + low, with span and low as the range is symmetric or not.
    span, low = (2 * audio.max_norm, -audio.max_norm) if audio.symmetric_norm else (audio.max_norm, 0.0)
    per_value = -audio.min_level_db / span
    return ((audio.ref_level_db + audio.min_level_db - low * per_value) * unit,), (per_value * unit,)
