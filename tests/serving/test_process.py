"""``diffwave serve`` as a process of its own: how it starts, ends, and what it bears."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from diffwave.cli.main import main
from diffwave.cli.serve import parser
from hostile import Answer, Hostile, Request, send
from services import npy, raw_exchange

ROOT = Path(__file__).resolve().parents[2]
for package in ("fastapi", "uvicorn", "prometheus_client"):
    pytest.importorskip(package, reason="diffwave serve needs it (extra: serve)")


@dataclass
class Process:
    """A service that runs, and where."""

    process: subprocess.Popen[str]
    address: tuple[str, int]

    def memory(self, field: str) -> int:
        """``VmRSS`` or ``VmHWM`` in bytes."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Exit code and stderr after a signal."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors


@contextmanager
def running(checkpoint: Path, *arguments: str) -> Iterator[Process]:
    command = [sys.executable, "-m", "diffwave", "serve", "--port", "0", "--device", "cpu", "--backend", "reference"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, "--checkpoint", str(checkpoint), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("serving at http://"), process.communicate()[1]
        port = int(line.rstrip("/\n").rpartition(":")[2])
        yield Process(process, ("127.0.0.1", port))
    finally:
        process.kill()
        process.communicate()


def post(body: bytes) -> bytes:
    head = f"POST /synthesize HTTP/1.1\r\nHost: x.localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.replace("x.localhost", "localhost").encode() + body


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_runs_is_finished_and_nothing_new_is_taken(
    number: signal.Signals, tiny_checkpoint: Path, npy_bytes: bytes
) -> None:
    request = post(npy_bytes)
    with running(tiny_checkpoint) as service:
        with socket.create_connection(service.address, 30) as connection:
            connection.sendall(request[:1000])
            assert raw_exchange(service.address, b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n").startswith(
                b"HTTP/1.1 200"
            )
            service.process.send_signal(number)
            refused = False
            for _ in range(100):
                try:
                    socket.create_connection(service.address, 1).close()
                except ConnectionError:
                    refused = True
                    break
                signal.sigtimedwait([], 0.05)
            assert refused, "it goes on taking requests"
            connection.sendall(request[1000:])
            answer = b""
            while data := connection.recv(1 << 16):
                answer += data
        assert answer.startswith(b"HTTP/1.1 200 ")
        samples, _ = soundfile.read(io.BytesIO(answer.partition(b"\r\n\r\n")[2]))
        assert len(samples) == 32 * 256
        output, errors = service.process.communicate(timeout=30)
        assert (service.process.returncode, output, errors) == (0, "", "")


def test_what_does_not_end_is_broken_off(tiny_checkpoint: Path, npy_bytes: bytes) -> None:
    with (
        running(tiny_checkpoint, "--shutdown-seconds", "1") as service,
        socket.create_connection(service.address, 30) as connection,
    ):
        connection.sendall(post(npy_bytes)[:1000])
        raw_exchange(service.address, b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")
        code, errors = service.end()
        assert code == 0
        assert "Traceback" not in errors
        assert connection.recv(1000).startswith(b"HTTP/1.1 503 ")


def test_other_hosts_are_warned_of(tiny_checkpoint: Path) -> None:
    with running(tiny_checkpoint, "--host", "0.0.0.0") as service:
        asked = raw_exchange(service.address, b"GET /health HTTP/1.0\r\nHost: some.name\r\n\r\n")
        assert asked.startswith(b"HTTP/1.1 200 "), "whoever may reach it may call it as they like"
        code, errors = service.end()
    assert code == 0
    assert len(errors.splitlines()) == 1
    assert "everybody who reaches 0.0.0.0" in errors
    assert "without a password" in errors


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "300.1.1.1"], "300.1.1.1:0: expected an address of this machine and a free port"),
        (["--host", "x" * 100 + ".example"], "expected an address of this machine"),
        (["--host", "192.0.2.1"], "expected an address of this machine"),
        (["--checkpoint", "/nowhere"], "expected a checkpoint folder"),
        (["--port", "99999"], "expected a port from 0 to 65535"),
        (["--timeout", "-1"], "expected a positive number of seconds"),
        (["--device", "cuda:99"], "cuda"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(["serve", "--port", "0", *arguments])
    except SystemExit as end:
        code = end.code  # type: ignore[assignment]
    assert code == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert len(errors.splitlines()) == 1


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "--port", str(taken.getsockname()[1])]) == 2
    assert "a free port; Address already in use" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["fastapi", "uvicorn", "prometheus_client"])
