"""Commands of the program that benchmarks run: here in this process, which has imported everything already."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.quality import outputs
from diffwave.cli.main import main


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*arguments: str | Path) -> int:
        return main([str(each) for each in arguments])

    monkeypatch.setattr(outputs, "run_diffwave", run)
