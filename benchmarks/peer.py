"""Compare BASE with lmnt-com's ``diffwave`` from the package index: equal outputs, and speed, on the CPU.

    python benchmarks/peer.py [--peer FOLDER] [--seconds 2] [--repeats 5] [--threads N ...]

Both packages get the same weights, mel, schedule and noise, in float32. They have the same name, so each lives in a
process of its own (``peer_runner.py``); one sleeps while the other computes. Writes ``docs/benchmarks/peer.json``
(every figure) and ``docs/benchmarks/peer.md``; fails if the outputs differ by more than 1e-4.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import unittest.mock
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from diffwave.audio.file import read_audio
from diffwave.checkpoint.folder import Checkpoint, save_checkpoint
from diffwave.config import BASE, ModelConfig, mel_preset
from diffwave.diffusion import NoiseSchedule
from diffwave.files import write_text
from diffwave.mel.spectrogram import MelSpectrogram
from diffwave.network.diffwave import DiffWave
from machine import environment
from peer_page import agrees, page

ROOT = Path(__file__).resolve().parent.parent
PEER_VERSION = "0.1.7"
TOLERANCE = 1e-4
FORWARD_STEPS = (0.0, 0.8941, 10.4518, 42.9186)
STEPS = 6
MODES = ("cached", "plain")
_FIT_FRAMES = 43  # half a second
_PAUSE = 0.3  # OpenMP threads spin for a while after their work


class PeerUnavailableError(RuntimeError):
    """The other package could not be installed."""


def install_peer(folder: Path) -> Path:
    """Install the other package into a folder of its own.

    Raises:
        PeerUnavailableError: if pip fails, with the last line of what it said.
    """
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--retries", "1", "--timeout", "10", "--target", str(folder), f"diffwave=={PEER_VERSION}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise PeerUnavailableError(f"cannot install diffwave=={PEER_VERSION}: {said}")
    return folder


def check_version(folder: Path) -> None:
    """Refuse another version; an unpacked source archive does not state one and is taken as it is.

    Raises:
        PeerUnavailableError: if there is no such package or its version is another.
    """
    if not (folder / "diffwave" / "inference.py").is_file():
        raise PeerUnavailableError(f"{folder}: expected a folder with diffwave/inference.py; there is none")
    for found in importlib.metadata.distributions(name="diffwave", path=[str(folder)]):
        if found.version != PEER_VERSION:
            raise PeerUnavailableError(f"{folder}: expected diffwave {PEER_VERSION}; got {found.version}")


def configuration() -> ModelConfig:
    """BASE with the other package's mel and its clipping after every step."""
    sampling = dataclasses.replace(BASE.sampling, steps=STEPS, clip=True)
    return dataclasses.replace(BASE, mel=mel_preset("lmnt-22k"), sampling=sampling)


def speech(config: ModelConfig, seconds: float) -> tuple[Tensor, Tensor]:
    """Waveform ``[N]`` and mel ``[M, F]`` of the first ``seconds`` of the packaged utterance, a whole number of frames.

    Raises:
        ValueError: if the utterance is shorter.
    """
    wav = read_audio(ROOT / "diffwave" / "assets" / "utterance.flac", config.mel.sample_rate).wav
    samples = max(1, round(seconds * config.mel.sample_rate / config.mel.hop_length)) * config.mel.hop_length
    if samples > len(wav):
        raise ValueError(f"seconds: expected at most {len(wav) / config.mel.sample_rate:.1f}; got {seconds}")
    wav = wav[:samples]
    return wav, MelSpectrogram(config.mel)(wav.unsqueeze(0))[0]


