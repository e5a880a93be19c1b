"""How a mistake is told."""

from __future__ import annotations

from diffwave.errors import one_line, reason


def test_one_line_escapes_what_a_terminal_would_obey():
    assert one_line("a\nb\x1b[2J\udcff é 日本") == r"a\nb\x1b[2J\udcff é 日本"


def test_reason_of_an_error_without_a_number():
    assert reason(OSError(28, "No space left on device")) == "No space left on device"
    assert reason(OSError("odd")) == "odd"
    assert reason(TimeoutError()) == "TimeoutError"
