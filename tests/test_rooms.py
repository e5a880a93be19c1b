"""What the contracts of import-linter do not see, since it is no part of the package."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def imports(file: Path) -> list[str]:
    """Everything that a file imports, wherever it does."""
    found: list[str] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def test_recipes_and_benchmarks_import_rooms_and_no_commands() -> None:
    files = [file for folder in ("benchmarks", "recipes") for file in (ROOT / folder).rglob("*.py")]
    assert len(files) > 20
    assert [file for file in files if any(f"{name}.".startswith("diffwave.cli.") for name in imports(file))] == []
