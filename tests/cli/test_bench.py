"""``diffwave bench``: what it refuses, what it measures, and how that is told."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from diffwave.cli.bench_results import as_json, as_markdown, as_text
from diffwave.cli.main import main
from diffwave.config import BASE
from diffwave.speed import benchmark, timing
from diffwave.speed.benchmark import BenchRow, BenchSettings, Setting, measure
from diffwave.speed.roofline import roofline
from diffwave.speed.timing import MachineLimits, Spread
from diffwave.vocoder import Vocoder

LIMITS = MachineLimits(operations=1e11, traffic=1e10)
SETTING = Setting(
    "base", 2_619_971, 0, "hifigan-22k", 22050, 6, "reference", "float32", "cpu", "A processor", 1, "2.14.1", 3
)
BEST = roofline(BASE, 22016, 6, 1, 4, LIMITS)
ROW = BenchRow(1, 22016 / 22050, 0, 0, Spread.of([4.0, 3.0, 5.0]), 100 << 20, BEST)


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure the machine with little."""
    monkeypatch.setattr(timing, "_MATRICES", {"cpu": (64,)})
    monkeypatch.setattr(timing, "_COPIED_BYTES", {"cpu": 1 << 20})


@pytest.fixture
def run(tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Call the command with the tiny checkpoint; returns exit code, stdout and stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        always = ["--checkpoint", str(tiny_checkpoint), "--device", "cpu", "--backend", "reference"]
        code = main(["bench", *always, *(str(argument) for argument in arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seconds", "0"], "positive number of seconds; got '0'"),
        (["--seconds", "1", "nan"], "got 'nan'"),
        (["--seconds", "1e9"], "at most 3600 seconds; got '1e9'"),
        (["--batch", "0"], "from 1 to 1024; got '0'"),
        (["--threads", "100000"], "from 1 to 1024"),
        (["--threads", "-1"], "expected"),
        (["--repeats", "many"], "got 'many'"),
        (["--steps", "0"], "positive number or 'full'"),
        (["--model", "huge"], "expected one of base, fast, fast_10ms, large; got 'huge'"),
        (["--model", "base", "--checkpoint", "runs/mine"], "not allowed with"),
        (["--backend", "fast"], "invalid choice: 'fast'"),
        (["--precision", "float16"], "invalid choice: 'float16'"),
        (["--device", "tpu"], "expected auto, cpu, cuda"),
        (["--json", ""], "expected a path"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["bench", *arguments])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--checkpoint", "nowhere"], "nowhere: expected a checkpoint folder"),
        (["--backend", "triton", "--device", "cpu"], "backend triton cannot run here"),
        (["--backend", "native", "--precision", "float32", "--device", "cpu"], "bfloat16"),
        (["--steps", "51"], "expected 1 to 50 steps; got 51"),
        (["--json", "no/folder/b.json"], "in a folder that exists"),
        (["--output", "."], "in a folder that exists"),
        (["--json", "there.json"], "there.json: expected a file that is not there yet; --force replaces it"),
        (["--json", "link.json"], "link.json: expected a file that is not there yet; --force replaces it"),
        (["--json", "pipe", "--force"], "pipe: expected a regular file"),
        (["--json", "new", "--output", "./new"], "expected two files"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.json").touch()
    Path("link.json").symlink_to("nowhere")
    os.mkfifo("pipe")
    assert main(["bench", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.json", "pipe", "there.json"]
    assert Path("pipe").is_fifo()


def test_every_length_and_batch_has_a_row_with_and_without_consistency(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "_BATCHES", {"cpu": [1, 3]})
    files = ["--json", tmp_path / "b.json", "--output", tmp_path / "b.md"]
    code, out, err = run("--seconds", ".1", ".2", "--repeats", "2", "--threads", "1", *files)
    assert code == 0
    document = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))
    assert (document["backend"], document["precision"], document["threads"]) == ("reference", "float32", 1)
    # Frames of 256 samples at 16 kHz; the tiny checkpoint has no mel consistency of its own.
    rows = [(row["batch"], row["audio_seconds"], row["consistency"]) for row in document["rows"]]
    assert rows == [(1, 6 * 0.016, 0), (1, 12 * 0.016, 0), (3, 6 * 0.016, 0)]
    for row in document["rows"]:
        assert len(row["wall"]["values"]) == 2
        assert row["real_time_factor"] == row["wall"]["median"] / (row["batch"] * row["audio_seconds"])
        assert row["reached"] == row["best"]["seconds"] / row["wall"]["median"]
    first, _, batch = (row["best"]["work"]["operations"] for row in document["rows"])
    assert batch == pytest.approx(3 * first)
    assert "3 x 0.096 s" in out
    assert "| 3 x 0.096 s |" in (tmp_path / "b.md").read_text(encoding="utf-8")
    assert all(line.startswith("diffwave bench: ") for line in err.splitlines())


def test_nothing_is_written_unless_asked_for(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("--seconds", ".05", "--batch", "1", "--repeats", "1")[0] == 0
    assert list(tmp_path.iterdir()) == []


def test_a_refiner_is_told_where_it_speaks(tmp_path: Path) -> None:
    arguments = ["--device", "cpu", "--steps", "1", "--seconds", ".05", "--batch", "1", "--repeats", "1"]
    files = ["--json", str(tmp_path / "b.json"), "--output", str(tmp_path / "b.md")]
    assert main(["bench", *arguments, *files]) == 0
    document = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))
    refiner = Vocoder.from_pretrained("default", "cpu").refiner
    assert refiner is not None
    assert document["refiner_parameters"] == sum(parameter.numel() for parameter in refiner.parameters())
    assert [(row["consistency"] > 0, row["refinements"]) for row in document["rows"]] == [(False, 0), (True, 1)]
    page = (tmp_path / "b.md").read_text(encoding="utf-8")
    assert f"and {document['refiner_parameters']:,} of the refiner" in page
    names = [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| 1 x")]
    assert [name.partition(" s")[2] for name in names] == ["", ", consistency, refiner"]


@pytest.mark.parametrize("complaint", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_a_batch_that_does_not_fit_is_a_row_and_not_the_end(
    complaint: Exception, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vocoder = Vocoder.from_pretrained(tiny_checkpoint, "cpu", backend="reference")
    settings = BenchSettings(lengths=[0.05], batches=[2], repeats=1)

    def full(*_: object, **__: object) -> None:
        raise complaint

    monkeypatch.setattr(vocoder, "synthesize", full)
    rows = measure(vocoder, settings, 2, LIMITS, print)
    assert [row.wall for row in rows] == [None, None]
    assert "no memory" in as_text(SETTING, LIMITS, rows)
    assert json.loads(as_json(SETTING, LIMITS, rows))["rows"][0]["real_time_factor"] is None


def test_figures_of_a_row() -> None:
    assert ROW.real_time_factor == pytest.approx(4.0 * 22050 / 22016)
    assert ROW.reached == pytest.approx(BEST.seconds / 4.0)
    (line,) = [line for line in as_text(SETTING, LIMITS, [ROW]).splitlines() if line.startswith("1 x")]
    cells = re.split(r"\s{2,}", line)
    # A layer for a sample is 65,536 operations: 30 layers, 6 steps, 22,016 samples, and some more.
    assert cells[:7] == ["1 x 0.998 s", "4", "3", "5", "4.01", "0.25", "100"]
    assert float(cells[7]) == pytest.approx(30 * 6 * 22016 * 65536 / 1e9, rel=0.06)
    assert cells[-1] == f"{BEST.seconds / 4:.0%} (compute)"


def test_a_page_has_as_many_cells_as_headings() -> None:
    rows = [ROW, BenchRow(4, 1.0, 60, 1, Spread.of([1.0]), None, None), BenchRow(9, 1.0, 0, 0, None, None, BEST)]
    table = [line for line in as_markdown(SETTING, LIMITS, rows).splitlines() if line.startswith("|")]
    assert len(table) == 5
    assert len({line.count("|") for line in table}) == 1


def test_help_needs_no_pytorch() -> None:
    code = (
        "import sys; from diffwave.cli.main import main\n"
        "try: main(['bench', '--help'])\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules, 'hydra' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0].startswith("usage: diffwave bench")
    assert done.stdout.splitlines()[-1] == "False False"
