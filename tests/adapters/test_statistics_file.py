"""Mean and scale from the files that frameworks keep them in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diffwave.adapters import read_statistics
from diffwave.config import ConfigError


def test_statistics_are_read_from_files(tmp_path: Path) -> None:
    mean, scale = np.linspace(-1, -3, 80), np.linspace(0.5, 2, 80)
    np.save(tmp_path / "stats.npy", np.stack([mean, scale]).astype(np.float32))
    count = 1000
    np.savez(tmp_path / "stats.npz", count=count, sum=mean * count, sum_square=(scale**2 + mean**2) * count)
    for name in ("stats.npy", "stats.npz"):
        read = read_statistics(tmp_path / name)
        np.testing.assert_allclose(read, [mean, scale], rtol=1e-6)


def test_files_that_hold_no_statistics_are_refused(tmp_path: Path) -> None:
    (tmp_path / "torn.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "empty.npz").write_bytes(b"")
    np.save(tmp_path / "pickled.npy", np.array([{"mean": 1}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "negative.npy", np.stack([np.zeros(80), -np.ones(80)]))
    np.save(tmp_path / "three.npy", np.zeros((3, 80)))
    np.savez(tmp_path / "other.npz", mean=np.zeros(80))
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(ConfigError, match=f"{path.name}: expected"):
            read_statistics(path)
    for name in ("missing.npy", "stats.txt"):
        with pytest.raises(ConfigError, match=r"ends in \.h5, \.npy, \.npz"):
            read_statistics(tmp_path / name)
