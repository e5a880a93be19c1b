"""One stream: a mel goes in while it arrives, audio comes out as it becomes known.

A thread of its own pulls ``Vocoder.stream``, because that waits for mels in the middle of its work. It holds a turn
while it computes and only then: never while it waits for a client, in either direction.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from diffwave.config import SynthesisOptions
from diffwave.serving.limits import GoneError, RefusedError
from diffwave.serving.vocoder_threads import SpeakingThreads, as_answer
from diffwave.serving.waveforms import pcm_bytes
from diffwave.vocoder import Vocoder

# Pieces that may wait for a slow client; the thread then waits, too.
_WAITING_PIECES = 4
# Frames are handed on once there is so much audio: work for single frames would be mostly context.
_LEAST_SECONDS = 0.25


class LiveStream:
    """Between an event loop and the thread that speaks.

    Args:
        speaker: whose turns are taken.
        vocoder: of the mel's convention.
        options: of synthesis.
        loop: where :meth:`next_piece` is awaited.
        finished: is called there once the thread has ended, which may be a while after :meth:`leave`.

    ``most_samples`` may be set before the end: audio after so many samples is dropped.
    """

    def __init__(
        self,
        speaker: SpeakingThreads,
        vocoder: Vocoder,
        options: SynthesisOptions,
        loop: asyncio.AbstractEventLoop,
        finished: Callable[[], None] = lambda: None,
    ) -> None:
        self._speaker = speaker
        self._vocoder = vocoder
        self._options = options
        self._loop = loop
        self._least = max(round(_LEAST_SECONDS * vocoder.sample_rate / vocoder.hop_length), 1)
        self._changed = threading.Condition()
        self._arrived = asyncio.Event()
        self._frames: list[Tensor] = []
        self._ended = False
        self._pieces: deque[bytes] = deque()
        self._finished = False
        self._on_finished = finished
        self._failure: Exception | None = None
        self._gone = False
        self.most_samples: int | None = None
        self.resembles = ""  # see ``Input``
        self._waited = 0.0  # seconds without frames since the last piece
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to speak as soon as there are frames."""
        self._thread.start()

    def feed(self, part: Tensor) -> None:
        """Add frames ``[M, F]``; never waits."""
        with self._changed:
            self._frames.append(part)
            self._changed.notify_all()

    def end(self) -> None:
        """There are no more frames."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def fail(self, failure: Exception) -> None:
        """Stop: there will be no more frames, and :meth:`next_piece` raises ``failure`` after what is known."""
        with self._changed:
            self._failure = self._failure or failure
            self._changed.notify_all()
        self._wake()

    def leave(self) -> None:
        """Nobody listens any more: the thread stops at the next frame or piece."""
        with self._changed:
            self._gone = True
            # The thread may have to wait for a turn before it sees this.
            self._frames.clear()
            self._pieces.clear()
            self._changed.notify_all()

    async def next_piece(self) -> bytes | None:
        """The next piece as PCM, or None at the end; raises what went wrong."""
        while True:
            with self._changed:
                if self._pieces:
                    self._changed.notify_all()
                    return self._pieces.popleft()
                if self._failure is not None:
                    raise self._failure
                if self._finished:
                    return None
                self._arrived.clear()
            await self._arrived.wait()

    def _run(self) -> None:
        failure: Exception | None = None
        turns = self._speaker.turns
        try:
            with turns.taken():
                self._speak()
        except Exception as error:
            failure = as_answer(error)
        with self._changed:
            self._failure = self._failure or failure
            self._finished = True
        self._wake()
        self._call(self._on_finished)

    def _speak(self) -> None:
        vocoder, turns = self._vocoder, self._speaker.turns
        begun, self._waited, done = time.perf_counter(), 0.0, 0
        for piece in vocoder.with_options(self._options).stream(self._parts()):
            left = None if self.most_samples is None else self.most_samples - done
            if left is not None and left <= 0:
                return
            samples = pcm_bytes(piece[:left])
            done += len(piece)
            worked = time.perf_counter() - begun - self._waited
            self._speaker.count(piece.shape[-1] / vocoder.sample_rate, worked)
            with turns.given_way():
                self._hand_over(samples)
            begun, self._waited = time.perf_counter(), 0.0

    def _parts(self) -> Iterator[Tensor]:
        """What has come so far, in one part, again and again until the end."""
        spoken = False
        while True:
            if not self._ready():
                begun = time.perf_counter()
                with self._speaker.turns.given_way():
                    self._wait_for_frames()
                self._waited += time.perf_counter() - begun
            with self._changed:
                if self._stopped():
                    raise self._failure or GoneError
                if not self._frames:
                    break
                part = torch.cat(self._frames, dim=1)
                self._frames = []
            spoken = True
            yield part
        if not spoken:
            raise RefusedError(422, "expected mel frames as the body; it is empty")

    def _ready(self) -> bool:
        enough = sum(part.shape[1] for part in self._frames) >= self._least
        return enough or self._ended or self._stopped()

    def _stopped(self) -> bool:
        return self._gone or self._failure is not None

    def _wait_for_frames(self) -> None:
        with self._changed:
            self._changed.wait_for(self._ready)

    def _hand_over(self, samples: bytes) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped() or len(self._pieces) < _WAITING_PIECES)
            if self._stopped():
                raise self._failure or GoneError
            self._pieces.append(samples)
        self._wake()

    def _wake(self) -> None:
        self._call(self._arrived.set)

    def _call(self, function: Callable[[], None]) -> None:
        """Call a function on the event loop."""
        # RuntimeError: the loop has been closed, for the service has ended.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)
