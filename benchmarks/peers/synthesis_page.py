"""The page of ``peers.synthesis``, made of its figures alone, with the goals of the project for speed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from benchmarks.peers.packages import PACKAGES, PARAMETERS
from benchmarks.peers.systems import ALONE, REFERENCE, SHIPPED
from benchmarks.report import measured, said, table, verdict

Results = dict[str, Any]
_DEVICES = {"cpu": "a CPU", "cuda": "a GPU"}
_SECTIONS = {"peers": "Beside other vocoders", "ours": "The default checkpoint"}
_HEADER = ("system", "seconds", "real-time factor", "times real time", "speed", "memory, MiB")


# What was measured, in words, and whether it is enough; None if it was not measured.
Judgement = tuple[str, bool] | None
_CORES = 2


class Goal(NamedTuple):
    """A goal: in words, in figures, how it is judged, and what is said where it was not measured."""

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


def _gpu_throughput(results: Results) -> Judgement:
    best: dict[str, tuple[float, str]] = {}
    for each in tables(results, "peers", "cuda", what="throughput"):
        for whose in ("BASE ", REFERENCE):
            found = [
                (times_real_time(row), f"{name}, batch {each['batch']}") for name, row in rows(each, whose).items()
            ]
            best[whose] = max([*found, best.get(whose, (0.0, ""))])
    ours, theirs = (best.get(whose, (0.0, "")) for whose in ("BASE ", REFERENCE))
    if not (ours[0] and theirs[0]):
        return None
    return f"{ours[0] / theirs[0]:.1f} ({ours[1]} against {theirs[1]})", ours[0] / theirs[0] >= 30


def _gpu_latency(results: Results) -> Judgement:
    for each in tables(results, "peers", "cuda", what="latency", batch=1):
        ours = rows(each, "BASE ")
        best = fastest(ours)
        if best is not None and REFERENCE in rows(each):
            ratio = ours[best]["speed"]["median"]
            return f"{ratio:.1f} ({best}, {each['seconds']:g} s)", ratio >= 15
    return None


_GPU = "not yet run on a GPU"
GOALS = (
    Goal("BASE, 6 steps, 2 CPU cores, beside lmnt-com 0.1.7 in float32", "≥ 3 times (better: 4)", _base_on_cpu),
    Goal("default checkpoint, 6 steps, 2 CPU cores", "≥ 8 times real time", _default_on_cpu),
    Goal("BASE throughput beside lmnt-com 0.1.7", "≥ 30 times", _gpu_throughput, _GPU),
    Goal("BASE, one output of 10 s, beside lmnt-com 0.1.7", "≥ 15 times", _gpu_latency, _GPU),
)


def goal_table(results: Results) -> list[str]:
    """Goal beside figure, a row each."""
    found = []
    for goal in GOALS:
        judged = goal.judge(results)
        if judged is not None:
            found.append((goal.what, goal.wanted, judged[0], verdict(judged[1])))
        else:
            found.append((goal.what, goal.wanted, goal.missing, ""))
    return table(["what", "goal", "measured", ""], found, 4)


def agrees(equality: dict[str, Any]) -> bool:
    """Whether every output in float32 lies within the tolerance; there may be nothing to compare with."""
    compared = {
        n: row for n, row in equality.get("systems", {}).items() if n.endswith("float32") and "error" not in row
    }
    # Not "difference > tolerance": NaN must fail.
    return all(row["max_difference"] <= equality["tolerance"] for row in compared.values())


def page(results: Results) -> str:
    """The results page; sections that were not measured yet are named as such."""
    parts = [
        "# Synthesis: speed",
        "",
        "Generated by `python -m benchmarks.peers.synthesis`; every figure is in [synthesis.json](synthesis.json).",
        "",
        "## Goals",
        "",
        *goal_table(results),
        *(line for name, title in _SECTIONS.items() for line in _section(results, name, title)),
        *_equality(results.get("peers", {})),
        "",
        "## How it was measured",
        "",
        *_method(results),
    ]
    return "\n".join([*parts, ""])


def _threads(each: dict[str, Any]) -> str:
    return f"{each['threads']} CPU thread" + "s" * (each["threads"] > 1)


def _section(results: Results, name: str, title: str) -> list[str]:
    """A heading and a table for each size and number of threads; those of a GPU after those of a CPU."""
    lines = ["", f"## {title}"]
    for device, words in _DEVICES.items():
        found = results.get(name, {}).get(device)
        if not found:
            lines += ["", f"Not yet run on {words}."]
            continue
        for each in found["tables"]:
            lines += ["", f"### {_headline(each, device)}", "", *_table(each)]
        lines += ["", *(f"{role}: not measured; {why}." for role, why in found["missing"].items()), measured(found)]
    return lines


def _headline(each: dict[str, Any], device: str) -> str:
    size = f"{each['seconds']:g} s" if each["batch"] == 1 else f"{each['batch']} outputs of {each['seconds']:g} s"
    return f"{_threads(each) if device == 'cpu' else 'GPU'}, {size}"


def _table(each: dict[str, Any]) -> list[str]:
    """The rows, and under what conditions they were made."""
    slow = [f"{row['warm_up']:.0f} s of {_label(row)}" for row in each["systems"].values() if _is_slow_to_start(row)]
    notes = f"Load average before: {each['load_before']:.1f}."
    notes += f" The first call, with what it builds, took {', '.join(slow)}." if slow else ""
    return [*table(_HEADER, map(_cells, each["systems"].values())), "", notes]


def _is_slow_to_start(row: dict[str, Any]) -> bool:
    """Whether the first call took much longer than the others."""
    return "error" not in row and row["warm_up"] > 3 * row["seconds"]["median"] + 1


def _cells(row: dict[str, Any]) -> list[str]:
    if "error" in row:
        return [row["label"], f"did not run: {row['error'].replace('|', '/')}", *[""] * (len(_HEADER) - 2)]
    seconds, speed = row["seconds"], row["speed"]
    factor = seconds["median"] / row["audio"]
    return [
        _label(row),
        f"{seconds['median']:.3g} ({seconds['low']:.3g} to {seconds['high']:.3g})",
        f"{factor:.3g}",
        f"{1 / factor:,.3g}",
        "1" if speed["low"] == speed["high"] == 1 else said(speed),
        "" if row.get("memory") is None else f"{row['memory'] / 2**20:,.0f}",
    ]


def _label(row: dict[str, Any]) -> str:
    """What ran; where ``auto`` chose, what it has chosen."""
    if "backend" not in row or f"`{row['backend']}" in row["label"]:
        return str(row["label"])
    return f"{row['label']} (`{row['backend']}`)"


def _equality(peers: Results) -> list[str]:
    """How far our outputs are from the other package's."""
    found = {device: each["equality"] for device, each in peers.items() if each["equality"]}
    if not found:
        return []
    compared = [
        [name.removeprefix("BASE "), _DEVICES[device]]
        + ([f"{row['max_difference']:.1e}", f"{row['decibels']:.0f} dB"] if "error" not in row else ["did not run", ""])
        for device, equality in found.items()
        for name, row in equality["systems"].items()
    ]
    any_ = next(iter(found.values()))
    return [
        "",
        "## The same output",
        "",
        "BASE with the same weights, mel and noise as lmnt-com's `diffwave` in float32 (TF32 off):",
        "",
        *table(["backend", "on", "largest difference", "error below the signal"], compared, 2),
        "",
        f"The output's RMS is {any_['output_rms']:.3f}; the tolerance for float32 is {any_['tolerance']:g}. Weights "
        "are random.",
    ]


