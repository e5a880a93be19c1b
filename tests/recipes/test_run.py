from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[2] / "recipes/librispeech"
# What the commands of a recipe are called in the environment that these tests run in.
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
SETTINGS = ("iterations=2", "checkpoint_every=2", "validate_every=2", "outputs_every=0", "tensorboard=false")

pytestmark = pytest.mark.skipif(
    not (Path(sys.executable).parent / "diffwave").exists(), reason="diffwave is not installed beside this Python"
)


def run(folder: Path, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(RECIPE / "run.sh"), *arguments],
        cwd=folder,
        env=ENVIRONMENT if path is None else os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def commands(done: subprocess.CompletedProcess[str]) -> list[list[str]]:
    return [line.removeprefix("+ ").split() for line in done.stderr.splitlines() if line.startswith("+ ")]


def test_three_utterances_go_through_every_stage(root: Path, tmp_path: Path) -> None:
    options = ("--data", root.name, "--validation-list", "none", "--experiment", "debug_cpu", "--items", "1")
    done = run(tmp_path, *options, "--", *(f"train.{setting}" for setting in SETTINGS))
    assert done.returncode == 0, done.stderr
    shown = commands(done)
    assert [words[1] for words in shown[1:]] == ["train", "synthesize", "evaluate", "listen"]
    assert shown[1][-len(SETTINGS) :] == [f"train.{setting}" for setting in SETTINGS]
    results = tmp_path / "runs/debug_cpu/val"
    (wav,) = (results / "diffwave").rglob("*.wav")
    assert wav.relative_to(results / "diffwave").with_suffix(".flac") in {
        path.relative_to(tmp_path / "data/manifests/val") for path in (tmp_path / "data/manifests/val").rglob("*.flac")
    }
    summary = json.loads((results / "report/summary.json").read_text())
    assert {system["name"]: system["rows"] for system in summary["systems"]} == {
        "diffwave": 1,
        "griffin-lim": 1,
        "mel-consistency": 1,
    }
    assert (results / "listening/index.html").is_file()
    # What was printed can be typed, and a stage that is done can be done again.
    before = wav.stat().st_mtime_ns
    typed = subprocess.run(shown[2], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, timeout=240, check=False)
    assert typed.returncode == 0, typed.stderr
    assert wav.stat().st_mtime_ns > before
    again = run(tmp_path, "--experiment", "debug_cpu", "--stage", "4", "--stop-stage", "4")
    assert again.returncode == 0, again.stderr


@pytest.fixture
def stubs(tmp_path: Path) -> str:
    """A PATH on which every program of the recipe only prints what it was called with; diffwave train fails."""
    folder = tmp_path / "stubs"
    folder.mkdir()
    for name in ("python", "diffwave", "torchrun", "srun", "scontrol"):
        (folder / name).write_text(f'#!/bin/sh\necho {name} "$@"\n[ "$1" != train ] || exit 3\n')
        (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin"


def test_the_recipes_own_validation_speakers_are_the_default(stubs: str, tmp_path: Path) -> None:
    done = run(tmp_path, "--stop-stage", "1", "--download", "train-clean-100 test-clean", path=stubs)
    assert done.stdout.split() == [
        "python",
        f"{RECIPE}/prepare.py",
        *("--root", "data/LibriSpeech", "--output", "data/manifests"),
        *("--download", "train-clean-100", "test-clean"),
        *("--validation-list", f"{RECIPE}/splits/val.txt"),
    ]


def test_several_processes_are_started_by_torchrun(stubs: str, tmp_path: Path) -> None:
    done = run(tmp_path, "--stage", "2", "--stop-stage", "2", "--nproc", "4", "--run-dir", "my run", path=stubs)
    assert done.stdout.startswith("torchrun --standalone --nproc-per-node 4 -m diffwave train experiment=librispeech_")
    assert "run_dir=my run\n" in done.stdout
    assert r"run_dir=my\ run" in done.stderr  # as it has to be typed


def test_a_failure_names_its_stage_and_ends_the_run(stubs: str, tmp_path: Path) -> None:
    done = run(tmp_path, "--stage", "2", path=stubs)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == "run.sh: stage 2 (train) ended with code 3"
    assert len(commands(done)) == 1


def test_a_report_with_empty_rows_is_no_failure(stubs: str, tmp_path: Path) -> None:
    stub = tmp_path / "stubs/diffwave"
    stub.write_text('#!/bin/sh\n[ "$1" != evaluate ] || exit 1\n')
    done = run(tmp_path, "--stage", "4", path=stubs)
    assert done.returncode == 0
    assert [words[1] for words in commands(done)] == ["evaluate", "listen"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--stage 0", "--stage: expected a positive number; got '0'"),
        ("--stop-stage 6", "expected stages from 1 to 5, the first before the last; got 1 and 6"),
        ("--stage 3 --stop-stage 2", "expected stages from 1 to 5, the first before the last; got 3 and 2"),
        ("--nproc many", "--nproc: expected a positive number; got 'many'"),
        ("--data", "expected a value behind --data"),
        ("train.iterations=1", "expected an option; got 'train.iterations=1'"),
    ],
)
def test_a_mistake_is_one_line(stubs: str, tmp_path: Path, arguments: str, message: str) -> None:
    done = run(tmp_path, *arguments.split(), path=stubs)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"run.sh: {message}; run.sh --help explains\n"


@pytest.mark.parametrize(("seconds_left", "is_requeued"), [(90, True), (3600, False)])
def test_a_slurm_job_whose_time_is_over_goes_back_into_the_queue(
    stubs: str, tmp_path: Path, seconds_left: int, is_requeued: bool
) -> None:
    import time

    end = str(int(time.time()) + seconds_left)
    slurm = {"SLURM_JOB_NODELIST": "a[1-2]", "SLURM_NNODES": "2", "SLURM_JOB_ID": "77", "SLURM_JOB_END_TIME": end}
    done = subprocess.run(
        [shutil.which("bash") or "bash", str(RECIPE / "train.sbatch"), "train.seed=1"],
        env={"PATH": stubs, **slurm},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    command, *rest = done.stdout.splitlines()
    # The stub of scontrol prints its arguments, of which the first is taken for the machine.
    assert command.startswith(
        "srun torchrun --nnodes 2 --nproc-per-node 8 --rdzv-id 77 --rdzv-backend c10d --rdzv-endp"
    )
    assert command.endswith("run_dir=runs/librispeech_base train.seed=1")
    assert rest == (["scontrol requeue 77"] if is_requeued else [])
