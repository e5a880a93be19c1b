"""The README is short, its Python runs, its figures are those of the results pages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import soundfile

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_can_be_read_in_five_minutes() -> None:
    assert len(README.splitlines()) <= 150
    assert len(README.split()) <= 1300


def test_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    wav, rate = soundfile.read(ROOT / "tests" / "data" / "403-126855-0000.flac", dtype="float32")
    soundfile.write(tmp_path / "speech.wav", wav, rate)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(code, "README", "exec"), names)
    assert names["mel"].shape == (80, -(-len(wav) // 256))  # type: ignore[attr-defined]
    assert names["out"].shape == (-(-len(wav) // 256) * 256,)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("checkpoint", "stem"), [("default", "results"), ("10ms", "results-10ms")])
def test_figures_are_those_of_the_results_pages(checkpoint: str, stem: str) -> None:
    document = json.loads((ROOT / "docs" / f"{stem}.json").read_text(encoding="utf-8"))
    (row,) = re.findall(rf"^\| \[`{checkpoint}`\]\(docs/{stem}\.md\) \|.*$", README, re.MULTILINE)
    shown = [[float(value) for value in cell.split("±")] for cell in row.split("|")[2:-1]]
    scores = {system["name"]: system["scores"] for system in document["systems"]}
    measured = [
        scores[name][metric] for metric in ("pesq_wb", "synchrony") for name in ("default", "as many from noise")
    ]
    for (mean, half), score in zip(shown, measured, strict=True):
        assert mean == pytest.approx(score["mean"], abs=0.005)
        assert half == pytest.approx((score["high"] - score["low"]) / 2, abs=0.005)
