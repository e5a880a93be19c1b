"""Supervised processes: every row comes back, whatever its metrics do."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import pytest

from bulk_corpus import children
from diffwave.evaluation.outcome import Outcome
from diffwave.evaluation.pairs import Pair
from diffwave.evaluation.run import mel_filters
from diffwave.evaluation.scoring import Loading
from diffwave.evaluation.workers import ScoringPool, WorkerSettings, run_here, run_workers


def settings(*metrics: str, timeout: float = 60) -> WorkerSettings:
    return WorkerSettings(metrics, mel_filters(), Loading(), timeout)


@pytest.fixture
def jobs(clips, write, tmp_path) -> list[tuple[int, Pair]]:
    path = write(tmp_path / "a.wav", clips[0][:8000])
    return [(row, Pair("s", str(row), str(row), path, path)) for row in range(7)]


def test_every_row_comes_back_once(jobs):
    found = list(run_workers(jobs, settings("level"), 2))
    assert sorted(outcome.row for outcome in found) == list(range(7))
    assert all(outcome == Outcome(outcome.row, seconds=0.5, scores={"level": 0.0}) for outcome in found)


def test_jobs_are_taken_as_workers_fall_idle(jobs):
    taken = []

    def watch():
        for job in jobs:
            taken.append(job[0])
            yield job

    outcomes = run_workers(watch(), settings("level"), 1)
    next(outcomes)
    assert len(taken) <= 2
    outcomes.close()


def test_no_jobs_are_no_outcomes():
    assert list(run_workers([], settings("level"), 2)) == []


def test_a_crash_costs_one_cell_of_every_row(jobs, plugins):
    found = list(run_workers(jobs[:3], settings("level", "segfault", "refuse", "slow"), 2))
    assert sorted(outcome.row for outcome in found) == [0, 1, 2]
    for outcome in found:
        assert outcome.status == "crashed"
        assert set(outcome.scores) == {"level", "slow"}
        assert set(outcome.errors) == {"segfault", "refuse"}
        assert outcome.error == ""
    assert len(plugins.read_text().splitlines()) == 3  # nothing is computed twice


def test_a_hang_ends_after_the_time_out(jobs, plugins):
    began = time.monotonic()
    (outcome,) = run_workers(jobs[:1], settings("hang", "level", timeout=2), 1)
    assert outcome.scores == {"level": 0.0}
    assert "2 s" in outcome.errors["hang"]
    assert time.monotonic() - began < 60


def test_a_worker_whose_answer_waits_to_be_read_is_not_given_up(jobs, plugins):
    """Whoever takes the outcomes may be slow: a batch on a GPU, a full disk, Ctrl-Z."""
    found = []
    for outcome in run_workers(jobs[:3], settings("level", "slow", timeout=2), 2):
        found.append(outcome)
        time.sleep(2.5)
    assert [outcome.status for outcome in found] == ["ok"] * 3


def test_a_crash_while_reading_is_a_crashed_row(write, tmp_path, clips, monkeypatch, plugins):
    # A plug-in replaces the reader by one that ends the process.
    (Path(plugins).parent / "plugins" / "misbehaving_metrics.py").write_text(
        "import os, sys\n"
        "import diffwave.evaluation.scoring as scoring\n"
        "if sys.argv[0].endswith('worker_process.py'):\n"
        "    scoring.load_pair = lambda *a: os.abort()\n"
        "def slow(a, b, c): return 1.0\n"
    )
    path = write(tmp_path / "a.wav", clips[0])
    (outcome,) = run_workers([(0, Pair("s", "u", "u", path, path))], settings("slow"), 1)
    assert outcome.status == "crashed"
    assert "SIGABRT" in outcome.error
    assert outcome.scores == {}


def test_workers_end_with_the_outcomes(jobs, plugins):
    outcomes = run_workers(jobs, settings("level", "slow"), 2)
    next(outcomes)
    processes = children(os.getpid(), "worker_process")
    outcomes.close()
    assert len(processes) == 2
    assert children(os.getpid(), "worker_process") == []


def test_a_worker_lives_on_from_row_to_row_and_knows_no_torch(jobs, plugins):
    with contextlib.closing(ScoringPool(settings("level", "stoi", "lsd"))) as pool:
        for number in range(3):
            [outcome] = pool.outcomes(jobs[number : number + 1], 1)
            assert (outcome.row, outcome.status) == (number, "ok")
            [process] = children(os.getpid(), "worker_process")
            libraries = Path(f"/proc/{process}/maps").read_text()
            assert "libtorch" not in libraries
            assert "matplotlib" not in libraries


def test_this_process_gives_the_same(jobs):
    here = {outcome.row: outcome for outcome in run_here(jobs, settings("level", "stoi", "lsd"))}
    there = {outcome.row: outcome for outcome in run_workers(jobs, settings("level", "stoi", "lsd"), 1)}
    assert here == there
