"""Ray, the real package: two nodes of which one is lost, a worker that is killed, and what is said of it all."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bulk_corpus import Watch, are_gone, children, contents, write_recordings
from bulk_reading import read_slowly

ray = pytest.importorskip("ray", reason="Ray Data is an extra: pip install 'diffwave-vocoder[ray]'")
pytest.importorskip("pyarrow", reason="Ray Data is an extra: pip install 'diffwave-vocoder[ray]'")

from diffwave.bulk.cluster import Cluster  # noqa: E402

TESTS = Path(__file__).parents[1]
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

    before = dict(os.environ)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # What workers import: this package, and the readers beside the tests.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    size = {"num_cpus": 1, "object_store_memory": 80 << 20}
    nodes = Nodes(initialize_head=True, head_node_args={**size, "include_dashboard": False, "_system_config": QUICK})
    try:
        yield nodes, nodes.add_node(**size)
    finally:
        nodes.shutdown()
        os.environ.clear()
        os.environ.update(before)


def raylet_of(node: Any) -> int:
    """Process id of a node's raylet."""
    [process] = node.all_processes["raylet"]
    return int(process.process.pid)


def test_a_node_that_is_lost_and_a_worker_that_is_killed_lose_nothing(speak, tmp_path):
    source = write_recordings(tmp_path / "in", 24)
    speak(source, tmp_path / "alone")
    with two_nodes() as (nodes, second):
        first, lost = raylet_of(nodes.head_node), raylet_of(second)
        workers: list[int] = []
        left = []

        def disturb(count: int) -> None:
            if count in (4, 8):
                # In the middle of an utterance: each of them has its mark.
                while len(list((tmp_path / "out").glob(".corpus/work/*/started/*"))) < 2:
                    time.sleep(0.001)
            if count == 4:
                workers.extend(children(first, "MapWorker"))
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
    # How many were begun again depends on whether a kill struck in the middle of one.
    assert result["run"]["begun_again"] <= 4
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")
    assert not list((tmp_path / "out").rglob("*unfinished*"))
    assert not list((tmp_path / "out").rglob("*/started/*"))


@pytest.fixture
def quiet_process(tiny_checkpoint: Path) -> Any:
    """Run the command in a process of its own on a Ray of its own, and make sure that nothing is left of it."""

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        before = set(ray_processes())
        command = [sys.executable, "-m", "diffwave", "synthesize-corpus", "--device", "cpu", "--ray-address", "local"]
        command += ["--checkpoint", str(tiny_checkpoint), *map(str, arguments)]
        paths = os.pathsep.join(str(TESTS / more) for more in ("..", "."))
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths})
        assert are_gone(sorted(set(ray_processes()) - before))
        return done

    return call


def ray_processes() -> list[int]:
    """Every process of any Ray on this machine."""
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if any(name in command.read_text() for name in ("raylet", "gcs_server", "ray::")):
                found.append(int(command.parent.name))
    return found


@pytest.mark.slow
def test_the_terminal_hears_nothing_of_ray_and_scores_are_the_same(quiet_process, speak, tmp_path):
    source = write_recordings(tmp_path / "in", 4)
    speak(source, tmp_path / "alone", metrics=("level", "pesq_wb"))
    (source / "bad.wav").write_bytes(b"nonsense")
    output = tmp_path / "out"
    done = quiet_process(source, "--output", output, "--workers", 2, "--json", "--evaluate", "level,pesq_wb")
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("diffwave synthesize-corpus: bad: ")
    result = json.loads(done.stdout)
    assert result["run"]["done"] == 4
    assert contents(output) == contents(tmp_path / "alone")
    scores = "scores-00001-of-00001.csv"
    assert (output / scores).read_bytes() == (tmp_path / "alone" / scores).read_bytes()


@pytest.mark.slow
def test_what_a_worker_refuses_is_one_line(quiet_process, recordings, tmp_path):
    for arguments, reason in (
        (["--backend", "triton"], "backend triton cannot run here"),
        (["--ray-address", "127.0.0.1:1"], "--ray-address 127.0.0.1:1: expected a Ray cluster; "),
    ):
        done = quiet_process(recordings, "--output", tmp_path / "out", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        [line] = done.stderr.splitlines()
        assert reason in line
