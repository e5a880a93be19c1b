"""Worker processes of this machine: killed, replaced, given up; and a command that is killed as a whole."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bulk_corpus import Watch, are_gone, children, contents, write_recordings
from bulk_reading import PAUSE, read_and_die, read_slowly
from diffwave.bulk.local_workers import LocalProcesses
from diffwave.bulk.output_names import BulkError

TESTS = Path(__file__).parents[1]


def test_a_killed_worker_loses_nothing(speak, tmp_path):
    source = write_recordings(tmp_path / "in", 6)
    speak(source, tmp_path / "alone")

    def kill(made: int) -> None:
        if made == 2:
            [worker] = children(os.getpid(), "worker_process")
            os.kill(worker, signal.SIGKILL)

    pool = lambda setup: LocalProcesses(setup, 1)  # noqa: E731
    result = speak(source, tmp_path / "out", pool=pool, read=read_slowly, progress=Watch(kill))
    assert (result["run"]["done"], result["run"]["failed"]) == (6, 0)
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")
    assert children(os.getpid(), "worker_process") == []


@pytest.mark.slow
def test_an_input_that_ends_every_process_fails_alone(speak, tmp_path):
    source = write_recordings(tmp_path / "in", 6)
    speak(source, tmp_path / "alone")
    # Its name comes in the middle of the order.
    shutil.copy(source / "0/u00.flac", source / "0/deadly.flac")
    result = speak(source, tmp_path / "out", pool=lambda setup: LocalProcesses(setup, 2), read=read_and_die)
    assert (result["run"]["done"], result["run"]["failed"]) == (6, 1)
    [failure] = result["corpus"]["failures"]
    assert failure["id"] == "0/deadly"
    assert "the process that worked on it ended 3 times" in failure["error"]
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")
    assert children(os.getpid(), "worker_process") == []


def test_workers_that_cannot_start_are_one_line(speak, recordings, tmp_path):
    with pytest.raises(BulkError, match="backend triton cannot run here"):
        speak(recordings, tmp_path / "out", pool=lambda setup: LocalProcesses(setup, 1), backend="triton")
    assert children(os.getpid(), "worker_process") == []


@pytest.mark.slow
def test_bytes_are_the_same_with_any_number_of_workers_killed_at_any_moment(speak, tmp_path):
    source = write_recordings(tmp_path / "in", 20)
    speak(source, tmp_path / "alone")
    for count in (1, 2, 3):
        output = tmp_path / f"out{count}"

        def kill(made: int) -> None:
            if made % 6 == 3:
                time.sleep(PAUSE / 2)  # what it has in hand is begun by now
                os.kill(children(os.getpid(), "worker_process")[0], signal.SIGKILL)

        watch = Watch(kill)
        result = speak(source, output, pool=lambda s, n=count: LocalProcesses(s, n), read=read_slowly, progress=watch)
        assert (result["run"]["done"], result["run"]["failed"]) == (20, 0)
        assert result["run"]["begun_again"] >= 1
        assert contents(output) == contents(tmp_path / "alone")


@pytest.mark.slow
def test_a_command_that_is_killed_as_a_whole_goes_on_and_leaves_no_process(speak, tmp_path, tiny_checkpoint):
    source = write_recordings(tmp_path / "in", 40)
    speak(source, tmp_path / "alone")
    output = tmp_path / "out"
    command = [sys.executable, "-m", "diffwave", "synthesize-corpus", str(source), "--output", str(output)]
    command += ["--checkpoint", str(tiny_checkpoint), "--device", "cpu", "--workers", "2"]
    found: list[int] = []
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    while len(found) < 3:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = len(list(output.rglob("*.wav")))
        while len(list(output.rglob("*.wav"))) < before + 5:
            assert process.poll() is None
            time.sleep(0.005)
        workers = children(process.pid)
        assert len(workers) >= 2
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert are_gone(workers)
        found.append(len(list(output.rglob("*.wav"))))
    assert found[-1] < 40
    assert subprocess.run(command, env=environment, capture_output=True).returncode == 0
    assert contents(output) == contents(tmp_path / "alone")
    assert list(output.rglob("*unfinished*")) == []
