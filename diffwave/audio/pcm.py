"""Samples as 16-bit numbers: every file and stream of this project rounds in the same way."""

from __future__ import annotations

import numpy as np


def pcm16(samples: np.ndarray) -> np.ndarray:
    """Finite samples ``[N]`` in ``[-1, 1]`` as ``int16``; what is beyond is clipped.

    As libsndfile does: to the nearest of 32 bits, of which the upper half is kept.
    """
    wide = np.rint(np.clip(samples, -1, 1).astype(np.float64) * 2.0**31)
    numbers: np.ndarray = (np.minimum(wide, 2.0**31 - 1).astype(np.int64) >> 16).astype(np.int16)
    return numbers
