"""The page of the laboratory: what was asked, under which budget, the table, and what it says."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from ablation.running import ALONE, CONSISTENT, FLOORS, STEPS
from ablation.variants import DEFAULT, VARIANTS
from benchmarks.report import measured, read, table
from diffwave.config import ConfigError
from diffwave.evaluation.metrics import METRICS
from diffwave.evaluation.statistics import Interval, cluster_interval, two_way_interval
from diffwave.files import write_text

Result = dict[str, Any]
# A score by seed and utterance; floors have no seed.
Scores = dict[tuple[int, str], float]


def write_page(results: Path, docs: Path) -> str:
    """Write ``ablation.md`` and ``ablation.json`` into ``docs``; returns the page.

    Raises:
        ConfigError: if there is nothing to show.
    """
    document = summarize(results)
    docs.mkdir(parents=True, exist_ok=True)
    text = page(document)
    write_text(docs / "ablation.json", json.dumps(document, indent=1) + "\n")
    write_text(docs / "ablation.md", text)
    return text


def summarize(folder: Path) -> dict[str, Any]:
    """Everything that the page shows, ready for JSON.

    Raises:
        ConfigError: if there are no results of the default variant to compare with.
    """
    found = {each.name: [read(path) for path in sorted(folder.glob(f"{each.name}-[0-9]*.json"))] for each in VARIANTS}
    defaults = [result for result in found[DEFAULT] if "error" not in result]
    if not defaults:
        raise ConfigError(f"--output {folder}: expected {DEFAULT}-SEED.json of a run that is done; there is none")
    settings, missing, rows = defaults[0]["settings"], {}, []
    for name, results in found.items():
        if not results:
            missing[name] = "not run"
        for result in results:
            if "error" in result or result["settings"] != settings:
                why = result.get("error", "run under other settings than the default")
                missing[f"{name}, seed {result.get('seed', '?')}"] = str(why)
        used = [r for r in results if "error" not in r and r["settings"] == settings]
        rows += [_row(name, used, defaults)] if used else []
    floors = read(folder / "floors.json")
    if floors.get("settings") == settings and "error" not in floors:
        rows += [{"name": name, "seeds": [], "systems": {name: _means([floors], name)}} for name in FLOORS]
    keys = ("settings", "metrics", "environment", "command")
    return {key: defaults[0][key] for key in keys} | {"rows": rows, "missing": missing}


def _row(name: str, results: list[Result], defaults: list[Result]) -> dict[str, Any]:
    """A variant: means of both systems, differences from the default, and how it was trained."""
    trainings, voices = [result["training"] for result in results], speakers(results)
    differences = {}
    for kind in (ALONE, CONSISTENT) if name != DEFAULT else ():
        for metric in results[0]["metrics"]:
            ours, theirs = pool(results, kind, metric), pool(defaults, kind, metric)
            if set(ours) & set(theirs):
                change = difference(ours, theirs, voices, metric)
                differences[f"{kind} {metric}"] = {**_plain(change), "verdict": verdict(change, metric)}
    return {
        "name": name,
        "seeds": [result["seed"] for result in results],
        "systems": {kind: _means(results, kind) for kind in (ALONE, CONSISTENT)},
        "differences": differences,
        "iterations": float(np.mean([training["iterations"] for training in trainings])),
        "seconds": float(np.mean([training["seconds"] for training in trainings])),
        "parameters": trainings[0]["parameters"],
    }


def pool(results: list[Result], system: str, metric: str) -> Scores:
    """Scores of a system over all seeds, of the utterances that have one."""
    return {
        (int(result.get("seed", 0)), utterance): float(row["scores"][metric])
        for result in results
        for utterance, row in result["systems"][system].items()
        if metric in row["scores"]
    }


def speakers(results: list[Result]) -> dict[str, str]:
    """Speaker of each utterance."""
    return {n: row["speaker"] for result in results for rows in result["systems"].values() for n, row in rows.items()}


def interval(scores: Scores, voices: dict[str, str]) -> Interval:
    """Mean with a 95 % interval.

    With one seed, a bootstrap of speakers; it says nothing of other seeds. With several, seeds and speakers are both
    drawn from many: crossed random effects, and so few seeds make wide intervals where they differ.
    """
    values = np.array(list(scores.values()))
    seeds, clusters = [seed for seed, _ in scores], [voices[name] for _, name in scores]
    if len(set(seeds)) > 1:
        return two_way_interval(values, seeds, clusters)
    return cluster_interval(values, clusters)


def difference(scores: Scores, default: Scores, voices: dict[str, str], metric: str) -> Interval:
    """Paired difference from the default, by seed and utterance; of distances from zero where zero is best."""
    distance = abs if METRICS[metric].better == "zero" else float
    return interval({k: distance(scores[k]) - distance(default[k]) for k in scores if k in default}, voices)


def verdict(found: Interval, metric: str) -> str:
    """``better``, ``worse``, or ``not separable`` where the interval holds zero or there is none."""
    if not (found.low > 0 or found.high < 0):
        return "not separable"
    return "better" if (found.low > 0) == (METRICS[metric].better == "higher") else "worse"


def page(document: dict[str, Any]) -> str:
    """The page in Markdown."""
    settings, rows = document["settings"], document["rows"]
    voices, seeds = len(settings["utterances"]), sorted({seed for row in rows for seed in row["seeds"]})
    sections = [
        "# Which levers help the small model",
        f"Each variant changes one thing of `experiment={settings['experiment']}` and is trained for "
        f"{settings['iterations']:,} iterations on the same data, with the seeds {', '.join(map(str, seeds))}. Each "
        f"then speaks {voices} utterances of the `val` split with {STEPS} steps, the network alone and with "
        f"{settings['consistency']} iterations of mel consistency. Trainings are short: they tell which way things "
        "point at this length, not how good a model becomes. Every figure is in [ablation.json](ablation.json).",
        f"**The network alone.** {reading(document, ALONE)}",
        "\n".join(_table(document, ALONE)),
        f"**With mel consistency**, beside as much without a network. {reading(document, CONSISTENT)}",
        "\n".join(_table(document, CONSISTENT)),
        "Mean ± half of the 95 % interval, over seeds and speakers if there are several seeds (crossed random "
        "effects), else over speakers. Differences are paired by seed and utterance. Seconds are of training alone.",
        *([f"**Not in the table.** {_list(document['missing'])}."] if document["missing"] else []),
        "## What each row is",
        "\n".join(_explained(row) for row in rows if row["seeds"]),
        measured(document),
    ]
    return "\n\n".join(sections) + "\n"


def reading(document: dict[str, Any], kind: str) -> str:
    """Which levers are better than the default in PESQ-WB beyond the interval, worse, or cannot be told from it."""
    verdicts: dict[str, list[str]] = {"better": [], "worse": [], "not separable": []}
    for row in document["rows"]:
        change = row.get("differences", {}).get(f"{kind} pesq_wb")
        if change:
            fallen = [
                n for n in document["metrics"] if row["differences"].get(f"{kind} {n}", {}).get("verdict") == "worse"
            ]
            but = ", ".join(METRICS[name].label for name in fallen if name not in ("pesq_wb", "real_time_factor"))
            mark = f" (worse in {but})" if but and change["verdict"] == "better" else ""
            verdicts[change["verdict"]].append(f"`{row['name']}`{mark}")
    count = sum(map(len, verdicts.values()))
    said = "; ".join(f"{word}: {', '.join(names) or 'none'}" for word, names in verdicts.items())
    chance = f" Of {count} comparisons about {0.05 * count:.1f} would stand out by chance alone." if count else ""
    return f"In PESQ-WB beside `{DEFAULT}`, {said}.{chance}"


def _table(document: dict[str, Any], kind: str) -> list[str]:
    """Variants by mean PESQ, best first, and the floors, which have no network to be alone."""
    header = ["variant", *(METRICS[name].label for name in document["metrics"]), "PESQ-WB − default", "iterations", "s"]
    variants = [row for row in document["rows"] if row["seeds"]]
    ranked = sorted(variants, key=lambda row: -(row["systems"][kind].get("pesq_wb", {}).get("mean") or -math.inf))
    lines = []
    for row in ranked:
        change = row["differences"].get(f"{kind} pesq_wb")
        cells = [_cell(name, row["systems"][kind].get(name)) for name in document["metrics"]]
        apart = f"{change['mean']:+.2f}{_half(change, 2)}" if change else ""
        lines.append([row["name"], *cells, apart, f"{row['iterations']:,.0f}", f"{row['seconds']:.0f}"])
    for row in document["rows"] if kind == CONSISTENT else ():
        if not row["seeds"]:
            cells = [_cell(name, row["systems"][row["name"]].get(name)) for name in document["metrics"]]
            lines.append([f"no network: {FLOORS[row['name']][0]}", *cells, "", "", ""])
    return table(header, lines)


def _explained(row: dict[str, Any]) -> str:
    variant = next(each for each in VARIANTS if each.name == row["name"])
    overrides = f" Overrides: `{' '.join(variant.overrides)}`." if variant.overrides else ""
    return f"- **{row['name']}**, {row['parameters']:,} parameters. {variant.why} ({variant.source}.){overrides}"


def _means(results: list[Result], system: str) -> dict[str, Any]:
    voices = speakers(results)
    found = {metric: pool(results, system, metric) for metric in results[0]["metrics"]}
    return {
        metric: {**_plain(interval(scores, voices)), "n": len(scores)} for metric, scores in found.items() if scores
    }


def _plain(found: Interval) -> dict[str, float | None]:
    """For JSON, which has no NaN."""
    return {name: value if math.isfinite(value) else None for name, value in vars(found).items()}


def _cell(name: str, found: dict[str, Any] | None) -> str:
    if not found or found["mean"] is None:
        return ""
    digits, sign = METRICS[name].decimals, "+" if METRICS[name].better == "zero" else ""
    return f"{found['mean']:{sign}.{digits}f}{'' if name == 'real_time_factor' else _half(found, digits)}"


def _half(found: dict[str, Any], digits: int) -> str:
    return "" if found["low"] is None else f" ± {(found['high'] - found['low']) / 2:.{digits}f}"


def _list(reasons: dict[str, str]) -> str:
    return "; ".join(f"{name}: {why}" for name, why in reasons.items())
