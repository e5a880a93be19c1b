"""Distances between spectra, for numpy on a CPU and for PyTorch on a GPU by the same lines.

Every score is a mean over frames of a reference and an estimate of one length, both at 16 kHz. Frames are taken in
blocks, so that an hour of audio needs no more memory than a minute; a batch holds utterances of different lengths.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from diffwave.config import MelConfig

# numpy.ndarray or torch.Tensor: the operations below exist in both, under the same names.
Array = Any

SAMPLE_RATE = 16000
MEL = MelConfig(sample_rate=SAMPLE_RATE)
LSD_FFT, LSD_HOP = 1024, 256
_LSD_FLOOR = 1e-10  # power; 100 dB below a full-scale sine's neighbourhood
# Resolutions (n_fft, hop, window) and floor of auraloss.freq.MultiResolutionSTFTLoss, which HiFi-GAN-type papers use.
MR_STFT = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))
_MR_FLOOR = 1e-8  # power
MCD_COEFFICIENTS = 13
_BLOCK = 4096  # frames
NAMES = ("lsd", "log_mel", "mcd_mel13", "mr_stft", "mr_stft_aligned")


def spectral_scores(references: Sequence[Array], estimates: Sequence[Array], filterbank: Array) -> dict[str, Array]:
    """All spectral scores of a batch.

    Args:
        references, estimates: waveforms ``[N_i]``, pairwise of one length, all numpy or all torch on one device.
        filterbank: mel filters of ``MEL``, shape ``[M, K]``, of the same kind.

    Returns:
        Scores ``[B]`` by name:
        ``lsd``, log-spectral distance in dB: root mean square over bins of the difference of log power spectra, mean
        over frames (1024-point Hann frames every 256 samples); ``log_mel``, mean absolute difference of ln-mels in
        nat; ``mcd_mel13``, mel-cepstral distortion in dB from coefficients 1..13 of the orthonormal DCT of the
        ln-mels, without time warping (Kubichek 1993, equation 1, on mel bands); ``mr_stft``, spectral convergence
        plus mean absolute log-magnitude difference, mean of three resolutions (Yamamoto et al. 2020, as in auraloss);
        ``mr_stft_aligned``, the same after scaling the estimate to the reference's level.
    """
    pairs = [(r, e) for r, e in zip(references, estimates, strict=True)]
    lsd = _mean_over_frames(pairs, _Frames(LSD_FFT, LSD_HOP, LSD_FFT, centre=True), _log_spectral_difference)
    mel_frames = _Frames(MEL.n_fft, MEL.hop_length, MEL.win_length, centre=False)
    mel, mcd = _mel_distances(pairs, mel_frames, filterbank)
    plain, aligned = _multi_resolution(pairs)
    return {"lsd": lsd, "log_mel": mel, "mcd_mel13": mcd, "mr_stft": plain, "mr_stft_aligned": aligned}


def power_blocks(wav: Array) -> Iterator[Array]:
    """Power spectra ``[F, K]`` of the mel's frames of one waveform ``[N]``, block by block."""
    frames = _Frames(MEL.n_fft, MEL.hop_length, MEL.win_length, centre=False)
    padded, count = frames.pad(wav)[None], frames.count(len(wav))
    for start in range(0, count, _BLOCK):
        yield _power(padded, frames, start, min(start + _BLOCK, count))[0]


