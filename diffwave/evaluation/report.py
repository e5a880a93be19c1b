"""The report: one HTML file with tables, distributions, differences, and utterances to look at and listen to."""

from __future__ import annotations

from typing import Any

from diffwave.evaluation import charts
from diffwave.evaluation.examples import examples
from diffwave.evaluation.findings import Results
from diffwave.evaluation.metrics import RECORD, Metric
from diffwave.web import page
from diffwave.web.page import Raw

# Compared at first sight: the score that papers report, and the one that it misses.
_HEADLINES = ("pesq_wb", "synchrony")
_WORDS = {"higher": "↑", "lower": "↓", "zero": "→ 0", "": ""}


def build(results: Results, summary: dict[str, Any], title: str) -> str:
    """The whole page.

    Args:
        results: every row.
        summary: of :func:`diffwave.evaluation.findings.summarize`, with ``versions`` and ``parameters``.
        title: heading.
    """
    body = [
        _lead(summary),
        page.heading("Scores"),
        page.paragraph(
            "Mean over utterances with the 95 % interval over speakers. Arrows say which way is better. Floors, in "
            "italics, use no network: they are made from the mel alone.",
            "soft",
        ),
        scores_table(results, summary),
        *_floor(results, summary),
        page.heading("Means and intervals"),
        page.picture(charts.intervals(results, summary), "Mean and 95 % interval of every system", wide=True),
        page.heading("Distributions"),
        page.picture(charts.distributions(results), "Distribution over utterances of every system", wide=True),
        *_comparisons(results, summary),
        *examples(results),
        *_failures(results, summary),
        *_methods(summary),
    ]
    return page.page(title, body)


def scores_table(results: Results, summary: dict[str, Any]) -> str:
    """Mean and interval of every metric, a line for each, a column for each system."""
    header: list[str | Raw] = ["metric"]
    for system in summary["systems"]:
        name = page.escape(system["name"])
        header.append(Raw(f"<i>{name}</i>" if system["floor"] else name))
    counts = [f"{system['status']['ok']} of {system['rows']}" for system in summary["systems"]]
    rows: list[list[str | Raw]] = []
    for metric in results.metrics:
        scores = [system["scores"][metric.name] for system in summary["systems"]]
        if any(score["n"] for score in scores):
            label = f"{metric.label} {_WORDS[metric.better]}".strip()
            rows.append([label, *(Raw(_cell(score, metric)) for score in scores)])
    return page.table(header, [*rows, ["rows that are ok", *counts]])


def _cell(score: dict[str, Any], metric: Metric) -> str:
    if not score["n"]:
        return "–"
    digits = metric.decimals
    if metric.kind == RECORD:
        return f"{score['median']:.{digits}f}"
    text = f"{score['mean']:.{digits}f}"
    if score["low"] is not None:
        text += f" <small>[{score['low']:.{digits}f}, {score['high']:.{digits}f}]</small>"
    if score["failed"]:
        text += f' <small class="warn">n = {score["n"]}</small>'
    return text


def _lead(summary: dict[str, Any]) -> str:
    systems = [system for system in summary["systems"] if not system["floor"]]
    rows = sum(system["rows"] for system in systems)
    failed = rows - sum(system["status"]["ok"] for system in systems)
    first = systems[0] if systems else summary["systems"][0]
    text = (
        f"{len(systems)} system{'s' * (len(systems) != 1)}, {first['rows']} utterances of {first['speakers']} "
        f"speaker{'s' * (first['speakers'] != 1)}; reference: {summary['reference']}."
    )
    text += f" {failed} of {rows} rows have no full set of scores (see below)." if failed else " Every row is scored."
    return page.paragraph(text, "lead")


