"""Checkpoints of other projects, as small as they can be."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.peers.packages import PeerUnavailableError, install


@pytest.fixture(scope="session")
def lmnt_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """lmnt-com's package in a folder of its own."""
    try:
        return install("lmnt", tmp_path_factory.mktemp("packages"))
    except PeerUnavailableError as error:
        pytest.skip(f"needs a package index: {error}")
