"""What the endpoints do, apart from HTTP's forms."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from torch import Tensor

import diffwave
from diffwave.config import CONVENTIONS, ConfigError, SynthesisOptions
from diffwave.config.conventions import named_convention
from diffwave.config.document import to_dict
from diffwave.serving.bodies import client_gone, whole_body
from diffwave.serving.budget import Allowance, Budget
from diffwave.serving.counters import Metrics
from diffwave.serving.inputs import Input, read_input
from diffwave.serving.limits import GoneError, Limits, RefusedError
from diffwave.serving.live import LiveStream
from diffwave.serving.streams import Session, WavResponse, feed, feed_rows
from diffwave.serving.vocoder_threads import SpeakingThreads, parts_of
from diffwave.serving.waiting import WaitingRequest
from diffwave.serving.waveforms import wav_file, wav_header
from diffwave.vocoder import Vocoder

ROWS = "rows"
_DECODERS = 2
_BYTES = 4  # of a float32
_PART_SECONDS = 1.0  # of a whole mel that is streamed


class Service:
    """A vocoder with everything around it that requests need.

    Args:
        vocoder: what speaks.
        name: of the checkpoint, for ``/health``.
        limits: what requests may be.
    """

    def __init__(self, vocoder: Vocoder, name: str, limits: Limits) -> None:
        self.vocoder = vocoder
        self.name = name
        self.limits = limits
        self.metrics = Metrics()
        self.speaker = SpeakingThreads(vocoder, limits, self.metrics)
        self.budget = Budget(limits.bytes_in_flight)
        self._others: dict[str, Vocoder] = {}
        self._decoders = ThreadPoolExecutor(_DECODERS, "decoder")
        self._streams = 0
        self.metrics.watch("diffwave_queue_jobs", "Utterances that wait.", lambda: len(self.speaker.queue))
        self.metrics.watch("diffwave_in_flight_bytes", "Bytes that requests hold.", lambda: self.budget.used)
        self.metrics.watch("diffwave_streams", "Streams that run.", lambda: self._streams)

    def start(self) -> None:
        """Start to work, and speak for a try."""
        self.speaker.start()
        self.speaker.warm_up()

    def stop(self, seconds: float) -> None:
        """Finish what has begun, for so long."""
        self.speaker.stop(seconds)
        self._decoders.shutdown(wait=False, cancel_futures=True)

    def check(self, options: SynthesisOptions) -> None:
        """Refuse options that this model cannot work with, or that are beyond the limits; raises RefusedError."""
        limits = self.limits
        for name, most in (("consistency", limits.consistency), ("refinements", limits.refinements)):
            if (getattr(options, name) or 0) > most:
                raise RefusedError(422, f"{name}: expected at most {most}; got {getattr(options, name)}")
        try:
            count = len(self.vocoder.resolve(options).sampler)
        except ValueError as error:
            raise RefusedError(422, str(error)) from None
        if count > limits.steps:
            raise RefusedError(422, f"steps: expected at most {limits.steps}; got {count}")

    async def synthesize(
        self, request: Request, options: SynthesisOptions, wanted: str, mel: str | None = None
    ) -> Response:
        """The whole audio of a whole body; raises RefusedError or GoneError.

        Args:
            request: of the client.
            options: of synthesis.
            wanted: see ``read_input``.
            mel: name of the convention; the service's own if None.
        """
        vocoder = self.speaks(mel)
        try:
            async with asyncio.timeout(self.limits.request_seconds):
                with self.budget.allowance() as allowance:
                    spoken = await self._read(vocoder, request, wanted, self.limits.audio_seconds, allowance)
                    wav = await self._speak(vocoder, request, spoken, options)
        except TimeoutError:
            raise RefusedError(
                504, f"no answer within {self.limits.request_seconds:g} s", self.speaker.retry_after()
            ) from None
        try:
            body = wav_file(wav[: spoken.samples], vocoder.sample_rate)
        except ValueError as error:
            raise RefusedError(422, str(error)) from None
        return Response(body, media_type="audio/wav", headers=_told(vocoder, spoken.resembles))

    def speaks(self, mel: str | None) -> Vocoder:
        """Who speaks mels of the convention of that name, the service's own if None; raises RefusedError."""
        if mel is None:
            return self.vocoder
        if mel not in self._others:
            try:
                convention = named_convention(mel)
                self._others[mel] = self.vocoder.with_mel(convention)
            except ConfigError as error:
                raise RefusedError(422, str(error)) from None
        return self._others[mel]

    async def _read(
        self, vocoder: Vocoder, request: Request, wanted: str, longest: float, allowance: Allowance
    ) -> Input:
        body = await whole_body(request, self.limits, allowance)
        arguments = (vocoder, body, wanted, self.limits, longest)
        result = await asyncio.get_running_loop().run_in_executor(self._decoders, read_input, *arguments)
        allowance.take(_BYTES * (result.mel.numel() + 2 * result.samples))
        return result

    async def _speak(self, vocoder: Vocoder, request: Request, spoken: Input, options: SynthesisOptions) -> Tensor:
        job = WaitingRequest(spoken.mel, spoken.samples / vocoder.sample_rate, options, vocoder)
        self.speaker.submit(job)
        answer = asyncio.wrap_future(job.outcome)
        gone = asyncio.ensure_future(client_gone(request))
        try:
            either: set[asyncio.Future[Any]] = {answer, gone}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise GoneError
            return answer.result()
        finally:
            gone.cancel()
            if not answer.done():
                answer.cancel()
                job.abandon()

    async def stream(
        self, request: Request, options: SynthesisOptions, wanted: str, raw: bool, mel: str | None = None
    ) -> Response:
        """Audio as it becomes known; raises RefusedError or GoneError as long as there is none.

        Args:
            request: of the client.
            options: of synthesis.
            wanted: ``rows``, or see ``read_input``.
            raw: PCM without the header of a WAV file.
            mel: as for :meth:`synthesize`.
        """
        vocoder = self.speaks(mel)
        session = self._open(vocoder, request, options, wanted)
        try:
            async with asyncio.timeout_at(session.deadline):
                first = await session.live.next_piece()
        except TimeoutError:
            await session.end()
            raise RefusedError(504, f"no audio within {self.limits.stream_seconds:g} s") from None
        except BaseException:
            await session.end()
            raise
        rate = vocoder.sample_rate
        header = b"" if raw else wav_header(rate, None)
        media_type = f"audio/pcm;rate={rate};encoding=signed-int;bits=16" if raw else "audio/wav"
        told = {"X-Sample-Rate": str(rate), **_told(vocoder, session.live.resembles)}
        return WavResponse(session, header + (first or b""), media_type, told)

    def _open(self, vocoder: Vocoder, request: Request, options: SynthesisOptions, wanted: str) -> Session:
        if self._streams >= self.limits.streams:
            raise RefusedError(503, f"{self._streams} streams run already; try again later", self.speaker.retry_after())
        self._streams += 1
        allowance = Allowance(self.budget)
        loop = asyncio.get_running_loop()
        live = LiveStream(self.speaker, vocoder, options, loop, self._stream_ended)

        async def source() -> None:
            if wanted == ROWS:
                await feed_rows(live, vocoder, request, self.limits, allowance)
                return
            spoken = await self._read(vocoder, request, wanted, self.limits.stream_audio_seconds, allowance)
            live.most_samples, live.resembles = spoken.samples, spoken.resembles
            for part in parts_of(vocoder, spoken.mel, _PART_SECONDS):
                live.feed(part)

        live.start()
        feeder = asyncio.ensure_future(feed(live, request, source))
        return Session(live, feeder, loop.time() + self.limits.stream_seconds, allowance.close)

    def _stream_ended(self) -> None:
        self._streams -= 1

    def health(self) -> dict[str, Any]:
        """What this service is, for ``/health``."""
        vocoder, mel = self.vocoder, self.vocoder.front_end.config
        own = vocoder.resolve().record()
        return {
            "status": "ok" if self.speaker.healthy else "stopped",
            "version": diffwave.__version__,
            "checkpoint": self.name,
            "sample_rate": vocoder.sample_rate,
            "hop_length": vocoder.hop_length,
            "mel": {**vocoder.convention.document(), "name": vocoder.convention.name, "description": mel.describe()},
            "mels": list(CONVENTIONS),
            "sampling": {name: value for name, value in own.items() if name not in ("schedule", "seed")},
            "device": str(vocoder.device),
            "backend": vocoder.backend,
            "precision": vocoder.precision,
            "limits": to_dict(self.limits),
        }


def _told(vocoder: Vocoder, resembles: str = "") -> dict[str, str]:
    """Headers that say what a mel was read as, and what it looks like if that is something else."""
    convention = vocoder.convention
    read = {"X-Mel": ascii(f"{convention.name}; {convention.mel.brief()}")[1:-1]}
    return read | ({"X-Mel-Doubt": resembles.replace("--mel ", "mel=")} if resembles else {})
