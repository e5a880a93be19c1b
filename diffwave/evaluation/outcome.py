"""What became of a row: its scores, and why others are missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from diffwave.evaluation.scoring import METRIC_ERROR, OK


@dataclass
class Outcome:
    """What became of a row.

    Args:
        row: its number.
        status: one of ``scoring.STATUSES``.
        error: why the pair cannot be compared; empty if it can.
        seconds: length of the reference.
        scores: value of every metric that has one.
        errors: for every other metric, why not.
        files: sizes and times of the two files that were scored; who replaces one gets another row.
    """

    row: int
    status: str = OK
    error: str = ""
    seconds: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    files: str = ""

    def add(self, finding: dict[str, Any]) -> None:
        """Take up one finding of :func:`diffwave.evaluation.scoring.score`."""
        if "status" in finding:
            self.status, self.error = finding["status"], finding["error"]
        elif "seconds" in finding:
            self.seconds = finding["seconds"]
        elif "value" in finding:
            self.scores[finding["metric"]] = finding["value"]
        elif "metric" in finding:
            self.errors[finding["metric"]] = finding["error"]
            self.status = METRIC_ERROR if self.status == OK else self.status
