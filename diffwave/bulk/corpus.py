"""``diffwave synthesize-corpus`` from the wishes of a user to what became of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffwave.bulk.corpus_run import CorpusProgress, Order, Pool, synthesize_corpus
from diffwave.bulk.output_scores import columns
from diffwave.bulk.recorded_settings import Request
from diffwave.bulk.utterances import Plan, Shard, read_plan
from diffwave.config import AS_TRAINED, MelConvention, SynthesisOptions, mel_convention
from diffwave.config.conventions import MEL_SUFFIXES
from diffwave.errors import InputError
from diffwave.files import try_out

if TYPE_CHECKING:
    from diffwave.bulk.worker import Setup


@dataclass(frozen=True)
class CorpusOptions:
    """What is to be spoken, how, and by whom.

    Args:
        manifest: JSON lines, or a folder of audio and mels.
        output: folder for audio and records.
        root: what ids are relative to where the manifest gives none.
        file_format: ``wav`` or ``flac``.
        shard: which part of how many, counted from 1.
        workers: one for each GPU, or core, if None; 0 is this process.
        ray_address: of a Ray cluster; None for workers of this machine.
        evaluate: metrics separated by commas, or a set of them; nothing is scored if None.
        timeout: seconds after which a metric is given up.
        checkpoint: name or folder.
        options: of synthesis.
        device, backend, precision: see :class:`~diffwave.vocoder.Vocoder`.
        force: make outputs of other settings anew.
        mel: convention of the mels, and rate of the outputs; the checkpoint's if None.
    """

    manifest: Path
    output: Path
    root: Path | None = None
    file_format: str = "wav"
    shard: tuple[int, int] = (1, 1)
    workers: int | None = None
    ray_address: str | None = None
    evaluate: str | None = None
    timeout: float = 120.0
    checkpoint: str = "default"
    options: SynthesisOptions = AS_TRAINED
    device: str = "auto"
    backend: str = "auto"
    precision: str = "auto"
    force: bool = False
    mel: MelConvention | None = None


def run_corpus(asked: CorpusOptions, progress: CorpusProgress) -> dict[str, Any]:
    """Synthesize what is left to do; see :func:`~diffwave.bulk.corpus_run.synthesize_corpus` for what comes back.

    Raises:
        UserError: for a manifest, checkpoint, metric, Ray address or output folder that cannot be used.
        ImportError: if Ray is asked for and missing.
    """
    plan = read_plan(asked.manifest, asked.output, asked.file_format, asked.root)
    request = _request(asked, plan)
    if asked.ray_address is not None:
        _check_ray(asked.ray_address, asked)
    try_out(asked.output)
    if asked.mel is None and any(_says_nothing(job.source) for job in plan.jobs):
        progress.say(_assumption(asked.checkpoint))
    order = Order(plan, Shard(*asked.shard), request, asked.output, asked.force)
    return synthesize_corpus(order, lambda setup: _pool(asked, setup), progress)


def _request(asked: CorpusOptions, plan: Plan) -> Request:
    """What was asked for; a misspelt metric or checkpoint is told before any worker starts."""
    from diffwave.checkpoint.folder import checkpoint_folder, packaged_checkpoints

    folder = checkpoint_folder(asked.checkpoint)
    return Request(
        # By name, where it has one: other machines have the package elsewhere.
        checkpoint=asked.checkpoint if asked.checkpoint in packaged_checkpoints() else str(folder.resolve()),
        options=asked.options,
        device=asked.device,
        backend=asked.backend,
        precision=asked.precision,
        file_format=asked.file_format,
        metrics=_metrics(asked.evaluate, plan) if asked.evaluate else (),
        timeout=asked.timeout,
        mel=asked.mel,
    )


def _says_nothing(source: Path) -> bool:
    from diffwave.mel.mel_file import names_convention

    return source.suffix.lower() in MEL_SUFFIXES and not names_convention(source)


def _assumption(checkpoint: str) -> str:
    from diffwave.checkpoint.folder import checkpoint_folder, load_config

    config, _ = load_config(checkpoint_folder(checkpoint))
    return mel_convention(config.mel).assumption()


def _metrics(text: str, plan: Plan) -> tuple[str, ...]:
    found = tuple(metric.name for metric in columns(tuple(n.strip() for n in text.split(",") if n.strip())))
    if not found:
        raise InputError(f"--evaluate: expected metrics that compare audio; got {text}")
    if not any(job.reference for job in plan.jobs):
        raise InputError("--evaluate: expected recordings to compare with; the manifest has mels alone")
    return found


def _check_ray(address: str, asked: CorpusOptions) -> None:
    from diffwave.bulk.cluster import import_ray

    if not re.fullmatch(r"auto|local|[^\s:/]+:\d{1,5}", address):
        raise InputError(f"--ray-address: expected auto, local or HOST:PORT; got {address!r}")
    if asked.workers == 0:
        raise InputError("--workers 0 works in this process; expected one or more with --ray-address")
    if asked.device.startswith("cuda:"):
        raise InputError(f"--device {asked.device}: expected auto, cpu or cuda with --ray-address, which picks the GPU")
    import_ray()


def _pool(asked: CorpusOptions, setup: Setup) -> Pool:
    if asked.ray_address is not None:
        from diffwave.bulk.cluster import Cluster

        return Cluster(setup, asked.ray_address, asked.workers)
    from diffwave.bulk.local_workers import Here, LocalProcesses

    return Here(setup) if asked.workers == 0 else LocalProcesses(setup, asked.workers)
