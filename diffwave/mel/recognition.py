"""Which named convention a mel is really of, told from the marks that bins leave on bands.

Low bands are hardly wider than a bin. How many bins fall into a triangle, and of what weight, changes from band to band
in a pattern of its own for each rate, FFT size, window, scale and range. It shows in the mean over time, and in how
much neighbouring bands move against each other, while what speech adds to either is smooth over bands in the long run.
Both patterns follow from the convention alone; that of the mean an acoustic model learns with the rest.

How far speech strays from them was taken from 160 utterances of LibriSpeech, in four conventions.
"""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import torch
from torch import Tensor

from diffwave.config import CONVENTIONS, MelConfig
from diffwave.dsp.stft import FrameGeometry
from diffwave.mel.logarithms import to_nepers
from diffwave.mel.spectrogram import MelSpectrogram, mel_filterbank

ENOUGH_FRAMES = 128
"""Of fewer frames that are above the floor the patterns cannot be told from what is said."""
_MOST_FRAMES = 1024  # more make it no clearer
_MARGIN = 6.0  # in nat; 683 other utterances, read rightly in ten conventions, come up to 4.0
_STRANGE = 1.2  # misfit per mark: speech has .2 to 1.1, held tones have 1.5 and more in any convention
_CLOSE = 3.0  # conventions nearer to each other than this are all named
# A parabola through 7 bands (Savitzky & Golay 1964): what it leaves over is rough.
_PARABOLA = torch.tensor([-2, 3, 6, 7, 6, 3, -2], dtype=torch.float64) / 21
_FIRST, _LAST = 7, 0.62  # bands that tell: below there is hum, above bands are wide
_RAYLEIGH = 4 / math.pi - 1  # variance of a magnitude of noise, relative to the square of its mean
_FREEDOM = 8.0  # of Student's distribution: hum and held tones stray further than a Gaussian allows
# Of the means, and of the logarithms of two variances: root of variance times frames, and what is left of many frames.
_STRAYS = ((0.8, 0.045), (1.7, 0.04), (1.3, 0.03))
_MOST_COUNTED = 400.0  # frames; of the same voice, more tell little more


def looks_like(mel: Tensor, assumed: MelConfig) -> str:
    """The named convention that a mel fits clearly better than the one it is read in; empty if there is none.

    Conventions with the same bands of the same frames count as one, however their numbers are written: those are told
    by :mod:`diffwave.mel.values`.

    Args:
        mel: of the assumed convention, as far as its range tells, shape ``[B, M, F]``; with several examples, all are
            of one convention.
        assumed: that convention.

    Returns:
        A name of :data:`~diffwave.config.CONVENTIONS`, or several, "NAME or NAME", that it fits about as well.
    """
    names, expected = _candidates(assumed)
    seen = _seen(mel, assumed) if len(names) > 1 and mel.shape[0] * mel.shape[2] >= ENOUGH_FRAMES else None
    if seen is None:
        return ""
    own, *misfits = _misfits(*seen, expected)
    best = min(misfits)
    if own - best < _MARGIN or best > _STRANGE * expected[0].numel():
        return ""
    most = min(own - _MARGIN, best + _CLOSE)
    return " or ".join([name for name, misfit in zip(names[1:], misfits, strict=True) if misfit <= most])


@functools.lru_cache(maxsize=64)
def _candidates(assumed: MelConfig) -> tuple[list[str], Tensor]:
    """What numbers like these can be of, the assumed convention first, and the marks of each, ``[N, 3, bands]``."""
    others = _others(assumed)
    if not others:  # what is like no named convention may have too few bands for marks
        return [""], torch.empty(0)
    return ["", *others], torch.stack([_expected(mel) for mel in (assumed, *others.values())])


def _others(assumed: MelConfig) -> dict[str, MelConfig]:
    """Conventions that numbers like these can also be of, the first name of each."""
    found: dict[MelConfig, str] = {}
    for name, convention in CONVENTIONS.items():
        other = convention.mel
        written = all(getattr(other, field) == getattr(assumed, field) for field in ("n_mels", "log", "mean", "scale"))
        if written and other.spectrum == assumed.spectrum and _what_tells(other) != _what_tells(assumed):
            found.setdefault(_what_tells(other), name)
    return {name: mel for mel, name in found.items()}


def _what_tells(mel: MelConfig) -> MelConfig:
    """The convention without what leaves no mark, or none that anybody hears."""
    return replace(
        mel,
        mel_norm="slaney",
        framing="hop",
        magnitude_epsilon=0.0,
        stft_normalized=False,
        log="ln",
        floor=1e-5,
        floor_added=False,
        mean=(),
        scale=(),
    )


