"""From the versions of an utterance to stimuli that differ in nothing but what is judged.

Order: one sample rate, the reference's length, anchors, cut, fades, loudness, 16 bits. Nothing is ever clipped or
limited: if a peak would come too near full scale, all stimuli of the utterance become softer together.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from diffwave.audio.checks import AudioError
from diffwave.audio.file import read_audio
from diffwave.listening.anchors import fit_length, make_anchor
from diffwave.listening.delays import describe_delay
from diffwave.listening.design import ANCHOR, REFERENCE, REFERENCE_NAME, SYSTEM
from diffwave.listening.documents import ListeningError
from diffwave.listening.matching import Item

PER_STIMULUS, PER_ITEM = "per-stimulus", "per-item"
LOUDNESS = (PER_STIMULUS, PER_ITEM)
LONGEST_SECONDS = 12.0  # BS.1534-3, and what webMUSHRA lets through
TARGET_LUFS = -23.0
_HIGHEST_DBFS = -1.0
_ROUNDING_DB = 0.001  # rounding to 16 bits can lift a peak by half a step
_FADE_SECONDS = 0.008
_GATE_SECONDS = 0.4  # BS.1770 measures in blocks of 400 ms
_LENGTH_SECONDS = 0.05  # a difference that is told
# Beyond the cut, so that filters and Griffin-Lim do not end at it.
_MARGIN_SECONDS = 1.0


class UnusableItemError(ListeningError):
    """An utterance that cannot be in the test; another one may."""


@dataclass(frozen=True)
class Recipe:
    """How stimuli are made.

    Args:
        max_seconds: longer utterances are cut to their beginning.
        anchors: names of the anchors.
        loudness: ``per-stimulus``, or ``per-item`` for one gain, found on the reference.
        sample_rate: that references must have; 0 for any.
    """

    max_seconds: float
    anchors: tuple[str, ...]
    loudness: str
    sample_rate: int = 0


@dataclass(frozen=True, eq=False)
class Sound:
    """A prepared version of an utterance.

    Args:
        name, kind: as in the key.
        source: file it was made from.
        samples: 16-bit, shape ``[N]``.
        sample_rate: in Hz.
        gain_db: applied.
        lufs_before: loudness before that; NaN if there is none to measure.
    """

    name: str
    kind: str
    source: str
    samples: np.ndarray
    sample_rate: int
    gain_db: float
    lufs_before: float

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.samples) / self.sample_rate

    @property
    def sha256(self) -> str:
        """Of the samples, little-endian."""
        return hashlib.sha256(self.samples.astype("<i2").tobytes()).hexdigest()

    @property
    def peak_dbfs(self) -> float:
        """Of the samples; minus infinity for silence."""
        peak = int(np.abs(self.samples.astype(np.int32)).max())
        return 20 * math.log10(peak / 32768) if peak else -math.inf


@dataclass(frozen=True, eq=False)
class Prepared:
    """All stimuli of an utterance, of equal length, the reference first.

    Args:
        item: the utterance.
        sounds: reference, systems, anchors.
        notes: what the experimenter should know, a line each, without the name of the utterance.
    """

    item: Item
    sounds: tuple[Sound, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Version:
    name: str
    kind: str
    source: str
    wav: np.ndarray  # float64 [N]


def prepare(item: Item, recipe: Recipe) -> Prepared:
    """Make the stimuli of an utterance.

    Raises:
        UnusableItemError: if a file cannot be read, is too short or silent, or has an unexpected sample rate.
    """
    notes: list[str] = []
    try:
        reference = read_audio(item.reference)
        rate = reference.sample_rate
        if recipe.sample_rate and rate != recipe.sample_rate:
            raise UnusableItemError(f"expected a reference at {recipe.sample_rate} Hz, as the others; got {rate} Hz")
        versions = _versions(item, recipe, reference.wav.numpy().astype(np.float64), rate, notes)
    except AudioError as error:
        raise UnusableItemError(f"{item.name}: {error}") from None
    except UnusableItemError as error:
        raise UnusableItemError(f"{item.name}: {error}") from None
    sounds = _finish(item, versions, recipe, rate)
    silent = [f"{sound.name} is silent or nearly so" for sound in sounds if math.isnan(sound.lufs_before)]
    return Prepared(item, sounds, (*notes, *silent))


def _versions(item: Item, recipe: Recipe, reference: np.ndarray, rate: int, notes: list[str]) -> list[_Version]:
    """Everything at one rate and of one length, cut and faded; adds to ``notes``."""
    if len(reference) < _GATE_SECONDS * rate:
        raise UnusableItemError(f"expected at least {_GATE_SECONDS} s of audio; got {len(reference) / rate:.2f} s")
    longest = round(recipe.max_seconds * rate)
    versions = [_Version(REFERENCE_NAME, REFERENCE, str(item.reference), reference)]
    for name, path in item.systems.items():
        audio = read_audio(path, rate)
        wav = audio.wav.numpy().astype(np.float64)
        if audio.conversion():
            notes.append(f"{name} was {audio.conversion()}")
        notes.extend(f"{name} {line}" for line in _differences(reference, wav, rate))
        versions.append(_Version(name, SYSTEM, str(path), fit_length(wav, len(reference))))
    start = reference[: longest + round(_MARGIN_SECONDS * rate)]
    for name in recipe.anchors:
        versions.append(_Version(name, ANCHOR, str(item.reference), make_anchor(name, start, rate)))
    return [_Version(v.name, v.kind, v.source, fade(v.wav[:longest], rate)) for v in versions]


def _differences(reference: np.ndarray, wav: np.ndarray, rate: int) -> list[str]:
    """What in length and time differs so much that someone should look."""
    lines = []
    longer = (len(wav) - len(reference)) / rate
    if abs(longer) > _LENGTH_SECONDS:
        word = "longer" if longer > 0 else "shorter"
        lines.append(f"is {abs(longer) * 1000:.0f} ms {word} than the reference; cut or padded at the end")
    late = describe_delay(reference, wav, rate)
    lines.extend([f"seems {late}; it was not shifted"] if late else [])
    return lines


def fade(wav: np.ndarray, rate: int) -> np.ndarray:
    """Let the first and last milliseconds rise and fall along a raised cosine."""
    samples = min(round(_FADE_SECONDS * rate), len(wav) // 2)
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(samples) + 0.5) / samples)
    faded = wav.astype(np.float64)
    faded[:samples] *= ramp
    faded[len(faded) - samples :] *= ramp[::-1]
    return faded


def loudness(wav: np.ndarray, rate: int) -> float:
    """Integrated loudness of ITU-R BS.1770 in LUFS; NaN for silence and below 400 ms."""
    import pyloudnorm

    if len(wav) < _GATE_SECONDS * rate:
        return math.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(pyloudnorm.Meter(rate, block_size=_GATE_SECONDS).integrated_loudness(wav))
    return value if math.isfinite(value) else math.nan


def _finish(item: Item, versions: list[_Version], recipe: Recipe, rate: int) -> tuple[Sound, ...]:
    """Equal loudness, no clipping, 16 bits."""
    measured = [loudness(version.wav, rate) for version in versions]
    needed = measured if recipe.loudness == PER_STIMULUS else measured[:1]
    for version, lufs in zip(versions, needed, strict=False):
        if math.isnan(lufs):
            raise UnusableItemError(f"{item.name}: expected speech in {version.source}; its first seconds are silent")
    gains = [TARGET_LUFS - lufs for lufs in needed] * (len(versions) // len(needed))
    peaks = [_dbfs(version.wav) + gain for version, gain in zip(versions, gains, strict=True)]
    softer = min(0.0, _HIGHEST_DBFS - _ROUNDING_DB - max(peaks))
    return tuple(
        Sound(v.name, v.kind, v.source, quantize(v.wav * 10 ** ((gain + softer) / 20)), rate, gain + softer, lufs)
        for v, gain, lufs in zip(versions, gains, measured, strict=True)
    )


def _dbfs(wav: np.ndarray) -> float:
    peak = float(np.abs(wav).max())
    return 20 * math.log10(peak) if peak > 0 else -math.inf


def quantize(wav: np.ndarray) -> np.ndarray:
    """Float samples to 16 bits, rounded."""
    assert float(np.abs(wav).max()) < 1, "stimuli stay below full scale"
    samples: np.ndarray = np.rint(wav * 32768).clip(-32768, 32767).astype(np.int16)
    return samples
