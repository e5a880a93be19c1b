"""Energy by band where there is speech, and level where there is none.

Diffusion vocoders lose energy, most of it above 1 kHz, and hiss in pauses. A distance has no sign and mixes both with
everything else; these differences, estimate - reference, keep the direction: below zero is a deficit, above a surplus.

Frames are the mel's (64 ms every 16 ms) and are chosen by the reference alone, by their level without DC, so that all
systems are measured in the same places. Pauses of LibriSpeech's validation recordings lie from 18 to 70 dB below the
loud frames (median 36): no fixed distance finds silence in most of them, but the quietest tenth of frames is always
there. Frames up to 6 dB above that tenth count too. Without this margin those frames would be chosen that happen to be
quiet in the reference, and another realisation of the same noise would be found louder there, by 0.2 dB if it is white
and by more than 1 dB if it is a rumble.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffwave.evaluation.perceptual import MetricError, check
from diffwave.evaluation.spectral import MEL, power_blocks

# Bands of the mel whose centres lie in 0-1, 1-4 and 4-8 kHz on Slaney's scale.
BANDS = {"low": slice(0, 26), "mid": slice(26, 62), "high": slice(62, 80)}
_LOUD, _QUIET = 95, 10  # percentiles of the reference's frame levels
_SPEECH_RANGE = 40.0  # dB below the loud frames
_MARGIN = 6.0  # dB above the quiet frames
_CONTRAST = 10.0  # dB between loud and quiet; less is a steady sound without pauses
_FEWEST = 5  # frames
_FLOOR = -100.0  # dB re full scale; the rounding error of 16 bits is at -101
_MEL_FLOOR = (
    1e-9  # of the estimate's mel; four decades below the mel's own floor, so that it meets digital silence only
)
_HANN_ENERGY = 0.375  # mean square of the window
_LOWEST_BIN = 2  # a Hann window spreads DC over bins 0 and 1


@dataclass(frozen=True, eq=False)
class FrameEnergies:
    """What the metrics need of each of ``F`` frames.

    Args:
        reference, estimate: mean square without DC, full scale being 1, shape ``[F]``.
        difference: sum over a band's cells of ln-mel, estimate - reference, in nat, shape ``[F, 3]``, in the order of
            :data:`BANDS`; only cells where the reference is above the mel's floor (1e-5), since below it a mel tells no
            vocoder how much there was.
        cells: how many these are, shape ``[F, 3]``.
    """

    reference: np.ndarray
    estimate: np.ndarray
    difference: np.ndarray
    cells: np.ndarray


def frame_energies(reference: np.ndarray, estimate: np.ndarray, filterbank: np.ndarray) -> FrameEnergies:
    """Energies of the frames of both signals.

    Args:
        reference, estimate: float samples at 16 kHz, shape ``[N]``.
        filterbank: mel filters of ``spectral.MEL``, shape ``[M, K]``.

    Raises:
        MetricError: if the lengths differ, a value is not finite, or there is less than a frame.
    """
    check(reference, estimate)
    if len(reference) < MEL.hop_length:
        raise MetricError(f"energy: expected at least one frame, {MEL.hop_length} samples; got {len(reference)}")
    blocks = zip(power_blocks(reference), power_blocks(estimate), strict=True)
    columns = [
        (_mean_square(first), _mean_square(second), *_mel_difference(first, second, filterbank))
        for first, second in blocks
    ]
    return FrameEnergies(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def band_bias(energies: FrameEnergies, band: str) -> float:
    """Mean ln-mel of the estimate above the reference's, in nat, in frames with speech; a gain ``g`` is ``ln g``.

    Args:
        energies: of :func:`frame_energies`.
        band: a key of :data:`BANDS`.

    Raises:
        MetricError: if the reference has nothing in that band.
    """
    speech = speech_frames(energies.reference)
    column = list(BANDS).index(band)
    cells = energies.cells[speech, column].sum()
    if cells == 0:
        raise MetricError(f"energy bias: expected sound in the reference; its {band} band is silent")
    return float(energies.difference[speech, column].sum() / cells)


def silence_difference(energies: FrameEnergies) -> float:
    """Level of the estimate above the reference's, in dB, in the reference's quiet frames.

    Levels are those of the mean power of all quiet frames, and at least -100 dB re full scale, so that digital silence
    in either signal gives a number.

    Raises:
        MetricError: if the reference has no pauses, or less than 5 frames of them.
    """
    quiet = quiet_frames(energies.reference)
    if quiet.sum() < _FEWEST:
        raise MetricError(
            f"silence: expected at least {_FEWEST} quiet frames in the reference, {_CONTRAST:g} dB below its loud "
            f"ones; got {quiet.sum()}"
        )
    estimate, reference = (_decibel(side[quiet].mean()) for side in (energies.estimate, energies.reference))
    return float(estimate - reference)


def quiet_frames(power: np.ndarray) -> np.ndarray:
    """Frames up to 6 dB above the quietest tenth, if that lies 10 dB below the loud ones; bool, shape ``[F]``."""
    level = _decibel(power)
    loud, quiet = np.percentile(level, (_LOUD, _QUIET))
    chosen: np.ndarray = (level <= quiet + _MARGIN) & (quiet <= loud - _CONTRAST)
    return chosen


def speech_frames(power: np.ndarray) -> np.ndarray:
    """Frames within 40 dB of the loud ones and not quiet; bool, shape ``[F]``."""
    level = _decibel(power)
    loud = np.percentile(level, _LOUD)
    chosen: np.ndarray = (level >= loud - _SPEECH_RANGE) & (level > _FLOOR) & ~quiet_frames(power)
    return chosen


def _mean_square(spectrum: np.ndarray) -> np.ndarray:
    """Mean square of frames without DC, from power spectra ``[F, K]``, by Parseval's theorem."""
    # Half a spectrum counts twice; Nyquist, which does not, hardly matters.
    total: np.ndarray = 2 * spectrum[:, _LOWEST_BIN:].sum(axis=1, dtype=np.float64)
    return total / (_HANN_ENERGY * MEL.n_fft**2)


def _mel_difference(reference: np.ndarray, estimate: np.ndarray, filterbank: np.ndarray) -> tuple[np.ndarray, ...]:
    """Sums of ln-mel differences and numbers of cells by band, both ``[F, 3]``, of power spectra ``[F, K]``."""
    target, mel = (np.sqrt(side) @ filterbank.T for side in (reference, estimate))
    known = target > MEL.floor
    change = np.log(np.maximum(mel, _MEL_FLOOR)) - np.log(np.maximum(target, MEL.floor))
    sums = [(change * known)[:, band].sum(axis=1, dtype=np.float64) for band in BANDS.values()]
    return np.stack(sums, axis=1), np.stack([known[:, band].sum(axis=1) for band in BANDS.values()], axis=1)


def _decibel(power: np.ndarray) -> np.ndarray:
    """Mean squares to dB re full scale, at least -100."""
    level: np.ndarray = 10 * np.log10(np.maximum(power, 10 ** (_FLOOR / 10)))
    return level
