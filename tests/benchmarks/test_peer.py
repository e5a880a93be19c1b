"""BASE against another project's DiffWave: same weights, mel, schedule and noise, same output."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest

import peer
import peer_page

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def results() -> dict[str, Any]:
    """Figures of the last run of the benchmark."""
    document: dict[str, Any] = json.loads((ROOT / "docs/benchmarks/peer.json").read_text(encoding="utf-8"))
    return document


@pytest.mark.peer
def test_base_equals_the_other_package(tmp_path: Path) -> None:
    try:
        package = peer.install_peer(tmp_path / "package")
    except peer.PeerUnavailableError as error:
        pytest.skip(f"needs a package index: {error}")
    peer.prepare(tmp_path, seconds=0.5)
    with peer.runners(package, tmp_path, threads=1) as (theirs, ours):
        equality = peer.compare(theirs, ours, tmp_path)

    assert peer.agrees(equality), equality
    assert equality["parameters"] == {"peer": 2_619_971, "ours": 2_619_971}
    assert equality["aligned_steps_difference"] < 1e-5
    # Neither silence nor a wave that clipping made equal.
    assert all(row["rms"] > 0.1 for row in equality["forward"])
    assert equality["output_rms"] > 0.01
    assert max(equality["clipped_share_after_step"]) < 0.5


def test_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(peer.PeerUnavailableError, match=r"diffwave/inference\.py"):
        peer.check_version(tmp_path)
    (tmp_path / "diffwave").mkdir()
    (tmp_path / "diffwave" / "inference.py").touch()
    peer.check_version(tmp_path)
    (tmp_path / "diffwave-0.1.6.dist-info").mkdir()
    (tmp_path / "diffwave-0.1.6.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: diffwave\nVersion: 0.1.6\n", encoding="utf-8"
    )
    with pytest.raises(peer.PeerUnavailableError, match=r"0\.1\.7; got 0\.1\.6"):
        peer.check_version(tmp_path)


@pytest.mark.parametrize("wrong", [2e-4, math.nan])
def test_a_difference_anywhere_is_noticed(results: dict[str, Any], wrong: float) -> None:
    assert peer.agrees(results["equality"])
    for place in ("forward", "plain", "cached", "parameters"):
        spoilt = copy.deepcopy(results["equality"])
        if place == "forward":
            spoilt["forward"][1]["max_difference"] = wrong
        elif place == "parameters":
            spoilt["parameters"]["ours"] += 1
        else:
            spoilt["sampling"][place]["max_difference_after_step"][2] = wrong
        assert not peer.agrees(spoilt), place


def test_ratios_are_of_neighbours_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        """Pretends to take each of the given times in turn."""

        def __init__(self, role: str, seconds: list[float]) -> None:
            self.role, self.seconds = role, iter(seconds)

        def ask(self, action: str, mode: str) -> dict[str, float]:
            assert action == "time"
            return {"seconds": next(self.seconds)}

    monkeypatch.setattr(peer, "_PAUSE", 0)
    # The first of each is the warm-up; our two modes take turns.
    theirs, ours = Clock("peer", [99, 2, 4, 6]), Clock("ours", [99, 99, 1, 4, 1, 4, 2, 4])
    timing = peer.measure(theirs, ours, repeats=3)
    assert timing["speed_ratio"]["cached"]["values"] == [2, 4, 3]
    assert timing["speed_ratio"]["cached"]["median"] == 3
    assert timing["speed_ratio"]["plain"]["values"] == [0.5, 1, 1.5]


def test_the_page_is_made_of_the_json(results: dict[str, Any]) -> None:
    assert (ROOT / "docs/benchmarks/peer.md").read_text(encoding="utf-8") == peer.page(results)


def test_rows_that_measure_a_busy_machine_are_marked() -> None:
    def timing(**medians: float) -> dict[str, Any]:
        return {threads[1:]: {"seconds": {"peer": {"median": median}}} for threads, median in medians.items()}

    assert peer_page._caveat(timing(t1=4.0, t2=2.5)) == []
    assert peer_page._caveat(timing(t2=9.0)) == []
    assert "With 2 threads" in peer_page._caveat(timing(t1=4.0, t2=9.0))[1]
