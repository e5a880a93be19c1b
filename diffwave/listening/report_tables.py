"""The tables of a report: systems, differences, pairs, items."""

from __future__ import annotations

from diffwave.listening.analysis import ListeningOutcome
from diffwave.listening.analysis_documents import MEASURES, bounds, number, p_text
from diffwave.web.page import details, heading, table

_MANY = 12  # lists longer than this are folded away


def results(method: str, outcome: ListeningOutcome, group: str, level: int = 2) -> list[str]:
    """Tables of systems and differences, or of pairs."""
    if outcome.comparisons:
        return [heading(f"Pairs, {group}", level), _comparison_table(method, outcome)]
    figure = number(method)
    rows = [
        [
            score.system,
            figure(score.mean.mean),
            bounds(method, score.mean),
            bounds(method, score.independent),
            figure(score.sd),
            figure(score.median),
            f"{figure(score.first_quartile)} – {figure(score.third_quartile)}",
            str(score.votes),
            score.kind,
        ]
        for score in outcome.systems
    ]
    header = ["system", MEASURES[method], "95 %", "95 %, if independent", "sd", "median", "quartiles", "votes", "kind"]
    parts = [heading(f"Systems, {group}", level), table(header, rows)]
    differences = _difference_table(method, outcome)
    if outcome.differences and level == 2:
        parts += [heading(f"Differences, {group}"), differences]
    elif outcome.differences:
        parts += [details(f"Differences, {group}", [differences])]
    return parts


def _difference_table(method: str, outcome: ListeningOutcome) -> str:
    figure = number(method, True)
    header = ["first minus second", "difference", "95 %", "p (Wilcoxon)", "p (Holm)", "listeners", "paired ratings"]
    rows = [
        [
            f"{d.first} − {d.second}",
            figure(d.mean.mean),
            bounds(method, d.mean, True),
            p_text(d.p),
            p_text(d.p_holm),
            str(d.listeners),
            str(d.pairs),
        ]
        for d in outcome.differences
    ]
    return table(header, rows)


def _comparison_table(method: str, outcome: ListeningOutcome) -> str:
    figure = number(method)
    shares = method != "cmos"
    header = ["first and second", "share" if shares else MEASURES[method], "95 %", "95 %, if independent"]
    header += [
        *(["exact p"] if shares else []),
        "p of listeners",
        "answers",
        *(["undecided"] if shares else []),
        "listeners",
    ]
    rows = [
        [
            f"{c.first} – {c.second}",
            figure(c.mean.mean),
            bounds(method, c.mean),
            bounds(method, c.independent),
            *([p_text(c.p_holm)] if shares else []),
            p_text(c.p_listeners_holm),
            str(c.answers),
            *([str(c.undecided)] if shares else []),
            str(c.listeners),
        ]
        for c in outcome.comparisons
    ]
    return table(header, rows)


def items_section(method: str, outcome: ListeningOutcome) -> list[str]:
    """A table of items against systems; how many votes each mean has is folded away below it."""
    figure = number(method)
    systems = [score.system for score in outcome.systems]
    scores = {(score.item, score.system): score for score in outcome.items}
    items = list(dict.fromkeys(score.item for score in outcome.items))
    rows = [
        [item, *(figure(scores[item, s].mean.mean) if (item, s) in scores else "–" for s in systems)] for item in items
    ]
    votes = [[s.item, s.system, str(s.votes), figure(s.mean.mean), bounds(method, s.mean)] for s in outcome.items]
    long = table(["item", "system", "votes", "mean", "95 %, over listeners"], votes)
    return [
        heading("Items"),
        folded("items", len(rows), table(["item", *systems], rows)),
        details("Votes of each item and system", [long]),
    ]


def folded(what: str, count: int, body: str) -> str:
    """HTML of so many things, folded away if they are many."""
    return details(f"{count} {what}", [body]) if count > _MANY else body
