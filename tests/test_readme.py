"""The README is short, its Python runs, its figures are those of the results pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import soundfile

from benchmarks.quality.readme import readme_table

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


def test_table_is_that_of_the_results_pages() -> None:
    block = re.search(r"<!-- results: generated -->\n(.*?)\n<!-- results: end -->", README, re.DOTALL)
    assert block is not None
    assert block[1] == readme_table(ROOT / "docs"), "run python -m benchmarks.quality.readme"
