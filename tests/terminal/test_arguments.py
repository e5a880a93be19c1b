"""Types of arguments."""

from __future__ import annotations

from diffwave.terminal.arguments import seconds_argument


def test_seconds():
    assert seconds_argument("1.5") == 1.5
