"""Every metric by name: what it is called, which way is better, and how it is computed.

Metrics of other packages plug in by entry point, group ``diffwave.metrics``: a function of two arrays ``[N]`` and their
rate in Hz, ``(reference, estimate, sample_rate) -> float``, that raises ``ValueError`` where there is no score.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points

import numpy as np

from diffwave.evaluation import energy, perceptual, pitch, spectral
from diffwave.evaluation.perceptual import MetricError
from diffwave.evaluation.synchrony import synchrony_difference

SAMPLE_RATE = 16000
GROUP = "diffwave.metrics"
PLUGIN, SIGNAL, SPECTRAL, RECORD = "plugin", "signal", "spectral", "record"


@dataclass(frozen=True, eq=False)
class Signals:
    """A reference and an estimate of one length at 16 kHz, and what several metrics share.

    Args:
        reference, estimate: float32, shape ``[N]``.
        filterbank: mel filters of ``spectral.MEL``, shape ``[M, K]``.
    """

    reference: np.ndarray
    estimate: np.ndarray
    filterbank: np.ndarray

    @cached_property
    def spectral(self) -> dict[str, float]:
        """All spectral scores."""
        perceptual.check(self.reference, self.estimate)
        try:
            scores = spectral.spectral_scores([self.reference], [self.estimate], self.filterbank)
        except ValueError as error:
            raise MetricError(str(error)) from None
        return {name: float(values[0]) for name, values in scores.items()}

    @cached_property
    def energies(self) -> energy.FrameEnergies:
        """Energies of the frames of reference and estimate."""
        return energy.frame_energies(self.reference, self.estimate, self.filterbank)

    @cached_property
    def pitches(self) -> tuple[pitch.Pitch, pitch.Pitch]:
        """Pitch tracks of reference and estimate."""
        return pitch.track(self.reference, SAMPLE_RATE), pitch.track(self.estimate, SAMPLE_RATE)


@dataclass(frozen=True)
class Metric:
    """A column of the results.

    Args:
        name: in files and on the command line.
        label: in tables and reports, with the unit.
        better: ``higher``, ``lower``, ``zero`` (nearer to it), or ``""`` where neither is.
        decimals: shown in tables.
        kind: ``spectral`` (in batches on a GPU), ``signal`` (in worker processes), ``record`` (found beside the
            outputs) or ``plugin``.
        compute: the score of a pair; None for what is found, not computed.
        definition: in a sentence, for those who compare with other figures.
    """

    name: str
    label: str
    better: str
    decimals: int
    kind: str
    compute: Callable[[Signals], float] | None
    definition: str


def level_difference(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Level of the estimate above the reference's, in dB, both without their constant offset.

    A recording's DC offset cannot be heard, and no mel carries it.

    Raises:
        MetricError: if one of them is digital silence.
    """
    perceptual.check(reference, estimate)
    levels = [float(np.var(signal, dtype=np.float64)) for signal in (estimate, reference)]
    if min(levels) == 0:
        raise MetricError("level difference: expected two signals; got digital silence")
    return 10 * math.log10(levels[0] / levels[1])


def _spectral(name: str, label: str, definition: str) -> Metric:
    return Metric(name, label, "lower", 3, SPECTRAL, lambda signals: signals.spectral[name], definition)


def _bias(band: str, kilohertz: str) -> Metric:
    definition = f"Mean ln-mel of the estimate above the reference's, bands in {kilohertz} kHz, frames with speech."
    label = f"energy bias {kilohertz} kHz (nat)"
    return Metric(
        f"bias_{band}", label, "zero", 3, SIGNAL, lambda signals: energy.band_bias(signals.energies, band), definition
    )


def _pitched(name: str, label: str, better: str, function: Callable[[pitch.Pitch, pitch.Pitch], float]) -> Metric:
    lines = (function.__doc__ or "").splitlines()
    definition = f"{lines[0]} librosa.pyin, 50-550 Hz, 64 ms frames every 10 ms."
    decimals = 1 if "cents" in label else 3
    return Metric(name, label, better, decimals, SIGNAL, lambda signals: function(*signals.pitches), definition)


