"""Goals of the project for speed, each beside what was measured; made of the results alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.peers.systems import ALONE, REFERENCE, SHIPPED
from benchmarks.report import said, table

Results = dict[str, Any]
# What was measured, in words, and whether it is enough; None if it was not measured.
Judgement = tuple[str, bool] | None
_CORES = 2


@dataclass(frozen=True)
class Goal:
    """A goal, and how it is judged.

    Args:
        what: in words.
        wanted: in figures.
        judge: looks at the results.
        missing: what the page says where it was not measured.
    """

    what: str
    wanted: str
    judge: Callable[[Results], Judgement]
    missing: str = "not measured yet"


def tables(results: Results, section: str, device: str, **wanted: Any) -> Iterator[dict[str, Any]]:
    """Tables of a section whose settings are as wanted."""
    for each in results.get(section, {}).get(device, {}).get("tables", []):
        if all(each[name] == value for name, value in wanted.items()):
            yield each


def rows(of: dict[str, Any], prefix: str = "") -> dict[str, dict[str, Any]]:
    """Rows of a table's systems that ran, whose names begin so."""
    return {n: row for n, row in of["systems"].items() if n.startswith(prefix) and "error" not in row}


def times_real_time(row: dict[str, Any]) -> float:
    """Seconds of audio in a second of work."""
    return float(row["audio"] / row["seconds"]["median"])


def fastest(found: dict[str, dict[str, Any]]) -> str | None:
    """Name of the row with the most audio in a second."""
    return max(found, key=lambda name: times_real_time(found[name]), default=None)


def best_throughput(results: Results, prefix: str) -> tuple[str, dict[str, Any]] | None:
    """The most audio a second on a GPU at any batch size, of systems whose names begin so."""
    found = {
        f"{name}, batch {each['batch']}": row
        for each in tables(results, "peers", "cuda", what="throughput")
        for name, row in rows(each, prefix).items()
    }
    best = fastest(found)
    return None if best is None else (best, found[best])


def _base_on_cpu(results: Results) -> Judgement:
    for each in tables(results, "peers", "cpu", threads=_CORES):
        ours = rows(each, "BASE ")
        best = fastest(ours)
        if best is None or not rows(each, REFERENCE):
            continue
        ratio, plain = ours[best]["speed"], ours.get("BASE reference float32")
        more = f", {plain['speed']['median']:.2f} in float32 as the other" if plain else ""
        return f"{said(ratio)} for {best.removeprefix('BASE ')}{more}", ratio["median"] >= 3
    return None


def _default_on_cpu(results: Results) -> Judgement:
    found = list(tables(results, "ours", "cpu", threads=_CORES, batch=1, what="latency"))
    speeds = {
        system: {each["seconds"]: times_real_time(rows(each)[system]) for each in found if system in rows(each)}
        for system in (SHIPPED.name, ALONE.name)
    }
    if not speeds[SHIPPED.name]:
        return None
    shipped, alone = (", ".join(f"{value:.1f} for {size:g} s" for size, value in of.items()) for of in speeds.values())
    words = f"{shipped} as shipped, with mel consistency; {alone} for the network alone"
    return words, min(speeds[SHIPPED.name].values()) >= 8


def _step_on_cpu(results: Results) -> Judgement:
    found = results.get("training_kernel", {})
    if "speed_ratio" not in found or found["setting"]["threads"] != _CORES:
        return None
    ratio = found["speed_ratio"]["native"]
    return f"{said(ratio)}; docs/benchmarks/training.md", ratio["median"] >= 2


def _gpu_throughput(results: Results) -> Judgement:
    ours, theirs = best_throughput(results, "BASE "), best_throughput(results, REFERENCE)
    if ours is None or theirs is None:
        return None
    ratio = times_real_time(ours[1]) / times_real_time(theirs[1])
    return f"{ratio:.1f} ({ours[0]} against {theirs[0]})", ratio >= 30


def _gpu_real_time(results: Results) -> Judgement:
    ours = best_throughput(results, "BASE ")
    return ours and (f"{times_real_time(ours[1]):,.0f} ({ours[0]})", times_real_time(ours[1]) >= 1000)


def _gpu_latency(results: Results) -> Judgement:
    for each in tables(results, "peers", "cuda", what="latency", batch=1):
        ours = rows(each, "BASE ")
        best = fastest(ours)
        if best is not None and REFERENCE in rows(each):
            ratio = ours[best]["speed"]["median"]
            return f"{ratio:.1f} ({best}, {each['seconds']:g} s)", ratio >= 15
    return None


def _gpu_kernel(results: Results) -> Judgement:
    ratios = {}
    for each in tables(results, "peers", "cuda", what="throughput"):
        found = rows(each, "BASE ")
        if {"BASE triton", "BASE compiled bfloat16"} <= found.keys():
            pair = (found["BASE triton"], found["BASE compiled bfloat16"])
            ratios[each["batch"]] = times_real_time(pair[0]) / times_real_time(pair[1])
    words = ", ".join(f"{ratio:.2f} at batch {batch}" for batch, ratio in ratios.items())
    return (f"{words} (whole syntheses)", max(ratios.values()) >= 2) if ratios else None


def _gpu_training(results: Results) -> Judgement:
    speeds = results.get("training", {}).get("peer float16", {})
    if not speeds:
        return None
    best = max(speeds, key=lambda name: speeds[name]["median"])
    ratio = speeds[best]["median"]
    return f"{ratio:.2f} ({best}; docs/benchmarks/training.md)", ratio >= 5


_GPU = "not yet run on a GPU"
GOALS = (
    Goal("BASE, 6 steps, 2 CPU cores, beside lmnt-com 0.1.7 in float32", "≥ 3 times (better: 4)", _base_on_cpu),
    Goal("default checkpoint, 6 steps, 2 CPU cores", "≥ 8 times real time", _default_on_cpu),
    Goal(
        "training step of the default checkpoint, 2 CPU cores, beside PyTorch in bfloat16",
        "≥ 2 times",
        _step_on_cpu,
    ),
    Goal("BASE throughput beside lmnt-com 0.1.7", "≥ 30 times", _gpu_throughput, _GPU),
    Goal("BASE throughput", "≥ 1000 times real time", _gpu_real_time, _GPU),
    Goal("BASE, one output of 10 s, beside lmnt-com 0.1.7", "≥ 15 times", _gpu_latency, _GPU),
    Goal("fused kernel beside `torch.compile`, bfloat16", "≥ 2 times", _gpu_kernel, _GPU),
    Goal("training step of BASE beside lmnt-com's float16 autocast", "≥ 5 times", _gpu_training, _GPU),
)


def goal_table(results: Results) -> list[str]:
    """Goal beside figure, a row each."""
    found = []
    for goal in GOALS:
        judged = goal.judge(results)
        if judged is not None:
            found.append((goal.what, goal.wanted, judged[0], word(judged[1])))
        else:
            found.append((goal.what, goal.wanted, goal.missing, ""))
    return table(["what", "goal", "measured", ""], found, 4)


def word(met: bool) -> str:
    """A verdict that is seen when it should be."""
    return "met" if met else "**missed**"
