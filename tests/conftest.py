"""Fixtures that several test files share."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from _pytest.doctest import DoctestModule

from diffwave.checkpoint.folder import Checkpoint, save_checkpoint
from diffwave.network.diffwave import DiffWave
from tiny import TINY, random_weights

torch.set_num_threads(1)
# A shell starts what runs in the background with Ctrl-C ignored, and so would be every process that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Iterator[None]:
    """No doctests in test files: one that cannot be imported would be skipped as one of those, and not fail."""
    found = yield
    return [collector for collector in found if not isinstance(collector, DoctestModule)]


def forget_lazy_modules() -> None:
    """Take what SpeechBrain has put off from among the modules, if it has been imported.

    Such a module is imported when anybody looks at it, and hypothesis looks at all; what it needs may not be there.
    """
    if "speechbrain" in sys.modules:
        for name, module in list(sys.modules.items()):
            if type(module).__module__ == "speechbrain.utils.importutils":
                del sys.modules[name]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems() -> None:
    """Before hypothesis looks."""
    forget_lazy_modules()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """The same before each test."""
    forget_lazy_modules()


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny checkpoint with random weights."""
    folder = tmp_path_factory.mktemp("tiny")
    network = DiffWave(TINY)
    random_weights(network)
    save_checkpoint(folder, Checkpoint(TINY, network.state_dict()))
    return folder
