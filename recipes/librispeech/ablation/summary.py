"""From result files to one document: rows with intervals, comparisons, and what is missing and why."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from ablation.intervals import difference, interval, pool, rank, speakers, verdict
from ablation.settings import METRICS, read
from ablation.systems import ALONE, CONSISTENT, FLOORS, Floor
from ablation.variants import DEFAULT, LMNT, VARIANTS
from diffwave.config import ConfigError
from diffwave.evaluation.statistics import Interval

Result = dict[str, Any]
# Beside PESQ, what must not fall while it rises.
WATCHED = ("estoi", "mr_stft_aligned", "periodicity_pyin")
# Of the peer as its own code speaks, from the default as this project's does: with mel consistency.
AS_SHIPPED = "as shipped pesq_wb"


def summarize(folder: Path) -> dict[str, Any]:
    """Everything that the page shows, ready for JSON.

    Raises:
        ConfigError: if there are no results of the default variant to compare with.
    """
    by_name = {each.name: _results(folder, each.name) for each in VARIANTS}
    defaults = [result for result in by_name[DEFAULT] if "error" not in result]
    if not defaults:
        raise ConfigError(f"--output {folder}: expected {DEFAULT}-SEED.json of a run that is done; there is none")
    settings = defaults[0]["settings"]
    used = {name: [r for r in results if _fits(r, settings)] for name, results in by_name.items()}
    voices = speakers(used[DEFAULT])
    rows = [_row(name, results, used[DEFAULT], voices) for name, results in used.items() if results]
    without = read(folder / "floors.json")
    floors = [_floor(floor, without, voices) for floor in FLOORS if _fits(without, settings)]
    return {
        "settings": settings,
        "environment": defaults[0].get("environment", {}),
        "metrics": [name for name in METRICS if name in defaults[0]["metrics"]],
        "missing_metrics": [name for name in METRICS if name not in defaults[0]["metrics"]],
        "speakers": len(set(voices.values())),
        "rows": rank(rows),
        "floors": rank(floors),
        "missing": _missing(by_name, settings),
    }


def _results(folder: Path, name: str) -> list[Result]:
    """Results of all seeds, in their order."""
    numbers = {path.stem.removeprefix(f"{name}-"): path for path in folder.glob(f"{name}-*.json")}
    return [read(numbers[text]) for text in sorted(filter(str.isdecimal, numbers), key=int)]


def _fits(result: Result, settings: dict[str, Any]) -> bool:
    """Whether a result is there and was made under these conditions."""
    return "error" not in result and result.get("settings") == settings


def _missing(by_name: dict[str, list[Result]], settings: dict[str, Any]) -> dict[str, str]:
    """Why a variant, or one of its seeds, is not in the table."""
    reasons = {}
    for name, results in by_name.items():
        if not results:
            reasons[name] = "not run"
        for result in results:
            if "error" in result:
                reasons[f"{name}, seed {result.get('seed', '?')}"] = str(result["error"])
            elif not _fits(result, settings):
                reasons[f"{name}, seed {result.get('seed', '?')}"] = "run under other settings than the default"
    return reasons


def _row(name: str, results: list[Result], defaults: list[Result], voices: dict[str, str]) -> dict[str, Any]:
    """A variant: means of both systems, differences from the default, and how it was trained."""
    metrics = results[0]["metrics"]
    trainings = [result["training"] for result in results]
    differences = {} if name == DEFAULT else _differences(results, defaults, voices)
    if name == LMNT:
        differences |= _as_shipped(results, defaults, voices)
    return {
        "name": name,
        "seeds": [result["seed"] for result in results],
        "systems": {kind: _means(results, kind, metrics, voices) for kind in (ALONE, CONSISTENT)},
        "differences": differences,
        "iterations": _mean([training["iterations"] for training in trainings]),
        "seconds": _mean([training["seconds"] for training in trainings]),
        "parameters": trainings[0]["parameters"],
        "validation_loss": _comparable_loss(trainings, defaults[0]["training"]),
        "command": results[0].get("command", ""),
        "failed": _failures(results),
    }


def _means(results: list[Result], system: str, metrics: list[str], voices: dict[str, str]) -> dict[str, Any]:
    found = {metric: pool(results, system, metric) for metric in metrics}
    return {metric: {**_plain(interval(s, voices)), "n": len(s)} for metric, s in found.items() if s}


def _differences(results: list[Result], defaults: list[Result], voices: dict[str, str]) -> dict[str, Any]:
    """Of the consistent outputs, PESQ also of the network's own."""
    found: dict[str, Any] = {}
    for system, metrics in ((CONSISTENT, ("pesq_wb", *WATCHED)), (ALONE, ("pesq_wb",))):
        for metric in metrics:
            ours, theirs = pool(results, system, metric), pool(defaults, system, metric)
            if set(ours) & set(theirs):
                change = difference(ours, theirs, voices, metric)
                found[f"{system} {metric}"] = {**_plain(change), "verdict": verdict(change, metric)}
    return found


def _as_shipped(results: list[Result], defaults: list[Result], voices: dict[str, str]) -> dict[str, Any]:
    theirs, ours = pool(results, ALONE, "pesq_wb"), pool(defaults, CONSISTENT, "pesq_wb")
    if not set(ours) & set(theirs):
        return {}
    change = difference(theirs, ours, voices, "pesq_wb")
    return {AS_SHIPPED: {**_plain(change), "verdict": verdict(change, "pesq_wb")}}


def _comparable_loss(trainings: list[dict[str, Any]], default: dict[str, Any]) -> float | None:
    """Mean validation loss, where it means the same as the default's."""

    def meaning(training: dict[str, Any]) -> Any:
        """What the loss depends on, beside the network."""
        kind = [text for text in training.get("overrides", []) if text.startswith("train.loss=")]
        model = training.get("model", {})
        return model.get("diffusion"), model.get("network", {}).get("parameterization"), kind[-1:]

    if any("validation_loss" not in each or meaning(each) != meaning(default) for each in trainings):
        return None
    return _mean([each["validation_loss"] for each in trainings])


def _floor(floor: Floor, result: Result, voices: dict[str, str]) -> dict[str, Any]:
    means = _means([result], floor.name, result["metrics"], voices)
    return {"name": floor.label, "systems": {CONSISTENT: means}, "failed": 0}


def _failures(results: list[Result]) -> int:
    """Scores that could not be computed."""
    rows = [row for result in results for system in result["systems"].values() for row in system.values()]
    return sum(len(row["errors"]) for row in rows)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _plain(found: Interval) -> dict[str, float | None]:
    """For JSON, which has no NaN."""
    return {key: value if math.isfinite(value) else None for key, value in dataclasses.asdict(found).items()}
