"""Every YAML file composes to a configuration that can work, and says what the paper says."""

from __future__ import annotations

import pytest

from diffwave.config import BASE, LARGE, ConfigError, MelConfig
from diffwave.config.composing import compose_config, configs_folder
from diffwave.diffusion import NoiseSchedule, Sampler

EXPERIMENTS = sorted(path.stem for path in (configs_folder() / "experiment").glob("*.yaml"))
MODELS = sorted(path.stem for path in (configs_folder() / "model").glob("*.yaml"))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_composes(name: str) -> None:
    config = compose_config([f"experiment={name}"])
    assert config.run_dir == f"runs/{name}"


@pytest.mark.parametrize("name", MODELS)
def test_fast_schedules_lie_in_the_trained_range(name: str) -> None:
    model = compose_config([f"model={name}"]).model
    trained = NoiseSchedule.from_config(model.diffusion)
    for count, betas in model.sampling.fast_betas.items():
        sampler = Sampler.fast(trained, betas)
        assert len(sampler) == int(count)


def test_a_mels_statistics_are_lists_of_yaml() -> None:
    mel = compose_config(["model.mel.mean=[-5.5]", "model.mel.scale=[2.1]", "model.mel.spectrum=power"]).model.mel
    assert mel == MelConfig(mean=(-5.5,), scale=(2.1,), spectrum="power")
    with pytest.raises(ConfigError, match=r"mel\.mean: expected one value for each of 80 bands"):
        compose_config(["model.mel.mean=[-5.5, -6]"])


def test_models_of_the_paper() -> None:
    assert compose_config(["model=base"]).model == BASE
    assert compose_config(["model=large"]).model == LARGE


def test_validation_speakers_are_those_of_the_split() -> None:
    config = compose_config(["experiment=librispeech_fast"])
    splits = configs_folder().parent / "recipes" / "librispeech" / "splits"
    speakers = {
        name: {line.split("/")[1] for line in (splits / f"{name}.txt").read_text(encoding="utf-8").split()}
        for name in ("train", "val", "test")
    }
    assert set(config.data.validation_speakers) == speakers["val"]
    assert len(speakers["val"]) == 40
    assert not speakers["train"] & (speakers["val"] | speakers["test"])
    assert not speakers["val"] & speakers["test"]
