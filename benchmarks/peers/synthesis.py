"""Measure synthesis: BASE and the default checkpoint beside other projects' vocoders, and the default by itself.

    python -m benchmarks.peers.synthesis [--sections peers,ours] [--device cpu|cuda] [--threads 2 1] [--peers FOLDER]

Writes ``docs/benchmarks/synthesis.json`` (every figure) and ``docs/benchmarks/synthesis.md``. A section that is
measured again replaces its old figures, for its device alone; the others stay. A missed goal is no failure of the
program, BASE with another output than the other package's is.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers.base import distance, prepare, rms
from benchmarks.peers.packages import PACKAGES, PARAMETERS, PeerUnavailableError, install
from benchmarks.peers.processes import Answer, Process, processes, speed, take_turns
from benchmarks.peers.synthesis_page import agrees, page
from benchmarks.peers.systems import REFERENCE, Case, System, own_cases, peer_cases
from benchmarks.report import DOCUMENTS, merged, read, spread, stamp, write

SECTIONS: dict[str, tuple[Callable[[str, float], list[Case]], tuple[str, ...]]] = {
    "peers": (peer_cases, tuple(PACKAGES)),
    "ours": (own_cases, ()),
}
TOLERANCE = 1e-4  # of float32; other precisions are stated in decibels


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--sections", type=_sections, default=list(SECTIONS), metavar="NAME,NAME")
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--threads", type=int, nargs="+", help="default: 2 1; with --device cuda PyTorch's choice")
    add("--seconds", type=float, default=1.0, help="of audio; long outputs are 10 times")
    add("--repeats", type=int, default=5, help="rounds of the timing, after a warm-up")
    help_ = "folder of the other projects' packages, for the next time; without it they are installed for once"
    add("--peers", type=Path, metavar="FOLDER", help=help_)
    add("--output", type=Path, default=DOCUMENTS, help="folder of the two files")
    options = parser.parse_args(arguments)
    if options.threads is None:
        options.threads = [2, 1] if options.device == "cpu" else [torch.get_num_threads()]
    if min(options.threads) < 1 or options.repeats < 1 or options.seconds < 0.1:
        parser.error("expected positive threads and repeats, and at least 0.1 seconds")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: expected a CUDA GPU; this machine has none that PyTorch can use")
    return options


def _sections(text: str) -> list[str]:
    unknown = [name for name in text.split(",") if name not in SECTIONS]
    if unknown:
        raise argparse.ArgumentTypeError(f"expected some of {','.join(SECTIONS)}; got {unknown[0]!r}")
    return text.split(",")


def command(name: str, options: argparse.Namespace) -> str:
    """What measures a section again; folders of this machine are left out."""
    threads = " ".join(map(str, options.threads))
    return (
        f"python -m benchmarks.peers.synthesis --sections {name} --device {options.device} --threads {threads} "
        f"--seconds {options.seconds:g} --repeats {options.repeats}"
    )


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Everything about a section on one device, with each number of threads."""
    make_cases, roles = SECTIONS[name]
    cases = make_cases(options.device, options.seconds)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        packages, missing = installed(roles, options.peers or folder)
        model = folder / "model"
        setting = prepare(model, min(options.seconds, 1.0)) | {"repeats": options.repeats}
        found: dict[str, Any] = {"setting": setting, "missing": missing, "equality": {}, "tables": []}
        for threads in options.threads:
            with processes(packages, threads, options.device) as running:
                load(running, model)
                if "lmnt" in running and not found["equality"]:
                    found["equality"] = compare(running, cases, model)
                found["tables"] += [{"threads": threads, **measure_case(case, running, options)} for case in cases]
    return found


def installed(roles: tuple[str, ...], folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Folders of the packages that are there or could be installed, and why the others could not."""
    packages, missing = {}, {}
    for role in roles:
        try:
            packages[role] = install(role, folder)
        except PeerUnavailableError as error:
            missing[role] = str(error)
            print(f"{role}: {error}", file=sys.stderr, flush=True)
    return packages, missing


def load(running: dict[str, Process], model: Path) -> None:
    """Let every process build its network.

    Raises:
        RuntimeError: if one has another number of parameters than the published one, or does not start.
    """
    for role, process in running.items():
        found = process.ask("load", model=str(model))["parameters"]
        if found != PARAMETERS[role]:
            raise RuntimeError(f"{role}: expected {PARAMETERS[role]} parameters; got {found}")


def compare(running: dict[str, Process], cases: list[Case], folder: Path) -> dict[str, Any]:
    """The same weights, mel and noise for the other package and BASE here: how far are the outputs apart?"""
    given = {"noise": str(folder / "noise.pt"), "output": str(folder / "wav.pt")}

    running["lmnt"].ask("wav", **given)
    theirs: Tensor = torch.load(given["output"], weights_only=True)
    same = {each.name: each for case in cases for each in case.systems if each.mode.get("model") == "base"}
    rows: dict[str, Any] = {}
    for name, system in same.items():
        answer = running[system.role].request("wav", mode=system.mode, **given)
        rows[name] = answer or distance(torch.load(given["output"], weights_only=True), theirs)
    return {"tolerance": TOLERANCE, "output_rms": rms(theirs), "systems": rows}


def measure_case(case: Case, running: dict[str, Process], options: argparse.Namespace) -> dict[str, Any]:
    """Synthesize in turn; speed is beside the other package, or the first that ran."""
    size, before = {"seconds": case.seconds, "batch": case.batch}, os.getloadavg()[0]
    systems = {system.name: system for system in case.systems if system.role in running}

    def turn(system: System) -> Callable[[bool], Answer]:
        process = running[system.role]
        return lambda first: process.request("warm_up" if first else "time", mode=system.mode, **size)

    rows = take_turns({name: turn(system) for name, system in systems.items()}, options.repeats)
    ran = {name: row for name, row in rows.items() if "error" not in row}
    base = ran.get(REFERENCE) or next(iter(ran.values()), None)
    speeds = {name: speed(base, row) for name, row in ran.items() if base}
    for name, row in rows.items():
        seconds = row.pop("seconds")
        figures = {"seconds": spread(seconds), "speed": speeds[name]} if name in ran else {}
        rows[name] = {"label": systems[name].label, **row, **figures}
    return {"what": case.what, **size, "load_before": round(before, 2), "systems": rows}


def main() -> None:
    """Measure section after section; both files are written after each."""
    options = parse_options()
    results = read(options.output / "synthesis.json")
    for name in options.sections:
        print(f"{name} ...", file=sys.stderr, flush=True)
        section = stamp(command(name, options), options.device) | measure(name, options)
        results = merged(results, name, options.device, section)
        write("synthesis", results, page(results), options.output)
    if not all(agrees(found["equality"]) for found in results.get("peers", {}).values()):
        sys.exit("synthesis: the outputs differ by more than the tolerance")


if __name__ == "__main__":
    main()
