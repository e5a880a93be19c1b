"""What ``benchmarks/synthesis.py`` times: the systems, the packages they come from, and the sizes they are tried at."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# A package of each other project and what it needs besides what is here; huggingface_hub 1 needs more still.
PACKAGES = {
    "lmnt": ("diffwave==0.1.7",),
    "vocos": ("vocos==0.1.0", "encodec==0.1.1", "einops==0.8.2", "huggingface_hub==0.36.0"),
    "hifigan": ("hifi-gan==0.0.2",),
}
# As published: Vocos mel-24khz (Siuzdak 2024, 13.5 M), HiFi-GAN V1 (Kong et al. 2020, 13.92 M).
PARAMETERS = {"lmnt": 2_619_971, "vocos": 13_531_650, "hifigan": 13_926_017}
REFERENCE = "lmnt float32"


class PeerUnavailableError(RuntimeError):
    """Another project's package could not be installed."""


@dataclass(frozen=True)
class System:
    """Something that turns a mel into audio.

    Args:
        name: in the results.
        label: on the page.
        role: which process runs it: ``lmnt``, ``vocos``, ``hifigan`` or ``ours``.
        mode: what that process is told; settings of ``synthesis_runner.py``.
    """

    name: str
    label: str
    role: str
    mode: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """Systems that take turns at one size of output.

    Args:
        systems: the first is what the others are compared with.
        seconds: length of each output.
        batch: outputs made at once.
        what: heading on the page.
    """

    systems: tuple[System, ...]
    seconds: float
    batch: int
    what: str


def _base(backend: str, precision: str = "auto") -> System:
    name = f"BASE {backend}" + f" {precision}" * (precision != "auto")
    label = f"this project, BASE, `{backend}`" + f" in {precision}" * (precision != "auto")
    mode = {"model": "base", "backend": backend, "precision": precision, "consistency": 0}
    return System(name, label, "ours", mode)


def _default(backend: str, consistency: bool, precision: str = "auto") -> System:
    what = "with mel consistency" if consistency else "network alone"
    choice = backend + f" {precision}" * (precision != "auto")
    label = f"this project, default checkpoint, {what}" + f", `{choice}`" * (backend != "auto")
    mode = {"model": "default", "backend": backend, "precision": precision}
    return System(f"default {choice} {what}", label, "ours", mode | ({} if consistency else {"consistency": 0}))


def _narrow(squeeze: int, channels: int) -> System:
    network = {"squeeze": squeeze, "residual_channels": channels}
    label = f"squeeze {squeeze}, {channels} channels"
    return System(label, label, "ours", {"model": "default", "network": network, "consistency": 0})


LMNT = System(REFERENCE, "lmnt-com `diffwave`, BASE, as shipped", "lmnt", {"precision": "float32"})
LMNT_TUNED = System(
    "lmnt bfloat16 compiled",
    "lmnt-com `diffwave`, BASE, under bfloat16 autocast and `torch.compile`",
    "lmnt",
    {"precision": "bfloat16", "compile": True},
)
VOCOS = System("vocos", "Vocos mel-24khz", "vocos")
HIFIGAN = System("hifigan", "HiFi-GAN V1", "hifigan")
SHIPPED, ALONE = _default("auto", True), _default("auto", False)
BASE_ROWS = {
    "cpu": (
        _base("reference", "float32"),
        _base("reference", "bfloat16"),
        _base("compiled", "bfloat16"),
        _base("native"),
    ),
    "cuda": (
        _base("reference", "float32"),
        _base("reference", "bfloat16"),
        _base("compiled", "bfloat16"),
        _base("triton"),
    ),
}
NARROW = tuple(_narrow(squeeze, channels) for squeeze in (4, 8, 16) for channels in (96, 64, 32))
_GPU_BATCHES = (1, 8, 32, 128)


def peer_cases(device: str, seconds: float) -> list[Case]:
    """Other vocoders and ours, in one run."""
    rows = (LMNT, LMNT_TUNED, *BASE_ROWS[device], ALONE, SHIPPED, HIFIGAN, VOCOS)
    if device == "cpu":
        return [Case(rows, seconds, 1, "latency")]
    fast = BASE_ROWS[device][2:]
    sweep = [Case((LMNT, LMNT_TUNED, *fast, HIFIGAN, VOCOS), seconds, b, "throughput") for b in _GPU_BATCHES]
    return [Case(rows, 10 * seconds, 1, "latency"), *sweep]


def own_cases(device: str, seconds: float) -> list[Case]:
    """The default checkpoint, and networks of its kind at other sizes."""
    backends = (_default("reference", False, "float32"),)
    backends += (_default("compiled", False, "bfloat16"),) if device == "cuda" else ()
    batches = (4,) if device == "cpu" else _GPU_BATCHES[1:]
    return [
        Case((ALONE, SHIPPED, *backends), seconds, 1, "latency"),
        Case((ALONE, SHIPPED), 10 * seconds, 1, "latency"),
        *(Case((ALONE, SHIPPED), seconds, batch, "throughput") for batch in batches),
        # For small machines; a GPU is hardly filled by one of them.
        *([Case(NARROW, seconds, 1, "sizes")] if device == "cpu" else []),
    ]


def install(role: str, folder: Path) -> Path:
    """The folder that holds a package of another project; installed there unless it is there already.

    Raises:
        PeerUnavailableError: if pip fails, with the last line of what it said, or another version is there.
    """
    target = folder / role
    if not target.is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--retries", "1", "--timeout", "10", "--target", str(target), *PACKAGES[role]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise PeerUnavailableError(f"cannot install {PACKAGES[role][0]}: {said}")
    check_version(role, target)
    return target


def check_version(role: str, folder: Path) -> None:
    """Refuse a folder with another version of the package, or without it.

    Raises:
        PeerUnavailableError: with what was expected and what is there.
    """
    name, version = PACKAGES[role][0].split("==")
    found = [each.version for each in importlib.metadata.distributions(name=name, path=[str(folder)])]
    if found != [version]:
        raise PeerUnavailableError(f"{folder}: expected {name} {version}; got {', '.join(found) or 'none'}")
