"""Files of answers in, a report out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffwave.listening.analysis import Analysis, analyze
from diffwave.listening.design import ListeningTest
from diffwave.listening.documents import TEST_FILE, load_test
from diffwave.listening.ratings import join
from diffwave.listening.report import check_folder, write_report
from diffwave.listening.result_files import read_results


@dataclass(frozen=True)
class Judgement:
    """What listeners said.

    Args:
        test: that they took.
        analysis: of their answers.
        summary: as in ``summary.json``.
    """

    test: ListeningTest
    analysis: Analysis
    summary: dict[str, Any]


def judge(results: list[Path], key: Path, report: Path, force: bool = False) -> Judgement:
    """Read the answers, analyze them and write the report.

    Args:
        results: files of answers, or folders of such files.
        key: private folder of the export, or a file in it.
        report: folder for the report.
        force: write into a folder that holds something.

    Raises:
        ListeningError: if results, key or folder cannot be used.
    """
    check_folder(report, force)
    # Who names the key itself means the test beside it.
    test = load_test(key.with_name(TEST_FILE) if key.suffix.lower() == ".csv" else key)
    reading = read_results(results)
    analysis = analyze(join(test, reading.answers))
    return Judgement(test, analysis, write_report(report, test, reading, analysis, force))
