"""The threads that own the vocoder: one for short utterances in batches, one for long ones, one for each stream."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from diffwave.config import SynthesisOptions
from diffwave.serving.counters import Metrics
from diffwave.serving.limits import GoneError, Limits, RefusedError
from diffwave.serving.turns import Turns
from diffwave.serving.waiting import RequestQueue, WaitingRequest
from diffwave.vocoder import Vocoder

# A long utterance gives way to others after so much audio.
_PART_SECONDS = 4.0
_LONGEST_RETRY = 60
_log = logging.getLogger(__name__)


class SpeakingThreads:
    """Synthesizes jobs, one turn at a time.

    Args:
        vocoder: what speaks, as its like of other conventions do; nobody else may use any of them to synthesize without
            taking one of ``turns``.
        limits: of the service.
        metrics: where work is counted.
    """

    def __init__(self, vocoder: Vocoder, limits: Limits, metrics: Metrics) -> None:
        self.vocoder = vocoder
        self.turns = Turns()
        self.queue = RequestQueue(limits)
        self._metrics = metrics
        self._backlog = 0.0  # seconds of audio
        self._pace = 0.0  # seconds of work for a second of audio, lately
        self._lock = threading.Lock()
        self._lanes = [threading.Thread(target=self._lane, args=(long,), daemon=True) for long in (False, True)]

    def start(self) -> None:
        """Start both lanes."""
        for lane in self._lanes:
            lane.start()

    def stop(self, seconds: float) -> None:
        """Take no more jobs, and wait so long for those that are there."""
        self.queue.close()
        for lane in self._lanes:
            lane.join(seconds)

    @property
    def healthy(self) -> bool:
        """Whether both lanes run."""
        return all(lane.is_alive() for lane in self._lanes)

    def submit(self, job: WaitingRequest) -> None:
        """Queue a job; raises RefusedError (503) if too many wait."""
        self.queue.put(job, self.retry_after())
        with self._lock:
            self._backlog += job.seconds
        job.outcome.add_done_callback(lambda _: self._forget(job))

    def retry_after(self) -> int:
        """In how many seconds the work that waits now may be done."""
        return min(max(math.ceil(self._backlog * self._pace), 1), _LONGEST_RETRY)

    def warm_up(self) -> None:
        """Speak half a second, so that the first request finds everything loaded; raises what synthesis raises."""
        frames = math.ceil(0.5 * self.vocoder.sample_rate / self.vocoder.hop_length)
        front_end = self.vocoder.front_end
        silence = front_end.compress(torch.zeros(front_end.config.n_mels, frames))
        job = WaitingRequest(silence, 0.5, SynthesisOptions())
        self.submit(job)
        job.outcome.result()

    def count(self, audio_seconds: float, worked: float) -> None:
        """Count audio and the seconds of work for it."""
        self._metrics.audio_seconds.inc(audio_seconds)
        self._metrics.synthesis_seconds.inc(worked)
        pace = worked / max(audio_seconds, 1e-3)
        self._pace = pace if not self._pace else 0.8 * self._pace + 0.2 * pace

    def _forget(self, job: WaitingRequest) -> None:
        with self._lock:
            self._backlog -= job.seconds
        if job.outcome.cancelled():
            self._metrics.abandoned.inc()

    def _lane(self, long: bool) -> None:
        while self.queue.wait(long):
            self.queue.gather(long)
            with self.turns.taken():
                # Only now: whoever came while others had their turn is in the batch.
                batch = self.queue.take(long)
                if batch:
                    self._run(batch, long)

    def _run(self, batch: list[WaitingRequest], long: bool) -> None:
        begun = time.perf_counter()
        try:
            wavs = self._speak_long(batch[0]) if long else self._speak(batch)
        except Exception as error:
            self._failed(batch, long, error)
            return
        self._metrics.batch_size.observe(len(batch))
        self.count(sum(job.seconds for job in batch), time.perf_counter() - begun)
        for job, wav in zip(batch, wavs, strict=True):
            job.outcome.set_result(wav)

    def _failed(self, batch: list[WaitingRequest], long: bool, error: Exception) -> None:
        if len(batch) == 1:
            batch[0].outcome.set_exception(as_answer(error))
            return
        for job in batch:  # whatever is wrong with one of them must not fail the others
            self._run([job], long)

    def _speak(self, batch: list[WaitingRequest]) -> list[Tensor]:
        vocoder = batch[0].vocoder or self.vocoder
        wavs = vocoder.with_options(batch[0].options).synthesize_batch([job.mel for job in batch])
        return [wav.cpu() for wav in wavs]  # waits for the device

    def _speak_long(self, job: WaitingRequest) -> list[Tensor]:
        """Piece by piece, so that others have a turn after each and work ends soon if nobody waits for it."""
        pieces, vocoder = [], job.vocoder or self.vocoder
        for piece in vocoder.with_options(job.options).stream(parts_of(vocoder, job.mel, _PART_SECONDS)):
            pieces.append(piece.cpu())
            if job.abandoned.is_set():
                self._metrics.abandoned.inc()
                raise GoneError
            with self.turns.given_way():
                pass
        return [torch.cat(pieces)]


def parts_of(vocoder: Vocoder, mel: Tensor, seconds: float) -> Iterator[Tensor]:
    """A mel ``[M, F]`` in parts of so many seconds."""
    frames = max(round(seconds * vocoder.sample_rate / vocoder.hop_length), 1)
    return (mel[:, start : start + frames] for start in range(0, mel.shape[1], frames))


def as_answer(error: Exception) -> Exception:
    """What to tell the client of a failure; a defect is logged with its traceback."""
    if isinstance(error, RefusedError | GoneError):
        return error
    if isinstance(error, ValueError):
        return RefusedError(422, str(error))
    if isinstance(error, MemoryError):
        return RefusedError(413, str(error) or "expected what fits into memory")
    _log.error("synthesis failed", exc_info=error)
    return RefusedError(500, "synthesis failed; the service's log says why")