def _seen(mel: Tensor, assumed: MelConfig) -> tuple[Tensor, int] | None:
    """Marks ``[3, bands]`` of a mel ``[B, M, F]``, and of how many frames; None if those are too few."""
    front_end = _front_end(assumed)
    nepers = front_end.nepers(mel[..., :_MOST_FRAMES].detach().to("cpu", torch.float32))
    nepers = torch.cat(list(nepers), dim=1)[: _told(assumed)]  # [M, F]
    # What lies on the floor is the same in all bands.
    floor = to_nepers(torch.tensor(front_end.limits()[0]), assumed.log) / (1 + front_end.of_power)
    nepers = nepers[:, nepers.amin(dim=0) > floor + 0.3]
    if nepers.shape[1] < ENOUGH_FRAMES:
        return None
    bends = nepers[1:-1] - (nepers[2:] + nepers[:-2]) / 2
    moves = nepers.diff(dim=0).diff(dim=1)
    return _marks(nepers.mean(dim=1), bends.var(dim=1), moves.square().mean(dim=1)), nepers.shape[1]


def _expected(config: MelConfig) -> Tensor:
    """The marks of a convention, ``[3, bands]``: those of noise, to first order of its fluctuations."""
    weights = mel_filterbank(config).double()[: _told(config)]
    weights = weights[:, : int(weights.any(dim=0).nonzero().max()) + 1]  # [M, K]
    sums = weights.sum(dim=1, keepdim=True).clamp_min(1e-12)
    together, apart = (_covariance(weights / sums, config, lag) for lag in (0, config.hop_length))  # [M, M]
    unit = torch.eye(len(weights), dtype=torch.float64)
    bend, step = unit[1:-1] - (unit[2:] + unit[:-2]) / 2, unit.diff(dim=0)
    bends = ((bend @ together) * bend).sum(dim=1)
    moves = ((step @ (together - apart)) * step).sum(dim=1)
    # The mean of a logarithm lies below the logarithm of the mean by half the variance.
    mean = sums[:, 0].log() - together.diagonal() / 2
    if config.spectrum == "power":
        mean = mean / 2
    return _marks(mean, bends, moves)


def _covariance(shares: Tensor, config: MelConfig, lag: int) -> Tensor:
    """Of bands with these shares of bins, ``[M, K]``, for noise and frames that lie ``lag`` samples apart: ``[M, M]``.

    Magnitudes of two bins vary together by about the square of their spectra's correlation, which is the transform of
    the product of both windows.
    """
    geometry = FrameGeometry(config.n_fft, config.hop_length, config.win_length, config.framing)
    window = geometry.window(torch.device("cpu"), torch.float64)
    product = torch.zeros(config.n_fft, dtype=torch.float64)
    product[: len(window) - lag] = window[lag:] * window[: len(window) - lag]
    correlation = (torch.fft.fft(product) / window.square().sum()).abs().square()
    bins = torch.arange(shares.shape[1])
    between = correlation[(bins[:, None] - bins).abs()]  # [K, K]
    covariance: Tensor = shares @ between @ shares.T
    return covariance if config.spectrum == "power" else _RAYLEIGH * covariance


def _marks(mean: Tensor, bends: Tensor, moves: Tensor) -> Tensor:
    """What is rough over the bands that tell, ``[3, bands]``.

    Args:
        mean: of the logarithms, shape ``[M]``.
        bends: variance of each band against the middle of its neighbours, shape ``[M - 2]``.
        moves: mean square of how two neighbours move apart from frame to frame, shape ``[M - 1]``.
    """
    rows = mean.double(), bends.double().clamp_min(1e-9).log(), moves.double().clamp_min(1e-9).log()
    end = len(bends) - len(_PARABOLA) + 1
    return torch.stack([(row[3:-3] - row.unfold(0, len(_PARABOLA), 1) @ _PARABOLA)[_FIRST - 3 : end] for row in rows])


def _misfits(marks: Tensor, frames: int, expected: Tensor) -> list[float]:
    """Negative log-likelihoods of marks ``[3, bands]`` by each of ``[N, 3, bands]``, without their constant."""
    band = _FIRST + torch.arange(marks.shape[1], dtype=torch.float64)
    low = (1 + (14 / (band + 1)).square()).sqrt()  # harmonics and hum
    counted = min(frames, _MOST_COUNTED)
    strays = torch.tensor([math.hypot(part / math.sqrt(counted), rest) for part, rest in _STRAYS], dtype=torch.float64)
    stray = strays[:, None] * torch.stack([low, low.sqrt(), low.sqrt()])
    squares = ((marks - expected) / stray).square()
    misfits: list[float] = ((squares / _FREEDOM).log1p().sum(dim=(1, 2)) * (_FREEDOM + 1) / 2).tolist()
    return misfits


def _told(config: MelConfig) -> int:
    """How many bands are looked at."""
    return math.ceil(_LAST * config.n_mels)


@functools.lru_cache(maxsize=64)
def _front_end(config: MelConfig) -> MelSpectrogram:
    return MelSpectrogram(config)
