"""Parts of utterances, read by seeking."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from diffwave.corpus.manifest import Utterance
from diffwave.errors import UserError


class DataError(UserError, RuntimeError):
    """Audio that is no longer what the list of utterances says; the message names the file."""


def read_segment(utterance: Utterance, start: int, length: int) -> Tensor:
    """Read ``length`` samples from ``start`` by seeking; outside the file the signal is zero.

    Raises:
        DataError: if the file is gone, damaged, or shorter than it was when it was listed.
    """
    import soundfile

    first, last = max(start, 0), min(start + length, utterance.samples)
    try:
        samples, rate = soundfile.read(utterance.path, start=first, stop=last, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError, OSError, ValueError) as error:
        raise DataError(f"{utterance.path}: expected audio; {str(error).splitlines()[0]}") from None
    if len(samples) != last - first or rate != utterance.sample_rate:
        raise DataError(
            f"{utterance.path}: expected {last - first} samples at {utterance.sample_rate} Hz from {first}; got "
            f"{len(samples)} at {rate} Hz"
        )
    segment = np.zeros(length, dtype=np.float32)
    segment[first - start : last - start] = samples.mean(axis=1)
    return torch.from_numpy(segment)
