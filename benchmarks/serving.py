"""``diffwave serve`` under load: latency, throughput, batches and memory with many clients on loopback.

    python -m benchmarks.serving [--clients 50] [--seconds 60] [--threads 1]

Every answer is compared with that to the same request alone. Writes
``docs/benchmarks/serving.json`` and ``docs/benchmarks/serving.md``.
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

from benchmarks.report import SPEECH, measured, said, spread, stamp, table, write
from diffwave.config import MelConfig
from diffwave.mel.spectrogram import MelSpectrogram

# 1 s each, so that the figures are those of requests and not of one length or another.
UTTERANCES = 8
FRAMES = 62
# Few network calls and few iterations: what a service on a small machine would run.
LIGHT = "steps=1&consistency=8&consistency_at=end&refinements=0"
SETTINGS = {"light": LIGHT, "default": ""}
STREAM_REPEATS = 7
STREAM_FRAMES = 625  # 10 s


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


@contextmanager
def serving(threads: int) -> Iterator[Service]:
    """Run a service as a process."""
    command = [sys.executable, "-m", "diffwave", "serve", "--port", "0", "--device", "cpu"]
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
        before = self.service.counts()
        begun = time.perf_counter()
        answers = asyncio.run(self._clients(begun))
        wall = time.perf_counter() - begun
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
            "latency": {str(q): float(np.percentile(times, q)) for q in (50, 90, 99, 100)},
            "mean_batch": moved["diffwave_batch_size_sum"] / moved["diffwave_batch_size_count"],
            "real_time_factor": moved["diffwave_synthesis_seconds_total"] / moved["diffwave_audio_seconds_total"],
            "audio_per_second": moved["diffwave_audio_seconds_total"] / wall,
            "peak_mib": self.service.peak_mib(),
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
            answers.append({"seconds": now - asked, "failure": failure})
        return answers


def _failure(answer: httpx.Response, expected: bytes) -> str:
    if answer.status_code != 200:
        return f"{answer.status_code}: {answer.text[:200]}"
    ours, alone = (np.frombuffer(body[44:], "<i2").astype(int) for body in (answer.content, expected))
    if ours.shape != alone.shape:
        return f"{len(ours)} samples, alone {len(alone)}"
    difference = int(np.abs(ours - alone).max())
    return "" if difference <= 1 else f"differs by {difference} from the answer alone"


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
    results: dict[str, Any] = {"load_before": os.getloadavg()[0], "loads": {}, "streams": {}}
    with serving(options.threads) as service:
        for name, query in SETTINGS.items():
            where = f"{service.url}synthesize?{query}"
            alone = [httpx.post(where, content=body, timeout=300).raise_for_status().content for body in bodies]
            load = Load(service, query, options.clients, options.seconds, bodies, alone)
            results["loads"][name] = load.run()
        results["streams"] = {name: streams(service, query) for name, query in SETTINGS.items()}
        results["health"] = httpx.get(f"{service.url}health").json()
    return results


def page(results: dict[str, Any]) -> str:
    """The result page."""
    return "\n".join(
        [
            "# How `diffwave serve` bears many clients",
            "",
            f"{measured(results)} Load average before: {results['load_before']:.1f}.",
            "",
            f"The service runs as a process of its own with the packaged checkpoint on {results['threads']} thread, "
            f"its limits are the default ones. {results['clients']} clients on loopback send mels of "
            f"{results['utterance_seconds']:.2f} s and ask again as soon as they are answered, for "
            f"{results['seconds']:g} s; what is in flight then is finished. An answer counts as failed if it is none, "
            "not 200, or differs by more than 1 of 32768 from that to the same request alone. “Light” is "
            f"`{results['light']}`, “default” the checkpoint's own settings.",
            "",
            *_loads(results),
            "",
            f"A client that is one of {results['clients']} waits for the others: latency is about the number of "
            "clients divided by the requests per second.",
            "",
            f"Streams of {results['stream_seconds']:g} s, one after the other, the whole mel sent at once; seconds, "
            f"median of {results['stream_repeats']} and range:",
            "",
            *table(
                ["settings", "first audio", "last audio"],
                [(name, said(row["first"]), said(row["last"])) for name, row in results["streams"].items()],
            ),
            "",
        ]
    )


def _loads(results: dict[str, Any]) -> list[str]:
    header = ["settings", "requests", "failed", "per second", "p50, s", "p90, s", "p99, s"]
    header += ["longest, s", "mean batch", "work for 1 s of audio, s", "audio in 1 s, s", "peak memory, MiB"]
    rows = []
    for name, row in results["loads"].items():
        latency, rate = row["latency"], f"{row['per_second']:.1f}"
        cells = [name, row["requests"], row["failed"], rate, *(f"{latency[q]:.2f}" for q in ("50", "90", "99", "100"))]
        cells += [f"{row['mean_batch']:.1f}", f"{row['real_time_factor']:.3f}", f"{row['audio_per_second']:.1f}"]
        rows.append([*cells, f"{row['peak_mib']:.0f}"])
    return table(header, rows)


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
