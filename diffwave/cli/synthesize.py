"""``diffwave synthesize``: recordings (copy synthesis) or mels in, WAV files out."""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from diffwave.cli.arguments import add_backend, add_checkpoint, add_sampling
from diffwave.cli.results import as_json, as_table
from diffwave.errors import InputError, one_line, reason
from diffwave.evaluation.record import Result, Settings, record
from diffwave.files import try_out
from diffwave.rendering.plan import FileJob, plan_jobs
from diffwave.terminal.arguments import CommandParser, device_argument, path_argument, seconds_argument

if TYPE_CHECKING:
    from torch import Tensor

    from diffwave.vocoder import Vocoder

_GPU_BATCH_SECONDS = 120.0
_DESCRIPTION = """Turn recordings (copy synthesis) or mels into speech, one WAV file for each input.

Folders are searched with all their subfolders, whose structure is kept; hidden files and the output folder are left
out. Exit code 2 if an input could not be used; the others are done all the same."""


@dataclass(frozen=True, eq=False)
class Task:
    """A job with its mel, ready to be synthesized."""

    job: FileJob
    mel: Tensor  # [M, F]
    samples: int  # length of the output
    notes: list[str]


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = CommandParser(prog="diffwave synthesize", description=_DESCRIPTION)
    add = result.add_argument
    inputs = "audio, .npy/.pt mels, or folders of them"
    add("inputs", nargs="+", type=path_argument, metavar="INPUT", help=inputs)
    add("--output", "-o", type=path_argument, required=True, metavar="DIR", help="folder for the WAV files")
    add_checkpoint(result)
    add_sampling(result)
    add("--device", type=device_argument, default="auto", metavar="auto|cpu|cuda", help="default: auto")
    add_backend(result)
    add("--seed", type=int, default=0, help="of the noise (default: 0)")
    batch = "audio synthesized at once (default: one file at a time on a CPU, 120 s on a GPU)"
    add("--batch-seconds", type=seconds_argument, metavar="S", help=batch)
    chunk = (
        "read, synthesize and write in chunks of so much audio, in memory that does not grow; the outputs are the same"
    )
    add("--chunk-seconds", type=seconds_argument, metavar="S", help=chunk)
    add("--force", action="store_true", help="replace outputs that exist")
    add("--json", action="store_true", help="print the results as JSON")
    return result


def main(arguments: list[str]) -> int:
    """Synthesize every input that can be; exit code 2 if any could not."""
    options = parser().parse_args(arguments)
    jobs, errors = plan_jobs(options.inputs, options.output, options.force)
    for line in errors:
        _complain(line)
    results: list[Result] = []
    settings = None
    if jobs:
        from diffwave.rendering.opening import open_vocoder

        vocoder = open_vocoder(options.checkpoint, options.device, options.backend, options.precision)
        settings = _settings(vocoder, options)
        try_out(options.output)
        try:
            run = _synthesize_all if options.chunk_seconds is None else _stream_all
            run(vocoder, jobs, options, results, errors)
        finally:
            # Also after Ctrl-C: what was written by then stays, and so does the record of it.
            failure = record(options.output, settings, results) if results else ""
        if failure:
            errors.append(failure)
            _complain(failure)
    _report(settings, results, errors, options.json)
    return 2 if errors else 0


def _settings(vocoder: Vocoder, options: argparse.Namespace) -> Settings:
    """Fill in the checkpoint's own settings; what cannot work is said once, before any work."""
    from diffwave.config import preset_name
    from diffwave.mel.consistency import MelConsistency

    try:
        chosen = vocoder.settings(options.consistency, options.consistency_at, options.refinements)
        sampler = vocoder.sampler(options.steps, options.sampler, options.consistency, options.consistency_at)
        if chosen.consistency_iterations:
            MelConsistency(vocoder.front_end)
    except ValueError as error:
        raise InputError(str(error)) from None
    # The name alone: where the folder lies on this machine means nothing elsewhere.
    name = Path(options.checkpoint).expanduser().resolve().name
    kind = options.sampler or (chosen.guided_sampler if chosen.guided else chosen.sampler)
    place = chosen.consistency_at if chosen.consistency_iterations else "end"
    ran = (str(vocoder.device), vocoder.backend, vocoder.precision)
    rounds = chosen.refinements if chosen.consistency_iterations else 0
    consistency = (chosen.consistency_iterations, place, rounds)
    mel = preset_name(vocoder.config.mel)
    return Settings(name, mel, kind, len(sampler), sampler.steps.tolist(), *consistency, options.seed, *ran)


def _complain(line: str) -> None:
    from tqdm import tqdm

    # Through tqdm, which moves a progress bar out of the way.
    tqdm.write(f"diffwave synthesize: {one_line(line)}", file=sys.stderr)


def _synthesize_all(
    vocoder: Vocoder, jobs: list[FileJob], options: argparse.Namespace, results: list[Result], errors: list[str]
) -> None:
    """Run every job and add to ``results``; one that fails adds a line to ``errors`` and the others go on."""
    from tqdm import tqdm

    from diffwave.mel.spectrogram import MelWarning

    # Mels from files were refused if they looked strange; recordings may.
    warnings.simplefilter("ignore", MelWarning)
    with tqdm(total=len(jobs), unit="file", disable=None, dynamic_ncols=True, file=sys.stderr) as progress:
        for batch, unusable in _batches(vocoder, jobs, _batch_samples(vocoder, options)):
            failures = [*unusable, *_run_batch(vocoder, batch, options, results)]
            for line in failures:
                errors.append(line)
                _complain(line)
            progress.update(len(batch) + len(unusable))


