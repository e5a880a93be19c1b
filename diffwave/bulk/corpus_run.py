"""A corpus, or a shard of it, from the plan to the index: what is done is skipped, what is lost is done again."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from diffwave.bulk.index import index, totals, write_scores
from diffwave.bulk.output_names import BulkError, output_name
from diffwave.bulk.output_scores import columns
from diffwave.bulk.recorded_settings import STATE, Request, claim, settings_digest
from diffwave.bulk.records import Record, forget, is_done, known, work_folder, write_shard
from diffwave.bulk.utterances import CorpusJob, Plan, Shard
from diffwave.bulk.worker import PROBE, Reader, Setup
from diffwave.corpus.lock import alone_in
from diffwave.files import write_text


class Pool(Protocol):
    """Workers: in this process, in others, or on a cluster."""

    def settings(self) -> dict[str, Any]:
        """Those that outputs will be made with."""

    def run(self, tasks: Iterable[tuple[CorpusJob, Record | None]]) -> Iterator[Record]:
        """Records as they are made."""

    def close(self) -> None:
        """End what was started."""


@dataclass(frozen=True)
class Order:
    """What is to be done.

    Args:
        plan: the whole corpus.
        shard: which part of it.
        request: how to speak.
        output: folder of the outputs.
        force: make outputs of other settings anew.
    """

    plan: Plan
    shard: Shard
    request: Request
    output: Path
    force: bool = False


class CorpusProgress(Protocol):
    """Is told what happens."""

    def say(self, line: str) -> None:
        """What the user should know before."""

    def begin(self, total: int, done: int) -> None:
        """So many utterances, of which so many are done."""

    def add(self, record: Record) -> None:
        """Another one is done, or has failed."""


def synthesize_corpus(
    order: Order, make_pool: Callable[[Setup], Pool], progress: CorpusProgress, read: Reader | None = None
) -> dict[str, Any]:
    """Synthesize a shard; whatever ends it, what was done by then is recorded.

    Args:
        order: what to do.
        make_pool: workers for a setup.
        progress: is told of every utterance.
        read: how inputs are read; as ``diffwave synthesize`` does if not given.

    Returns:
        ``corpus`` (what ``corpus.json`` holds), ``shard`` (totals of this shard), ``run`` (totals of what was done just
        now), ``skipped`` and ``unscored``.

    Raises:
        BulkError: if the folder holds outputs of something else, or the workers cannot work.
        ConfigError: if the shard is being worked on.
        ImportError: if Ray is asked for and missing.
    """
    output, shard = Path(order.output).absolute(), order.shard.name
    _refuse_strangers(order)
    work = work_folder(output, shard)
    work.mkdir(parents=True, exist_ok=True)
    with alone_in(work, "synthesis of this shard"):
        shutil.rmtree(work / "started", ignore_errors=True)
        token = uuid.uuid4().hex
        write_text(work / PROBE, token)
        pool = make_pool(Setup(order.request, output, shard, token, read))
        with contextlib.closing(pool):
            settings = pool.settings()
            if claim(output, settings, order.plan.root, order.force):
                forget(output)
            return _Run(order, output, settings).go(pool, progress)


class _Run:
    """A run over one shard, when its settings are known."""

    def __init__(self, order: Order, output: Path, settings: dict[str, Any]) -> None:
        self.order, self.output, self.settings = order, output, settings
        self.digest = settings_digest(settings)
        self.metrics = {metric.name for metric in columns(order.request.metrics)} if order.request.metrics else set()
        self.jobs: list[CorpusJob] = [job for job in order.plan.jobs if order.shard.holds(job.id)]

    def go(self, pool: Pool, progress: CorpusProgress) -> dict[str, Any]:
        tasks, done = self._divide(known(self.output, self.digest))
        # From here on the journals are of this run alone.
        write_shard(self.output, self.order.shard.name, done)
        progress.begin(len(self.jobs), len(self.jobs) - len(tasks))
        made: dict[str, Record] = {}
        try:
            if tasks:
                for record in pool.run(tasks):
                    made[record["id"]] = record
                    progress.add(record)
        finally:
            # Also after Ctrl-C. What has not been handed over by then is in the journals.
            own, corpus = self._record(made)
        if len(made) < len(tasks):
            raise BulkError(f"expected {len(tasks)} answers of the workers; got {len(made)} - the same command goes on")
        return {
            "corpus": corpus,
            "shard": totals(own),
            "run": totals(made.values()),
            "skipped": len(self.jobs) - len(tasks),
            "unscored": sum(record.get("score_status", "ok") != "ok" for record in own),
        }

    def _divide(self, records: dict[str, Record]) -> tuple[list[tuple[CorpusJob, Record | None]], list[Record]]:
        """What is left to do, with the records of outputs that only lack scores; and the records of what is done."""
        tasks: list[tuple[CorpusJob, Record | None]] = []
        done: list[Record] = []
        for job in self.jobs:
            record = records.get(job.id)
            if record is None or not is_done(self.output, record, job.source):
                tasks.append((job, None))
                continue
            done.append(record)
            if not self.metrics <= set(record.get("score_metrics", ())):
                tasks.append((job, {key: value for key, value in record.items() if not key.startswith("score")}))
        return tasks, done

    def _record(self, made: dict[str, Record]) -> tuple[list[Record], dict[str, Any]]:
        """Write the manifest of the shard, its scores, and the index over all shards."""
        records = known(self.output, self.digest) | made
        own = [records[job.id] for job in self.jobs if job.id in records]
        write_shard(self.output, self.order.shard.name, own)
        if self.metrics:
            path = self.output / f"scores-{self.order.shard.name}.csv"
            write_scores(path, own, self.order.request.metrics)
        return own, index(self.output, self.order.plan.jobs, self.settings)


def _refuse_strangers(order: Order) -> None:
    """A folder that this has never written to must not hold what it would replace."""
    if order.force or (order.output / STATE).is_dir():
        return
    for job in order.plan.jobs:
        path = order.output / output_name(job.id, order.request.file_format)
        if path.exists():
            raise BulkError(
                f"--output {order.output}: expected a new folder, or one of this command; {path.name} is there already "
                "(--force replaces it)"
            )
