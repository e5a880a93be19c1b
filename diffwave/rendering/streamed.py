"""``diffwave synthesize --chunk-seconds``: one file after the other, each read, synthesized and written in chunks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from diffwave.devices import out_of_memory
from diffwave.errors import InputError, reason
from diffwave.evaluation.record import Result
from diffwave.rendering.plan import FileJob

if TYPE_CHECKING:
    from diffwave.vocoder import Vocoder


@dataclass(frozen=True, eq=False)
class MelSource:
    """What a file holds, as a mel in parts.

    Args:
        parts: ``[M, F_i]``, in order.
        samples: length of the output; right when all parts have been taken.
        notes: what was done to the input; right at the same time.
    """

    parts: Iterator[Tensor]
    samples: Callable[[], int]
    notes: Callable[[], list[str]]


def synthesize_streamed(
    vocoder: Vocoder, job: FileJob, chunk_seconds: float, progress: Callable[[float], object]
) -> Result:
    """Run one job in memory that does not depend on its length.

    Args:
        vocoder: who speaks, in its own way, mels of its convention unless the file carries another.
        job: what to read and write.
        chunk_seconds: of audio that are handed over at once.
        progress: told how many seconds more are done.

    Raises:
        AudioError, InputError: if the input is none; the message names it.
    """
    from diffwave.audio.stream import WavWriter
    from diffwave.rendering.prepared_input import mel_of

    begun = time.perf_counter()
    try:
        vocoder, mel, said = mel_of(vocoder, job.source) if job.is_mel else (vocoder, None, [])
        frames = max(1, round(chunk_seconds * vocoder.sample_rate / vocoder.hop_length))
        source = _recording(vocoder, job, frames) if mel is None else _of_mel(vocoder, mel, frames, said)
        job.output.parent.mkdir(parents=True, exist_ok=True)
        with WavWriter(job.output, vocoder.sample_rate) as writer:
            # The last piece is cut to the length of the recording, which is known when the one after it should come.
            held: Tensor | None = None
            for piece in vocoder.stream(source.parts):
                if held is not None:
                    writer.write(held)
                    progress(len(held) / vocoder.sample_rate)
                held = piece
            assert held is not None
            writer.write(held[: source.samples() - writer.samples])
            progress(len(held) / vocoder.sample_rate)
    except OSError as error:
        raise InputError(f"{job.source}: {job.output} cannot be written; {reason(error)}") from None
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise InputError(
            f"{job.source}: expected a chunk to fit into memory on {vocoder.device}; it does not"
        ) from None
    except ValueError as error:
        raise _named(job, error) from None
    notes = [*source.notes(), *([f"{writer.clipped} samples clipped"] if writer.clipped else [])]
    return Result(
        job.source,
        job.output,
        writer.samples / vocoder.sample_rate,
        time.perf_counter() - begun,
        notes,
        vocoder.convention.record(),
    )


def _named(job: FileJob, error: ValueError) -> ValueError:
    """With the name of the input in front, unless it is there already."""
    return error if str(job.source) in str(error) else InputError(f"{job.source}: {error}")


def _of_mel(vocoder: Vocoder, mel: Tensor, frames: int, notes: list[str]) -> MelSource:
    samples = mel.shape[1] * vocoder.hop_length
    return MelSource(iter(torch.split(mel, frames, dim=1)), lambda: samples, lambda: notes)


def _recording(vocoder: Vocoder, job: FileJob, frames: int) -> MelSource:
    from diffwave.audio.stream import AudioStream
    from diffwave.mel.parts import mel_parts

    audio = AudioStream(job.source, vocoder.sample_rate)
    shortest = vocoder.front_end.config.win_length

    def parts() -> Iterator[Tensor]:
        try:
            for mel in mel_parts(vocoder.front_end, (wav.unsqueeze(0).to(vocoder.device) for wav in audio)):
                if audio.samples < shortest:
                    expected = f"expected at least one frame, {shortest} samples at {vocoder.sample_rate} Hz"
                    raise InputError(f"{job.source}: {expected}; got {audio.samples}")
                _check(vocoder, job, mel, audio.peak)
                yield from torch.split(mel[0], frames, dim=1)
        except OSError as error:
            raise InputError(f"{job.source}: cannot be read; {reason(error)}") from None

    def notes() -> list[str]:
        return [said] if (said := audio.conversion()) else []

    return MelSource(parts(), lambda: audio.samples, notes)


def _check(vocoder: Vocoder, job: FileJob, mel: Tensor, peak: float) -> None:
    try:
        vocoder.front_end.check_range(mel)
    except ValueError:
        if peak <= 1:
            raise
        # Such as 16-bit numbers stored as floats; a list of mel values would not help.
        raise InputError(f"{job.source}: expected samples in [-1, 1]; got a peak of {peak:.3g}") from None
