"""Files with the mean and variance that a framework standardises its mels with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diffwave.config import ConfigError

_ENDINGS = (".h5", ".npy", ".npz")


def read_statistics(path: str | Path) -> tuple[list[float], list[float]]:
    """Mean and scale of each band, for :meth:`MelConvention.with_statistics`.

    Args:
        path: ParallelWaveGAN's ``stats.h5`` (``mean``, ``scale``; needs h5py) or ``stats.npy`` (``[2, M]``), or
            ESPnet's ``feats_stats.npz`` (``count``, ``sum``, ``sum_square``).

    Raises:
        ConfigError: for another kind of file, or one that does not hold such numbers. Nothing is unpickled.
    """
    path = Path(path)
    if path.suffix not in _ENDINGS or not path.is_file():
        raise ConfigError(f"{path}: expected a file of statistics that ends in {', '.join(_ENDINGS)}")
    try:
        mean, scale = _read(path)
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise ConfigError(f"{path}: expected mean and scale of a mel's bands; {error}") from None
    if mean.shape != scale.shape or mean.ndim != 1 or not np.isfinite([mean, scale]).all() or (scale <= 0).any():
        raise ConfigError(
            f"{path}: expected a finite mean and a positive scale for each band; got shapes {list(mean.shape)} and "
            f"{list(scale.shape)}"
        )
    return mean.tolist(), scale.tolist()


def _read(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if path.suffix == ".h5":
        return _read_h5(path)
    loaded = np.load(path, allow_pickle=False)
    if path.suffix == ".npy":
        mean, scale = np.asarray(loaded, dtype=np.float64)
        return mean.reshape(-1), scale.reshape(-1)
    with loaded:
        mean = np.asarray(loaded["sum"], dtype=np.float64) / loaded["count"]
        variance = np.asarray(loaded["sum_square"], dtype=np.float64) / loaded["count"] - mean**2
    return mean, np.sqrt(np.maximum(variance, 1e-20))


def _read_h5(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    try:
        import h5py
    except ImportError:
        raise ImportError("to read stats.h5: pip install h5py") from None
    with h5py.File(path, "r") as file:
        return (
            np.asarray(file["mean"], dtype=np.float64).reshape(-1),
            np.asarray(file["scale"], dtype=np.float64).reshape(-1),
        )
