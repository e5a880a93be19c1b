"""What ``synthesize-corpus`` prints: a bar while it works, tables or JSON at the end."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from diffwave.errors import one_line
from diffwave.terminal.tables import table

if TYPE_CHECKING:
    from diffwave.bulk.records import Record

_MOST_LINES = 20


class Progress:
    """A bar on stderr, and a line for each of the first failures."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._failures = 0

    def say(self, line: str) -> None:
        """What the user should know before."""
        _complain(line)

    def begin(self, total: int, done: int) -> None:
        """So many utterances, of which so many are done."""
        from tqdm import tqdm

        self._bar = tqdm(
            total=total,
            initial=done,
            unit="utterance",
            disable=None,
            dynamic_ncols=True,
            file=sys.stderr,
            smoothing=0.05,
        )

    def add(self, record: Record) -> None:
        """Another one is done, or has failed."""
        self._bar.update()
        if "error" in record:
            self._failures += 1
            if self._failures <= _MOST_LINES:
                _complain(f"{record['id']}: {record['error']}")
            elif self._failures == _MOST_LINES + 1:
                _complain("more failures are in the shard's manifest")

    def close(self) -> None:
        """Leave the terminal as it is."""
        if self._bar is not None:
            self._bar.close()


def show(result: dict[str, Any], shard: tuple[int, int], wants_json: bool) -> None:
    """Table or JSON on stdout; what the user should know of on stderr."""
    corpus = result["corpus"]
    if wants_json:
        print(json.dumps(result, indent=1))
    else:
        rows = [_cells("this run", result["run"], result["skipped"])]
        if shard != (1, 1):
            rows.append(_cells(f"shard {shard[0]} of {shard[1]}", result["shard"]))
        print(
            table(
                ["", "done", "skipped", "failed", "hours", "worker hours", "real-time factor"],
                [*rows, _cells("corpus", corpus)],
            )
        )
        if "scores" in corpus:
            print()
            print(table(["metric", "mean", "95 % interval", "n"], _score_rows(corpus["scores"]["metrics"])))
    if corpus["missing"]:
        _complain(f"{corpus['missing']} of {corpus['utterances']} utterances are not done yet")
    if result["run"]["begun_again"]:
        _complain(f"{result['run']['begun_again']} utterances were begun again, since their worker was lost")
    if result["unscored"]:
        _complain(f"{result['unscored']} outputs have not all their scores; see scores-*.csv")


def _cells(name: str, totals: dict[str, Any], skipped: int | None = None) -> list[str]:
    factor = totals["real_time_factor"]
    hours = [f"{totals[key]:.3f}" for key in ("hours", "worker_hours")]
    counts = [str(totals["done"]), "" if skipped is None else str(skipped), str(totals["failed"])]
    return [name, *counts, *hours, "" if factor is None else f"{factor:.3f}"]


def _score_rows(scores: dict[str, Any]) -> list[list[str]]:
    rows = []
    for score in scores.values():
        mean, low, high = score["mean"], score["low"], score["high"]
        interval = "" if low is None else f"[{low:.3f}, {high:.3f}]"
        rows.append([score["label"], "" if mean is None else f"{mean:.3f}", interval, str(score["n"])])
    return rows


def _complain(line: str) -> None:
    from tqdm import tqdm

    # Through tqdm, which moves a progress bar out of the way.
    tqdm.write(f"diffwave synthesize-corpus: {one_line(line)}", file=sys.stderr)
