"""The benchmark of synthesis: its turns, goals and page, on made-up figures; and one real process."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import report
from benchmarks.peers import base, processes, synthesis
from benchmarks.peers.packages import PeerUnavailableError, check_version, install
from benchmarks.peers.synthesis_page import agrees, goal_table, page
from benchmarks.peers.systems import (
    ALONE,
    BASE_ROWS,
    HIFIGAN,
    LMNT,
    LMNT_TUNED,
    SHIPPED,
    VOCOS,
    Case,
    System,
    own_cases,
    peer_cases,
)
from benchmarks.report import spread

ROOT = Path(__file__).resolve().parents[2]
# Seconds for a second of audio, 2 for all else.
PACE = {LMNT.name: 4.0, "BASE reference float32": 3.0, "BASE native": 1.0, SHIPPED.name: 0.1, ALONE.name: 0.05}
PACE |= {"BASE triton": 0.002, HIFIGAN.name: 0.4, VOCOS.name: 0.02}


def row(system: System, audio: float) -> dict[str, Any]:
    """What a system is said to have done."""
    seconds = PACE.get(system.name, 2.0) * audio
    found: dict[str, Any] = {"label": system.label, "audio": audio, "memory": 3 << 20, "warm_up": seconds}
    if system.role == "ours":
        found |= {"backend": "native", "precision": "bfloat16"}
    values = [seconds, seconds * 2, seconds / 2]
    return found | {"seconds": spread(values), "speed": spread([4.0 * audio / value for value in values])}


def made_up(cases: list[Case], threads: int = 2) -> dict[str, Any]:
    """A section on one device."""
    environment = {"processor": "P", "cores": 2, "system": "Linux", "python": "3.11", "torch": "2.14"}
    tables = [
        {
            "threads": threads,
            "what": case.what,
            "seconds": case.seconds,
            "batch": case.batch,
            "load_before": 0.5,
            "systems": {system.name: row(system, case.seconds * case.batch) for system in case.systems},
        }
        for case in cases
    ]
    return {
        "command": "python -m benchmarks.peers.synthesis --sections x",
        "date": "2026-01-01",
        "environment": environment,
        "setting": {"repeats": 3},
        "missing": {},
        "equality": {},
        "tables": tables,
    }


def equality(difference: float) -> dict[str, Any]:
    """What the outputs are said to differ by."""
    rows = {"BASE reference float32": {"max_difference": difference, "decibels": 110.0}}
    rows["BASE native"] = {"max_difference": 0.03, "decibels": 36.0}
    return {"tolerance": 1e-4, "output_rms": 0.3, "systems": rows}


@pytest.fixture
def results() -> dict[str, Any]:
    """Every section, on a CPU and on a GPU."""
    found: dict[str, Any] = {
        "peers": {device: made_up(peer_cases(device, 1.0)) for device in ("cpu", "cuda")},
        "ours": {device: made_up(own_cases(device, 1.0)) for device in ("cpu", "cuda")},
    }
    for device in ("cpu", "cuda"):
        found["peers"][device]["equality"] = equality(3e-6)
    return found


def verdicts_of(results: dict[str, Any]) -> list[str]:
    """Verdicts, in order."""
    return [line.split("|")[-2].strip() for line in goal_table(results)[2:]]


def test_goals_that_are_reached(results: dict[str, Any]) -> None:
    # One output of 10 s on the GPU: 4 / .002 is far above 15; throughput is measured in the same made-up pace.
    verdicts = verdicts_of(results)
    assert verdicts == ["met"] * 4


@pytest.mark.parametrize(
    ("number", "name", "pace"),
    [
        (0, "BASE native", 1.4),
        (1, SHIPPED.name, 0.13),
        (2, "BASE triton", 0.2),
        (3, "BASE triton", 0.3),
    ],
)
def test_goals_that_are_missed(
    number: int, name: str, pace: float, results: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert verdicts_of(results)[number] == "met"
    monkeypatch.setitem(PACE, name, pace)
    for device in ("cpu", "cuda"):
        results["peers"][device] |= {"tables": made_up(peer_cases(device, 1.0))["tables"]}
        results["ours"][device] |= {"tables": made_up(own_cases(device, 1.0))["tables"]}
    assert verdicts_of(results)[number] == "**missed**"


def test_goals_that_were_not_measured(results: dict[str, Any]) -> None:
    assert set(verdicts_of({})) == {""}
    lines = goal_table({})
    assert sum("not yet run on a GPU" in line for line in lines) == 2
    assert sum("not measured yet" in line for line in lines) == 2
    # Another number of threads is no answer to what is asked of two cores.
    results["peers"]["cpu"] = made_up(peer_cases("cpu", 1.0), threads=1)
    assert verdicts_of(results)[0] == ""


def test_the_page_tells_everything(results: dict[str, Any]) -> None:
    text = page(results)
    for system in (LMNT, LMNT_TUNED, HIFIGAN, VOCOS, *BASE_ROWS["cpu"], *BASE_ROWS["cuda"]):
        assert f"| {system.label}" in text
    assert "### GPU, 32 outputs of 1 s" in text


def test_tables_have_as_many_cells_as_headings(results: dict[str, Any]) -> None:
    failed = results["peers"]["cpu"]["tables"][0]["systems"][LMNT_TUNED.name]
    failed |= {"error": "RuntimeError: a | b"}
    del failed["seconds"], failed["speed"]
    lines = page(results).splitlines()
    blocks: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("|"):
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    assert len([block for block in blocks if block]) > 10
    assert all(len({line.count("|") for line in block}) <= 1 for block in blocks)
    assert "did not run: RuntimeError: a / b" in page(results)


def test_a_page_of_nothing_says_so() -> None:
    text = page({})
    assert text.count("Not yet run on a CPU.") == 2
    assert text.count("Not yet run on a GPU.") == 2


def test_packages_that_are_missing_are_named(results: dict[str, Any]) -> None:
    results["peers"]["cpu"]["missing"] = {"vocos": "cannot install vocos==0.1.0: no route"}
    assert "vocos: not measured; cannot install vocos==0.1.0: no route." in page(results)


@pytest.mark.parametrize("wrong", [2e-4, math.nan])
def test_a_difference_in_float32_is_noticed(wrong: float) -> None:
    assert agrees(equality(1e-5))
    assert agrees({})
    assert not agrees(equality(wrong))


def test_a_section_replaces_its_old_figures_for_its_device_alone() -> None:
    old = {"peers": {"cpu": 1, "cuda": 2}, "ours": 3}
    assert report.merged(old, "peers", "cpu", {"new": 5}) == {"peers": {"cpu": {"new": 5}, "cuda": 2}, "ours": 3}
    assert report.merged({}, "ours", "cpu", {"new": 5}) == {"ours": {"cpu": {"new": 5}}}


def test_the_command_of_a_section_names_no_folder() -> None:
    options = synthesis.parse_options(["--sections", "peers,ours", "--threads", "1", "--peers", "/somewhere"])
    assert options.sections == ["peers", "ours"]
    command = synthesis.command("peers", options)
    assert command.endswith("--sections peers --device cpu --threads 1 --seconds 1 --repeats 5")
    again = synthesis.parse_options(command.split()[3:])
    assert (again.sections, again.threads) == (["peers"], [1])


@pytest.mark.parametrize(
    "arguments", [["--sections", "peers,none"], ["--threads", "0"], ["--repeats", "0"], ["--seconds", "0"]]
)
def test_mistakes_on_the_command_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        synthesis.parse_options(arguments)
    assert stop.value.code == 2
    assert "expected" in capsys.readouterr().err


def test_another_version_of_a_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PeerUnavailableError, match=r"hifi-gan 0\.0\.2; got none"):
        check_version("hifigan", tmp_path)
    (tmp_path / "hifi_gan-0.0.1.dist-info").mkdir()
    metadata = tmp_path / "hifi_gan-0.0.1.dist-info" / "METADATA"
    metadata.write_text("Metadata-Version: 2.1\nName: hifi_gan\nVersion: 0.0.1\n", encoding="utf-8")
    with pytest.raises(PeerUnavailableError, match=r"got 0\.0\.1"):
        check_version("hifigan", tmp_path)


class Pretender:
    """Answers requests with prepared seconds, or says that it cannot."""

    def __init__(self, seconds: list[float], audio: float = 1.0, error: str = "") -> None:
        self.seconds, self.audio, self.error = iter(seconds), audio, error

    def request(self, action: str, **_: Any) -> dict[str, Any]:
        if self.error:
            return {"error": self.error}
        if action == "warm_up":
            return {"audio": self.audio, "warm_up": 9.0, "memory": None}
        return {"audio": self.audio, "seconds": next(self.seconds)}

    def ask(self, action: str, model: str) -> dict[str, int]:
        return {"parameters": 1000}


def test_ratios_are_of_neighbours_in_time_and_for_a_second_of_audio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_PAUSE", 0)
    broken = System("broken", "broken", "ours")
    running: dict[str, Any] = {
        "lmnt": Pretender([2, 4, 6]),
        "hifigan": Pretender([2, 1, 2], audio=2.0),
        "ours": Pretender([], error="no such backend"),
    }
    case = Case((LMNT, HIFIGAN, broken, VOCOS), 1.0, 1, "latency")
    options = synthesis.parse_options(["--repeats", "3"])
    found = synthesis.measure_case(case, running, options)["systems"]
    assert list(found) == [LMNT.name, HIFIGAN.name, "broken"]  # a package that is not there has no row
    assert found[HIFIGAN.name]["speed"]["values"] == [2, 8, 6]
    assert found[LMNT.name]["speed"]["values"] == [1, 1, 1]
    assert found[LMNT.name]["warm_up"] == 9
    assert found["broken"] == {"label": "broken", "error": "no such backend"}


def test_another_network_than_the_published_one_is_refused() -> None:
    with pytest.raises(RuntimeError, match="vocos: expected 13531650 parameters; got 1000"):
        synthesis.load({"vocos": Pretender([])}, ROOT)  # type: ignore[dict-item]


def test_distance_in_decibels() -> None:
    theirs = torch.tensor([1.0, -1.0, 1.0, -1.0])
    found = base.distance(theirs * 1.01, theirs)
    assert found["max_difference"] == pytest.approx(0.01, rel=1e-4)
    assert found["decibels"] == pytest.approx(40, abs=1e-3)


def test_our_process_answers(tmp_path: Path) -> None:
    base.prepare(tmp_path, seconds=0.05)
    mode = BASE_ROWS["cpu"][0].mode
    size = {"mode": mode, "seconds": 0.05, "batch": 2}
    with processes.processes({}, 1, "cpu") as running:
        ours = running["ours"]
        synthesis.load(running, tmp_path)
        begun = time.perf_counter()
        said = ours.request("time", **size)
        assert 0 < said["seconds"] < time.perf_counter() - begun
        assert (said["backend"], said["precision"]) == ("reference", "float32")
        assert said["audio"] == pytest.approx(2 * 4 * 256 / 22050)
        wrong = {**size, "mode": mode | {"backend": "no such thing"}}
        assert "no such thing" in ours.request("time", **wrong)["error"]
        with pytest.raises(RuntimeError, match="ours: no_such_action: AttributeError"):
            ours.ask("no_such_action")


@pytest.mark.peer
def test_base_equals_the_other_package(tmp_path: Path) -> None:
    """Same weights, mel, schedule and noise: the same output, neither silent nor clipped to be equal."""
    try:
        package = install("lmnt", tmp_path)
    except PeerUnavailableError as error:
        pytest.skip(f"needs a package index: {error}")
    base.prepare(tmp_path / "model", seconds=0.5)
    cases = [Case((LMNT, *BASE_ROWS["cpu"][:1], ALONE), 0.5, 1, "latency")]
    with processes.processes({"lmnt": package}, 1, "cpu") as running:
        synthesis.load(running, tmp_path / "model")
        equality = synthesis.compare(running, cases, tmp_path / "model")
    assert list(equality["systems"]) == ["BASE reference float32"]
    assert agrees(equality), equality
    assert equality["output_rms"] > 0.01
    output = torch.load(tmp_path / "model/wav.pt", weights_only=True)
    assert (output.abs() >= 1).float().mean() < 0.7


def test_the_page_is_made_of_the_json() -> None:
    path = ROOT / "docs" / "benchmarks" / "synthesis.json"
    assert path.with_suffix(".md").read_text(encoding="utf-8") == page(json.loads(path.read_text(encoding="utf-8")))


def test_an_empty_answer_is_an_answer_and_none_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for the end of a process that is well would never end."""
    runner = object.__new__(processes.Process)
    runner.process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    answers = iter([{}, None])
    monkeypatch.setattr(runner, "exchange", lambda request: next(answers))
    monkeypatch.setattr(runner.process, "wait", lambda: pytest.fail("waited for a process that has answered"))
    assert runner.request("wav") == {}
    monkeypatch.undo()
    monkeypatch.setattr(runner, "exchange", lambda request: None)
    assert runner.request("wav") == {"error": "the process ended with 3"}
