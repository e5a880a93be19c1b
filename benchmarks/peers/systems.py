"""What ``peers.synthesis`` times: the systems, and the sizes they are tried at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

REFERENCE = "lmnt float32"


@dataclass(frozen=True)
class System:
    """Something that turns a mel into audio.

    Args:
        name: in the results.
        label: on the page.
        role: which process runs it: ``lmnt``, ``vocos``, ``hifigan`` or ``ours``.
        mode: what that process is told.
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
_PLAIN = (_base("reference", "float32"), _base("reference", "bfloat16"), _base("compiled", "bfloat16"))
BASE_ROWS = {"cpu": (*_PLAIN, _base("native")), "cuda": (*_PLAIN, _base("triton"))}
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
    """The default checkpoint, as shipped and the network alone."""
    backends = (_default("reference", False, "float32"),)
    backends += (_default("compiled", False, "bfloat16"),) if device == "cuda" else ()
    batches = (4,) if device == "cpu" else _GPU_BATCHES[1:]
    return [
        Case((ALONE, SHIPPED, *backends), seconds, 1, "latency"),
        Case((ALONE, SHIPPED), 10 * seconds, 1, "latency"),
        *(Case((ALONE, SHIPPED), seconds, batch, "throughput") for batch in batches),
    ]
