"""``diffwave synthesize-corpus``: a manifest or folder in, a folder of audio out, by many workers."""

from __future__ import annotations

import argparse
import json
import re
import sys
from typing import TYPE_CHECKING, Any

from diffwave.cli.arguments import add_backend, add_checkpoint, add_sampling, options_of
from diffwave.errors import InputError, one_line
from diffwave.files import try_out
from diffwave.terminal.arguments import CommandParser, count_argument, device_argument, path_argument, seconds_argument
from diffwave.terminal.tables import table

if TYPE_CHECKING:
    from diffwave.bulk.corpus_run import Pool
    from diffwave.bulk.recorded_settings import Request
    from diffwave.bulk.records import Record
    from diffwave.bulk.utterances import Plan
    from diffwave.bulk.worker import Setup

_MOST_LINES = 20
_DESCRIPTION = """Synthesize a corpus: copy synthesis of recordings, or mels to speech, with workers of one thread each.

The bytes of an output depend on its input and the settings alone: not on workers, shards, machines (of one kind of
processor), Ray, or how often the command was stopped. Given again, it goes on where it was."""
_EPILOG = """Exit code: 0 if all is well, 1 if some outputs have not all their scores, 2 if some utterances failed or
nothing could be done. With --ray-address or shards on several machines, the manifest, its audio, the checkpoint and DIR
must lie on storage that all of them share, under the same paths. docs/corpus.md tells more."""


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = CommandParser(prog="diffwave synthesize-corpus", description=_DESCRIPTION, epilog=_EPILOG)
    add = result.add_argument
    what = "JSON lines with audio_filepath or mel_filepath and perhaps id and speaker; or a folder of audio and mels"
    add("manifest", type=path_argument, metavar="MANIFEST", help=what)
    add("--output", "-o", type=path_argument, required=True, metavar="DIR", help="folder for audio and records")
    root = "what ids are relative to where the manifest gives none (default: its folder, or the one that holds all)"
    add("--root", type=path_argument, metavar="DIR", help=root)
    add("--format", choices=("wav", "flac"), default="wav", help="of the outputs, 16 bit (default: wav)")
    add("--shard", type=_shard_argument, default=(1, 1), metavar="I/N", help="do part I of N, counted from 1")
    workers = "default: one for each GPU, or for each core without a GPU; 0: in this process"
    add("--workers", type=count_argument, metavar="N", help=workers)
    ray = "work on a Ray cluster: auto, HOST:PORT, or local for one of this machine (pip install diffwave-vocoder[ray])"
    add("--ray-address", metavar="ADDRESS", help=ray)
    scores = "also score outputs against their recordings: default, full, or metrics separated by commas"
    add("--evaluate", nargs="?", const="default", metavar="METRICS", help=scores)
    add("--timeout", type=seconds_argument, default=120.0, metavar="S", help="give a metric up after so long (120)")
    add_checkpoint(result)
    add_sampling(result)
    add("--seed", type=int, default=0, help="of the noise, the same for every utterance (default: 0)")
    add("--device", type=device_argument, default="auto", metavar="auto|cpu|cuda", help="default: auto")
    add_backend(result)
    add("--force", action="store_true", help="make outputs of other settings anew, and replace files not recorded")
    add("--json", action="store_true", help="print the results as JSON")
    return result


def main(arguments: list[str]) -> int:
    """Synthesize what is left to do."""
    options = parser().parse_args(arguments)
    from diffwave.bulk.corpus_run import Order, synthesize_corpus
    from diffwave.bulk.utterances import Shard, read_plan

    plan = read_plan(options.manifest, options.output, options.format, options.root)
    request = _request(options, plan)
    if options.ray_address is not None:
        _check_ray(options)
    try_out(options.output)
    progress = _Progress()
    order = Order(plan, Shard(*options.shard), request, options.output, options.force)
    try:
        result = synthesize_corpus(order, lambda setup: _pool(options, setup), progress)
    finally:
        progress.close()
    _show(result, options)
    return 2 if result["shard"]["failed"] else 1 if result["unscored"] else 0


