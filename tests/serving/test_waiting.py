"""Which jobs wait, and which go together."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from diffwave.config import SynthesisOptions
from diffwave.serving.limits import Limits, RefusedError
from diffwave.serving.waiting import RequestQueue, WaitingRequest, together


def job(seconds: float, seed: int = 0) -> WaitingRequest:
    return WaitingRequest(torch.zeros(80, 1), seconds, SynthesisOptions(seed=seed))


def test_equal_settings_go_together_and_the_first_always_goes() -> None:
    jobs = [job(1), job(1, seed=1), job(1), job(1, seed=1)]
    assert together(jobs, 10) == [jobs[0], jobs[2]]
    assert together(jobs[1:], 10) == [jobs[1], jobs[3]]
    assert together([], 10) == []


def test_a_batch_is_bounded_with_its_padding() -> None:
    jobs = [job(1), job(1), job(2), job(1)]
    assert together(jobs, 4) == [jobs[0], jobs[1], jobs[3]]  # 3 x 2 s would be 6
    assert together(jobs, 0) == [jobs[0]]


def test_very_different_lengths_do_not_go_together() -> None:
    jobs = [job(4), job(1), job(2), job(5), job(9)]
    assert together(jobs, 100) == [jobs[0], jobs[2]]  # 5 s would be more than twice 2 s
    assert together(jobs[::-1], 100) == [jobs[4], jobs[3]]


def test_a_full_queue_refuses_and_cancelled_jobs_make_room() -> None:
    queue, jobs = RequestQueue(Limits(queue=2)), [job(1), job(1)]
    for each in jobs:
        queue.put(each, 7)
    with pytest.raises(RefusedError) as refused:
        queue.put(job(1), 7)
    assert (refused.value.status, refused.value.retry_after) == (503, 7)
    jobs[0].abandon()
    queue.put(job(1), 7)
    assert len(queue) == 2


def test_cancelled_jobs_are_not_handed_out() -> None:
    queue, first, second = RequestQueue(Limits()), job(1), job(1)
    queue.put(first, 1)
    queue.put(second, 1)
    first.abandon()
    assert queue.take(long=False) == [second]
    assert second.outcome.running()


def test_long_jobs_wait_elsewhere_and_go_alone() -> None:
    queue, jobs = RequestQueue(Limits(long_seconds=10)), [job(20), job(1), job(30), job(1)]
    for each in jobs:
        queue.put(each, 1)
    assert queue.take(long=False) == [jobs[1], jobs[3]]
    assert queue.take(long=True) == [jobs[0]]
    assert queue.take(long=True) == [jobs[2]]
    assert queue.take(long=True) == []


def test_the_first_of_a_batch_waits_a_moment_for_others() -> None:
    queue, first, second = RequestQueue(Limits(batch_wait_seconds=0.6)), job(1), job(1)
    queue.put(first, 1)
    threading.Timer(0.05, queue.put, (second, 1)).start()
    begun = time.monotonic()
    queue.gather(long=False)
    assert 0.5 < time.monotonic() - begun < 5
    assert queue.take(long=False) == [first, second]


def test_who_has_waited_already_does_not_wait_again() -> None:
    queue, old = RequestQueue(Limits(batch_wait_seconds=5)), job(1)
    old.since -= 10
    queue.put(old, 1)
    begun = time.monotonic()
    queue.gather(long=False)
    assert time.monotonic() - begun < 1


def test_a_closed_queue_hands_out_what_it_has() -> None:
    queue, last = RequestQueue(Limits()), job(1)
    queue.put(last, 1)
    queue.close()
    with pytest.raises(RefusedError, match="shutting down"):
        queue.put(job(1), 1)
    assert queue.wait(long=False)
    assert queue.take(long=False) == [last]
    assert not queue.wait(long=False)
