"""What the numbers of a mel tell: which logarithm they can be, and whether they can be speech.

Thresholds were taken from 59 recordings of LibriSpeech, LJSpeech, VCTK and Multilingual LibriSpeech, in nepers
(natural logarithms of magnitudes): mean -7.7 to -3.7, standard deviation 1.5 to 2.8, largest value -0.7 to 2.1,
standard deviation between the middle bands of loud frames 0.7 to 1.5. A log10 mel read as ln shows 2.3 times less of
each, an ln mel read as log10 2.3 times more, and speech leaves no doubt between them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

# How numbers ``[B, M, F]`` would be heard in a logarithm, in nepers.
Reading = Callable[[Tensor, str], Tensor]

# How far below its floor a mel may be, in nepers: an acoustic model is a regression, and where its training data lay on
# the floor it goes below it now and then.
OVERSHOOT = 1.0
_FLOOR = math.log(1e-5)  # nepers below this are silence in any convention
FEWEST_FRAMES = 16  # statistics of fewer tell nothing


def doubt(nepers: Tensor, as_ln: Tensor | None = None) -> str:
    """Why a mel does not look like one of audio, in the convention it is read in; empty if it does.

    Silence and steady noise, soft or loud, are fine, and so is whatever has less than 16 frames.

    Args:
        nepers: natural logarithms of magnitudes, shape ``[B, M, F]``.
        as_ln: the same where numbers that are stated to be log10 are read as ln.
    """
    if nepers.shape[2] < FEWEST_FRAMES:
        return ""
    audible = nepers.clamp_min(_FLOOR)
    mean, std = float(audible.mean()), float(audible.std())
    # A mean magnitude per band above exp(0) = 1 is beyond full scale for most bands; white noise of .3 has -1.3.
    if mean > -1.0:
        looks = "a linear, normalised or differently scaled mel"
        return f"a mean of {mean:.2f} nepers, where speech has about -5 ({looks}?)"
    soft = _soft(nepers)
    # Steady noise never falls low either, but varies less than speech does even in log10 (.57 and more).
    if soft > -5.3 and std > 0.5:
        looks = "like log10 read as ln" if std < 1.35 else "like a normalised mel"
        return (
            f"hardly any value below {soft:.2f} nepers with a standard deviation of {std:.2f}, which looks {looks}, or "
            "another logarithm that moves less than the stated one"
        )
    if as_ln is not None and (spread := _loud_spread(nepers)) > 1.55 and _speechlike(as_ln):
        varies = f"loud frames that vary by {spread:.2f} nepers from band to band, where speech has about 1.1"
        return f"{varies}, which looks like ln read as log10"
    return ""


def readings(values: Tensor, nepers: Reading) -> list[str]:
    """Logarithms, ``linear`` among them, by which these values would look like speech.

    Args:
        values: shape ``[B, M, F]``, finite.
        nepers: how they are read in each.
    """
    kinds = ["ln", "log10", "db", "db01", "log2"]
    if float(values.min()) >= 0:
        kinds = ["linear", "db01"]
    return [kind for kind in kinds if _speechlike(nepers(values, kind))]


def hint(values: Tensor, nepers: Reading) -> str:
    """What numbers that were refused may be, for the end of a message; empty if nobody knows.

    Args:
        values: shape ``[B, M, F]``, finite.
        nepers: how they are read in each logarithm.
    """
    fitting = readings(values, nepers)
    if fitting:
        return f"; they would be speech as {' or '.join(fitting)}"
    mean, std = float(values.mean()), float(values.std()) if values.numel() > 1 else 0.0
    if abs(mean) < 0.5 and 0.5 < std < 1.5:
        return "; they look standardised: state their mean and scale"
    if -4.01 < float(values.min()) <= -3.9 and float(values.max()) <= 4.01:
        return "; they look normalised to [-4, 4]: state their mean and scale (diffwave.adapters.coqui reads them)"
    return ""


def _speechlike(nepers: Tensor) -> bool:
    audible = nepers.clamp_min(_FLOOR)
    mean, std, top = float(audible.mean()), float(audible.std()), float(nepers.max())
    return -9.5 < mean < -3.2 and 1.4 < std < 3.2 and -3 < top < 3


def _soft(nepers: Tensor) -> float:
    """What nearly all values lie above, without those on the floor that another convention has for silence."""
    flat = nepers.flatten()
    lowest = float(flat.min())
    above = flat[flat > lowest + 1e-3]
    foreign = lowest > _FLOOR + 0.01 and len(above) > len(flat) // 4
    chosen = above if foreign else flat
    # Not torch.quantile, which takes no more than 2 ** 24 values.
    return float(chosen.kthvalue(max(1, len(chosen) // 100)).values)


def _loud_spread(nepers: Tensor) -> float:
    """Standard deviation within a frame, over the bands that even a telephone has; mean of the louder quarter."""
    bands = nepers.shape[1]
    level = nepers.mean(dim=1)  # [B, F]
    threshold = level.flatten().kthvalue(max(1, level.numel() * 3 // 4)).values
    middle = nepers[:, bands // 10 : bands // 10 + max(bands // 2, 2)].transpose(1, 2)  # [B, F, M / 2]
    return float(middle[level >= threshold].std(dim=1).mean())
