"""``diffwave evaluate`` from the command line to its files."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pesq
import pystoi
import pytest
import soundfile

import metric_plugins
from diffwave.cli.main import main

RATE = 16000
DATA = Path(__file__).parents[1] / "data"
CHEAP = ("--metrics", "level", "--floor", "0", "--workers", "0")


@dataclass(frozen=True)
class Run:
    """What a call left: exit code, what it printed, and its folder."""

    code: int
    stdout: str
    errors: list[str]
    report: Path

    @property
    def rows(self) -> dict[tuple[str, str], dict[str, str]]:
        """Lines of utterances.csv by system and utterance."""
        with (self.report / "utterances.csv").open(newline="", encoding="utf-8") as file:
            return {(row["system"], row["utterance"]): row for row in csv.DictReader(file)}

    @property
    def summary(self) -> dict[str, Any]:
        """summary.json, which must not hold NaN."""

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} in summary.json")

        return json.loads((self.report / "summary.json").read_text(), parse_constant=refuse)

    def outputs(self) -> list[bytes]:
        """The three files."""
        return [(self.report / name).read_bytes() for name in ("utterances.csv", "summary.json", "report.html")]


def clip(seconds: float = 1.0, start: float = 0.5, name: str = "839-130898-0000") -> np.ndarray:
    samples = soundfile.read(DATA / f"{name}.flac", dtype="float32")[0]
    return samples[round(start * RATE) : round((start + seconds) * RATE)]


def noisy(wav: np.ndarray, seed: int = 0, level: float = 0.005) -> np.ndarray:
    return (wav + level * np.random.default_rng(seed).standard_normal(len(wav))).astype(np.float32)


def write(path: Path, wav: np.ndarray, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wav, rate, subtype="FLOAT")


def bursts(count: int, on: float, off: float) -> np.ndarray:
    tone = 0.3 * np.sin(2 * np.pi * 1000 * np.arange(round(on * RATE)) / RATE)
    return np.tile(np.concatenate([tone, np.zeros(round(off * RATE))]), count).astype(np.float32)


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Four recordings of two speakers, and two systems' copies of them."""
    paths = {name: tmp_path / name for name in ("recordings", "good", "bad")}
    for index, utterance in enumerate(("11-1-0000", "11-1-0001", "22-1-0000", "22-1-0001")):
        wav = clip(0.6, 0.4 + 0.6 * index)
        write(paths["recordings"] / f"{utterance}.wav", wav)
        write(paths["good"] / f"{utterance}.wav", noisy(wav, index, 0.001))
        write(paths["bad"] / f"{utterance}.wav", noisy(wav, index, 0.03))
    return paths


