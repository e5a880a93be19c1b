"""Fixtures that several test files share."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from _pytest.doctest import DoctestModule

from diffwave.checkpoint import Checkpoint, save_checkpoint
from diffwave.network import DiffWave
from tiny import TINY, random_weights


torch.set_num_threads(1)
# A shell starts what runs in the background with Ctrl-C ignored, and so would be every process that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Iterator[None]:
    """No doctests in test files: one that cannot be imported would be skipped as one of those, and not fail."""
    found = yield
    return [collector for collector in found if not isinstance(collector, DoctestModule)]


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny checkpoint with random weights."""
    folder = tmp_path_factory.mktemp("tiny")
    network = DiffWave(TINY)
    random_weights(network)
    save_checkpoint(folder, Checkpoint(TINY, network.state_dict()))
    return folder