def _shard_argument(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    index, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= index <= count:
        raise argparse.ArgumentTypeError(f"expected I/N with I from 1 to N; got {text!r}")
    return index, count


def _request(options: argparse.Namespace, plan: Plan) -> Request:
    """What was asked for; a misspelt metric or checkpoint is told before any worker starts."""
    from diffwave.bulk.recorded_settings import Request
    from diffwave.checkpoint.folder import checkpoint_folder, packaged_checkpoints

    folder = checkpoint_folder(options.checkpoint)
    metrics = _metrics(options.evaluate, plan) if options.evaluate else ()
    return Request(
        # By name, where it has one: other machines have the package elsewhere.
        checkpoint=options.checkpoint if options.checkpoint in packaged_checkpoints() else str(folder.resolve()),
        options=options_of(options),
        device=options.device,
        backend=options.backend,
        precision=options.precision,
        file_format=options.format,
        metrics=metrics,
        timeout=options.timeout,
    )


def _metrics(text: str, plan: Plan) -> tuple[str, ...]:
    from diffwave.bulk.output_scores import columns

    found = tuple(metric.name for metric in columns(tuple(n.strip() for n in text.split(",") if n.strip())))
    if not found:
        raise InputError(f"--evaluate: expected metrics that compare audio; got {text}")
    if not any(job.reference for job in plan.jobs):
        raise InputError("--evaluate: expected recordings to compare with; the manifest has mels alone")
    return found


def _check_ray(options: argparse.Namespace) -> None:
    from diffwave.bulk.cluster import import_ray

    if not re.fullmatch(r"auto|local|[^\s:/]+:\d{1,5}", options.ray_address):
        raise InputError(f"--ray-address: expected auto, local or HOST:PORT; got {options.ray_address!r}")
    if options.workers == 0:
        raise InputError("--workers 0 works in this process; expected one or more with --ray-address")
    if options.device.startswith("cuda:"):
        raise InputError(
            f"--device {options.device}: expected auto, cpu or cuda with --ray-address, which picks the GPU"
        )
    import_ray()


def _pool(options: argparse.Namespace, setup: Setup) -> Pool:
    if options.ray_address is not None:
        from diffwave.bulk.cluster import Cluster

        return Cluster(setup, options.ray_address, options.workers)
    from diffwave.bulk.local_workers import Here, Processes

    return Here(setup) if options.workers == 0 else Processes(setup, options.workers)


class _Progress:
    """A bar on stderr, and a line for each of the first failures."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._failures = 0

    def begin(self, total: int, done: int) -> None:
        from tqdm import tqdm

        self._bar = tqdm(
            total=total,
            initial=done,
            unit="utterance",
            disable=None,
            dynamic_ncols=True,
            file=sys.stderr,
            smoothing=0.05,
        )

    def add(self, record: Record) -> None:
        self._bar.update()
        if "error" in record:
            self._failures += 1
            if self._failures <= _MOST_LINES:
                _complain(f"{record['id']}: {record['error']}")
            elif self._failures == _MOST_LINES + 1:
                _complain("more failures are in the shard's manifest")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _complain(line: str) -> None:
    from tqdm import tqdm

    # Through tqdm, which moves a progress bar out of the way.
    tqdm.write(f"diffwave synthesize-corpus: {one_line(line)}", file=sys.stderr)


def _show(result: dict[str, Any], options: argparse.Namespace) -> None:
    """Table or JSON on stdout; what the user should know of on stderr."""
    corpus = result["corpus"]
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        rows = [_cells("this run", result["run"], result["skipped"])]
        if options.shard != (1, 1):
            rows.append(_cells(f"shard {options.shard[0]} of {options.shard[1]}", result["shard"]))
        print(
            table(
                ["", "done", "skipped", "failed", "hours", "worker hours", "real-time factor"],
                [*rows, _cells("corpus", corpus)],
            )
        )
        if "scores" in corpus:
            print()
            print(table(["metric", "mean", "95 % interval", "n"], _score_rows(corpus["scores"]["metrics"])))
    if corpus["missing"]:
        _complain(f"{corpus['missing']} of {corpus['utterances']} utterances are not done yet")
    if result["run"]["begun_again"]:
        _complain(f"{result['run']['begun_again']} utterances were begun again, since their worker was lost")
    if result["unscored"]:
        _complain(f"{result['unscored']} outputs have not all their scores; see scores-*.csv")


def _cells(name: str, totals: dict[str, Any], skipped: int | None = None) -> list[str]:
    factor = totals["real_time_factor"]
    hours = [f"{totals[key]:.3f}" for key in ("hours", "worker_hours")]
    counts = [str(totals["done"]), "" if skipped is None else str(skipped), str(totals["failed"])]
    return [name, *counts, *hours, "" if factor is None else f"{factor:.3f}"]


def _score_rows(scores: dict[str, Any]) -> list[list[str]]:
    rows = []
    for score in scores.values():
        mean, low, high = score["mean"], score["low"], score["high"]
        interval = "" if low is None else f"[{low:.3f}, {high:.3f}]"
        rows.append([score["label"], "" if mean is None else f"{mean:.3f}", interval, str(score["n"])])
    return rows