# In the order in which they are computed: PESQ, which can take its process down, comes last.
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "level",
            "level (dB)",
            "zero",
            2,
            SIGNAL,
            lambda signals: level_difference(signals.reference, signals.estimate),
            "Level of the estimate above the reference's, without constant offsets.",
        ),
        Metric(
            "synchrony",
            "band synchrony",
            "zero",
            3,
            SIGNAL,
            lambda signals: synchrony_difference(signals.reference, signals.estimate, SAMPLE_RATE),
            "Correlation of fine (1-30 ms) envelopes of neighbouring bands, 1-6.5 kHz, above the reference's.",
        ),
        _bias("low", "0-1"),
        _bias("mid", "1-4"),
        _bias("high", "4-8"),
        Metric(
            "silence",
            "level in silence (dB)",
            "zero",
            1,
            SIGNAL,
            lambda signals: energy.silence_difference(signals.energies),
            "Level of the estimate above the reference's in its quietest frames (up to 6 dB above their 10th "
            "percentile), without DC; levels below -100 dB re full scale count as that.",
        ),
        _spectral("lsd", "LSD (dB)", "Log-spectral distance: RMS over bins, mean over 1024-point frames every 256."),
        _spectral(
            "log_mel", "log-mel distance (nat)", "Mean absolute difference of ln-mels (80 slaney bands, 0-8 kHz)."
        ),
        _spectral("mr_stft", "MR-STFT", "Spectral convergence + log-magnitude L1, three resolutions (auraloss)."),
        _spectral(
            "mr_stft_aligned", "MR-STFT (level-aligned)", "As mr_stft, with the estimate at the reference's level."
        ),
        _spectral(
            "mcd_mel13", "MCD (mel 1-13, dB)", "10/ln 10 * sqrt(2 * sum of squares), DCT of ln-mels, no warping."
        ),
        _pitched("f0_rmse", "F0 RMSE (cents)", "lower", pitch.f0_rmse),
        _pitched("voicing_f1", "V/UV F1", "higher", pitch.voicing_f1),
        _pitched("periodicity_pyin", "periodicity RMSE (pyin)", "lower", pitch.periodicity_rmse),
        Metric(
            "stoi",
            "STOI",
            "higher",
            3,
            SIGNAL,
            lambda signals: perceptual.stoi(signals.reference, signals.estimate),
            "Short-time objective intelligibility (Taal et al. 2011), pystoi.",
        ),
        Metric(
            "estoi",
            "ESTOI",
            "higher",
            3,
            SIGNAL,
            lambda signals: perceptual.stoi(signals.reference, signals.estimate, extended=True),
            "Extended STOI (Jensen & Taal 2016), pystoi.",
        ),
        Metric(
            "pesq_wb",
            "PESQ-WB",
            "higher",
            2,
            SIGNAL,
            lambda signals: perceptual.pesq_wb(signals.reference, signals.estimate),
            "ITU-T P.862.2 by the pesq package, whole utterances.",
        ),
        Metric("real_time_factor", "real-time factor", "lower", 3, RECORD, None, "As recorded beside the outputs."),
        Metric("steps", "steps", "", 0, RECORD, None, "Network calls, as recorded beside the outputs."),
    )
}
DEFAULT = (
    "pesq_wb",
    "stoi",
    "estoi",
    "lsd",
    "log_mel",
    "mr_stft",
    "mr_stft_aligned",
    "synchrony",
    "level",
    "real_time_factor",
    "steps",
)
FULL = (
    *DEFAULT[:-2],
    "bias_low",
    "bias_mid",
    "bias_high",
    "silence",
    "mcd_mel13",
    "f0_rmse",
    "voicing_f1",
    "periodicity_pyin",
    *DEFAULT[-2:],
)


def choose(names: Iterable[str]) -> list[Metric]:
    """The metrics called so, in the order of the report; ``default`` and ``full`` stand for sets.

    Raises:
        MetricError: for an unknown name, with the nearest known one.
    """
    plugins = {point.name: point for point in entry_points(group=GROUP)}
    wanted: dict[str, Metric] = {}
    for name in names:
        for each in {"default": DEFAULT, "full": FULL}.get(name, (name,)):
            wanted[each] = METRICS[each] if each in METRICS else _plugin(each, plugins)
    if not wanted:
        raise MetricError("expected at least one metric; got none")
    return list(wanted.values())


def _plugin(name: str, plugins: dict[str, EntryPoint]) -> Metric:
    """A metric of another package."""
    if name not in plugins:
        known = ["default", "full", *METRICS, *plugins]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
        raise MetricError(f"unknown metric {name!r}; {hint}")
    try:
        function = plugins[name].load()
    except Exception as error:
        raise MetricError(f"metric {name}: {plugins[name].value} cannot be imported; {error}") from None
    better = getattr(function, "better", "higher")
    if better not in ("higher", "lower", "zero", ""):
        raise MetricError(f"metric {name}: expected better to be 'higher', 'lower', 'zero' or ''; got {better!r}")
    summary = (getattr(function, "__doc__", None) or plugins[name].value).strip().splitlines()[0]
    return Metric(
        name,
        getattr(function, "label", name),
        getattr(function, "better", "higher"),
        3,
        PLUGIN,
        lambda signals: float(function(signals.reference, signals.estimate, SAMPLE_RATE)),
        summary,
    )
