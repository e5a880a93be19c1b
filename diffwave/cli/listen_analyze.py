"""``diffwave listen analyze``: what the answers of a listening test say, with intervals and screening."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from diffwave.errors import one_line
from diffwave.terminal.arguments import CommandParser, path_argument
from diffwave.terminal.tables import table

_SHOWN_NOTES = 5


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = CommandParser(prog="diffwave listen analyze", description=__doc__)
    add = result.add_argument
    results = "CSV of our page or server, of webMUSHRA's PHP service or of pymushra; or a folder of such files"
    add("results", type=path_argument, nargs="+", metavar="RESULTS", help=results)
    add("--key", type=path_argument, required=True, metavar="KEY", help="the private folder of the export")
    add("--report", type=path_argument, required=True, metavar="DIR", help="folder for the report, new or empty")
    add("--force", action="store_true", help="write into a folder that holds something")
    add("--json", action="store_true", help="print the summary as JSON instead of a table")
    return result


def main(arguments: list[str]) -> int:
    """Analyze, write the report, print the table."""
    options = parser().parse_args(arguments)
    from diffwave.listening.analysis_documents import score_table
    from diffwave.listening.judgement import judge
    from diffwave.listening.report import summary_text

    done = judge(options.results, options.key, options.report, options.force)
    if options.json:
        print(summary_text(done.summary), end="")
    else:
        print(one_line(f"{done.test.title or done.test.test_id}: {done.summary['measure']}"))
        header, rows = score_table(done.analysis)
        print(table(header, [[one_line(cell) for cell in row] for row in rows]))
    for note in _notes(done.summary):
        print(one_line(note), file=sys.stderr)
    print(one_line(f"{options.report}: report.html, summary.json, ratings.csv, scores.png"), file=sys.stderr)
    return 0


def _notes(document: dict[str, Any]) -> list[str]:
    """What was left out, first the listeners."""
    from diffwave.listening.words import counted

    verdicts, notes = document["screening"]["listeners"], document["notes"]
    lines = [f"left out {v['listener']}: {'; '.join(v['reasons'])}" for v in verdicts if v["excluded"]]
    if document["screened"] is None:
        lines.append("the screening leaves nobody: the table is of all listeners")
    more = len(notes) - _SHOWN_NOTES
    lines += notes[:_SHOWN_NOTES]
    return [*lines, *([f"{counted(more, 'more note is', 'more notes are')} in the report"] if more > 0 else [])]
