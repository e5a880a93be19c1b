"""Jobs in batches: what is read together, synthesized together, and written one by one."""

from __future__ import annotations

import time
from collections.abc import Iterator

from torch import Tensor

from diffwave.audio.checks import AudioError
from diffwave.audio.file import write_wav
from diffwave.devices import out_of_memory
from diffwave.errors import InputError, reason
from diffwave.evaluation.record import Result
from diffwave.rendering.plan import FileJob
from diffwave.rendering.prepared_input import PreparedInput, prepare
from diffwave.vocoder import Vocoder


def batches(vocoder: Vocoder, jobs: list[FileJob], seconds: float) -> Iterator[tuple[list[PreparedInput], list[str]]]:
    """Group jobs of one convention so that padded batches stay below ``seconds`` of audio; a batch has at least one.

    Yields:
        Tasks, and a line for each job since the last batch that cannot be one.
    """
    batch: list[PreparedInput] = []
    failures: list[str] = []
    for job in jobs:
        try:
            task = prepare(vocoder, job)
        except (AudioError, InputError) as error:
            failures.append(str(error))
            continue
        except OSError as error:
            failures.append(f"{job.source}: cannot be read; {reason(error)}")
            continue
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            failures.append(
                f"{job.source}: expected what fits into memory on {vocoder.device}; cut it into shorter files"
            )
            continue
        longest = max(t.samples for t in [*batch, task])
        other = bool(batch) and task.vocoder.convention != batch[0].vocoder.convention
        if batch and (other or longest * (len(batch) + 1) > seconds * task.vocoder.sample_rate):
            yield batch, failures
            batch, failures = [], []
        batch.append(task)
    if batch or failures:
        yield batch, failures


def speak_batch(batch: list[PreparedInput], results: list[Result]) -> list[str]:
    """Synthesize and write one batch, add to ``results``, and return what failed."""
    if not batch:
        return []
    begun, vocoder = time.perf_counter(), batch[0].vocoder
    try:
        mels = [task.mel for task in batch]
        wavs = [wav.cpu() for wav in vocoder.synthesize_batch(mels)]  # waits for the device
    except MemoryError as error:
        if len(batch) == 1:
            return [f"{batch[0].job.source}: {error}"]
        # The batch was split before it gave up: one of them is too long even alone, but perhaps not the others.
        return [line for task in batch for line in speak_batch([task], results)]
    speed = (time.perf_counter() - begun) / sum(task.samples for task in batch)
    failures = []
    for task, wav in zip(batch, wavs, strict=True):
        failure = _write(task, wav, speed * task.samples, results)
        failures.extend([failure] if failure else [])
    return failures


def _write(task: PreparedInput, wav: Tensor, wall_seconds: float, results: list[Result]) -> str:
    """Write one output, whole or not at all; returns what failed."""
    job, rate = task.job, task.vocoder.sample_rate
    try:
        job.output.parent.mkdir(parents=True, exist_ok=True)
        clipped = write_wav(job.output, wav[: task.samples], rate)
    except OSError as error:
        return f"{job.source}: {job.output} cannot be written; {reason(error)}"
    except AudioError:
        return f"{job.source}: the model gave NaN or infinite samples; nothing is written"
    notes = [*task.notes, *([f"{clipped} samples clipped"] if clipped else [])]
    results.append(
        Result(job.source, job.output, task.samples / rate, wall_seconds, notes, task.vocoder.convention.record())
    )
    return ""
