"""The folder of a run: full disks, damaged states, and who else writes there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from diffwave.checkpoint.folder import load_checkpoint
from diffwave.config import ConfigError
from diffwave.training.record.states import states
from runs import Configure, train, trainer_of
from training_overrides import SMALL


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


LIMITED = """
import resource, sys
from diffwave.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("limit", ["state", "weights"])
def test_no_room_for_a_state_ends_the_run_and_keeps_the_last(configure: Configure, corpus: Path, limit: str) -> None:
    # The operating system refuses to let a file grow beyond a limit; a full disk says no in the same way.
    config = configure("train.iterations=2")
    run = train(config)
    # Half a state is too much for the one case, the smaller file of the best weights already for the other.
    most = {"state": (run / "training-00000002.pt").stat().st_size // 2, "weights": 2**13}[limit]
    if limit == "weights":
        states(run)[-1].unlink()
    before = contents(run)
    overrides = [*SMALL, f"data.root={corpus}", f"run_dir={run}", "train.iterations=4"]
    command = [sys.executable, "-c", LIMITED, str(most), "train", *overrides]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("diffwave train: iteration ")
    assert f"expected room and permission to write into {run}; File too large; " in last
    after = contents(run)
    for name, data in before.items():
        if name.endswith(".pt") or (limit == "weights" and name in ("model.safetensors", "config.json")):
            assert after[name] == data
    load_checkpoint(run).build()
    assert not [name for name in after if Path(name).name.startswith(".")]


def test_a_full_disk_ends_the_run_with_one_line(tmp_path: Path, corpus: Path) -> None:
    """On a real file system of a few MiB, where it can be had."""
    overrides = [*SMALL, f"data.root={corpus}", "train.iterations=100", "train.keep_checkpoints=50"]
    disk = tmp_path / "disk"
    disk.mkdir()
    script = (
        f"mount -t tmpfs -o size=24m tmpfs {disk} || exit 77; "
        f"{sys.executable} -m diffwave train {' '.join(overrides)} run_dir={disk}/run; code=$?; "
        f"cp -r {disk}/run {tmp_path}/run; exit $code"
    )
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, check=False, timeout=100
    )
    if done.returncode in (1, 77) and "diffwave train" not in done.stderr:
        pytest.skip("no file system of one's own can be mounted here")
    assert done.returncode == 2, done.stderr
    assert "No space left on device" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    run = tmp_path / "run"
    assert states(run)
    for path in states(run):
        torch.load(path, weights_only=True)
    load_checkpoint(run).build()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_run_directory_without_permission_is_refused(configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o500)
    with pytest.raises(ConfigError, match="expected a folder that can be written"):
        train(configure())


def test_a_damaged_byte_is_noticed(configure: Configure) -> None:
    config = configure()
    run = train(config)
    newest = run / "training-00000006.pt"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    assert trainer_of(config).progress.iteration == 4


@pytest.mark.parametrize("content", [{}, {"config": {"model": {}}}, torch.zeros(3), ["config"]])
def test_a_file_that_is_no_state_gives_way_to_the_one_before(configure: Configure, content: object) -> None:
    config = configure()
    run = train(config)
    torch.save(content, run / "training-00000006.pt")
    assert trainer_of(config).progress.iteration == 4


def test_a_run_that_was_trained_on_meanwhile_is_not_overwritten(configure: Configure) -> None:
    train(configure("train.iterations=2"))
    late = trainer_of(configure())
    run = train(configure())
    before = contents(run)
    with pytest.raises(ConfigError, match="another training wrote there meanwhile; start this one again"):
        late.run()
    assert contents(run) == before


def test_hidden_files_of_a_user_stay(configure: Configure) -> None:
    config = configure()
    run = Path(config.run_dir)
    run.mkdir()
    for name in (".env.template", ".bashrc.original", ".env.defaults.yaml"):
        (run / name).write_text("mine")
    (run / ".model.safetensors.unfinished-a1b2c3d4.safetensors").write_text("half")
    train(config)
    assert sorted(path.name for path in run.glob(".*")) == [".bashrc.original", ".env.defaults.yaml", ".env.template"]
