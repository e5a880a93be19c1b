"""A pool of processes: every job is accounted for, whatever it does, and nothing outlives the pool."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

import pool_jobs
from bulk_corpus import are_gone, children
from diffwave.processes.messages import Done, Event, Lost, Refusal, Said
from diffwave.processes.pool import StartError, SupervisedPool

MakePool = Callable[..., SupervisedPool[str]]


@pytest.fixture
def make_pool() -> Iterator[MakePool]:
    """Pools that do what a job is called; they are closed, and must leave no process behind."""
    pools: list[SupervisedPool[str]] = []

    def make(begin: Callable[[], object] = lambda: pool_jobs.begin, **options: object) -> SupervisedPool[str]:
        pools.append(SupervisedPool(begin, **options))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()
    assert workers() == []


def workers(parent: int | None = None) -> list[int]:
    return children(parent or os.getpid(), "worker_process")


def ends(found: list[tuple[str, Event]]) -> dict[str, Event]:
    """How each job ended."""
    return {job: event for job, event in found if not isinstance(event, Said)}


def test_what_a_job_tells_comes_before_its_result(make_pool: MakePool) -> None:
    found = list(make_pool().run(["one then two"], 1))
    assert [event.value for _, event in found[:2]] == ["one", "two"]
    assert [type(event) for _, event in found] == [Said, Said, Done]


def test_no_jobs_start_nothing(make_pool: MakePool) -> None:
    pool = make_pool()
    assert list(pool.run([], 4)) == []
    assert workers() == []


def test_more_jobs_than_workers(make_pool: MakePool) -> None:
    found = ends(list(make_pool().run([str(number) for number in range(20)], 3)))
    assert len(found) == 20
    assert len({event.value for event in found.values()}) <= 3


def test_more_workers_than_jobs_are_not_started(make_pool: MakePool) -> None:
    list(make_pool().run(["a", "b"], 5))
    assert len(workers()) == 2


@pytest.mark.timeout(60)
def test_workers_work_side_by_side(make_pool: MakePool, tmp_path: Path) -> None:
    # Each waits for the two others: one after the other, they would wait forever.
    found = list(make_pool().run([f"meet {tmp_path}"] * 3, 3))
    assert [type(event) for _, event in found].count(Done) == 3


@pytest.mark.parametrize(
    ("deed", "code", "reason"),
    [
        ("crash", -signal.SIGSEGV, "was ended by SIGSEGV"),
        ("raise", 1, "ended with exit code 1"),
        ("leave", 4, "ended with exit code 4"),
    ],
)
@pytest.mark.parametrize("count", [1, 2])
def test_a_job_that_ends_its_process_costs_no_other(
    make_pool: MakePool, deed: str, code: int, reason: str, count: int
) -> None:
    jobs = ["a", "b", f"said then {deed}", "c", deed, "d"]
    found = list(make_pool(is_quiet=True).run(jobs, count))
    assert (jobs[2], Said("said")) in found
    lost = {job: event for job, event in ends(found).items() if isinstance(event, Lost)}
    assert lost == dict.fromkeys([jobs[2], deed], Lost(code, reason))
    assert sorted(ends(found)) == sorted(jobs)


def test_a_job_that_hangs_is_given_up(make_pool: MakePool) -> None:
    began = time.monotonic()
    found = ends(list(make_pool(timeout=2).run(["hang", "a", "pause then pause then pause then pause then pause"], 2)))
    assert found["hang"] == Lost(-signal.SIGKILL, "gave no answer for 2 s")
    assert [type(event) for event in found.values()].count(Done) == 2  # a word now and then is enough
    assert time.monotonic() - began < 60


def test_a_slow_taker_is_no_silence(make_pool: MakePool) -> None:
    """Whoever takes the results may be slow: a batch on a GPU, a full disk, Ctrl-Z."""
    found = []
    for job, event in make_pool(timeout=1.5).run(["pause", "pause", "pause"], 2):
        found.append((job, event))
        time.sleep(1)
    assert not any(isinstance(event, Lost) for _, event in found)


def test_what_is_left_of_a_lost_job_is_done_next(make_pool: MakePool) -> None:
    pool = make_pool()
    order = []
    for job, event in pool.run(["a", "crash", "b", "c"], 1):
        if isinstance(event, Lost):
            pool.again("left")
        elif isinstance(event, Done):
            order.append(job)
    assert order == ["a", "left", "b", "c"]


def test_a_pool_lives_on_from_run_to_run(make_pool: MakePool) -> None:
    pool = make_pool()
    assert len({event.value for _ in range(3) for event in ends(list(pool.run(["a"], 1))).values()}) == 1


def test_jobs_are_taken_as_workers_fall_idle(make_pool: MakePool) -> None:
    taken = []
    jobs = (taken.append(number) or str(number) for number in range(9))
    run = make_pool().run(jobs, 1)
    next(event for _, event in run if isinstance(event, Done))
    assert len(taken) <= 2


def test_what_a_worker_begins_with_may_be_more_than_a_connection_holds(make_pool: MakePool) -> None:
    pool = make_pool(lambda: partial(pool_jobs.begin, bytes(20_000_000)))
    assert len(ends(list(pool.run(["a", "b"], 2)))) == 2


def test_a_worker_that_refuses_says_why(make_pool: MakePool) -> None:
    with pytest.raises(Refusal, match="expected another machine"):
        list(make_pool(lambda: pool_jobs.refuse).run(["a"], 2))


def test_workers_that_end_before_they_begin_are_given_up(make_pool: MakePool) -> None:
    with pytest.raises(StartError, match="ended with exit code 3") as caught:
        list(make_pool(lambda: pool_jobs.end_at_once).run(["a"], 1))
    assert caught.value.lost.code == 3


def test_a_worker_that_died_while_idle_is_replaced(make_pool: MakePool) -> None:
    pool = make_pool()
    for job, event in pool.run(["a"], 1):
        assert isinstance(event, Said | Done), job
    [idle] = workers()
    os.kill(idle, signal.SIGKILL)
    assert are_gone([idle])
    assert isinstance(ends(list(pool.run(["b"], 1)))["b"], Done)


def test_workers_end_with_the_pool_in_the_middle_of_their_jobs(make_pool: MakePool) -> None:
    pool = make_pool()
    run = pool.run(["hang", "pause", "a"], 3)
    next(run)
    assert len(workers()) == 3
    began = time.monotonic()
    pool.close()
    assert time.monotonic() - began < 4
    assert workers() == []


@pytest.mark.parametrize("is_quiet", [False, True])
def test_what_jobs_print(make_pool: MakePool, capfd: pytest.CaptureFixture[str], is_quiet: bool) -> None:
    list(make_pool(is_quiet=is_quiet).run(["speak"], 1))
    assert capfd.readouterr().out == ("" if is_quiet else "spoken\n")


def start() -> subprocess.Popen[str]:
    """A program with a pool of two workers."""
    return subprocess.Popen(
        [sys.executable, "-c", "import pool_jobs; pool_jobs.supervise(2)"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_until_at_work(program: subprocess.Popen[str]) -> list[int]:
    """Its workers, both in the middle of a job."""
    assert program.stdout is not None
    assert [program.stdout.readline() for _ in range(2)] == ["Said(value='pause')\n"] * 2
    found = workers(program.pid)
    assert len(found) == 2
    return found


def wait_until_one_starts(program: subprocess.Popen[str]) -> list[int]:
    """Its workers, which have not begun."""
    while not (found := workers(program.pid)):
        time.sleep(0.001)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a worker ends after its job")
def test_workers_end_with_a_parent_that_is_killed() -> None:
    program = start()
    found = wait_until_at_work(program)
    program.kill()
    program.communicate()
    assert are_gone(found)


@pytest.mark.parametrize("moment", [wait_until_one_starts, wait_until_at_work])
def test_ctrl_c_is_for_the_parent_alone(moment: Callable[[subprocess.Popen[str]], list[int]]) -> None:
    program = start()
    found = moment(program)
    os.killpg(program.pid, signal.SIGINT)  # as a terminal does
    _, errors = program.communicate(timeout=30)
    assert errors.count("Traceback") == 1
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    assert are_gone(found)
