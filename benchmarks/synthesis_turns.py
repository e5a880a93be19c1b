"""Vocoders in processes that take turns: one computes while the others sleep, and all make the same length of audio."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import peer
from diffwave.dsp.noise import white_noise
from peer import ROOT, STEPS, Runner, difference, rms, spread
from synthesis_systems import PARAMETERS, REFERENCE, Case, PeerUnavailableError, System, install

TOLERANCE = 1e-4  # of float32; other precisions are stated in decibels
_PAUSE = 0.3  # OpenMP threads spin for a while after their work


class SynthesisRunner(Runner):
    """One package in a process of its own, that synthesizes.

    Args:
        role: ``lmnt``, ``vocos``, ``hifigan`` or ``ours``.
        package: folder that holds the package.
        model: folder that :func:`prepare` has filled.
        threads: of torch.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, role: str, package: Path, model: Path, threads: int, device: str) -> None:
        arguments = ["--model", str(model), "--device", device]
        super().__init__(role, package, threads, arguments, "synthesis_runner.py")

    def request(self, **request: Any) -> dict[str, Any]:
        """As ``ask``, with numbers and settings; a process that died is an answer too."""
        answer = self.exchange(request)
        # Nothing to tell is an answer as well.
        return {"error": f"the process ended with {self.process.wait()}"} if answer is None else answer


@contextlib.contextmanager
def processes(
    packages: dict[str, Path], model: Path, threads: int, device: str
) -> Iterator[dict[str, SynthesisRunner]]:
    """A process for each package, and one for ours."""
    with contextlib.ExitStack() as stack:
        folders = packages | {"ours": ROOT}
        yield {
            role: stack.enter_context(SynthesisRunner(role, folder, model, threads, device))
            for role, folder in folders.items()
        }


def prepare(folder: Path, seconds: float) -> dict[str, Any]:
    """Write BASE for both packages, a mel, and our own noise for the other; returns what is compared."""
    setting = peer.prepare(folder, min(seconds, 1.0))
    mel = torch.load(folder / "inputs.pt", weights_only=True)["mel"]
    # The vocoder draws stream S for the start and the index it has just left afterwards; the other asks in that order.
    noise = torch.stack([white_noise(0, index, setting["samples"]) for index in range(STEPS, 0, -1)])
    torch.save({"mel": mel}, folder / "inputs.pt")
    torch.save(noise, folder / "noise.pt")
    return setting


def measure(options: argparse.Namespace, cases: list[Case], roles: tuple[str, ...]) -> dict[str, Any]:
    """Everything about a list of cases on one device, with each number of threads.

    Args:
        options: the command line.
        cases: what takes turns.
        roles: other projects whose packages are needed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        packages, missing = installed(roles, options.peers or folder)
        model = folder / "model"
        found: dict[str, Any] = {"setting": prepare(model, options.seconds) | {"repeats": options.repeats}}
        found |= {"missing": missing, "tables": []}
        for threads in options.threads:
            with processes(packages, model, threads, options.device) as runners:
                if "about" not in found:
                    found["about"] = about(runners)
                    found["equality"] = compare(runners, equal_systems(cases), model) if "lmnt" in runners else {}
                for case in cases:
                    table = {"threads": threads, **take_turns(case, runners, options.repeats)}
                    found["tables"].append(table | {"roofline": rooflines(case, table, runners)})
    return found


def installed(roles: tuple[str, ...], folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Folders of the packages that are there or could be installed, and why the others could not."""
    packages, missing = {}, {}
    for role in roles:
        try:
            packages[role] = install(role, folder.resolve())
        except PeerUnavailableError as error:
            missing[role] = str(error)
            print(f"{role}: {error}", file=sys.stderr, flush=True)
    return packages, missing


def about(runners: dict[str, SynthesisRunner]) -> dict[str, Any]:
    """Numbers of parameters; another than the published one would be another network.

    Raises:
        RuntimeError: if it is, or a process does not start.
    """
    found = {}
    for role, runner in runners.items():
        answer = runner.request(action="about")
        if answer.get("parameters", -1) != PARAMETERS.get(role, PARAMETERS["lmnt"]):
            raise RuntimeError(f"{role}: expected {PARAMETERS.get(role)} parameters; got {answer}")
        found[role] = answer["parameters"]
    return found


