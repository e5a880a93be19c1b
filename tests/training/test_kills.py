"""A run that is killed, at any moment, loses nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from diffwave.config.composing import compose_config
from runs import curve, same_training, train
from training_overrides import SMALL

KILLS = 20
SETTINGS = [
    "train.iterations=240",
    "train.checkpoint_every=2",
    "train.validate_every=7",
    "train.log_every=4",
    "train.threads=1",
    "train.tensorboard=true",
]


def test_twenty_kills_at_random_moments_change_nothing(corpus: Path, tmp_path: Path) -> None:
    overrides = [*SMALL, *SETTINGS, f"data.root={corpus}"]
    straight = train(compose_config([*overrides, f"run_dir={tmp_path / 'straight'}"]))
    runner = Path(__file__).parents[1] / "killed_runs.py"
    command = [sys.executable, str(runner), str(KILLS), "0", *overrides]
    killed = tmp_path / "killed"
    done = subprocess.run([*command, f"run_dir={killed}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    iterations = [int(word) for word in done.stdout.split()]
    assert len(iterations) == KILLS
    # It went on from where it was, and the kills struck at many places.
    assert iterations == sorted(iterations)
    assert len(set(iterations)) > KILLS / 3
    assert same_training(straight / "training-00000240.pt", killed / "training-00000240.pt")
    for name in ("model.safetensors", "best/model.safetensors"):
        assert (straight / name).read_bytes() == (killed / name).read_bytes()
    assert curve(straight) == curve(killed)
    leftovers = [path.name for path in killed.rglob(".*")]
    assert leftovers == []