@pytest.fixture
def evaluate(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Call the command; argparse's exit counts as its exit code.

    The report's utterances, which take longest to draw, are left out unless asked for.
    """

    def call(*arguments: object, report: Path | None = None, utterances: bool = False) -> Run:
        folder = report or tmp_path / "report"
        capsys.readouterr()
        with monkeypatch.context() as patch:
            if not utterances:
                patch.setattr("diffwave.evaluation.report.examples", lambda results: [])
            try:
                code = main(["evaluate", "--report", str(folder), *map(str, arguments)])
            except SystemExit as error:
                code = int(error.code or 0)
        captured = capsys.readouterr()
        return Run(code, captured.out, captured.err.splitlines(), folder)

    return call


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Metrics that misbehave, installed; returns the file where ``slow`` writes down its calls."""
    monkeypatch.syspath_prepend(str(metric_plugins.install(tmp_path / "plugins")))
    for name in ("CALLS", "PID_FILE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    (tmp_path / "CALLS").touch()
    return tmp_path / "CALLS"


# -- what it says when all is well ------------------------------------------------------------------------------------


def test_scores_are_those_of_the_packages_called_directly(folders, evaluate):
    run = evaluate("--reference", folders["recordings"], "--estimate", folders["bad"], "--floor", 0, "--workers", 1)
    assert run.code == 0
    for (_, utterance), row in run.rows.items():
        sides = [soundfile.read(folders[n] / f"{utterance}.wav", dtype="float32")[0] for n in ("recordings", "bad")]
        assert float(row["pesq_wb"]) == pytest.approx(pesq.pesq(RATE, *sides, "wb"), abs=1e-6)
        assert float(row["stoi"]) == pytest.approx(pystoi.stoi(*sides, RATE), abs=1e-9)
        assert float(row["estoi"]) == pytest.approx(pystoi.stoi(*sides, RATE, extended=True), abs=1e-9)
        assert row["status"] == "ok"
        assert row["error"] == ""


def test_a_system_equal_to_the_recordings_has_the_ceiling(folders, evaluate):
    run = evaluate("--reference", folders["recordings"], "--estimate", f"same={folders['recordings']}", "--floor", 0)
    scores = run.summary["systems"][0]["scores"]
    assert scores["pesq_wb"]["mean"] == pytest.approx(4.6439, abs=1e-4)
    assert scores["stoi"]["mean"] == pytest.approx(1, abs=1e-6)
    for name in ("lsd", "log_mel", "mr_stft", "mr_stft_aligned", "level", "synchrony"):
        assert abs(scores[name]["mean"]) < 1e-6


def test_the_number_of_workers_changes_no_byte(folders, evaluate, tmp_path):
    options = ["--reference", folders["recordings"], "--estimate", folders["bad"], "--floor", 0]
    options += ["--metrics", "pesq_wb,estoi,mr_stft,level"]
    runs = [
        evaluate(*options, "--workers", count, report=tmp_path / f"report{count}", utterances=True)
        for count in (0, 1, 2)
    ]
    assert [run.code for run in runs] == [0, 0, 0]
    assert runs[0].outputs() == runs[1].outputs() == runs[2].outputs()


def test_versions_and_the_resampler_are_named(folders, evaluate):
    run = evaluate("--reference", folders["recordings"], "--estimate", folders["good"], *CHEAP)
    assert run.summary["parameters"]["resampler"] == "soxr_hq"
    assert {"diffwave", "numpy", "pesq", "pystoi", "soxr", "torch"} <= set(run.summary["versions"])


def test_json_on_stdout_is_the_summary(folders, evaluate):
    run = evaluate("--reference", folders["recordings"], "--estimate", folders["good"], *CHEAP, "--json")
    assert json.loads(run.stdout) == run.summary


# -- rows that fail ---------------------------------------------------------------------------------------------------


def make_every_failure(root: Path) -> dict[str, tuple[str, str]]:
    """A recording and an estimate of every kind; returns the status that each must get, and words of its error."""
    speech = clip()
    ten_minutes = np.zeros(600 * RATE, np.float32)
    ten_minutes[: 60 * RATE] = bursts(100, 0.3, 0.3)
    broken = np.where(np.arange(len(speech)) == 99, np.nan, speech)
    pairs = {
        "good": (speech, noisy(speech)),
        "ten-minutes": (ten_minutes, noisy(ten_minutes)),
        "sixty-bursts": (bursts(60, 0.3, 0.216), noisy(bursts(60, 0.3, 0.216))),
        "silence": (np.zeros_like(speech), speech),
        "silent-estimate": (speech, np.zeros_like(speech)),
        "nan": (speech, broken),
        "tenth": (speech[:1600], noisy(speech[:1600])),
        "missing": (speech, None),
        "longer": (speech, noisy(np.concatenate([speech, speech]))),
        "rate": (speech, noisy(speech)),
        "damaged": (speech, speech),
        "truncated": (speech, speech),
    }
    for name, (reference, estimate) in pairs.items():
        write(root / "recordings" / f"{name}.wav", reference)
        if estimate is not None:
            write(root / "system" / f"{name}.wav", estimate, 22050 if name == "rate" else RATE)
    (root / "system" / "damaged.wav").write_bytes(b"RIFF no more")
    whole = (root / "system" / "truncated.wav").read_bytes()
    (root / "system" / "truncated.wav").write_bytes(whole[: len(whole) // 2])
    return {
        "good": ("ok", ""),
        "ten-minutes": ("metric_error", "speech bursts"),
        "sixty-bursts": ("metric_error", "speech bursts"),
        "silence": ("metric_error", "silence"),
        "silent-estimate": ("metric_error", "silence"),
        "nan": ("unreadable", "NaN"),
        "tenth": ("metric_error", "1/4 of a second"),
        "missing": ("unreadable", "no such file"),
        "longer": ("mismatch", "1.000 s"),
        "rate": ("mismatch", "16000 Hz"),
        "damaged": ("unreadable", "damaged"),
        "truncated": ("unreadable", "truncated"),
    }


def test_every_failure_has_its_status_and_an_empty_cell(tmp_path, evaluate):
    expected = make_every_failure(tmp_path)
    options = ["--metrics", "level,pesq_wb", "--floor", 0, "--workers", 2]
    run = evaluate("--reference", tmp_path / "recordings", "--estimate", tmp_path / "system", *options)
    assert run.code == 1
    rows = {utterance: row for (_, utterance), row in run.rows.items()}
    assert {name: row["status"] for name, row in rows.items()} == {
        name: status for name, (status, _) in expected.items()
    }
    for name, (status, words) in expected.items():
        assert words in rows[name]["error"], name
        assert (rows[name]["pesq_wb"] == "") == (status != "ok"), name
    # What can be computed is there, beside what cannot.
    assert {name for name, row in rows.items() if row["level"]} == {"good", "ten-minutes", "sixty-bursts", "tenth"}
    counts = run.summary["systems"][0]["status"]
    assert counts == {"ok": 1, "metric_error": 5, "unreadable": 4, "mismatch": 2, "crashed": 0}
    assert run.summary["systems"][0]["scores"]["pesq_wb"]["n"] == 1
    assert any("5 metric_error, 4 unreadable, 2 mismatch" in line for line in run.errors)


def test_resample_compares_different_rates(tmp_path, evaluate):
    write(tmp_path / "recordings" / "a.wav", clip())
    import soxr

    write(tmp_path / "system" / "a.wav", soxr.resample(clip(), RATE, 22050), 22050)
    options = ["--reference", tmp_path / "recordings", "--estimate", tmp_path / "system"]
    options += ["--metrics", "pesq_wb", "--floor", 0, "--workers", 0]
    assert evaluate(*options, report=tmp_path / "one").code == 1
    run = evaluate(*options, "--resample", report=tmp_path / "two")
    assert run.code == 0
    assert float(run.rows["system", "a"]["pesq_wb"]) > 4.4


def test_a_run_in_which_nothing_could_be_scored_still_reports(tmp_path, folders, evaluate):
    for path in folders["bad"].glob("*.wav"):
        path.write_bytes(b"nothing")
    run = evaluate("--reference", folders["recordings"], "--estimate", folders["bad"], *CHEAP)
    assert run.code == 1
    assert run.summary["systems"][0]["status"]["unreadable"] == 4
    assert "unreadable" in (run.report / "report.html").read_text(encoding="utf-8")


def test_metrics_that_are_only_looked_up_can_be_asked_for_alone(folders, evaluate):
    run = evaluate(
        "--reference", folders["recordings"], "--estimate", folders["good"], "--floor", 0, "--metrics", "steps"
    )
    assert run.code == 0
    assert (run.report / "report.html").is_file()


def test_unmatched_estimates_are_listed(folders, evaluate):
    write(folders["good"] / "stray" / "cat.wav", clip())
    run = evaluate("--reference", folders["recordings"], "--estimate", folders["good"], *CHEAP)
    assert run.code == 0
    assert run.summary["systems"][0]["unmatched"] == ["stray/cat"]
    assert any("stray/cat" in line for line in run.errors)


def test_common_leaves_out_what_some_system_lacks(folders, evaluate):
    (folders["bad"] / "11-1-0000.wav").unlink()
    options = ["--reference", folders["recordings"], "--estimate", folders["good"], folders["bad"], *CHEAP]
    assert evaluate(*options, "--common").code == 0
    assert evaluate(*options, "--force").code == 1


@pytest.mark.skipif(sys.platform != "linux", reason="file names that are not UTF-8")
def test_a_file_name_that_is_no_text_is_scored_and_reported(tmp_path, evaluate):
    for folder in ("recordings", "system"):
        write(tmp_path / folder / "a.wav", clip())
        (tmp_path / folder / "a.wav").rename(tmp_path / folder / os.fsdecode(b"caf\xe9.wav"))
    run = evaluate("--reference", tmp_path / "recordings", "--estimate", tmp_path / "system", *CHEAP, utterances=True)
    assert run.code == 0
    assert (run.report / "report.html").is_file()


def test_a_record_with_infinite_figures_does_not_end_the_run(folders, evaluate):
    rows = [
        {"output": f"{p.name}", "steps": 6, "real_time_factor": float("inf")} for p in folders["good"].glob("*.wav")
    ]
    (folders["good"] / "synthesis.json").write_text(json.dumps({"outputs": rows}))
    metrics = "level,steps,real_time_factor"
    options = ["--floor", 0, "--workers", 0, "--metrics", metrics]
    run = evaluate("--reference", folders["recordings"], "--estimate", folders["good"], *options)
    assert run.code == 0
    assert run.summary["systems"][0]["scores"]["steps"]["median"] == 6
    assert run.summary["systems"][0]["scores"]["real_time_factor"]["mean"] is None


# -- mistakes ---------------------------------------------------------------------------------------------------------

MISTAKES = {
    "no such folder": (["--estimate", "{good}", "--reference", "{root}/nowhere"], "expected a folder"),
    "no such estimate": (["--estimate", "{root}/nowhere"], "expected a folder"),
    "empty folder": (["--estimate", "{root}/empty"], "expected audio files"),
    "nothing matches": (["--estimate", "{root}/strange"], "named like the references"),
    "unknown metric": (["--estimate", "{good}", "--metrics", "pesk_wb"], "did you mean pesq_wb?"),
    "no metric": (["--estimate", "{good}", "--metrics", ""], "at least one metric"),
    "one name twice": (["--estimate", "a={good}", "a={bad}"], "'a' is there twice"),
    "bad expression": (["--estimate", "{good}", "--speaker", "("], "regular expression"),
    "expression without a group": (["--estimate", "{good}", "--speaker", "x"], "group"),
    "negative workers": (["--estimate", "{good}", "--workers", "-1"], "positive number"),
    "timeout of nothing": (["--estimate", "{good}", "--timeout", "0"], "positive number"),
    "no name": (["--estimate", "={good}"], "NAME=DIR"),
    "report in a file": (["--estimate", "{good}", "--report", "{good}/11-1-0000.wav"], "folder that can be written"),
    "report under a file": (
        ["--estimate", "{good}", "--report", "{good}/11-1-0000.wav/x"],
        "folder that can be written",
    ),
    "resume and force": (["--estimate", "{good}", "--resume", "--force"], "--force"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(mistake, folders, tmp_path, evaluate):
    (tmp_path / "empty").mkdir()
    write(tmp_path / "strange" / "elsewhere.wav", clip())
    arguments, words = MISTAKES[mistake]
    filled = [argument.format(root=tmp_path, **folders) for argument in arguments]
    run = evaluate("--reference", folders["recordings"], *CHEAP, *filled)
    assert run.code == 2
    assert len(run.errors) == 1, run.errors
    assert words in run.errors[0]
    assert run.errors[0].startswith("diffwave evaluate: ")


def test_a_report_is_replaced_only_when_asked(folders, evaluate):
    options = ["--reference", folders["recordings"], "--estimate", folders["good"], *CHEAP]
    assert evaluate(*options).code == 0
    again = evaluate(*options)
    assert again.code == 2
    assert len(again.errors) == 1
    assert "--force" in again.errors[0]
    assert evaluate(*options, "--force").code == 0
    (again.report / "journal.jsonl").unlink()
    assert evaluate(*options).code == 2  # the report is still there


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that even root cannot write")
def test_a_report_folder_that_cannot_be_written_is_one_line(folders, evaluate):
    run = evaluate("--reference", folders["recordings"], "--estimate", folders["good"], report=Path("/proc"))
    assert run.code == 2
    assert len(run.errors) == 1, run.errors
    assert "/proc" in run.errors[0]
    assert "written" in run.errors[0]


# -- metrics of other packages ----------------------------------------------------------------------------------------


def test_metrics_that_misbehave_cost_their_cells_and_not_the_run(folders, evaluate, plugins):
    metrics = "level,segfault,hang,fail,refuse,nan,leave,chatter,pesq_wb"
    for path in list(folders["recordings"].glob("*.wav"))[1:]:
        path.unlink()
    options = ["--metrics", metrics, "--floor", 0, "--workers", 2, "--timeout", 3]
    began = time.monotonic()
    run = evaluate("--reference", folders["recordings"], "--estimate", folders["good"], *options)
    assert run.code == 1
    assert time.monotonic() - began < 90
    (row,) = run.rows.values()
    assert row["status"] == "crashed"
    assert {name for name in metrics.split(",") if row[name]} == {"level", "chatter", "pesq_wb"}
    for words in (
        "segfault: the process was ended by SIGSEGV",
        "hang: the process gave no answer for 3 s",
        "fail: KeyError",
        "refuse: ValueError: expected laughter",
        "nan: the score is nan",
        "leave: the process ended with exit code 4",
    ):
        assert words in row["error"]
    assert run.summary["versions"]["misbehaving-metrics"] == "1.2.3"


@pytest.mark.parametrize(
    ("metric", "status"), [("segfault", "crashed"), ("fail", "metric_error"), ("nan", "metric_error")]
)
def test_a_failing_metric_gives_every_row_its_status(metric, status, folders, evaluate, plugins):
    options = ["--metrics", f"{metric},level", "--floor", 0, "--workers", 2]
    run = evaluate("--reference", folders["recordings"], "--estimate", folders["good"], *options)
    assert run.code == 1
    assert [row["status"] for row in run.rows.values()] == [status] * 4
    assert all(row["level"] and not row[metric] for row in run.rows.values())


@pytest.mark.parametrize("how", ["raise at start", "exit at start"])
def test_a_worker_that_cannot_start_is_one_line(how, folders, evaluate, plugins, monkeypatch):
    monkeypatch.setenv("MISBEHAVE", how)
    options = ["--metrics", "slow", "--floor", 0, "--workers", 2]
    run = evaluate("--reference", folders["recordings"], "--estimate", folders["good"], *options)
    assert run.code == 2
    assert len(run.errors) == 1
    assert ("no licence" if how == "raise at start" else "exit code 3") in run.errors[0]


def test_a_metric_that_does_not_say_which_way_is_better_is_refused_at_once(folders, evaluate, plugins):
    run = evaluate("--reference", folders["recordings"], "--estimate", folders["good"], *CHEAP, "--metrics", "odd")
    assert run.code == 2
    assert len(run.errors) == 1
    assert "higher" in run.errors[0]


# -- the floor --------------------------------------------------------------------------------------------------------

FLOORED = ("--metrics", "log_mel,level", "--workers", "0")


def test_the_floor_is_made_kept_on_resume_and_never_beaten_by_itself(folders, evaluate, tmp_path):
    options = ["--reference", folders["recordings"], "--estimate", folders["bad"], *FLOORED]
    run = evaluate(*options, "--floor", 2)
    assert run.code == 0
    floor = run.report / "floor"
    assert sorted(p.name for p in floor.glob("*/*.wav")) == ["11-1-0000.wav"] * 2 + ["22-1-0000.wav"] * 2
    assert run.summary["floor"]["systems"] == ["griffin-lim", "mel-consistency"]
    assert [s["rows"] for s in run.summary["systems"]] == [4, 2, 2]
    assert any("bad does not beat mel-consistency" in line for line in run.errors)
    before = {path: path.stat().st_mtime_ns for path in floor.rglob("*")}
    files = run.outputs()
    assert evaluate(*options, "--floor", 2, "--resume").outputs() == files
    assert {path: path.stat().st_mtime_ns for path in floor.rglob("*")} == before

    # A folder that is the floor itself: no second one is made, and it does not beat what it is.
    copies = evaluate(
        "--reference", folders["recordings"], "--estimate", f"mine={folders['bad']}", floor / "griffin-lim",
        f"twin={floor / 'griffin-lim'}", *FLOORED, "--common", report=tmp_path / "second",
    )  # fmt: skip
    assert not (tmp_path / "second" / "floor").exists()
    assert copies.summary["floor"]["systems"] == ["griffin-lim", "twin"]


def test_floor_0_makes_none(folders, evaluate):
    run = evaluate("--reference", folders["recordings"], "--estimate", folders["bad"], *CHEAP)
    assert not (run.report / "floor").exists()
    assert run.summary["floor"] == {"systems": [], "verdicts": [], "reason": "none was asked for (--floor 0)"}


def test_a_system_equal_to_the_floor_does_not_beat_it(folders, evaluate, tmp_path):
    options = ["--reference", folders["recordings"], *FLOORED]
    first = evaluate(*options, "--estimate", folders["bad"], report=tmp_path / "first")
    twin = tmp_path / "twin"
    for path in (first.report / "floor" / "griffin-lim").glob("*.wav"):
        write(twin / path.name, soundfile.read(path, dtype="float32")[0])
    run = evaluate(*options, "--estimate", twin)
    verdicts = [v for v in run.summary["floor"]["verdicts"] if v["floor"] == "griffin-lim"]
    assert [v["beats"] for v in verdicts] == [False, False]


def test_beginning_anew_makes_the_floor_of_the_recordings_that_are_there_now(folders, evaluate, tmp_path):
    options = ["--estimate", folders["good"], *FLOORED, "--floor", 2]
    evaluate("--reference", folders["recordings"], *options)
    others = tmp_path / "others"
    for index, path in enumerate(sorted(folders["recordings"].glob("*.wav"))):
        write(others / path.name, clip(0.6, 0.2 * index, "403-126855-0000"))
    run = evaluate("--reference", others, *options, "--force")
    floor = next(s for s in run.summary["systems"] if s["name"] == "mel-consistency")
    assert floor["scores"]["log_mel"]["mean"] < 0.3


def test_a_floor_whose_record_was_not_written_before_a_kill_is_still_the_floor(folders, evaluate):
    options = ["--reference", folders["recordings"], "--estimate", folders["good"], *FLOORED, "--floor", 2]
    run = evaluate(*options)
    # Outputs are written one by one, their record after the last of them.
    (run.report / "floor" / "griffin-lim" / "synthesis.json").unlink()
    (run.report / "journal.jsonl").unlink()
    again = evaluate(*options, "--resume")
    assert again.summary["floor"]["systems"] == ["griffin-lim", "mel-consistency"]


def test_the_floor_is_made_from_mels_as_fine_as_the_systems(folders, evaluate, tmp_path):
    for name, mel in (("good", "10ms"), ("bad", "other")):
        rows = [{"output": path.name, "mel": mel} for path in folders[name].glob("*.wav")]
        (folders[name] / "synthesis.json").write_text(json.dumps({"outputs": rows}))
    options = ["--reference", folders["recordings"], *FLOORED, "--floor", 1]
    run = evaluate(*options, "--estimate", folders["good"], folders["bad"])
    assert [s["origin"]["mel"] for s in run.summary["systems"] if s["floor"]] == ["10ms", "10ms"]
    assert [line for line in run.errors if "made from mels" in line] == [
        f"diffwave evaluate: bad: made from mels 'other', {floor} from '10ms'"
        for floor in ("griffin-lim", "mel-consistency")
    ]
    asked = evaluate(*options, "--estimate", folders["good"], "--mel", "default", report=tmp_path / "asked")
    assert [s["origin"]["mel"] for s in asked.summary["systems"] if s["floor"]] == ["default", "default"]
    assert any("good: made from mels '10ms', griffin-lim from 'default'" in line for line in asked.errors)
    # A floor of other mels is not gone on with, whether rows were written after it or not.
    again = [*options, "--estimate", folders["good"], "--resume"]
    assert evaluate(*again, report=tmp_path / "asked").code == 2
    (tmp_path / "asked" / "journal.jsonl").unlink()
    own = evaluate(*again, report=tmp_path / "asked")
    (floor,) = (tmp_path / "asked" / "floor").glob("griffin-lim-10ms/*.wav")
    other = tmp_path / "asked" / "floor" / "griffin-lim" / floor.name
    assert floor.read_bytes() != other.read_bytes()
    assert [s["origin"]["mel"] for s in own.summary["systems"] if s["floor"]] == ["10ms", "10ms"]

    # With a floor of one's own nothing is made; what it says less of is told all the same.
    mine = evaluate(*options, "--estimate", folders["good"], f"mine={other.parent}", "--mel", "10ms", "--common",
                    report=tmp_path / "mine")  # fmt: skip
    assert any("good: made from mels '10ms', mine from 'default'" in line for line in mine.errors)
    assert any("--mel: of no effect" in line for line in mine.errors)


def test_the_floor_may_be_of_a_named_convention(folders, evaluate):
    options = ["--reference", folders["recordings"], "--estimate", folders["good"], *FLOORED, "--floor", 1]
    run = evaluate(*options, "--mel", "vocos-24k")
    assert [s["origin"]["mel"] for s in run.summary["systems"] if s["floor"]] == ["vocos-24k", "vocos-24k"]


def test_mels_that_no_floor_can_be_made_from_and_copies_do_not_decide_the_floors(folders, evaluate):
    for name, record in (("good", {"mel": "mine.json"}), ("bad", {"baseline": "copy", "mel": "10ms"})):
        rows = [{"output": path.name, **record} for path in folders[name].glob("*.wav")]
        (folders[name] / "synthesis.json").write_text(json.dumps({"outputs": rows}))
    run = evaluate("--reference", folders["recordings"], *FLOORED, "--floor", 1,
                   "--estimate", folders["good"], folders["bad"])  # fmt: skip
    assert [s["origin"]["mel"] for s in run.summary["systems"] if s["floor"]] == ["default", "default"]
    told = [line for line in run.errors if "made from mels" in line]
    assert [line.split(": ")[1] for line in told] == ["good", "good"]


def test_very_short_recordings_do_not_end_the_run(tmp_path, evaluate):
    for name, samples in (("a", 16000), ("b", 100), ("c", 300), ("d", 1)):
        for folder in ("recordings", "system"):
            write(tmp_path / folder / f"{name}.wav", clip()[8000 : 8000 + samples] if samples < 16000 else clip())
    run = evaluate("--reference", tmp_path / "recordings", "--estimate", tmp_path / "system", *FLOORED)
    assert run.code == 1
    assert len(run.rows) >= 12


def test_a_floor_that_could_not_be_made_is_not_called_one_that_was_not_asked_for(tmp_path, evaluate):
    for folder in ("recordings", "system"):
        write(tmp_path / folder / "long.wav", np.tile(clip(), 31))
    run = evaluate("--reference", tmp_path / "recordings", "--estimate", tmp_path / "system", *FLOORED)
    assert run.code == 0
    assert run.summary["floor"]["systems"] == []
    assert "--floor 0" not in (run.report / "report.html").read_text(encoding="utf-8")


def test_one_speaker_says_nothing_about_the_floor(tmp_path, evaluate):
    for index in range(3):
        wav = clip(0.6, 0.4 + 0.6 * index)
        write(tmp_path / "recordings" / f"7-1-{index:04}.wav", wav)
        write(tmp_path / "system" / f"7-1-{index:04}.wav", wav)
    run = evaluate("--reference", tmp_path / "recordings", "--estimate", tmp_path / "system", *FLOORED)
    assert not any("does not beat" in line for line in run.errors)  # it is the recordings themselves


def test_a_report_below_the_estimates_is_not_taken_for_estimates(folders, evaluate):
    options = ["--reference", folders["recordings"], "--estimate", folders["good"], *FLOORED, "--floor", 2]
    first = evaluate(*options, report=folders["good"] / "report")
    files = first.outputs()
    assert evaluate(*options, "--resume", report=folders["good"] / "report").outputs() == files


# -- interruptions ----------------------------------------------------------------------------------------------------


def start(arguments: list[object]) -> subprocess.Popen[str]:
    """The command in a process and a process group of its own, which also finds the plug-ins."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "diffwave", "evaluate", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, env=environment, start_new_session=True
    )


def wait_for(condition: Callable[[], bool], seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def many_rows(root: Path, count: int) -> list[object]:
    for index in range(count):
        for folder in ("recordings", "system"):
            write(root / folder / f"{index % 3 + 5}-1-{index:04}.wav", clip(0.3 + index / 1000))
    return ["--reference", root / "recordings", "--estimate", root / "system", "--floor", 0]


def running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_kill_and_resume_gives_the_same_bytes_and_repeats_nothing(tmp_path, evaluate, plugins, monkeypatch):
    options = [*many_rows(tmp_path, 30), "--metrics", "level,slow", "--workers", 2]
    process = start([*options, "--report", tmp_path / "killed"])
    journal = tmp_path / "killed" / "journal.jsonl"
    try:
        wait_for(lambda: lines(journal) > 5)
    finally:
        process.kill()
        process.communicate()
    done = lines(journal) - 1
    assert 5 <= done < 30
    with journal.open("ab") as file:
        file.write(b'{"key": ["system", "torn')
    time.sleep(0.3)  # the rows that were under way when the command was killed
    plugins.write_text("")
    monkeypatch.setenv("SECONDS", "0")
    resumed = evaluate(*options, "--resume", report=tmp_path / "killed")
    assert resumed.code == 0
    assert lines(plugins) == 30 - done
    assert lines(journal) == 1 + 30
    assert resumed.outputs() == evaluate(*options, report=tmp_path / "whole").outputs()

    other = evaluate(*options, "--resume", "--metrics", "level", report=tmp_path / "killed")
    assert other.code == 2
    assert len(other.errors) == 1
    assert "metrics differ" in other.errors[0]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")
def test_no_worker_outlives_a_command_that_was_killed(tmp_path, plugins):
    options = [*many_rows(tmp_path, 2), "--metrics", "hang", "--workers", 2, "--report", tmp_path / "report"]
    process = start(options)
    pids_file = Path(os.environ["PID_FILE"])
    try:
        wait_for(lambda: lines(pids_file) == 2)
    finally:
        process.kill()
        process.communicate()
    pids = [int(pid) for pid in pids_file.read_text().split()]
    try:
        wait_for(lambda: not any(running(pid) for pid in pids), 3)
    finally:
        for pid in filter(running, pids):
            os.kill(pid, signal.SIGKILL)


def test_ctrl_c_ends_with_130_and_leaves_a_journal_to_go_on_with(tmp_path, evaluate, plugins, monkeypatch):
    options = [*many_rows(tmp_path, 20), "--metrics", "slow", "--workers", 2]
    process = start([*options, "--report", tmp_path / "report"])
    journal = tmp_path / "report" / "journal.jsonl"
    wait_for(lambda: lines(journal) > 2)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "diffwave evaluate: interrupted"
    assert "Traceback" not in errors
    monkeypatch.setenv("SECONDS", "0")
    assert evaluate(*options, "--resume").code == 0
    assert lines(journal) == 1 + 20


def test_a_program_in_the_current_folder_is_not_taken_for_a_module(folders, evaluate, tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    (here / "base64.py").write_text("raise SystemExit('not the library')\n")
    monkeypatch.chdir(here)
    run = evaluate(
        "--reference", folders["recordings"], "--estimate", folders["good"], "--metrics", "level", "--floor", 0
    )
    assert run.code == 0


# -- size -------------------------------------------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_rows(tmp_path, evaluate):
    import resource

    write(tmp_path / "short.wav", clip(0.05))
    peaks = []
    for count in (50, 1000):
        for folder in ("recordings", "system"):
            (tmp_path / f"{folder}{count}").mkdir()
            for index in range(count):
                os.link(tmp_path / "short.wav", tmp_path / f"{folder}{count}" / f"{index % 40}-1-{index:05}.wav")
        options = ["--reference", tmp_path / f"recordings{count}", "--estimate", tmp_path / f"system{count}"]
        run = evaluate(*options, "--metrics", "level", "--floor", 0, "--workers", 1, report=tmp_path / f"report{count}")
        assert run.code == 0
        assert len(run.rows) == count
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    assert peaks[1] - peaks[0] < 40  # MB; 1000 rows of journal and table are 2


def test_a_record_of_many_outputs_is_read_in_linear_time(tmp_path):
    from diffwave.evaluation.pairs import match

    names = [f"{index}.wav" for index in range(4000)]
    for folder in ("recordings", "system"):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).touch()
    document = {"outputs": [{"output": name, "steps": 6} for name in names]}
    (tmp_path / "system" / "synthesis.json").write_text(json.dumps(document))
    began = time.process_time()
    (system,) = match(tmp_path / "recordings", {"system": tmp_path / "system"})
    assert system.origin == {"steps": 6}
    assert time.process_time() - began < 2
