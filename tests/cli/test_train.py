from __future__ import annotations

from pathlib import Path

import pytest

from diffwave.cli.main import main
from diffwave.config import BASE, LARGE, ConfigError, DataConfig, OptimizationConfig, TrainingConfig
from diffwave.config.composing import compose_config

EXPERIMENTS = sorted(path.stem for path in (Path(__file__).parents[2] / "configs" / "experiment").glob("*.yaml"))


def test_without_overrides_it_is_the_schema_with_the_papers_base() -> None:
    assert compose_config([]) == TrainingConfig(model=BASE)


def test_groups_and_values_override() -> None:
    config = compose_config(["model=large", "train.batch_size=3", "data.subsets=[a,b]", "train.learning_rate=1"])
    assert config.model == LARGE
    assert config.train == OptimizationConfig(batch_size=3, learning_rate=1.0)
    assert config.data == DataConfig(subsets=["a", "b"])


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes_and_names_its_own_run(name: str) -> None:
    config = compose_config([f"experiment={name}"])
    assert config.run_dir == f"runs/{name}"
    # What the command line says has the last word.
    assert compose_config([f"experiment={name}", "train.seed=41"]).train.seed == 41


def test_the_debug_experiment_is_a_small_version_of_the_fast_one() -> None:
    debug, fast = (compose_config([f"experiment={name}"]).model for name in ("debug_cpu", "librispeech_fast"))
    assert (debug.mel, debug.diffusion, debug.sampling) == (fast.mel, fast.diffusion, fast.sampling)
    assert (debug.network.residual_channels, debug.network.residual_layers) == (16, 4)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.batchsize=3", "unknown setting train.batchsize; did you mean train.batch_size?"),
        ("+train.batchsize=3", "train.batchsize; did you mean train.batch_size?"),
        ("model.network.residual_chanels=3", "did you mean model.network.residual_channels?"),
        ("train.lr=3", "unknown setting train.lr; did you mean train.learning_rate?"),
        ("run_dir=a=b", "quote values with letters that hydra uses itself"),
        ("train.batch_size=many", "batch_size"),
        ("train.batch_size=0", "train.batch_size must be at least 1; got 0"),
        ("train.loss=huber", "train.loss must be one of l1, l2; got 'huber'"),
        ("model.mel.hop_length=100000", "0 < hop_length <= win_length"),
        ("model=huge", "huge"),
        ("experiment=nowhere", "nowhere"),
        ("not an override", "not an override"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose_config([override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_composing_twice_is_independent() -> None:
    first = compose_config(["train.seed=5"])
    second = compose_config([])
    assert (first.train.seed, second.train.seed) == (5, 0)


def test_a_users_mistake_is_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (["train", "train.sed=3"], "did you mean train.seed?"),
        (["train", f"data.root={tmp_path}", f"run_dir={tmp_path / 'run'}"], "found none (0 unreadable)"),
        (["train", f"data.root={tmp_path / 'nowhere'}"], "expected a folder of audio"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err.strip()
        assert message in error
        assert error.splitlines() == [error]
        assert error.startswith("diffwave train: ")
    assert not (tmp_path / "run").exists()
