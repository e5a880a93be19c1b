"""Workers on a Ray cluster: actors of Ray Data, one utterance at a time each.

Ray starts anew what is lost with a process or a machine. Its own messages go to a file; nothing is sent to anybody.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import re
import socket
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from diffwave.bulk.output_names import BulkError
from diffwave.bulk.recorded_settings import STATE
from diffwave.bulk.records import Record
from diffwave.bulk.utterances import CorpusJob
from diffwave.bulk.worker import CorpusSpeaker, Setup

AUTO, LOCAL = "auto", "local"
LOG = "ray.log"
# One thread each; jobs and records are short texts.
_OBJECT_STORE = 128 << 20
_MOST_ROWS = 16
_PATIENCE = 10.0  # s
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "OMP_NUM_THREADS": "1",
}


class Cluster:
    """Actors on the machines of a Ray cluster.

    Args:
        setup: for all of them.
        address: ``auto``, ``HOST:PORT``, or ``local`` for a cluster of this machine alone.
        count: actors; as many as there are GPUs, or CPUs without a GPU, if not given. More than there are GPUs share
            them.

    Raises:
        ImportError: if Ray is not installed.
        BulkError: if there is no such cluster.
    """

    def __init__(self, setup: Setup, address: str, count: int | None) -> None:
        os.environ.update(_QUIET)  # before Ray is imported
        self.ray = import_ray()
        self._quiet = contextlib.ExitStack()
        self._quiet.enter_context(_said_to(setup.output / STATE / LOG))
        try:
            self._connect(address, count)
        except Exception as error:  # a number of kinds, and none of Ray's own
            self._quiet.close()
            raise BulkError(f"--ray-address {address}: expected a Ray cluster; {_said(error)}") from None
        resources = self.ray.cluster_resources()
        gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
        use_gpus = gpus > 0 and setup.request.device != "cpu"
        self.count = count or (gpus if use_gpus else max(cpus, 1))
        self.needs = {
            "num_cpus": 0 if use_gpus and cpus < self.count else 1,
            "num_gpus": min(gpus / self.count, 1) if use_gpus else 0,
        }
        # An actor sees its own GPUs alone; one without sees none.
        device = "cuda" if use_gpus else setup.request.device if setup.request.device == "cuda" else "cpu"
        self.setup = replace(setup, request=replace(setup.request, device=device))
        self._expected: dict[str, Any] = {}
        self._data: Any = None

    def settings(self) -> dict[str, Any]:
        """Those that outputs will be made with: a worker's.

        Raises:
            BulkError: if it cannot work with what was asked for.
        """
        with _as_bulk_error():
            asked = self.ray.remote(_settings).options(**self.needs, max_retries=3).remote(self.setup)
            self._data = _import_data()  # takes a second or two, meanwhile
            answer = self.ray.get(asked)
        if "fatal" in answer:
            raise BulkError(answer["fatal"])
        self._expected = answer["settings"]
        return self._expected

    def run(self, tasks: Iterable[tuple[CorpusJob, Record | None]]) -> Iterator[Record]:
        """Records as they are made.

        Raises:
            BulkError: if a worker makes other settings of the same request, or the cluster is lost.
        """
        rows = [{"task": json.dumps([_document(job), record])} for job, record in tasks]
        # What is lost with a machine is a block: few utterances in each, and enough blocks for all to end together.
        per_block = max(1, min(_MOST_ROWS, len(rows) // (8 * self.count)))
        dataset = self._data.from_items(rows, override_num_blocks=-(-len(rows) // per_block)).map(
            _Actor,
            fn_constructor_args=(self.setup, self._expected),
            concurrency=min(self.count, len(rows)),
            **self.needs,
        )
        with _as_bulk_error():
            for row in dataset.iter_rows():
                answer = json.loads(row["answer"])
                if "fatal" in answer:
                    raise BulkError(answer["fatal"])
                yield answer

    def close(self) -> None:
        """Leave the cluster; one of this machine alone ends."""
        self.ray.shutdown()
        self._quiet.close()

    def _connect(self, address: str, count: int | None) -> None:
        quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
        if address == LOCAL:
            own = {"num_cpus": count, "include_dashboard": False, "object_store_memory": _OBJECT_STORE}
            self.ray.init(address=LOCAL, **own, **quiet)
            return
        if address != AUTO:
            # Ray itself would try for minutes.
            host, port = address.rsplit(":", 1)
            socket.create_connection((host, int(port)), _PATIENCE).close()
        self.ray.init(address=address, **quiet)


class _Actor:
    """A worker; it loads its model when the first utterance comes, so that what goes wrong can be told."""

    def __init__(self, setup: Setup, expected: dict[str, Any]) -> None:
        self.setup, self.expected = setup, expected
        self.speaker: CorpusSpeaker | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        document, record = json.loads(row["task"])
        try:
            self.speaker = self.speaker or CorpusSpeaker(self.setup, self.expected)
        except (ValueError, ImportError, OSError, MemoryError) as error:
            return {"answer": json.dumps({"fatal": str(error)})}
        return {"answer": json.dumps(self.speaker(_job(document), record))}


@contextlib.contextmanager
def _said_to(path: Path) -> Iterator[None]:
    """Write to a file what Ray says: on stdout of lost workers, and on stderr, past Python, of much else."""
    with path.open("a", encoding="utf-8", buffering=1) as log, contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(log))
        stderr, real = sys.stderr, sys.__stderr__
        stderr.flush()
        saved = os.dup(2)
        stack.callback(os.close, saved)
        if real is not None and stderr is real:
            own = stack.enter_context(os.fdopen(os.dup(saved), "w", encoding=real.encoding, buffering=1))
            own.reconfigure(errors="backslashreplace")
            stack.enter_context(contextlib.redirect_stderr(own))
        os.dup2(log.fileno(), 2)
        stack.callback(os.dup2, saved, 2)
        yield


def _settings(setup: Setup) -> dict[str, Any]:
    try:
        return {"settings": CorpusSpeaker(setup).settings}
    except (ValueError, ImportError, OSError, MemoryError) as error:
        return {"fatal": str(error)}


def import_ray() -> Any:
    """Import Ray, or say in one line what to install.

    Raises:
        ImportError: if it, or what Ray Data needs, is missing.
    """
    try:
        ray = importlib.import_module("ray")
        importlib.import_module("pyarrow")
    except ImportError as error:
        raise ImportError(
            f"--ray-address needs Ray Data, which cannot be imported ({error}): pip install 'diffwave-vocoder[ray]'"
        ) from None
    return ray


def _import_data() -> Any:
    data = importlib.import_module("ray.data")
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    data.DataContext.get_current().enable_progress_bars = False
    return data


@contextlib.contextmanager
def _as_bulk_error() -> Iterator[None]:
    """What Ray raises when it gives up, in one line."""
    exceptions = importlib.import_module("ray.exceptions")
    try:
        yield
    except exceptions.RayError as error:
        raise BulkError(
            f"the Ray cluster gave up: {_said(error)} - what is done stays done, the same command goes on"
        ) from None


def _said(error: Exception) -> str:
    """What Ray has to say, in one line: the last of a traceback, the first of anything else."""
    lines = [line for line in re.sub(r"\x1b\[\d*m", "", str(error)).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1].strip() if any(line.startswith("Traceback") or "(pid=" in line for line in lines) else lines[0]


def _document(job: CorpusJob) -> dict[str, Any]:
    document = asdict(job)
    return document | {key: str(value) for key, value in document.items() if isinstance(value, Path)}


def _job(document: dict[str, Any]) -> CorpusJob:
    paths = {key: Path(document[key]) for key in ("source", "reference") if document[key] is not None}
    return CorpusJob(**(document | paths))
