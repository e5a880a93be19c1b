"""The README's table: each packaged checkpoint beside as many iterations without a network, and a recording."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.systems import DEFAULT, FLOOR
from benchmarks.quality.tables import cell
from benchmarks.report import ROOT, UTTERANCE, table, write_block
from diffwave.audio.file import read_audio
from diffwave.evaluation.metrics import METRICS, Signals

# The stem of the page of the test split, by checkpoint.
PAGES = {"default": "results", "10ms": "results-10ms"}
COLUMNS = ("pesq_wb", "synchrony")


def write_readme(root: Path = ROOT) -> None:
    """Put the table into the README, from what the pages of the test split have found."""
    write_block("results", readme_table(root / "docs"), root)


def readme_table(docs: Path) -> str:
    """The table in Markdown, from the JSON files of the pages."""
    header = ["", *(label for name in COLUMNS for label in (METRICS[name].label, "… without a network"))]
    rows = []
    for checkpoint, stem in PAGES.items():
        results = json.loads((docs / f"{stem}.json").read_text(encoding="utf-8"))
        rows.append([f"[`{checkpoint}`](docs/{stem}.md)", *_beside_floor(results)])
    return "\n".join(table(header, [*rows, ["the recording itself", *_recording()]], 1))


def _beside_floor(results: dict[str, Any]) -> list[str]:
    scores = {system["name"]: system["scores"] for system in results["systems"]}
    return [cell(name, scores[system][name]) for name in COLUMNS for system in (DEFAULT, FLOOR)]


def _recording() -> list[str]:
    """What a recording scores beside itself, the best there is; it has no floor."""
    wav = read_audio(UTTERANCE).wav.numpy()
    pair = Signals(wav, wav, filterbank=np.zeros((0, 0)))
    cells = []
    for metric in map(METRICS.__getitem__, COLUMNS):
        score = metric.compute(pair) if metric.compute else float("nan")
        cells += [f"{score:.{metric.decimals}f}", ""]
    return cells


if __name__ == "__main__":
    write_readme()
