"""``diffwave serve`` under load: latency, throughput, batches and memory with many clients on loopback.

    python -m benchmarks.serving [--clients 50] [--seconds 60] [--threads 1]

Every answer is compared with that to the same request alone. Two services run, one that batches and one that does not;
only one of them is asked at a time. Writes ``docs/benchmarks/serving.json`` and ``docs/benchmarks/serving.md``.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import soundfile
import torch

from benchmarks.report import SPEECH, spread, stamp, write
from benchmarks.serving_page import page
from diffwave.config import MelConfig
from diffwave.mel.spectrogram import MelSpectrogram

# 1 s each, so that the figures are those of requests and not of one length or another.
UTTERANCES = 8
FRAMES = 62
# Few network calls and few iterations: what a service on a small machine would run.
LIGHT = "steps=1&consistency=8&consistency_at=end&refinements=0"
SETTINGS = {"light": LIGHT, "default": ""}
TURNS = 4  # with and without batching
STREAM_REPEATS = 7
STREAM_FRAMES = 625  # 10 s
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Service:
    """A service that runs."""

    process: subprocess.Popen[str]
    url: str

    def counts(self) -> dict[str, float]:
        """What ``/metrics`` tells, without labels."""
        text = httpx.get(f"{self.url}metrics").text
        return {name: float(value) for name, value in re.findall(r"^(diffwave_\w+) (\S+)$", text, re.MULTILINE)}

    def peak_mib(self) -> float:
        """Largest memory so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]

    def cpu_seconds(self) -> float:
        """Of all threads so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS


@contextmanager
def serving(threads: int, *arguments: str) -> Iterator[Service]:
    """Run a service as a process."""
    command = [sys.executable, "-m", "diffwave", "serve", "--port", "0", "--device", "cpu", *arguments]
    environ = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)
    try:
        yield Service(process, process.stdout.readline().split()[-1])  # type: ignore[union-attr]
    finally:
        process.terminate()
        process.wait(60)


def mels(frames: int, count: int) -> list[np.ndarray]:
    """Mels of pieces of the tests' recordings, ``[80, frames]``."""
    speech = np.concatenate([soundfile.read(path, dtype="float32")[0] for path in SPEECH])
    samples = frames * 256
    speech = np.tile(speech, 1 + 2 * samples // len(speech))
    starts = np.linspace(0, len(speech) - samples, count).astype(int)
    wavs = torch.from_numpy(np.stack([speech[start : start + samples] for start in starts]))
    return list(MelSpectrogram(MelConfig())(wavs).numpy())


def npy(mel: np.ndarray) -> bytes:
    """A mel as a file."""
    buffer = io.BytesIO()
    np.save(buffer, mel)
    return buffer.getvalue()


def machine_busy() -> float:
    """Seconds that all cores together have worked since the machine started."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (sum(fields[:3]) + sum(fields[5:8])) / _TICKS


@dataclass(frozen=True)
class Load:
    """Clients that ask again as soon as they are answered."""

    service: Service
    query: str
    clients: int
    seconds: float
    bodies: list[bytes]
    expected: list[bytes]

    def run(self) -> dict[str, Any]:
        """Measure for ``seconds``; what is in flight then is finished and counts."""
        before, busy = self.service.counts(), machine_busy()
        cpu = self.service.cpu_seconds() + time.process_time()
        begun = time.perf_counter()
        answers = asyncio.run(self._clients(begun))
        wall = time.perf_counter() - begun
        cpu = self.service.cpu_seconds() + time.process_time() - cpu
        after = self.service.counts()
        moved = {name: after[name] - before.get(name, 0.0) for name in after}
        times = np.array([answer["seconds"] for answer in answers])
        failures = [answer["failure"] for answer in answers if answer["failure"]]
        return {
            "requests": len(answers),
            "failed": len(failures),
            "failures": failures[:5],
            "seconds": wall,
            "per_second": len(answers) / wall,
            "per_second_by_window": _windows([answer["at"] for answer in answers], self.seconds),
            "latency": {str(q): float(np.percentile(times, q)) for q in (50, 90, 99, 100)},
            "mean_batch": moved["diffwave_batch_size_sum"] / moved["diffwave_batch_size_count"],
            "real_time_factor": moved["diffwave_synthesis_seconds_total"] / moved["diffwave_audio_seconds_total"],
            "audio_per_second": moved["diffwave_audio_seconds_total"] / wall,
            "peak_mib": self.service.peak_mib(),
            "other_cores": (machine_busy() - busy - cpu) / wall,
        }

    async def _clients(self, begun: float) -> list[dict[str, Any]]:
        limits = httpx.Limits(max_connections=self.clients)
        async with httpx.AsyncClient(timeout=300, limits=limits) as client:
            tasks = [self._client(client, number, begun) for number in range(self.clients)]
            return [answer for answers in await asyncio.gather(*tasks) for answer in answers]

    async def _client(self, client: httpx.AsyncClient, number: int, begun: float) -> list[dict[str, Any]]:
        answers = []
        while time.perf_counter() - begun < self.seconds:
            which = (number + len(answers)) % len(self.bodies)
            asked = time.perf_counter()
            try:
                answer = await client.post(f"{self.service.url}synthesize?{self.query}", content=self.bodies[which])
                failure = _failure(answer, self.expected[which])
            except httpx.HTTPError as error:
                failure = repr(error)
            now = time.perf_counter()
            answers.append({"seconds": now - asked, "at": now - begun, "failure": failure})
        return answers


def _failure(answer: httpx.Response, expected: bytes) -> str:
    if answer.status_code != 200:
        return f"{answer.status_code}: {answer.text[:200]}"
    ours, alone = (np.frombuffer(body[44:], "<i2").astype(int) for body in (answer.content, expected))
    if ours.shape != alone.shape:
        return f"{len(ours)} samples, alone {len(alone)}"
    difference = int(np.abs(ours - alone).max())
    return "" if difference <= 1 else f"differs by {difference} from the answer alone"


def _windows(at: list[float], seconds: float, count: int = 6) -> list[float]:
    """Requests per second in equal parts of the time."""
    edges = np.linspace(0, seconds, count + 1)
    return [float(n) for n in np.histogram(at, edges)[0] / (seconds / count)]


def streams(service: Service, query: str) -> dict[str, Any]:
    """First and last byte of streams of 10 s whose mel is there at once, one after the other."""
    rows = [np.ascontiguousarray(mel.T, "<f4").tobytes() for mel in mels(STREAM_FRAMES, STREAM_REPEATS)]
    first, last = [], []
    for body in rows:
        begun = time.perf_counter()
        with httpx.stream(
            "POST", f"{service.url}stream?input=rows&format=pcm&{query}", content=body, timeout=300
        ) as answer:
            answer.raise_for_status()
            times = [time.perf_counter() - begun for _ in answer.iter_raw()]
        first.append(times[0])
        last.append(times[-1])
    return {"first": spread(first), "last": spread(last)}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    bodies = [npy(mel) for mel in mels(FRAMES, UTTERANCES)]
    results: dict[str, Any] = {"load_before": os.getloadavg()[0], "loads": {}, "turns": {"on": [], "off": []}}
    with serving(options.threads) as on, serving(options.threads, "--batch-seconds", "0") as off:
        alone = {
            name: [
                httpx.post(f"{on.url}synthesize?{query}", content=body, timeout=300).raise_for_status().content
                for body in bodies
            ]
            for name, query in SETTINGS.items()
        }
        for name, query in SETTINGS.items():
            load = Load(on, query, options.clients, options.seconds, bodies, alone[name])
            results["loads"][name] = load.run()
        services = [("off", off), ("on", on)]
        for _ in range(TURNS):
            for name, service in services:
                load = Load(service, LIGHT, options.clients, options.seconds / 6, bodies, alone["light"])
                results["turns"][name].append(load.run())
            services.reverse()
        results["streams"] = {name: streams(on, query) for name, query in SETTINGS.items()}
        results["health"] = httpx.get(f"{on.url}health").json()
    return results


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--threads", type=int, default=1, help="of the service's network")
    options = parser.parse_args()
    command = f"--clients {options.clients} --seconds {options.seconds:g} --threads {options.threads}"
    results = stamp(f"python -m benchmarks.serving {command}") | {
        "clients": options.clients,
        "seconds": options.seconds,
        "threads": options.threads,
        "light": LIGHT,
        "utterance_seconds": FRAMES * 256 / 16000,
        "stream_seconds": STREAM_FRAMES * 256 / 16000,
        "stream_repeats": STREAM_REPEATS,
        **measure(options),
    }
    write("serving", results, page(results))


if __name__ == "__main__":
    main()