def make_network(config: ModelConfig, wav: Tensor, mel: Tensor) -> DiffWave:
    """BASE with random weights and an output layer that predicts noise as well as a linear map of them can.

    A new network's output layer is zero, so that it would hide everything before it. A random one would do nothing
    about the noise, and the clipping to ``[-1, 1]`` would hide most of the rest. Least squares on one utterance makes
    a network that denoises a little, and its outputs have a usual level.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = DiffWave(config).eval()
    frames = min(_FIT_FRAMES, mel.shape[-1])
    features, noise = _features(network, config, wav[: frames * config.mel.hop_length], mel[:, :frames])
    gram = features.T @ features
    ridge = 1e-6 * gram.trace() / len(gram) * torch.eye(len(gram), dtype=gram.dtype)
    solution = torch.linalg.solve(gram + ridge, features.T @ noise)  # [C + 1]
    with torch.no_grad():
        network.output_projection.weight.copy_(solution[:-1].reshape(1, -1, 1))
        network.output_projection.bias.copy_(solution[-1:])
    return network


@torch.no_grad()
def _features(network: DiffWave, config: ModelConfig, wav: Tensor, mel: Tensor) -> tuple[Tensor, Tensor]:
    """Input of the output layer at the sampled steps and a one, ``[S * N, C + 1]``, and the noise, ``[S * N]``."""
    schedule = NoiseSchedule.from_config(config.diffusion)
    steps = schedule.align(NoiseSchedule(torch.tensor(config.sampling.fast_betas[str(STEPS)])))
    noise = torch.randn(len(steps), len(wav), generator=torch.Generator().manual_seed(1))
    noisy = schedule.add_noise(wav.expand(len(steps), -1), noise, steps)
    seen: list[Tensor] = []
    hidden = network.hidden

    def watch(total: Tensor, mask: Tensor | None) -> Tensor:
        seen.append(hidden(total, mask)[0])
        return seen[-1].unsqueeze(0)

    condition = network.condition(mel.unsqueeze(0))
    with unittest.mock.patch.object(network, "hidden", watch):
        for row, step in zip(noisy, steps, strict=True):
            network(row.unsqueeze(0), step.reshape(1), condition)
    features = torch.cat(seen).double()  # [S * N, C]
    return torch.cat([features, torch.ones(len(features), 1)], dim=1), noise.flatten().double()


def prepare(folder: Path, seconds: float) -> dict[str, Any]:
    """Write the model for both packages and the inputs; returns what the comparison is about."""
    config = configuration()
    wav, mel = speech(config, seconds)
    weights = make_network(config, wav, mel).state_dict()
    save_checkpoint(folder, Checkpoint(config, weights))
    torch.save({"model": weights}, folder / "weights.pt")
    noise = torch.randn(STEPS, len(wav), generator=torch.Generator().manual_seed(2))
    inputs = {"mel": mel, "noise": noise, "forward_steps": torch.tensor(FORWARD_STEPS)}
    torch.save(inputs, folder / "inputs.pt")
    return {
        "samples": len(wav),
        "sample_rate": config.mel.sample_rate,
        "steps": STEPS,
        "betas": config.sampling.fast_betas[str(STEPS)],
        "mel_range": [float(mel.min()), float(mel.max())],
    }


class Runner:
    """One package in a process of its own.

    Args:
        role: ``peer`` or ``ours``, or what else the script knows.
        package: folder that holds the package.
        threads: of torch.
        arguments: of the script, besides these.
        script: beside this file, which answers requests.
    """

    def __init__(
        self, role: str, package: Path, threads: int, arguments: list[str], script: str = "peer_runner.py"
    ) -> None:
        command = [sys.executable, str(ROOT / "benchmarks" / script), role, "--package", str(package)]
        command += ["--threads", str(threads), *arguments]
        search = os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH")]))
        environment = os.environ | {"PYTHONPATH": search, "OMP_NUM_THREADS": str(threads)}
        environment["PYTHONWARNINGS"] = "ignore"  # of what is deprecated by now in the other packages
        self.role = role
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.communicate()  # the end of its input ends it

    def exchange(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Send a request and wait for the answer; None if the process has died."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        answer: dict[str, Any] | None = json.loads(line) if line else None
        return answer

    def ask(self, **request: str) -> dict[str, Any]:
        """Send a request and wait for the answer.

        Raises:
            RuntimeError: if the process has died; what it said stands on standard error.
        """
        answer = self.exchange(request)
        if answer is None:
            raise RuntimeError(f"{self.role}: expected an answer; the process ended with {self.process.wait()}")
        return answer


@contextlib.contextmanager
def runners(peer: Path, model: Path, threads: int) -> Iterator[tuple[Runner, Runner]]:
    """Both packages, the other project's first."""
    arguments = ["--model", str(model), "--inputs", str(model / "inputs.pt")]
    with Runner("peer", peer, threads, arguments) as theirs, Runner("ours", ROOT, threads, arguments) as ours:
        yield theirs, ours