def _floor(results: Results, summary: dict[str, Any]) -> list[str]:
    """What the floor says of each system, in words."""
    parts = [page.heading("Against the floor")]
    if not summary["floor"]["systems"]:
        return [
            *parts,
            page.paragraph(
                f"There is no floor under these scores: {summary['floor'].get('reason') or 'none was given'}.", "warn"
            ),
        ]
    labels = {metric.name: metric.label for metric in results.metrics}
    verdicts = summary["floor"]["verdicts"]
    rows = []
    for system, floor in dict.fromkeys((v["system"], v["floor"]) for v in verdicts):
        names: dict[str, list[str]] = {"better": [], "open": [], "worse": []}
        for verdict in verdicts:
            if (verdict["system"], verdict["floor"]) == (system, floor):
                names[verdict["verdict"]].append(labels[verdict["metric"]])
        better, unclear, worse = ("; ".join(names[key]) or "–" for key in ("better", "open", "worse"))
        rows.append([system, floor, better, unclear, Raw(f'<span class="warn">{page.escape(worse)}</span>')])
    if rows:
        parts.append(
            page.table(["system", "floor", "better at", "no difference shown at", "worse at"], rows, numbers=False)
        )
    else:
        parts.append(page.paragraph("Too few speakers to say which system beats it.", "warn"))
    deaf = " the column that hears the difference is band synchrony, and" if "synchrony" in labels else ""
    note = (
        "PESQ hardly hears phase, and STOI and mel distances do not at all: audio without any network scores high at "
        "them. A system that does not beat the floor there may still sound better, and one that does may not;"
        f"{deaf} in the end people hear it."
    )
    return [*parts, page.paragraph(note, "soft")]


def _comparisons(results: Results, summary: dict[str, Any]) -> list[str]:
    if not summary["comparisons"]:
        return []
    labels = {metric.name: (metric.label, metric.decimals) for metric in results.metrics}
    rows: list[list[str | Raw]] = []
    for row in summary["comparisons"]:
        label, digits = labels[row["metric"]]
        better = {"a": row["a"], "b": row["b"]}.get(row["verdict"], "open")
        interval = "–" if row["low"] is None else f"[{row['low']:+.{digits}f}, {row['high']:+.{digits}f}]"
        cells = [f"{row['a']} − {row['b']}", label, f"{row['difference']:+.{digits}f}", interval, better]
        won = f"{row['a_better']} : {row['b_better']}"
        dropped = f" ({row['dropped']} dropped)" if row["dropped"] else ""
        rows.append([*cells, won, _p(row["p"]), _p(row["p_holm"]), f"{row['n']}{dropped}"])
    header = ["systems", "metric", "difference", "95 % interval", "better", "won", "p", "p (Holm)", "n"]
    text = (
        "On the utterances that both systems have a score of; of metrics that should be zero, absolute values are "
        "compared. " + summary["tests"] + "."
    )
    shown = [row for row, source in zip(rows, summary["comparisons"], strict=True) if source["metric"] in _HEADLINES]
    every = page.details(f"all {len(rows)} comparisons", [page.table(header, rows)])
    first = [page.table(header, shown)] if shown else []
    return [page.heading("Paired comparison"), page.paragraph(text, "soft"), *first, every]


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return "< .001" if value < 0.001 else f"{value:.3f}"


def _failures(results: Results, summary: dict[str, Any]) -> list[str]:
    rows = [
        [
            row.pair.system,
            row.pair.utterance,
            row.outcome.status,
            "; ".join(filter(None, [row.outcome.error, *row.outcome.errors.values()])),
        ]
        for system in results.systems
        for row in results.rows[system.name]
        if row.outcome.status != "ok"
    ]
    unmatched = [[s["name"], name] for s in summary["systems"] for name in s["unmatched"]]
    parts: list[str] = []
    if rows:
        parts.append(page.heading(f"Rows that are not ok ({len(rows)})"))
        shown = rows[:500]
        if len(shown) < len(rows):
            parts.append(page.paragraph("The first 500; all are in utterances.csv.", "soft"))
        parts.append(page.table(["system", "utterance", "status", "why"], shown, numbers=False))
    if unmatched:
        parts.append(page.heading(f"Estimates without a reference ({len(unmatched)})"))
        parts.append(page.table(["system", "estimate"], unmatched[:500], numbers=False))
    return parts


def _methods(summary: dict[str, Any]) -> list[str]:
    definitions = [[m["label"], m["definition"]] for m in summary["metrics"].values()]
    interval = summary["intervals"]
    text = (
        f"Intervals: {interval['method']}, {interval['draws']} draws, seed {interval['seed']}. "
        f"{'; '.join(f'{key}: {value}' for key, value in summary['parameters'].items())}."
    )
    versions = ", ".join(f"{name} {version}" for name, version in summary["versions"].items())
    origins = [
        [s["name"], ", ".join(f"{key} {value}" for key, value in s["origin"].items()) or "not recorded"]
        for s in summary["systems"]
    ]
    return [
        page.heading("How this was measured"),
        page.table(["metric", "definition"], definitions, numbers=False),
        page.paragraph(text),
        page.table(["system", "made with"], origins, numbers=False),
        page.paragraph(f"Versions: {versions}.", "soft"),
    ]
