"""What lies beside the package uses its rooms, as anybody's code may; commands are for people."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
COMMAND = re.compile(r"^\s*(from diffwave\.cli|import diffwave\.cli|from diffwave import cli)", re.MULTILINE)


def test_no_recipe_and_no_benchmark_imports_a_command() -> None:
    scripts = [path for folder in ("recipes", "benchmarks") for path in (REPOSITORY / folder).rglob("*.py")]
    assert len(scripts) > 10
    assert [path.name for path in scripts if COMMAND.search(path.read_text(encoding="utf-8"))] == []
    assert COMMAND.search(Path(__file__).with_name("test_mushra.py").read_text(encoding="utf-8")), "it could not fail"
