"""Scores of systems' outputs: what ``diffwave evaluate`` finds, with paths that mean something elsewhere."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from diffwave.cli.main import main as diffwave
from quality_synthesis import Work
from quality_systems import DEFAULT


def evaluate(works: Sequence[Work], metrics: Sequence[str], report: Path, device: str) -> dict[str, Any]:
    """Run ``diffwave evaluate`` on the outputs of some systems for the same recordings; returns its summary.

    Of the paired comparisons only the default's are kept: every two of a dozen systems would be most of the file.

    Raises:
        SystemExit: if there is no report; one with empty cells is a report.
    """
    reference = works[0].reference
    estimates = [argument for work in works for argument in ("--estimate", f"{work.system.name}={work.output}")]
    common = ["--reference", str(reference), "--report", str(report), "--device", device, "--force"]
    code = diffwave(["evaluate", *common, *estimates, "--metrics", ",".join(metrics), "--floor", "0"])
    if code not in (0, 1):
        raise SystemExit(f"diffwave evaluate: exit code {code}")
    summary: dict[str, Any] = json.loads((report / "summary.json").read_text(encoding="utf-8"))
    for system in summary["systems"]:
        system["folder"] = system["name"]
    compared = [row for row in summary["comparisons"] if row["a"] == DEFAULT]
    return summary | {"reference": reference.name, "comparisons": compared}


def utterance_scores(report: Path, metrics: Iterable[str]) -> list[dict[str, Any]]:
    """Every row of a report: system, utterance and scores, None where there is none."""
    with (report / "utterances.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = list(metrics)
    return [
        {"system": row["system"], "utterance": row["utterance"]}
        | {name: float(row[name]) if row[name] else None for name in names}
        for row in rows
    ]
