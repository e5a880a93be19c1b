"""Ray, the real package: two nodes of which one is lost, a worker that is killed, and what is said of it all."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bulk_corpus import Watch, contents, write_recordings
from bulk_reading import read_and_die, read_slowly
from diffwave.bulk.names import BulkError

ray = pytest.importorskip("ray", reason="Ray Data is an extra: pip install 'diffwave-vocoder[ray]'")
pytest.importorskip("pyarrow", reason="Ray Data is an extra: pip install 'diffwave-vocoder[ray]'")

from diffwave.bulk.cluster import Cluster  # noqa: E402

# So that a lost node is noticed in a second, not in half a minute.
QUICK = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 300,
    "health_check_timeout_ms": 500,
    "health_check_failure_threshold": 3,
}


@contextlib.contextmanager
def two_nodes() -> Iterator[tuple[Any, Any]]:
    """A cluster of two raylets on this machine, a CPU each; yields it and its second node."""
    from ray.cluster_utils import Cluster as Nodes

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # What workers import: this package, and the readers beside the tests.
    tests = Path(__file__).parents[1]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(tests), str(tests.parent)])
    size = {"num_cpus": 1, "object_store_memory": 80 << 20}
    nodes = Nodes(initialize_head=True, head_node_args={**size, "include_dashboard": False, "_system_config": QUICK})
    try:
        yield nodes, nodes.add_node(**size)
    finally:
        nodes.shutdown()


def raylet_of(node: Any) -> int:
    """Process id of a node's raylet."""
    [process] = node.all_processes["raylet"]
    return int(process.process.pid)


def workers_of(raylet: int) -> list[int]:
    """Process ids of actors below a raylet."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
            command = status.with_name("cmdline").read_text()
            if int(fields["PPid"]) == raylet and "MapWorker" in command:
                found.append(int(fields["Pid"]))
    return found


def test_a_node_that_is_lost_and_a_worker_that_is_killed_lose_nothing(speak, tmp_path):
    source = write_recordings(tmp_path / "in", 24)
    speak(source, tmp_path / "alone")
    with two_nodes() as (nodes, second):
        first, lost = raylet_of(nodes.head_node), raylet_of(second)
        workers: list[int] = []
        left = []

        def disturb(count: int) -> None:
            if count == 4:
                workers.extend(workers_of(first))
                os.kill(workers[0], signal.SIGKILL)
            if count == 8:
                os.kill(lost, signal.SIGKILL)
                left.extend(path.name for path in (tmp_path / "out").rglob("*.wav"))

        watch = Watch(disturb)
        address = nodes.address
        pool = lambda setup: Cluster(setup, address, None)  # noqa: E731
        result = speak(source, tmp_path / "out", pool=pool, read=read_slowly, progress=watch)
    assert workers
    assert len(left) < 24  # it was the middle
    assert result["run"]["done"] == len(watch.records) == 24
    assert (result["run"]["failed"], result["corpus"]["complete"]) == (0, True)
    assert result["run"]["begun_again"] >= 1
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")
    assert not list((tmp_path / "out").rglob("*unfinished*"))
    assert "unfinished" not in str(contents(tmp_path / "out"))
