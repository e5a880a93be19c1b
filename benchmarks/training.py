"""Measure training: speed beside lmnt-com's ``diffwave``, waiting for data, several processes, kills, memory, resume.

    python benchmarks/training.py [--only SECTION ...] [--batch 16] [--threads N] [--device cpu|cuda] [--peer FOLDER]

Writes ``docs/benchmarks/training.json`` (every figure) and ``docs/benchmarks/training.md``. A section that is measured
again replaces its old figures, those of the throughput for its device alone; the others stay. The page states the
targets beside what was measured; a missed one is no failure of the program, a training that is not exact is.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import training_exact
import training_kernel
import training_runs
import training_speed
from diffwave.files import write_text
from machine import environment
from peer import PEER_VERSION, ROOT, PeerUnavailableError
from training_page import exact, page

SECTIONS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "throughput": training_speed.throughput,
    "kernel": training_kernel.kernel,
    "wait": training_runs.wait,
    "gradients": training_exact.gradients,
    "kills": training_exact.kills,
    "memory": training_runs.memory,
    "resume": training_runs.resume,
}


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="SECTION")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks", help="folder of the two files")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="for throughput and wait")
    parser.add_argument(
        "--threads", type=int, default=torch.get_num_threads(), help="for throughput, kernel, wait, resume"
    )
    parser.add_argument("--data", type=Path, help="folder of audio at 16 kHz; copies of three recordings if not given")
    speed = parser.add_argument_group("throughput")
    speed.add_argument("--peer", type=Path, help=f"folder that holds diffwave {PEER_VERSION}; installed if not given")
    speed.add_argument("--batch", type=int, default=16, help=f"crops of {training_speed.FRAMES} frames")
    speed.add_argument("--rounds", type=int, default=3, help="after one to warm up")
    speed.add_argument("--steps", type=int, help="training steps of a turn (default: 1 on a CPU, 20 on a GPU)")
    every = sorted({turn for turns in training_speed.TURNS.values() for turn in turns})
    speed.add_argument("--turns", nargs="+", choices=every, help="what takes turns (default: all for the device)")
    others = parser.add_argument_group("the others")
    others.add_argument("--kernel-rounds", type=int, default=15, help="after two to warm up")
    others.add_argument("--wait-lines", type=int, default=3, help="lines of history, of 20 iterations each")
    others.add_argument("--kills", type=int, default=20)
    others.add_argument("--seed", type=int, default=0, help="of the kills")
    others.add_argument("--memory-iterations", type=int, default=2000)
    return parser.parse_args(arguments)


def stamp(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """When, how and where a section was measured."""
    where = environment()
    if options.device == "cuda":
        where["gpu"] = torch.cuda.get_device_name()
    return {"command": command(name, options), "date": datetime.now(UTC).strftime("%Y-%m-%d"), "environment": where}


def command(name: str, options: argparse.Namespace) -> str:
    """What measures a section again with the same options; folders of this machine are left out."""
    words = [f"python benchmarks/training.py --only {name}"]
    settings = {
        "throughput": ("device", "threads", "batch", "rounds"),
        "kernel": ("threads", "kernel_rounds"),
        "wait": ("device", "threads", "wait_lines"),
        "gradients": (),
        "kills": ("kills", "seed"),
        "memory": ("memory_iterations",),
        "resume": ("threads", "rounds"),
    }
    words += [f"--{key.replace('_', '-')} {getattr(options, key)}" for key in settings[name]]
    if name == "throughput":
        words += [f"--steps {options.steps}"] if options.steps else []
        words += ["--turns", *(f'"{turn}"' for turn in options.turns)] if options.turns else []
    return " ".join(words)


def merged(results: dict[str, Any], name: str, device: str, section: dict[str, Any]) -> dict[str, Any]:
    """The results with a section in its place; figures of a CPU and of a GPU stand side by side."""
    if name == "throughput":
        section = {**results.get(name, {}), device: section}
    return {key: section if key == name else results[key] for key in SECTIONS if key == name or key in results}


def main() -> None:
    """Measure section after section, and write both files after each."""
    options = parse_options()
    path = options.output / "training.json"
    results = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            section = stamp(name, options) | SECTIONS[name](options)
        except PeerUnavailableError as error:
            sys.exit(f"training: {error}")
        results = merged(results, name, options.device, section)
        write_text(path, json.dumps(results, indent=1) + "\n")
        write_text(options.output / "training.md", page(results))
    print(page(results))
    if not exact(results):
        sys.exit("training: something that must be exact is not; see the page")


if __name__ == "__main__":
    main()
