"""Start-up times: whole processes, and the promise that the first audio comes soon after PyTorch."""

from __future__ import annotations

from pathlib import Path

import startup


def test_first_audio_comes_within_twice_the_import_of_pytorch(tiny_checkpoint: Path) -> None:
    measured = startup.measure(2, threads=1, arguments=["--checkpoint", str(tiny_checkpoint)])
    for name in ("import_torch", "first_audio"):
        figures = measured[name]
        assert 0 < figures["low"] <= figures["median"] <= figures["high"]
    first, alone = measured["first_audio"], measured["import_torch"]
    assert measured["ratio"] == first["median"] / alone["median"]
    # About 1.1 on an idle machine. Others' work can hit either of the two, so only the least and the most count here.
    assert first["low"] / alone["high"] < measured["limit"]
    assert len(startup.as_table(measured).splitlines()) == 5


def test_quartiles() -> None:
    assert startup._spread([4.0, 1.0, 2.0, 3.0, 5.0]) == {"low": 2.0, "median": 3.0, "high": 4.0}
    assert startup._spread([2.0]) == {"low": 2.0, "median": 2.0, "high": 2.0}
