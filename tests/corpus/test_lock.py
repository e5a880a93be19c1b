from __future__ import annotations

from pathlib import Path

import pytest

from diffwave.config import ConfigError
from diffwave.corpus.lock import alone_in


def test_nobody_else_gets_in_until_it_is_left(tmp_path: Path) -> None:
    for _ in range(2):
        with alone_in(tmp_path), pytest.raises(ConfigError, match="expected to be alone"), alone_in(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_was_left_behind_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    with alone_in(tmp_path):
        pass