def _method(results: Results) -> list[str]:
    repeats = {each["setting"]["repeats"] for name in _SECTIONS for each in results.get(name, {}).values()}
    versions = {role: "`{}` {}".format(*names[0].split("==")) for role, names in PACKAGES.items()}
    return [
        "*Turns.* Each package has a process of its own, with the same number of threads; they take turns, and all "
        "but one sleep. Seconds are medians, with the extremes, of "
        f"{' or '.join(map(str, sorted(repeats))) or 'the'} rounds after one to warm up. *Speed* is the time of the "
        "table's first row over the row's, for each second of audio, within each round: other work on the machine "
        "reaches every system of a round, so ratios say more than seconds.",
        "",
        f"*Other projects*, as their packages run them, without gradients: lmnt-com's {versions['lmnt']} through "
        "`predict` with its fast schedule of 6 steps, on the weights and the mel of our BASE at 22,050 Hz (a second "
        "row gives it bfloat16 autocast and `torch.compile`, which it does not use itself); HiFi-GAN V1 "
        f"({PARAMETERS['hifigan'] / 1e6:.2f} M parameters, 22,050 Hz) from {versions['hifigan']}, weight normalisation "
        f"removed; Vocos mel-24khz ({PARAMETERS['vocos'] / 1e6:.2f} M, 24,000 Hz) from {versions['vocos']}. The last "
        "two have random weights: nothing is said of how they sound. All make the same length of audio, to a frame. "
        "Ours goes through `Vocoder.synthesize`, with noise, checks of the mel and all else that a user gets.",
        "",
        "*Memory* is how far that of the process rises during one synthesis, beyond its weights: resident memory on a "
        "CPU, what PyTorch allocates on a GPU. How near the machine's limit a network comes: `diffwave bench`.",
    ]
