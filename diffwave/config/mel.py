"""Settings of a mel spectrogram: how a waveform becomes one, and how its numbers are written down."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from diffwave.config.checks import one_of, require

LOGS = ("ln", "log10", "log2", "db", "db01", "linear")


@dataclass(frozen=True)
class MelConfig:
    """How a waveform becomes a mel spectrogram.

    Args:
        sample_rate: in Hz.
        n_fft, win_length, hop_length: frame geometry, in samples.
        n_mels: number of mel bands ``M``.
        f_min, f_max: edges of the filterbank, in Hz.
        mel_scale: ``slaney`` (librosa's default) or ``htk``.
        mel_norm: ``slaney`` (triangles of equal area) or ``none`` (triangles of equal height).
        framing: where frame ``i`` is centred: ``hop`` at ``(i + 1/2) hop`` (HiFi-GAN: reflect padding of
            ``(n_fft - hop) / 2``), ``centre`` at ``i hop`` (librosa's ``center=True``; the extra last
            frame is dropped). Both give exactly ``F = N / hop_length`` frames.
        magnitude_epsilon: added to the squared magnitude under the root (HiFi-GAN: 1e-9).
        stft_normalized: divide the STFT by the root of the window's energy (torch's ``normalized``).
        log: ``ln``, ``log10``, ``log2``, ``db`` (``20 log10``), ``db01`` (``20 log10``, then shifted and clipped to
            ``[0, 1]`` as lmnt-com/diffwave does) or ``linear``, the sums themselves.
        floor: smallest sum of a band before the logarithm.
        spectrum: what the bands add up: its ``magnitude`` or its ``power``.
        floor_added: the floor is added to the sum (NeMo) instead of being its least value.
        mean, scale: the numbers are ``(logarithm - mean) / scale``, with one entry for each band or one for all; none
            for mels that are not standardised.
    """

    sample_rate: int = 16000
    n_fft: int = 1024
    win_length: int = 1024
    hop_length: int = 256
    n_mels: int = 80
    f_min: float = 0.0
    f_max: float = 8000.0
    mel_scale: str = "slaney"
    mel_norm: str = "slaney"
    framing: str = "hop"
    magnitude_epsilon: float = 0.0
    stft_normalized: bool = False
    log: str = "ln"
    floor: float = 1e-5
    spectrum: str = "magnitude"
    floor_added: bool = False
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        one_of("mel.mel_scale", self.mel_scale, ("slaney", "htk"))
        one_of("mel.mel_norm", self.mel_norm, ("slaney", "none"))
        one_of("mel.framing", self.framing, ("hop", "centre"))
        one_of("mel.log", self.log, LOGS)
        one_of("mel.spectrum", self.spectrum, ("magnitude", "power"))
        require(
            0 < self.hop_length <= self.win_length <= self.n_fft,
            "mel: expected 0 < hop_length <= win_length <= n_fft; got "
            f"hop_length={self.hop_length}, win_length={self.win_length}, n_fft={self.n_fft}",
        )
        require(
            0 <= self.f_min < self.f_max <= self.sample_rate / 2,
            "mel: expected 0 <= f_min < f_max <= sample_rate / 2; got "
            f"f_min={self.f_min}, f_max={self.f_max}, sample_rate={self.sample_rate}",
        )
        require(self.n_mels > 0, f"mel.n_mels must be positive; got {self.n_mels}")
        require(0 < self.floor < math.inf, f"mel.floor must be positive; got {self.floor}")
        require(
            0 <= self.magnitude_epsilon < math.inf,
            f"mel.magnitude_epsilon cannot be negative; got {self.magnitude_epsilon}",
        )
        for name in ("mean", "scale"):
            given = _numbers(f"mel.{name}", getattr(self, name))
            require(
                len(given) in (0, 1, self.n_mels),
                f"mel.{name}: expected one value for each of {self.n_mels} bands, or one for all; got {len(given)}",
            )
            object.__setattr__(self, name, given)
        require(all(value > 0 for value in self.scale), f"mel.scale must be positive; got {min(self.scale, default=1)}")

    @property
    def standardised(self) -> bool:
        """Whether mean and scale have to be undone."""
        return bool(self.mean or self.scale)

    def brief(self) -> str:
        """What tells most conventions apart, in a few words."""
        return (
            f"{self.sample_rate} Hz, hop {self.hop_length}, {self.n_mels} bands, {self.log}"
            + ", standardised" * self.standardised
        )

    def describe(self) -> str:
        """One line with what a person compares first."""
        return (
            f"{self.sample_rate} Hz, {self.n_fft}/{self.hop_length}/{self.win_length}, "
            f"{self.n_mels} {self.mel_scale} bands {self.f_min:g}-{self.f_max:g} Hz, "
            f"{self.log} (floor {self.floor:g}{' added' * self.floor_added}), {self.framing} framing"
            + ", of power" * (self.spectrum == "power")
            + ", standardised" * self.standardised
        )


def _numbers(name: str, given: Any) -> tuple[float, ...]:
    """Of a number, or of lists or an array of any shape, in order."""
    values = given.tolist() if hasattr(given, "tolist") else given  # an array's or a tensor's
    if isinstance(values, list | tuple):
        return tuple(number for part in values for number in _numbers(name, part))
    number = isinstance(values, int | float) and not isinstance(values, bool) and math.isfinite(values)
    require(number, f"{name}: expected finite numbers; got {values!r:.40}")
    return (float(values),)
