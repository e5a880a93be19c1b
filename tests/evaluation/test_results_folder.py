"""The files that an evaluation leaves."""

from __future__ import annotations

import json
from pathlib import Path

from diffwave.evaluation.findings import Results, ScoredPair
from diffwave.evaluation.metrics import choose
from diffwave.evaluation.outcome import Outcome
from diffwave.evaluation.pairs import Pair, System
from diffwave.evaluation.results_folder import CSV, REPORT, SUMMARY, write
from diffwave.evaluation.scoring import Loading

ODD = 'a,b "c"\nd ü'


def made(root: Path) -> Results:
    pairs = tuple(Pair(ODD, f"{i}{ODD}", "s", root / "r.wav", root / "e.wav") for i in range(2))
    outcomes = [
        Outcome(-1, "ok", "", 1.25, {"level": -0.1}, {}),
        Outcome(-1, "crashed", "", 0.5, {"level": 1e-9}, {"pesq_wb": f"pesq_wb: {ODD}", "stoi": "stoi: no"}),
    ]
    system = System(ODD, root, pairs, (), {})
    rows = [ScoredPair(pair, outcome) for pair, outcome in zip(pairs, outcomes, strict=True)]
    return Results((system,), tuple(choose(["level", "pesq_wb", "stoi"])), {ODD: rows})


def test_the_table_has_every_digit_and_empty_cells_for_what_failed(tmp_path, table):
    write(tmp_path, made(tmp_path), tmp_path, Loading(), "cpu")
    first, second = table(tmp_path / CSV)
    assert first["utterance"] == f"0{ODD}"
    assert (first["seconds"], first["status"], first["level"], first["error"]) == ("1.25", "ok", "-0.1", "")
    assert (second["status"], float(second["level"]), second["pesq_wb"], second["stoi"]) == ("crashed", 1e-9, "", "")
    assert second["error"] == f"pesq_wb: {ODD}; stoi: no"


def test_the_summary_is_what_is_returned_and_counts_every_status(tmp_path):
    summary = write(tmp_path, made(tmp_path), tmp_path, Loading(), "cpu")
    assert json.loads((tmp_path / SUMMARY).read_text()) == summary
    (system,) = summary["systems"]
    assert system["status"] == {"ok": 1, "metric_error": 0, "unreadable": 0, "mismatch": 0, "crashed": 1}
    assert (system["scores"]["pesq_wb"]["n"], system["scores"]["pesq_wb"]["failed"]) == (0, 2)


def test_writing_twice_changes_no_byte_and_leaves_no_other_file(tmp_path):
    (tmp_path / "a").mkdir()
    write(tmp_path / "a", made(tmp_path), tmp_path, Loading(), "cpu")
    before = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    assert {CSV, SUMMARY, REPORT} <= set(before)
    write(tmp_path / "a", made(tmp_path), tmp_path, Loading(), "cpu")
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()} == before