def _stream_all(
    vocoder: Vocoder, jobs: list[FileJob], options: argparse.Namespace, results: list[Result], errors: list[str]
) -> None:
    """The same one file after the other, in chunks."""
    from tqdm import tqdm

    from diffwave.audio.checks import AudioError
    from diffwave.mel.spectrogram import MelWarning
    from diffwave.rendering.streamed import synthesize_streamed

    warnings.simplefilter("ignore", MelWarning)
    consistency = (options.consistency, options.consistency_at, options.refinements)

    def stream(parts: Iterator[Tensor]) -> Iterator[Tensor]:
        return vocoder.stream(parts, options.steps, options.sampler, options.seed, *consistency)

    bar = "{desc}: {n:.0f} s of audio [{elapsed}, {rate_noinv_fmt}]"
    with tqdm(unit="s", disable=None, dynamic_ncols=True, file=sys.stderr, bar_format=bar) as progress:
        for number, job in enumerate(jobs, 1):
            progress.set_description(f"file {number} of {len(jobs)}")
            try:
                results.append(synthesize_streamed(vocoder, job, stream, options.chunk_seconds, progress.update))
            except (AudioError, InputError) as error:
                errors.append(str(error))
                _complain(str(error))


def _batch_samples(vocoder: Vocoder, options: argparse.Namespace) -> float:
    seconds = options.batch_seconds
    if seconds is None:
        seconds = _GPU_BATCH_SECONDS if vocoder.device.type == "cuda" else 0.0
    return float(seconds) * vocoder.sample_rate


def _batches(vocoder: Vocoder, jobs: list[FileJob], limit: float) -> Iterator[tuple[list[Task], list[str]]]:
    """Group jobs so that padded batches stay below ``limit`` samples; a batch has at least one.

    Yields:
        Tasks, and a line for each job since the last batch that cannot be one.
    """
    from diffwave.audio.checks import AudioError
    from diffwave.devices import out_of_memory

    batch: list[Task] = []
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
        if batch and longest * (len(batch) + 1) > limit:
            yield batch, failures
            batch, failures = [], []
        batch.append(task)
    if batch or failures:
        yield batch, failures


def prepare(vocoder: Vocoder, job: FileJob) -> Task:
    """Read an input and make sure of its mel; raises AudioError, InputError or OSError."""
    from diffwave.audio.file import read_audio
    from diffwave.rendering.mel_file import read_mel

    if job.is_mel:
        mel = read_mel(job.source)
        _check(vocoder.front_end.check, job, mel)
        return Task(job, mel, mel.shape[1] * vocoder.hop_length, [])
    audio = read_audio(job.source, vocoder.sample_rate)
    shortest = vocoder.config.mel.win_length
    if len(audio.wav) < shortest:
        expected = f"expected at least one frame, {shortest} samples at {vocoder.sample_rate} Hz"
        raise InputError(f"{job.source}: {expected}; got {len(audio.wav)}")
    mel = vocoder.mel(audio.wav)
    peak = float(audio.wav.abs().max())
    try:
        _check(vocoder.front_end.check_range, job, mel)
    except InputError:
        if peak <= 1:
            raise
        # Such as 16-bit numbers stored as floats; a list of mel values would not help.
        raise InputError(f"{job.source}: expected samples in [-1, 1]; got a peak of {peak:.3g}") from None
    conversion = audio.conversion()
    return Task(job, mel, len(audio.wav), [conversion] if conversion else [])


def _check(check: Callable[[Tensor], None], job: FileJob, mel: Tensor) -> None:
    try:
        check(mel.unsqueeze(0))
    except ValueError as error:
        raise InputError(f"{job.source}: {error}") from None


def _run_batch(vocoder: Vocoder, batch: list[Task], options: argparse.Namespace, results: list[Result]) -> list[str]:
    """Synthesize and write one batch, add to ``results``, and return what failed."""
    if not batch:
        return []
    begun = time.perf_counter()
    try:
        mels = [task.mel for task in batch]
        consistency = (options.consistency, options.consistency_at, options.refinements)
        wavs = vocoder.synthesize_batch(mels, options.steps, options.sampler, options.seed, *consistency)
        wavs = [wav.cpu() for wav in wavs]  # waits for the device
    except MemoryError as error:
        if len(batch) == 1:
            return [f"{batch[0].job.source}: {error}"]
        # The batch was split before it gave up: one of them is too long even alone, but perhaps not the others.
        return [line for task in batch for line in _run_batch(vocoder, [task], options, results)]
    speed = (time.perf_counter() - begun) / sum(task.samples for task in batch)
    failures = []
    for task, wav in zip(batch, wavs, strict=True):
        failure = _write(vocoder, task, wav, speed * task.samples, results)
        failures.extend([failure] if failure else [])
    return failures


def _write(vocoder: Vocoder, task: Task, wav: Tensor, wall_seconds: float, results: list[Result]) -> str:
    """Write one output, whole or not at all; returns what failed."""
    from diffwave.audio.checks import AudioError
    from diffwave.audio.file import write_wav

    job = task.job
    try:
        job.output.parent.mkdir(parents=True, exist_ok=True)
        clipped = write_wav(job.output, wav[: task.samples], vocoder.sample_rate)
    except OSError as error:
        return f"{job.source}: {job.output} cannot be written; {reason(error)}"
    except AudioError:
        return f"{job.source}: the model gave NaN or infinite samples; nothing is written"
    notes = [*task.notes, *([f"{clipped} samples clipped"] if clipped else [])]
    results.append(Result(job.source, job.output, task.samples / vocoder.sample_rate, wall_seconds, notes))
    return ""


def _report(settings: Settings | None, results: list[Result], errors: list[str], wants_json: bool) -> None:
    """Results on stdout: JSON if asked for, else a table."""
    if wants_json:
        print(as_json(settings, results, errors))
    elif results:
        print(as_table(results))
