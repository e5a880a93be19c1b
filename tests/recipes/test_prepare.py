from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from diffwave.corpus.manifest import read_manifest

SCRIPT = Path(__file__).parents[2] / "recipes/librispeech/prepare.py"


def command(*arguments: object) -> list[str]:
    return [sys.executable, str(SCRIPT), *map(str, arguments)]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=120, check=False)


def test_a_small_root_becomes_manifests_and_a_table(root: Path, tmp_path: Path) -> None:
    (root / "train-clean-100/403/1/403-1-0001.flac").write_bytes(b"fLaC and nothing more")
    first = run("--root", root, "--output", tmp_path / "m", "--jobs", 1)
    assert first.returncode == 0, first.stderr
    assert "Traceback" not in first.stderr
    rows = {line.split()[0]: line.split() for line in first.stdout.splitlines() if line}
    assert (rows["train"][2], rows["val"][2], rows["test-clean"][2]) == ("2", "1", "1")
    assert "rejected: 1 (1 cannot be decoded); see rejected.jsonl" in first.stdout
    held_out = {u.speaker for u in read_manifest(tmp_path / "m/val.jsonl")}
    assert f"validation speakers: {held_out.pop()}\n" in first.stdout
    again = run("--root", root, "--output", tmp_path / "m", "--jobs", 2)
    assert (again.returncode, again.stdout) == (0, first.stdout)


def test_paths_in_manifests_hold_wherever_one_stands(root: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        command("--root", root.name, "--output", "m"), cwd=tmp_path, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0
    assert all(u.path.is_absolute() and u.path.is_file() for u in read_manifest(tmp_path / "m/train.jsonl"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--root", "nowhere", "--output", "m"), "/nowhere is not one"),
        (("--root", "LibriSpeech", "--output", "LibriSpeech/SPEAKERS.TXT"), "SPEAKERS.TXT: cannot be read or written"),
        (("--root", "LibriSpeech", "--output", "m", "--download", "all"), "--download: expected subsets (dev-clean,"),
        (("--root", "LibriSpeech"), "the following arguments are required: --output"),
        (("--root", "LibriSpeech", "--output", "m", "--min-seconds", "-1"), "expected a positive number of seconds"),
        (("--root", "LibriSpeech", "--output", "m", "--validation-speakers", "9"), "expected 1 to 2, of 3; got 9"),
        (
            ("--root", "LibriSpeech", "--output", "m", "--validation-list", "no"),
            "--validation-list no: expected a text",
        ),
    ],
)
def test_a_mistake_is_one_line(
    root: Path, tmp_path: Path, arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (root / "SPEAKERS.TXT").touch()
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough to be interrupted, 50 utterances of 20 s, half a second of work at least; beside them what they become."""
    folder = tmp_path_factory.mktemp("large")
    for i in range(50):
        wav = 0.1 * np.random.default_rng(i).standard_normal(320_000)
        (folder / f"root/{i % 6}").mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"root/{i % 6}/{i}.flac", wav, 16000)
    (folder / "table").write_text(run("--root", folder / "root", "--output", folder / "m").stdout)
    return folder


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_run_goes_on(large: Path, tmp_path: Path, number: signal.Signals) -> None:
    cache = tmp_path / "m/inspected.jsonl"
    arguments = command("--root", large / "root", "--output", tmp_path / "m", "--jobs", 1)
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not (cache.exists() and cache.read_bytes().count(b"\n") >= 3):
        assert process.poll() is None
        time.sleep(0.001)
    # A terminal sends Ctrl-C to all processes; what kills one of them tells the others nothing.
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    _, said = process.communicate(timeout=60)
    if number == signal.SIGINT:
        assert (process.returncode, said) == (130, "prepare.py: interrupted; the same command goes on\n")
    done = cache.read_bytes().count(b"\n")
    assert 3 <= done < 50, "expected to interrupt it in the middle"
    assert not (tmp_path / "m/train.jsonl").exists()
    again = run("--root", large / "root", "--output", tmp_path / "m")
    assert again.stdout.replace(str(tmp_path), str(large)) == (large / "table").read_text()
    for name in ("train.jsonl", "val.jsonl", "rejected.jsonl", "statistics.json", "inspected.jsonl"):
        assert (tmp_path / "m" / name).read_bytes() == (large / "m" / name).read_bytes()
