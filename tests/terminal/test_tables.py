"""Tables of plain text."""

from __future__ import annotations

from diffwave.terminal.tables import table


def test_table_aligns_figures_to_the_right():
    assert table(["name", "n", "note"], [["a", "10", ""], ["bcdef", "7", "x"]]).splitlines() == [
        "name    n  note",
        "-----  --  ----",
        "a      10",
        "bcdef   7  x",
    ]