def equal_systems(cases: list[Case]) -> list[System]:
    """Those that are the same network as the other package's: BASE, with the same weights."""
    systems = [system for case in cases for system in case.systems if system.mode.get("model") == "base"]
    return list({system.name: system for system in systems}.values())


def compare(runners: dict[str, SynthesisRunner], systems: list[System], folder: Path) -> dict[str, Any]:
    """The same weights, mel and noise for the other package and ours: how far are the outputs apart?"""
    given = {"action": "wav", "noise": str(folder / "noise.pt"), "output": str(folder / "wav.pt")}

    def wav(role: str, mode: dict[str, Any]) -> Tensor | str:
        said = runners[role].request(**given, mode=mode)
        return str(said["error"]) if "error" in said else torch.load(folder / "wav.pt", weights_only=True)

    theirs = wav("lmnt", {})
    if isinstance(theirs, str):
        raise RuntimeError(f"the other package did not synthesize: {theirs}")
    rows = {}
    for system in systems:
        ours = wav(system.role, system.mode)
        rows[system.name] = {"error": ours} if isinstance(ours, str) else distance(ours, theirs)
    return {"tolerance": TOLERANCE, "output_rms": rms(theirs), "systems": rows}


def distance(ours: Tensor, theirs: Tensor) -> dict[str, float]:
    """Largest difference of a sample, and the error below the signal in decibels."""
    error = rms(ours.double() - theirs.double())
    decibels = 20 * torch.log10(torch.tensor(rms(theirs) / max(error, 1e-12)))
    return {"max_difference": difference(ours, theirs), "decibels": float(decibels)}


def take_turns(case: Case, runners: dict[str, SynthesisRunner], repeats: int) -> dict[str, Any]:
    """Synthesize in turn, after one turn to warm up; ratios are of neighbours in time."""
    systems = [system for system in case.systems if system.role in runners]
    size = {"seconds": case.seconds, "batch": case.batch}
    rows: dict[str, dict[str, Any]] = {system.name: {"label": system.label, "seconds": []} for system in systems}
    load = os.getloadavg()[0]
    for number in range(repeats + 1):
        for system in systems:
            row = rows[system.name]
            if "error" in row:
                continue
            time.sleep(_PAUSE)
            action = "time" if number else "warm up"
            said = runners[system.role].request(action=action, mode=system.mode, **size)
            print(f"{case.what}, round {number} of {repeats}, {system.name}: {said}", file=sys.stderr, flush=True)
            if "seconds" in said:
                row["seconds"].append(said.pop("seconds"))
            row |= said
    return {"what": case.what, **size, "load_before": round(load, 2), "systems": _summary(rows)}


def _summary(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Rows with the spread of their times, and their speed beside the first that ran, for each second of audio."""
    ran = {name: row for name, row in rows.items() if "error" not in row}
    first = ran.get(REFERENCE) or next(iter(ran.values()), None)
    for row in rows.values():
        values = row.pop("seconds")
        if "error" in row or first is None:
            continue
        row["seconds"] = spread(values)
        base = first["seconds"]["values"]
        row["speed"] = spread([a / first["audio"] / (b / row["audio"]) for a, b in zip(base, values, strict=True)])
    return rows


def rooflines(case: Case, table: dict[str, Any], runners: dict[str, SynthesisRunner]) -> dict[str, Any]:
    """Limits of the machine in each precision that our systems ran in, and what they allow the network."""
    limits: dict[str, Any] = {}
    for system in case.systems:
        row = table["systems"].get(system.name, {"error": ""})
        if system.role != "ours" or "error" in row or system.mode.get("consistency") != 0:
            continue
        precision = row["precision"]
        if precision not in limits:
            time.sleep(_PAUSE)
            limits[precision] = runners["ours"].request(action="limits", precision=precision)
        size = {"seconds": case.seconds, "batch": case.batch, "limits": limits[precision]}
        row["roofline"] = runners["ours"].request(action="roofline", mode=system.mode, **size)
    return limits
