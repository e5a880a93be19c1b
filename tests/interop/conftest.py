"""Checkpoints of other projects, as small as they can be."""

from __future__ import annotations

from pathlib import Path

import pytest

import peer


@pytest.fixture(scope="session")
def lmnt_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """lmnt-com's package in a folder of its own."""
    try:
        return peer.install_peer(tmp_path_factory.mktemp("lmnt") / "package")
    except peer.PeerUnavailableError as error:
        pytest.skip(f"needs a package index: {error}")
