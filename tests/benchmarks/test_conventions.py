from __future__ import annotations

import json
from pathlib import Path

from benchmarks import conventions

PAGES = Path(__file__).resolve().parent.parent.parent / "docs"


def test_the_page_is_what_the_results_say() -> None:
    results = json.loads((PAGES / "conventions.json").read_text(encoding="utf-8"))
    assert (PAGES / "conventions.md").read_text(encoding="utf-8") == conventions.page(results)
