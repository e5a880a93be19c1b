"""Two mel conventions side by side: what is the same, what can be converted, and what cannot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diffwave.adapters.convention import MelConvention
from diffwave.config import MelConfig

REFUSED = "cannot be converted"


class ConventionError(ValueError):
    """Mels that the model cannot be given.

    The first line of the message names every difference and stands for itself; the table below it has all settings of
    both sides.
    """


@dataclass(frozen=True)
class MelDifference:
    """A setting of both sides.

    Args:
        setting: its name.
        theirs, ours: with their units.
        verdict: what becomes of it; empty where both are the same.
    """

    setting: str
    theirs: str
    ours: str
    verdict: str = ""


def compare(theirs: MelConvention, ours: MelConfig) -> list[MelDifference]:
    """Every setting of a convention beside that of a model."""
    return [*_spectra(theirs, ours), *_values(theirs, ours)]


def refuse_if_impossible(theirs: MelConvention, ours: MelConfig) -> list[str]:
    """What has to be converted, in words.

    Raises:
        ConventionError: if something cannot be.
    """
    rows = compare(theirs, ours)
    fatal = [row for row in rows if row.verdict == REFUSED]
    if fatal:
        named = ", ".join(f"{row.setting} {row.theirs} (the model's: {row.ours})" for row in fatal)
        raise ConventionError(
            f"{theirs.name} mels cannot be converted to this model's: {named}; use a checkpoint whose own mels are "
            f"like these\n{as_table(rows, theirs.name)}"
        )
    return [f"{row.setting}: {row.verdict}" for row in rows if row.verdict]


def as_table(rows: list[MelDifference], name: str) -> str:
    """Aligned columns, for a terminal."""
    head = MelDifference("setting", f"{name} mel", "this model's mel")
    lines = [(row.setting, row.theirs, row.ours, row.verdict) for row in [head, *rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    return "\n".join(
        "  " + "  ".join([*(cell.ljust(width) for cell, width in zip(line[:3], widths, strict=True)), line[3]]).rstrip()
        for line in lines
    )


def _spectra(theirs: MelConvention, ours: MelConfig) -> Iterator[MelDifference]:
    """What a mel is made of: none of it can be undone once the bands are summed."""
    their = theirs.mel
    pairs = [
        ("sample rate", f"{their.sample_rate} Hz", f"{ours.sample_rate} Hz"),
        ("FFT length", str(their.n_fft), str(ours.n_fft)),
        ("window length", str(their.win_length), str(ours.win_length)),
        ("hop length", str(their.hop_length), str(ours.hop_length)),
        ("spectrum", theirs.spectrum, "magnitude"),
        ("bands", str(their.n_mels), str(ours.n_mels)),
        ("lowest frequency", f"{their.f_min:g} Hz", f"{ours.f_min:g} Hz"),
        ("highest frequency", f"{their.f_max:g} Hz", f"{ours.f_max:g} Hz"),
        ("mel scale", their.mel_scale, ours.mel_scale),
    ]
    for setting, theirs_is, ours_is in pairs:
        yield MelDifference(setting, theirs_is, ours_is, REFUSED if theirs_is != ours_is else "")


def _values(theirs: MelConvention, ours: MelConfig) -> Iterator[MelDifference]:
    """How a mel is framed and written down."""
    their = theirs.mel
    norms = (f"{their.mel_norm}{_window_norm(their)}", f"{ours.mel_norm}{_window_norm(ours)}")
    yield MelDifference("height of bands", *norms, "levelled" if norms[0] != norms[1] else "")
    shift = "half a hop cut off the waveform" if their.framing != ours.framing else ""
    yield MelDifference("framing", their.framing, ours.framing, shift)
    yield MelDifference("values", theirs.kind, ours.log, "converted" if theirs.kind != ours.log else "")
    floor = ""
    if their.floor < ours.floor:
        floor = "raised"
    elif their.floor > ours.floor:
        floor = "left as it is: what lies below is lost"
    yield MelDifference("floor", f"{their.floor:g}", f"{ours.floor:g}", floor)
    statistics = "standardised" if theirs.standardised else "none"
    yield MelDifference("mean and scale", statistics, "none", "undone" if theirs.standardised else "")
    axes = "[F, M]" if theirs.axes == "frames-first" else "[M, F]"
    yield MelDifference("axes", axes, "[M, F]", "turned" if axes != "[M, F]" else "")


def _window_norm(config: MelConfig) -> str:
    return ", window's energy divided out" if config.stft_normalized else ""
