"""Files in, WAV files out, and the record beside them: all that ``diffwave synthesize`` does."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffwave.config import AS_TRAINED, MelConvention, SynthesisOptions
from diffwave.errors import InputError
from diffwave.files import try_out
from diffwave.rendering.plan import FileJob, plan_jobs

if TYPE_CHECKING:
    from diffwave.evaluation.record import Result
    from diffwave.vocoder import Vocoder

_GPU_BATCH_SECONDS = 120.0


@dataclass(frozen=True)
class RenderOrder:
    """What is to be synthesized, and how.

    Args:
        inputs: files and folders.
        output: folder for the WAV files.
        options: of synthesis.
        checkpoint: name or folder of a checkpoint, or folder of an ONNX export.
        device, backend, precision: see :class:`~diffwave.vocoder.Vocoder`.
        batch_seconds: audio synthesized at once; one file at a time on a CPU and 120 s on a GPU if None.
        chunk_seconds: read, synthesize and write one file after the other in chunks of so much audio, if not None.
        force: whether outputs that exist are replaced.
        mel: convention of the mels, and rate of the outputs; the checkpoint's if None, but for files that carry theirs.
    """

    inputs: list[Path]
    output: Path
    options: SynthesisOptions = AS_TRAINED
    checkpoint: str = "default"
    device: str = "auto"
    backend: str = "auto"
    precision: str = "auto"
    batch_seconds: float | None = None
    chunk_seconds: float | None = None
    force: bool = False
    mel: MelConvention | None = None


@dataclass(eq=False)
class Rendered:
    """What became of an order.

    Args:
        how: what the outputs depend on; None if there was nothing to synthesize.
        results: outputs that were written.
        errors: a line for each input that could not be used, and for a record that could not be written.
    """

    how: dict[str, Any] | None = None
    results: list[Result] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def render(order: RenderOrder, complain: Callable[[str], None]) -> Rendered:
    """Synthesize every input that can be.

    Args:
        order: what to do.
        complain: is told every line of ``errors`` when it is known, and what mels are read as if nobody said it.

    Raises:
        UserError: if the model cannot be used so, or the output folder not be written.
        KeyboardInterrupt: after what was written until then is recorded.
    """
    # Imported late, as below: what is wrong with the inputs is told before PyTorch is there.
    jobs, refused = plan_jobs(order.inputs, order.output, order.force)
    done = Rendered()
    for line in refused:
        _fail(line, done, complain)
    if not jobs:
        return done
    from diffwave.evaluation.record import record
    from diffwave.mel.mel_file import names_convention
    from diffwave.mel.spectrogram import MelWarning
    from diffwave.rendering.opening import open_vocoder

    vocoder = open_vocoder(order.checkpoint, order.device, order.backend, order.precision, order.mel)
    try:
        vocoder = vocoder.with_options(order.options)
    except ValueError as error:
        raise InputError(str(error)) from None
    done.how = _how(vocoder, order.checkpoint)
    try_out(order.output)
    if not vocoder.named and any(job.is_mel and not names_convention(job.source) for job in jobs):
        complain(vocoder.convention.assumption())
    # Mels from files were refused if they looked strange; recordings may.
    warnings.simplefilter("ignore", MelWarning)
    try:
        run = _in_batches if order.chunk_seconds is None else _in_chunks
        run(vocoder, jobs, order, done, complain)
    finally:
        # Also after Ctrl-C: what was written by then stays, and so does the record of it.
        failure = record(order.output, done.how, done.results) if done.results else ""
    if failure:
        _fail(failure, done, complain)
    return done


def _fail(line: str, done: Rendered, complain: Callable[[str], None]) -> None:
    done.errors.append(line)
    complain(line)


def _how(vocoder: Vocoder, checkpoint: str) -> dict[str, Any]:
    # The name alone: where the folder lies on this machine means nothing elsewhere.
    name = Path(checkpoint).expanduser().resolve().name
    return {"checkpoint": name, **vocoder.record(vocoder.resolve())}


def _in_batches(
    vocoder: Vocoder, jobs: list[FileJob], order: RenderOrder, done: Rendered, complain: Callable[[str], None]
) -> None:
    """Run every job; one that fails is told of and the others go on."""
    from tqdm import tqdm

    from diffwave.rendering.batches import batches, speak_batch

    seconds = order.batch_seconds
    if seconds is None:
        seconds = _GPU_BATCH_SECONDS if vocoder.device.type == "cuda" else 0.0
    with tqdm(total=len(jobs), unit="file", disable=None, dynamic_ncols=True, file=sys.stderr) as progress:
        for batch, unusable in batches(vocoder, jobs, seconds):
            for line in [*unusable, *speak_batch(batch, done.results)]:
                _fail(line, done, complain)
            progress.update(len(batch) + len(unusable))


def _in_chunks(
    vocoder: Vocoder, jobs: list[FileJob], order: RenderOrder, done: Rendered, complain: Callable[[str], None]
) -> None:
    """The same one file after the other, in memory that does not grow."""
    from tqdm import tqdm

    from diffwave.audio.checks import AudioError
    from diffwave.rendering.streamed import synthesize_streamed

    assert order.chunk_seconds is not None
    bar = "{desc}: {n:.0f} s of audio [{elapsed}, {rate_noinv_fmt}]"
    with tqdm(unit="s", disable=None, dynamic_ncols=True, file=sys.stderr, bar_format=bar) as progress:
        for number, job in enumerate(jobs, 1):
            progress.set_description(f"file {number} of {len(jobs)}")
            try:
                done.results.append(synthesize_streamed(vocoder, job, order.chunk_seconds, progress.update))
            except (AudioError, InputError) as error:
                _fail(str(error), done, complain)
