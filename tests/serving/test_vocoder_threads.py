"""Lanes and streams: who has a turn when, and that outputs do not depend on it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diffwave.config import SynthesisOptions
from diffwave.serving.limits import GoneError, Limits, RefusedError
from diffwave.serving.waiting import WaitingRequest
from diffwave.vocoder import Vocoder
from services import wait_until

pytest.importorskip("prometheus_client", reason="diffwave serve needs it (extra: serve)")
SETTINGS = SynthesisOptions()


class Watched(Vocoder):
    """A vocoder that waits for a gate before it speaks, and knows what it was asked; it streams part by part."""

    batches: list[int]
    gate: threading.Event
    streamed: list[int]

    def synthesize_batch(self, mels: list[Tensor], *arguments: Any) -> list[Tensor]:
        self.batches.append(len(mels))
        assert self.gate.wait(20)
        return super().synthesize_batch(mels, *arguments)

    def stream(self, mels: Iterable[Tensor], *arguments: Any) -> Iterator[Tensor]:
        for part in mels:
            self.streamed.append(part.shape[1])
            yield self.synthesize(part, *arguments[:4])


@pytest.fixture
def watched(tiny_checkpoint: Path) -> Watched:
    result = Watched.from_pretrained(tiny_checkpoint, device="cpu", backend="reference")
    assert isinstance(result, Watched)
    result.batches, result.streamed, result.gate = [], [], threading.Event()
    return result


@pytest.fixture
def speaker(watched: Watched) -> Iterator[Any]:
    from diffwave.serving.counters import Metrics
    from diffwave.serving.vocoder_threads import SpeakingThreads

    result = SpeakingThreads(watched, Limits(batch_seconds=10, batch_wait_seconds=0, long_seconds=2), Metrics())
    result.start()
    yield result
    watched.gate.set()
    result.stop(10)
    assert not result.healthy


def job(mel: np.ndarray, frames: int = 32, seed: int = 0) -> WaitingRequest:
    return WaitingRequest(torch.from_numpy(mel[:, :frames]), frames * 256 / 16000, SynthesisOptions(seed=seed))


def blocked(speaker: Any, watched: Watched, mel: np.ndarray) -> WaitingRequest:
    """A job that has its turn and does not end before the gate opens."""
    first = job(mel)
    speaker.submit(first)
    wait_until(lambda: len(watched.batches) == 1)
    return first


def test_jobs_that_wait_become_one_batch_and_each_is_as_if_alone(
    speaker: Any, watched: Watched, vocoder: Vocoder, mel: np.ndarray
) -> None:
    blocked(speaker, watched, mel)
    jobs = [job(mel, frames) for frames in (32, 20, 27)]
    other = job(mel, 32, seed=1)
    for each in [*jobs, other]:
        speaker.submit(each)
    watched.gate.set()
    for each in [*jobs, other]:
        alone = vocoder.synthesize(each.mel, seed=each.options.seed)
        torch.testing.assert_close(each.outcome.result(20), alone, rtol=0, atol=1e-5)
    assert watched.batches == [1, 3, 1]


def test_one_that_cannot_be_spoken_does_not_fail_the_others(
    speaker: Any, watched: Watched, vocoder: Vocoder, mel: np.ndarray
) -> None:
    blocked(speaker, watched, mel)
    good, bad = job(mel), job(mel + 50)
    speaker.submit(good)
    speaker.submit(bad)
    watched.gate.set()
    torch.testing.assert_close(good.outcome.result(20), vocoder.synthesize(good.mel), rtol=0, atol=1e-5)
    with pytest.raises(RefusedError, match="expected a mel") as refused:
        bad.outcome.result(20)
    assert refused.value.status == 422
    assert watched.batches == [1, 2, 1, 1]


@pytest.mark.parametrize(
    ("error", "status"), [(MemoryError("cut it into shorter pieces"), 413), (RuntimeError("a defect"), 500)]
)
def test_a_failure_is_an_answer_and_the_lane_goes_on(
    error: Exception, status: int, speaker: Any, watched: Watched, mel: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(watched, "synthesize_batch", fail)
        unlucky = job(mel)
        speaker.submit(unlucky)
        with pytest.raises(RefusedError) as refused:
            unlucky.outcome.result(20)
    assert refused.value.status == status
    assert "defect" not in str(refused.value), "what a defect says belongs into the log"
    watched.gate.set()
    lucky = job(mel)
    speaker.submit(lucky)
    assert len(lucky.outcome.result(20)) == 32 * 256


def test_an_abandoned_job_is_not_spoken(speaker: Any, watched: Watched, mel: np.ndarray) -> None:
    first = blocked(speaker, watched, mel)
    waiting = job(mel)
    speaker.submit(waiting)
    waiting.abandon()
    watched.gate.set()
    first.outcome.result(20)
    last = job(mel)
    speaker.submit(last)
    last.outcome.result(20)
    assert watched.batches == [1, 1]


def test_a_long_job_gives_way_after_each_part(speaker: Any, watched: Watched, mel: np.ndarray) -> None:
    watched.gate.set()
    long, short = job(np.tile(mel, 40), 1280), job(mel)
    ended: list[str] = []
    long.outcome.add_done_callback(lambda _: ended.append("long"))
    short.outcome.add_done_callback(lambda _: ended.append("short"))
    speaker.submit(long)
    wait_until(lambda: len(watched.streamed) >= 1)
    speaker.submit(short)
    assert len(long.outcome.result(30)) == 1280 * 256
    assert ended == ["short", "long"]
    assert watched.streamed == [250, 250, 250, 250, 250, 30]


def test_a_long_job_stops_when_nobody_waits(speaker: Any, watched: Watched, mel: np.ndarray) -> None:
    long = job(np.tile(mel, 40), 1280)
    speaker.turns.acquire()
    speaker.submit(long)
    wait_until(lambda: long.outcome.running() or len(speaker.turns._waiting) == 1)
    speaker.turns.release()
    wait_until(lambda: len(watched.streamed) >= 1)
    long.abandon()
    with pytest.raises(GoneError):
        long.outcome.result(20)
    assert len(watched.streamed) < 6


def test_when_to_try_again_follows_from_the_work_that_waits(speaker: Any, watched: Watched, mel: np.ndarray) -> None:
    assert speaker.retry_after() == 1
    speaker.count(1.0, 10.0)
    blocked(speaker, watched, mel)
    assert speaker.retry_after() == 6  # half a second at ten times its length


def streaming(speaker: Any, play: Callable[[Any], Any]) -> Any:
    """Run a coroutine with a stream."""
    from diffwave.serving.live import LiveStream

    async def main() -> Any:
        live = LiveStream(speaker, speaker.vocoder, SETTINGS, asyncio.get_running_loop())
        live.start()
        try:
            async with asyncio.timeout(20):
                return await play(live)
        finally:
            live.leave()
            await asyncio.to_thread(live._thread.join, 10)
            assert not live._thread.is_alive()

    return asyncio.run(main())


def test_audio_leaves_before_the_last_mel_arrives(speaker: Any, mel: np.ndarray) -> None:
    async def play(live: Any) -> list[int]:
        sizes = []
        for start in (0, 16):
            live.feed(torch.from_numpy(mel[:, start : start + 16]))
            sizes.append(len(await live.next_piece()))
        live.end()
        assert await live.next_piece() is None
        return sizes

    assert streaming(speaker, play) == [16 * 512, 16 * 512]


def test_single_frames_are_gathered(speaker: Any, watched: Watched, mel: np.ndarray) -> None:
    async def play(live: Any) -> None:
        for frame in range(32):
            live.feed(torch.from_numpy(mel[:, frame : frame + 1]))
        live.end()
        while await live.next_piece() is not None:
            pass

    streaming(speaker, play)
    assert sum(watched.streamed) == 32
    assert len(watched.streamed) <= 3


def test_nobody_waits_for_a_stream_without_mels(speaker: Any, watched: Watched, mel: np.ndarray) -> None:
    watched.gate.set()

    async def play(live: Any) -> int:
        short = job(mel)
        speaker.submit(short)
        return len(await asyncio.wrap_future(short.outcome))

    assert streaming(speaker, play) == 32 * 256


def test_nobody_waits_for_a_stream_whose_client_does_not_listen(
    speaker: Any, watched: Watched, mel: np.ndarray
) -> None:
    watched.gate.set()

    async def play(live: Any) -> int:
        for _ in range(20):
            live.feed(torch.from_numpy(mel))
            await asyncio.sleep(0.02)
        await asyncio.to_thread(wait_until, lambda: len(live._pieces) == 4)
        pieces = len(watched.streamed)
        short = job(mel)
        speaker.submit(short)
        await asyncio.wrap_future(short.outcome)
        assert len(watched.streamed) == pieces, "it works on although its audio is not taken"
        return pieces

    assert streaming(speaker, play) == 5


def test_a_failure_follows_the_audio_that_is_known(speaker: Any, mel: np.ndarray) -> None:
    async def play(live: Any) -> None:
        live.feed(torch.from_numpy(mel))
        await asyncio.to_thread(wait_until, lambda: len(live._pieces) == 1)
        live.fail(RefusedError(413, "enough"))
        assert len(await live.next_piece()) == 32 * 512
        with pytest.raises(RefusedError, match="enough"):
            await live.next_piece()

    streaming(speaker, play)


def test_an_empty_stream_and_one_of_no_mel(speaker: Any, mel: np.ndarray) -> None:
    async def empty(live: Any) -> None:
        live.end()
        with pytest.raises(RefusedError, match="expected mel frames"):
            await live.next_piece()

    async def no_mel(live: Any) -> None:
        live.feed(torch.from_numpy(mel + 50))
        live.end()
        with pytest.raises(RefusedError, match="expected a mel"):
            await live.next_piece()

    streaming(speaker, empty)
    streaming(speaker, no_mel)


def test_audio_beyond_the_recording_is_dropped(speaker: Any, mel: np.ndarray) -> None:
    async def play(live: Any) -> int:
        live.most_samples = 7000
        for start in (0, 16):
            live.feed(torch.from_numpy(mel[:, start : start + 16]))
        live.end()
        return sum([len(piece) async for piece in pieces(live)])

    async def pieces(live: Any) -> Any:
        while (piece := await live.next_piece()) is not None:
            yield piece

    assert streaming(speaker, play) == 14000