def test_a_missing_package_is_one_line(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["serve"]) == 2
    said = f"diffwave serve: needs the package {package}: pip install 'diffwave-vocoder[serve]'\n"
    assert capsys.readouterr().err == said


def test_help_says_every_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--help"])
    assert "127.0.0.1, this machine only" in " ".join(capsys.readouterr().out.split())


def acceptable(answer: Answer | None, request: Request) -> str:
    """What is wrong with an answer; empty if nothing."""
    if answer is None:
        return ""
    if answer.status == 0:
        # The end of the connection is the only answer to a header that does not end, and to nothing.
        return "" if request.name in ("slow", "no http") else "no answer"
    if answer.status == 200:
        if answer.headers["content-type"] == "audio/wav":
            broken = "transfer-encoding" in answer.headers and not answer.body
            return "" if broken or answer.body[:4] == b"RIFF" else "no WAV file"
        return "" if answer.headers["content-type"] == "application/json" else "neither audio nor JSON"
    if not 400 <= answer.status < 500:
        return f"status {answer.status}: {answer.body[:200]!r}"
    try:
        message = json.loads(answer.body)["error"]
    except (ValueError, KeyError):
        return f"no JSON: {answer.body[:200]!r}"
    return "" if message.isprintable() and len(message) < 1000 else f"not one line: {message!r}"


def fuzz(checkpoint: Path, speech: np.ndarray, mel: np.ndarray, count: int, seed: int) -> None:
    """Send so many hostile requests, four at a time, and then ask whether the service is what it was."""
    limits = {"body": "4", "in-flight": "32", "seconds": "10", "stream-seconds": "10", "streams": "16"}
    arguments = [word for name, value in limits.items() for word in (f"--max-{name}", value)]
    arguments += ["--idle-timeout", "0.5"]
    known = Request("known", [post(npy(mel))])
    hostile = Hostile(speech, mel, seed)
    requests = [hostile.request() for _ in range(count)]
    with running(checkpoint, *arguments) as service:
        before = send(service.address, known)
        assert before is not None
        assert before.status == 200
        memory = service.memory("VmHWM")
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda request: send(service.address, request), requests))
        wrong = [
            f"{index} ({request.name}): {said}"
            for index, (request, answer) in enumerate(zip(requests, answers, strict=True))
            if (said := acceptable(answer, request))
        ]
        assert not wrong, "\n".join(wrong)
        grown = service.memory("VmHWM") - memory
        assert grown < 150 << 20, f"memory grew by {grown / 2**20:.0f} MiB"
        assert raw_exchange(service.address, b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n").startswith(
            b"HTTP/1.1 200 "
        )
        after = send(service.address, known)
        assert after is not None
        assert after.body == before.body
        code, errors = service.end()
        assert code == 0
        # libmpg123 writes its own lines about damaged MP3.
        assert not [line for line in errors.splitlines() if "Traceback" in line or " ERROR " in line]
    statuses = [answer.status for answer in answers if answer is not None]
    assert statuses.count(200) > count / 50, "hardly any request was understood: the fuzzer is too wild"
    assert sum(400 <= status < 500 for status in statuses) > count / 3


def test_a_hundred_hostile_requests(tiny_checkpoint: Path, speech: np.ndarray, mel: np.ndarray) -> None:
    fuzz(tiny_checkpoint, speech, mel, 100, seed=0)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_thousand_hostile_requests(tiny_checkpoint: Path, speech: np.ndarray, mel: np.ndarray) -> None:
    fuzz(tiny_checkpoint, speech, mel, 1000, seed=1)