@dataclass(frozen=True)
class _Frames:
    """Frame sizes in samples; ``centre`` is librosa's and torch's framing, otherwise one frame per hop."""

    n_fft: int
    hop: int
    win: int
    centre: bool

    def count(self, samples: int) -> int:
        return 1 + samples // self.hop if self.centre else samples // self.hop

    def pad(self, wav: Array) -> Array:
        """Reflect the ends of ``[N]`` so that frame ``i`` begins at sample ``i * hop`` of the result."""
        if self.centre:
            return _reflect(wav, self.n_fft // 2, self.n_fft // 2)
        whole = len(wav) // self.hop * self.hop
        left = (self.n_fft - self.hop) // 2
        return _reflect(wav[:whole], left, self.n_fft - self.hop - left)


def _mean_over_frames(pairs: list[tuple[Array, Array]], frames: _Frames, distance: Any) -> Array:
    """Mean over each utterance's frames of ``distance(power, power) -> [B, F]``."""
    total = 0.0
    for reference, estimate, valid in _power_blocks(pairs, frames):
        total = total + (distance(reference, estimate) * valid).sum(-1)
    return total / _counts(pairs, frames)


def _power_blocks(pairs: list[tuple[Array, Array]], frames: _Frames) -> Iterator[tuple[Array, Array, Array]]:
    """Power spectra of reference and estimate ``[B, F, K]`` in blocks, and which frames are there ``[B, F]``."""
    reference, estimate = (_stack([frames.pad(pair[side]) for pair in pairs]) for side in (0, 1))
    counts = _counts(pairs, frames)
    longest = int(counts.max())
    block = max(1, _BLOCK // len(pairs))
    for start in range(0, longest, block):
        stop = min(start + block, longest)
        index = _like(np.arange(start, stop), counts)
        valid = index[None, :] < counts[:, None]
        yield _power(reference, frames, start, stop), _power(estimate, frames, start, stop), valid


def _power(padded: Array, frames: _Frames, start: int, stop: int) -> Array:
    """Power spectra of frames ``start`` to ``stop`` of ``[B, N]``: ``[B, F, K]``."""
    section = padded[:, start * frames.hop : (stop - 1) * frames.hop + frames.n_fft]
    if isinstance(section, np.ndarray):
        import scipy.fft  # three times as fast as numpy's on many short rows

        pieces = np.lib.stride_tricks.sliding_window_view(section, frames.n_fft, axis=-1)[:, :: frames.hop]
        spectrum = scipy.fft.rfft(pieces * _window(frames))
    else:
        import torch

        pieces = section.unfold(-1, frames.n_fft, frames.hop)
        spectrum = torch.fft.rfft(pieces * _like(_window(frames), section))
    return spectrum.real**2 + spectrum.imag**2


def _log_spectral_difference(reference: Array, estimate: Array) -> Array:
    decibel = 10 * (_log(reference, _LSD_FLOOR) - _log(estimate, _LSD_FLOOR)) / math.log(10)
    return (decibel**2).mean(-1) ** 0.5


def _mel_distances(pairs: list[tuple[Array, Array]], frames: _Frames, filterbank: Array) -> tuple[Array, Array]:
    """Mean absolute ln-mel difference in nat, and mel-cepstral distortion in dB, both ``[B]``."""
    if min(len(reference) for reference, _ in pairs) < frames.hop:
        raise ValueError(f"expected at least one frame, {frames.hop} samples")
    cosines = _like(_dct(), filterbank)  # [13, M]
    distance, distortion = 0.0, 0.0
    for reference, estimate, valid in _power_blocks(pairs, frames):
        change = _log_mel(reference, filterbank) - _log_mel(estimate, filterbank)  # [B, F, M]
        distance = distance + (abs(change).mean(-1) * valid).sum(-1)
        cepstral = change @ cosines.T
        distortion = distortion + (((cepstral**2).sum(-1) * 2) ** 0.5 * valid).sum(-1)
    counts = _counts(pairs, frames)
    return distance / counts, distortion / counts * (10 / math.log(10))


def _log_mel(power: Array, filterbank: Array) -> Array:
    """Power spectra ``[B, F, K]`` to ln-mels ``[B, F, M]``, as ``MelSpectrogram`` makes them."""
    return _log((power + MEL.magnitude_epsilon) ** 0.5 @ filterbank.T, MEL.floor)


def _multi_resolution(pairs: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Multi-resolution STFT distance as is, and with the estimate scaled to the reference's level."""
    gain = _stack_scalars([_level(reference) / max(_level(estimate), 1e-12) for reference, estimate in pairs], pairs)
    plain, aligned = 0.0, 0.0
    for sizes in MR_STFT:
        sums = [_ConvergenceSums(), _ConvergenceSums()]
        frames = _Frames(*sizes, centre=True)
        for reference, estimate, valid in _power_blocks(pairs, frames):
            target = _clamp(reference, _MR_FLOOR) ** 0.5
            for index, power in enumerate((estimate, estimate * gain[:, None, None] ** 2)):
                sums[index].add(target, _clamp(power, _MR_FLOOR) ** 0.5, valid)
        bins = _counts(pairs, frames) * (frames.n_fft // 2 + 1)
        plain, aligned = plain + sums[0].value(bins), aligned + sums[1].value(bins)
    return plain / len(MR_STFT), aligned / len(MR_STFT)


class _ConvergenceSums:
    """What spectral convergence and the log-magnitude difference need of all frames."""

    def __init__(self) -> None:
        self.difference: Array = 0.0
        self.energy: Array = 0.0
        self.logarithm: Array = 0.0

    def add(self, target: Array, magnitude: Array, valid: Array) -> None:
        """Add a block of magnitudes ``[B, F, K]``."""
        self.difference = self.difference + (((target - magnitude) ** 2).sum(-1) * valid).sum(-1)
        self.energy = self.energy + ((target**2).sum(-1) * valid).sum(-1)
        change = abs(_log(target, 0.0) - _log(magnitude, 0.0)).sum(-1)
        self.logarithm = self.logarithm + (change * valid).sum(-1)

    def value(self, bins: Array) -> Array:
        """Spectral convergence plus mean log difference, ``[B]``."""
        return (self.difference / self.energy) ** 0.5 + self.logarithm / bins


def _counts(pairs: list[tuple[Array, Array]], frames: _Frames) -> Array:
    return _stack_scalars([frames.count(len(reference)) for reference, _ in pairs], pairs)


def _level(wav: Array) -> float:
    return math.sqrt(float((wav**2).mean()))


def _reflect(wav: Array, left: int, right: int) -> Array:
    """Pad ``[N]`` by reflection, repeated where the signal is shorter than the padding."""
    index = np.pad(np.arange(len(wav)), (left, right), mode="reflect")
    return wav[index if isinstance(wav, np.ndarray) else _like(index, wav)]


def _stack(rows: list[Array]) -> Array:
    """Rows ``[N_i]`` as one array ``[B, N]``, zero at the ends."""
    longest = max(len(row) for row in rows)
    if isinstance(rows[0], np.ndarray):
        return np.stack([np.pad(row, (0, longest - len(row))) for row in rows])
    import torch

    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def _stack_scalars(values: list[float], pairs: list[tuple[Array, Array]]) -> Array:
    return _like(np.array(values), pairs[0][0])


def _like(values: np.ndarray, array: Array) -> Array:
    """``values`` as the kind of array that ``array`` is, on its device."""
    if isinstance(array, np.ndarray):
        return values
    import torch

    return torch.from_numpy(values).to(array.device)


def _clamp(array: Array, floor: float) -> Array:
    return array.clip(floor, None) if floor > 0 else array


def _log(array: Array, floor: float) -> Array:
    array = _clamp(array, floor)
    return np.log(array) if isinstance(array, np.ndarray) else array.log()


@cache
def _window(frames: _Frames) -> np.ndarray:
    """Periodic Hann window of ``win`` samples in the middle of ``n_fft`` zeros."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frames.win) / frames.win)
    left = (frames.n_fft - frames.win) // 2
    return np.pad(window, (left, frames.n_fft - frames.win - left)).astype(np.float32)


@cache
def _dct() -> np.ndarray:
    """Rows 1 to 13 of the orthonormal DCT-II over the mel bands, ``[13, M]``."""
    order = np.arange(1, MCD_COEFFICIENTS + 1)[:, None]
    band = np.arange(MEL.n_mels)[None, :] + 0.5
    return (math.sqrt(2 / MEL.n_mels) * np.cos(np.pi / MEL.n_mels * order * band)).astype(np.float32)
