"""``diffwave synthesize``: recordings (copy synthesis) or mels in, WAV files out."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffwave.cli.plan import InputError, Job, plan_jobs

if TYPE_CHECKING:
    from torch import Tensor

    from diffwave.vocoder import Vocoder

SIDECAR = "synthesis.json"
_GPU_BATCH_SECONDS = 120.0


@dataclass(frozen=True)
class Result:
    """One output that was written."""

    input: str
    output: str
    audio_seconds: float
    wall_seconds: float
    steps: int
    notes: list[str] = field(default_factory=list)

    @property
    def real_time_factor(self) -> float:
        """Wall time per second of audio; of a batch, its share."""
        return self.wall_seconds / self.audio_seconds


@dataclass(frozen=True, eq=False)
class Task:
    """A job with its mel, ready to be synthesized."""

    job: Job
    mel: Tensor  # [M, F]
    samples: int  # length of the output
    notes: list[str]


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = argparse.ArgumentParser(prog="diffwave synthesize", description=__doc__)
    result.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help="audio, .npy/.pt mels, or folders of them")
    result.add_argument("--output", "-o", type=Path, required=True, metavar="DIR", help="folder for the WAV files")
    result.add_argument("--checkpoint", default="default", metavar="DIR", help="checkpoint folder (default: the packaged one)")
    result.add_argument("--steps", type=_steps, default=None, metavar="N|full", help="network calls (default: the checkpoint's)")
    result.add_argument("--sampler", choices=("ddpm", "ddim"), default=None, help="default: the checkpoint's")
    result.add_argument("--consistency", type=_count, default=None, metavar="N", help="mel-consistency iterations on the result, 0 for none (default: the checkpoint's)")
    result.add_argument("--device", default="auto", metavar="auto|cpu|cuda", help="default: auto")
    result.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    result.add_argument("--batch-seconds", type=float, default=None, metavar="S", help="audio synthesized at once (default: one file at a time on a CPU, 120 s on a GPU)")
    result.add_argument("--force", action="store_true", help="replace outputs that exist")
    result.add_argument("--json", action="store_true", help="print the results as JSON on stdout")
    return result


def _steps(text: str) -> int | str:
    if text == "full":
        return text
    if text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a positive number or 'full'; got {text!r}")


def _count(text: str) -> int:
    if text.isdigit():
        return int(text)
    raise argparse.ArgumentTypeError(f"expected 0 or a positive number; got {text!r}")


def main(arguments: list[str]) -> int:
    """Synthesize every input that can be; exit code 2 if any could not."""
    options = parser().parse_args(arguments)
    jobs, errors = plan_jobs(options.inputs, options.output, options.force)
    for line in errors:
        _complain(line)
    _make_folder(options.output)
    results: list[Result] = []
    if jobs:
        from diffwave.vocoder import Vocoder

        vocoder = Vocoder.from_pretrained(options.checkpoint, options.device)
        _check_sampling(vocoder, options)
        results = _synthesize_all(vocoder, jobs, options, errors)
        _write_sidecar(options, results)
    _report(results, errors, options.json)
    return 2 if errors else 0


def _check_sampling(vocoder: Vocoder, options: argparse.Namespace) -> None:
    """An impossible schedule is the same for every file: say it once, before any work."""
    try:
        vocoder.sampler(options.steps, options.sampler)
    except ValueError as error:
        raise InputError(str(error)) from None


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--output {folder}: expected a folder that can be written; {error.strerror}") from None


def _complain(line: str) -> None:
    from tqdm import tqdm

    tqdm.write(f"diffwave synthesize: {' '.join(line.split())}", file=sys.stderr)


def _synthesize_all(
    vocoder: Vocoder, jobs: list[Job], options: argparse.Namespace, errors: list[str]
) -> list[Result]:
    """Run every job; a job that fails adds a line to ``errors`` and the others go on."""
    from tqdm import tqdm

    results = []
    with tqdm(total=len(jobs), unit="file", disable=None, dynamic_ncols=True, file=sys.stderr) as progress:
        for batch, failures in _batches(vocoder, jobs, _batch_samples(vocoder, options)):
            failed = list(failures)
            done, more = _run_batch(vocoder, batch, options)
            results.extend(done)
            failed.extend(more)
            for line in failed:
                errors.append(line)
                _complain(line)
            progress.update(len(done) + len(failed))
    return results


def _batch_samples(vocoder: Vocoder, options: argparse.Namespace) -> float:
    seconds = options.batch_seconds
    if seconds is None:
        seconds = _GPU_BATCH_SECONDS if vocoder.device.type == "cuda" else 0.0
    return float(seconds) * vocoder.sample_rate


def _batches(
    vocoder: Vocoder, jobs: list[Job], limit: float
) -> Iterator[tuple[list[Task], list[str]]]:
    """Group jobs so that padded batches stay below ``limit`` samples; a batch has at least one."""
    batch: list[Task] = []
    failures: list[str] = []
    for job in jobs:
        try:
            task = _prepare(vocoder, job)
        except ValueError as error:
            failures.append(str(error))
            continue
        longest = max(t.samples for t in [*batch, task])
        if batch and longest * (len(batch) + 1) > limit:
            yield batch, failures
            batch, failures = [], []
        batch.append(task)
    if batch or failures:
        yield batch, failures


def _prepare(vocoder: Vocoder, job: Job) -> Task:
    """Read an input and make sure of its mel; raises ValueError with one line."""
    from diffwave.audio import AudioError, read_audio
    from diffwave.cli.mels import read_mel

    if job.is_mel:
        mel = read_mel(job.source)
        _check_mel(vocoder, job, mel)
        return Task(job, mel, mel.shape[1] * vocoder.hop_length, [])
    audio = read_audio(job.source, vocoder.sample_rate)
    shortest = vocoder.config.mel.win_length
    if len(audio.wav) < shortest:
        raise AudioError(
            f"{job.source}: expected at least one frame, {shortest} samples at {vocoder.sample_rate} Hz; "
            f"got {len(audio.wav)}"
        )
    mel = vocoder.mel(audio.wav)
    # A loud file (floats far beyond 1, or 24-bit data written as floats) gives a mel no network has seen.
    _check_mel(vocoder, job, mel)
    conversion = audio.conversion()
    return Task(job, mel, len(audio.wav), [conversion] if conversion else [])


def _check_mel(vocoder: Vocoder, job: Job, mel: Tensor) -> None:
    try:
        vocoder.front_end.check(mel.unsqueeze(0).to(vocoder.device))
    except ValueError as error:
        raise InputError(f"{job.source}: {error}") from None


def _run_batch(
    vocoder: Vocoder, batch: list[Task], options: argparse.Namespace
) -> tuple[list[Result], list[str]]:
    """Synthesize and write one batch; returns what was written and what failed."""
    if not batch:
        return [], []
    begun = time.perf_counter()
    wavs = vocoder.synthesize_batch(
        [task.mel for task in batch], options.steps, options.sampler, options.seed, options.consistency
    )
    wavs = [wav.cpu() for wav in wavs]
    elapsed = time.perf_counter() - begun
    total = sum(task.samples for task in batch)
    results, failures = [], []
    for task, wav in zip(batch, wavs, strict=True):
        try:
            notes = task.notes + _write(task, wav, vocoder.sample_rate)
        except OSError as error:
            failures.append(f"{task.job.source}: {task.job.output} cannot be written; {error.strerror or error}")
            continue
        results.append(
            Result(
                str(task.job.source),
                str(task.job.output),
                task.samples / vocoder.sample_rate,
                elapsed * task.samples / total,
                len(vocoder.sampler(options.steps, options.sampler)),
                notes,
            )
        )
    return results, failures


def _write(task: Task, wav: Tensor, sample_rate: int) -> list[str]:
    """Write one output, whole or not at all; returns notes for the user."""
    from diffwave.audio import write_wav

    task.job.output.parent.mkdir(parents=True, exist_ok=True)
    clipped = write_wav(task.job.output, wav[: task.samples], sample_rate)
    return [f"{clipped} samples clipped"] if clipped else []


def _write_sidecar(options: argparse.Namespace, results: list[Result]) -> None:
    """Record how the outputs of a folder were made, beside what earlier calls recorded."""
    from diffwave.files import write_text

    path = options.output / SIDECAR
    rows: dict[str, Any] = {}
    if path.is_file():
        try:
            rows = {row["output"]: row for row in json.loads(path.read_text(encoding="utf-8"))["outputs"]}
        except (OSError, ValueError, KeyError, TypeError):
            rows = {}
    for result in results:
        name = str(Path(result.output).relative_to(options.output))
        rows[name] = {
            **_row(result),
            "output": name,
            "checkpoint": str(options.checkpoint),
            "sampler": options.sampler,
            "seed": options.seed,
            "consistency": options.consistency,
        }
    try:
        write_text(path, json.dumps({"outputs": [rows[name] for name in sorted(rows)]}, indent=2) + "\n")
    except OSError as error:
        raise InputError(f"{path} cannot be written; {error.strerror}") from None


def _row(result: Result) -> dict[str, Any]:
    return {**asdict(result), "real_time_factor": result.real_time_factor}


def _report(results: list[Result], errors: list[str], as_json: bool) -> None:
    """The table for people on stderr, or the JSON for machines on stdout."""
    audio = sum(result.audio_seconds for result in results)
    wall = sum(result.wall_seconds for result in results)
    factor = wall / audio if audio else None
    if as_json:
        document = {
            "outputs": [_row(result) for result in results],
            "errors": errors,
            "audio_seconds": audio,
            "wall_seconds": wall,
            "real_time_factor": factor,
        }
        print(json.dumps(document, indent=2))
        return
    from diffwave.cli.tables import table

    rows = [
        [result.output, f"{result.audio_seconds:.2f}", f"{result.wall_seconds:.2f}", f"{result.real_time_factor:.3f}", "; ".join(result.notes)]
        for result in results
    ]
    if results:
        rows.append([f"{len(results)} files", f"{audio:.2f}", f"{wall:.2f}", f"{factor:.3f}", ""])
    print(table(["output", "audio s", "wall s", "real-time factor", "notes"], rows))