def compare(theirs: Runner, ours: Runner, folder: Path) -> dict[str, Any]:
    """Let both compute everything once, and state the differences."""
    answers = {runner.role: runner.ask(action="check", output=str(folder / runner.role)) for runner in (theirs, ours)}
    peer, own = (torch.load(folder / runner.role, weights_only=True) for runner in (theirs, ours))
    states = peer["states plain"]  # [S, N]
    return {
        "tolerance": TOLERANCE,
        "parameters": {role: answer["parameters"] for role, answer in answers.items()},
        "aligned_steps": {"peer": peer["steps plain"].tolist(), "ours": own["steps plain"].tolist()},
        "aligned_steps_difference": difference(own["steps plain"], peer["steps plain"]),
        "forward": [
            {"step": step, "max_difference": difference(a, b), "rms": rms(b)}
            for step, a, b in zip(FORWARD_STEPS, own["forward"], peer["forward"], strict=True)
        ],
        "sampling": {
            mode: {
                "max_difference": difference(own[f"states {mode}"][-1], states[-1]),
                "max_difference_after_step": [
                    difference(a, b) for a, b in zip(own[f"states {mode}"], states, strict=True)
                ],
            }
            for mode in MODES
        },
        "output_rms": rms(states[-1]),
        "clipped_share_after_step": [float((state.abs() >= 1).float().mean()) for state in states],
    }


def difference(a: Tensor, b: Tensor) -> float:
    """Largest absolute difference, in float64; NaN if there is one."""
    return float((a.double() - b.double()).abs().max())


def rms(x: Tensor) -> float:
    """Root mean square."""
    return float(x.double().square().mean().sqrt())


def measure(theirs: Runner, ours: Runner, repeats: int) -> dict[str, Any]:
    """Synthesize in turn, after one warm-up each; ratios are of neighbours in time."""
    turns = [("peer", theirs, "plain"), *((mode, ours, mode) for mode in MODES)]
    seconds: dict[str, list[float]] = {name: [] for name, _, _ in turns}
    load = os.getloadavg()[0]
    for repeat in range(repeats + 1):
        for name, runner, mode in turns:
            time.sleep(_PAUSE)
            elapsed = runner.ask(action="time", mode=mode)["seconds"]
            if repeat > 0:
                seconds[name].append(elapsed)
            print(f"round {repeat} of {repeats}, {name}: {elapsed:.2f} s", file=sys.stderr, flush=True)
    ratios = {mode: [a / b for a, b in zip(seconds["peer"], seconds[mode], strict=True)] for mode in MODES}
    return {
        "load_before": round(load, 2),
        "seconds": {name: spread(values) for name, values in seconds.items()},
        "speed_ratio": {mode: spread(values) for mode, values in ratios.items()},
    }


def spread(values: list[float]) -> dict[str, Any]:
    """Median, extremes and all values."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "values": values}


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help=f"folder that holds diffwave {PEER_VERSION}; installed if not given")
    parser.add_argument("--seconds", type=float, default=2.0, help="of audio")
    parser.add_argument("--repeats", type=int, default=5, help="rounds of the timing")
    parser.add_argument("--threads", type=int, nargs="+", default=[torch.get_num_threads()])
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks", help="folder of the two files")
    return parser.parse_args()


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Compare, then time with each number of threads."""
    peer = options.peer or install_peer(folder / "package")
    check_version(peer)
    threads = " ".join(str(count) for count in options.threads)
    results: dict[str, Any] = {
        "command": f"python benchmarks/peer.py --seconds {options.seconds:g} --repeats {options.repeats} "
        f"--threads {threads}",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "environment": environment() | {"peer": PEER_VERSION},
        "setting": prepare(folder, options.seconds) | {"repeats": options.repeats},
        "timing": {},
    }
    for count in options.threads:
        with runners(peer, folder, count) as (theirs, ours):
            if "equality" not in results:
                results["equality"] = compare(theirs, ours, folder)
            results["timing"][str(count)] = measure(theirs, ours, options.repeats)
    return results


def main() -> None:
    """Compare, write, and print the page."""
    options = parse_options()
    with tempfile.TemporaryDirectory() as folder:
        try:
            results = run(options, Path(folder))
        except PeerUnavailableError as error:
            sys.exit(f"peer: {error}")
    options.output.mkdir(parents=True, exist_ok=True)
    write_text(options.output / "peer.json", json.dumps(results, indent=1) + "\n")
    write_text(options.output / "peer.md", page(results))
    print(page(results))
    if not agrees(results["equality"]):
        sys.exit("peer: the outputs differ by more than the tolerance")


if __name__ == "__main__":
    main()
