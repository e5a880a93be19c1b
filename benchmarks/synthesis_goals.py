"""Goals of the project for speed, each beside what was measured; made of the results alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from synthesis_systems import ALONE, REFERENCE, SHIPPED

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
    for table in results.get(section, {}).get(device, {}).get("tables", []):
        if all(table[name] == value for name, value in wanted.items()):
            yield table


def rows(table: dict[str, Any], prefix: str = "") -> dict[str, dict[str, Any]]:
    """Rows of the systems that ran, whose names begin so."""
    return {n: row for n, row in table["systems"].items() if n.startswith(prefix) and "error" not in row}


def times_real_time(row: dict[str, Any]) -> float:
    """Seconds of audio in a second of work."""
    return float(row["audio"] / row["seconds"]["median"])


def fastest(found: dict[str, dict[str, Any]]) -> str | None:
    """Name of the row with the most audio in a second."""
    return max(found, key=lambda name: times_real_time(found[name]), default=None)


def _base_on_cpu(results: Results) -> Judgement:
    for table in tables(results, "peers", "cpu", threads=_CORES):
        ours, theirs = rows(table, "BASE "), rows(table, REFERENCE)
        best = fastest(ours)
        if best is None or not theirs:
            continue
        ratio = ours[best]["speed"]
        said = f"{ratio['median']:.2f} ({best.removeprefix('BASE ')}; {ratio['min']:.2f} to {ratio['max']:.2f})"
        plain = ours.get("BASE reference float32")
        said += f", {plain['speed']['median']:.2f} in float32 as the other" if plain else ""
        return said, ratio["median"] >= 3
    return None


def _default_on_cpu(results: Results) -> Judgement:
    found = [
        (table["seconds"], rows(table))
        for table in tables(results, "ours", "cpu", threads=_CORES, batch=1, what="latency")
    ]
    shipped = {size: times_real_time(each[SHIPPED.name]) for size, each in found if SHIPPED.name in each}
    alone = {size: times_real_time(each[ALONE.name]) for size, each in found if ALONE.name in each}
    if not shipped:
        return None
    said = ", ".join(f"{value:.1f} for {size:g} s" for size, value in shipped.items())
    without = ", ".join(f"{value:.1f} for {size:g} s" for size, value in alone.items())
    return f"{said} as shipped, with mel consistency; {without} for the network alone", min(shipped.values()) >= 8


def _startup(results: Results) -> Judgement:
    found = results.get("startup")
    if not found:
        return None
    said = (
        f"{found['ratio']:.2f} ({found['first_audio']['median']:.2f} s against {found['import_torch']['median']:.2f})"
    )
    return said, found["ratio"] <= found["limit"]


def _step_on_cpu(results: Results) -> Judgement:
    found = results.get("training_kernel", {})
    if "speed_ratio" not in found or found["setting"]["threads"] != _CORES:
        return None
    ratio = found["speed_ratio"]["native"]
    said = f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f}; docs/benchmarks/training.md)"
    return said, ratio["median"] >= 2


def best_throughput(results: Results, prefix: str) -> tuple[str, dict[str, Any]] | None:
    """The most audio a second at any batch size, of systems whose names begin so."""
    found = {
        f"{name}, batch {table['batch']}": row
        for table in tables(results, "peers", "cuda", what="throughput")
        for name, row in rows(table, prefix).items()
    }
    best = fastest(found)
    return None if best is None else (best, found[best])


def _gpu_throughput(results: Results) -> Judgement:
    ours, theirs = best_throughput(results, "BASE "), best_throughput(results, REFERENCE)
    if ours is None or theirs is None:
        return None
    ratio = times_real_time(ours[1]) / times_real_time(theirs[1])
    return f"{ratio:.1f} ({ours[0]} against {theirs[0]})", ratio >= 30


def _gpu_real_time(results: Results) -> Judgement:
    ours = best_throughput(results, "BASE ")
    if ours is None:
        return None
    return f"{times_real_time(ours[1]):,.0f} ({ours[0]})", times_real_time(ours[1]) >= 1000


def _gpu_roofline(results: Results) -> Judgement:
    ours = best_throughput(results, "BASE ")
    if ours is None or "roofline" not in ours[1]:
        return None
    share = ours[1]["roofline"]["seconds"] / ours[1]["seconds"]["median"]
    return f"{share:.0%} ({ours[0]}; limited by {ours[1]['roofline']['limit']})", share >= 0.4


def _gpu_latency(results: Results) -> Judgement:
    for table in tables(results, "peers", "cuda", what="latency", batch=1):
        ours = rows(table, "BASE ")
        best = fastest(ours)
        if best is not None and REFERENCE in rows(table):
            ratio = ours[best]["speed"]["median"]
            return f"{ratio:.1f} ({best}, {table['seconds']:g} s)", ratio >= 15
    return None


def _gpu_kernel(results: Results) -> Judgement:
    ratios = {}
    for table in tables(results, "peers", "cuda", what="throughput"):
        found = rows(table, "BASE ")
        if {"BASE triton", "BASE compiled bfloat16"} <= found.keys():
            pair = (found["BASE triton"], found["BASE compiled bfloat16"])
            ratios[table["batch"]] = times_real_time(pair[0]) / times_real_time(pair[1])
    if not ratios:
        return None
    said = ", ".join(f"{ratio:.2f} at batch {batch}" for batch, ratio in ratios.items())
    return f"{said} (whole syntheses)", max(ratios.values()) >= 2


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
        "training step of the default checkpoint, 2 CPU cores, beside PyTorch's convolutions in bfloat16",
        "≥ 2 times",
        _step_on_cpu,
    ),
    Goal("start to first sample of `diffwave synthesize`, 1 s", "≤ 2 times `import torch`", _startup),
    Goal("BASE throughput beside lmnt-com 0.1.7", "≥ 30 times", _gpu_throughput, _GPU),
    Goal("BASE throughput", "≥ 1000 times real time", _gpu_real_time, _GPU),
    Goal("BASE throughput beside the machine's limit", "≥ 40%", _gpu_roofline, _GPU),
    Goal("BASE, one output of 10 s, beside lmnt-com 0.1.7", "≥ 15 times", _gpu_latency, _GPU),
    Goal("fused kernel beside `torch.compile`, bfloat16", "≥ 2 times", _gpu_kernel, _GPU),
    Goal("training step of BASE beside lmnt-com's float16 autocast", "≥ 5 times", _gpu_training, _GPU),
)


def goal_table(results: Results, measured_only: bool = False) -> list[str]:
    """Goal beside figure, a row each; of all goals, or of those that something was measured for."""
    lines = ["| what | goal | measured | |", "|---|---|---|---|"]
    for goal in GOALS:
        if measured_only and goal.judge(results) is None:
            continue
        judged = goal.judge(results)
        said, verdict = (goal.missing, "") if judged is None else (judged[0], word(judged[1]))
        lines.append(f"| {goal.what} | {goal.wanted} | {said} | {verdict} |")
    return lines


def word(met: bool) -> str:
    """A verdict that is seen when it should be."""
    return "met" if met else "**missed**"
