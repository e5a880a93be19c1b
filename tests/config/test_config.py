from __future__ import annotations

import dataclasses
import json
import re
import typing
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from diffwave.config import (
    BASE,
    CONVENTIONS,
    LARGE,
    ConfigError,
    DataConfig,
    DiffusionConfig,
    MelConfig,
    ModelConfig,
    NetworkConfig,
    OptimizationConfig,
    SamplingConfig,
    TrainingConfig,
    mel_preset,
)
from diffwave.config.document import from_dict, to_dict
from diffwave.config.sampling import SAMPLERS

ALL = [MelConfig, NetworkConfig, DiffusionConfig, SamplingConfig, ModelConfig, DataConfig, OptimizationConfig]
CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize(
    "config",
    [
        BASE,
        LARGE,
        ModelConfig(mel=mel_preset("hifigan-22k")),
        ModelConfig(diffusion=DiffusionConfig(schedule="list", steps=2, betas=[0.25, 0.5])),
    ],
    ids=["base", "large", "hifigan", "list"],
)
def test_a_configuration_survives_json(config: ModelConfig) -> None:
    text = json.dumps(to_dict(config))
    assert from_dict(ModelConfig, json.loads(text)) == config


def test_missing_keys_take_their_defaults_and_whole_numbers_pass_for_floats() -> None:
    config = from_dict(TrainingConfig, {"model": {"mel": {"f_max": 7600}}, "train": {"learning_rate": 1}})
    assert config.model.mel == MelConfig(f_max=7600.0)
    assert isinstance(config.model.mel.f_max, float)
    assert isinstance(config.train.learning_rate, float)
    assert config.data == DataConfig()


def test_the_papers_models_are_those_of_table_1_and_appendix_b() -> None:
    # (C, L, cycle, T, beta_1, beta_T, fast schedule)
    def facts(config: ModelConfig) -> tuple[Any, ...]:
        network, diffusion = config.network, config.diffusion
        fast = config.sampling.fast_betas[str(config.sampling.steps)]
        shape = (network.residual_channels, network.residual_layers, network.dilation_cycle)
        return (*shape, diffusion.steps, diffusion.beta_start, diffusion.beta_end, fast)

    assert facts(BASE) == (64, 30, 10, 50, 1e-4, 0.05, [1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5])
    assert facts(LARGE) == (128, 30, 10, 200, 1e-4, 0.02, [1e-4, 1e-3, 0.01, 0.05, 0.2, 0.7])
    for config in (BASE, LARGE):
        assert config.network.squeeze == config.network.squeeze_overlap == 1
        assert (config.network.condition_mean, config.network.condition_std) == (0, 1)
        assert (config.network.parameterization, config.diffusion.prior) == ("noise", "standard")
        assert config.sampling.sampler == "ddpm"
        assert not config.sampling.clip


@pytest.mark.parametrize(("name", "expected"), [("base", BASE), ("large", LARGE)])
def test_yaml_says_the_same_as_the_dataclasses(name: str, expected: ModelConfig) -> None:
    values = OmegaConf.to_container(OmegaConf.load(CONFIGS / "model" / f"{name}.yaml"))
    assert from_dict(ModelConfig, values) == expected


def test_every_preset_names_its_convention() -> None:
    # But for what is added under a root, which nobody hears, mels that are written otherwise are described otherwise.
    heard = {dataclasses.replace(convention.mel, magnitude_epsilon=0.0) for convention in CONVENTIONS.values()}
    assert len({mel.describe() for mel in heard}) == len(heard) > 15
    assert mel_preset("default").describe() == (
        "16000 Hz, 1024/256/1024, 80 slaney bands 0-8000 Hz, ln (floor 1e-05), hop framing"
    )


@pytest.mark.parametrize("cls", [*ALL, TrainingConfig])
def test_configurations_are_frozen(cls: type) -> None:
    config = cls()
    for name in typing.get_type_hints(cls):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(config, name, getattr(config, name))


@pytest.mark.parametrize("cls", [*ALL, TrainingConfig])
def test_every_setting_is_explained(cls: type) -> None:
    if cls in (ModelConfig, TrainingConfig):  # their fields are sections
        return
    words = re.findall(r"\w+", cls.__doc__.split("Args:")[1])
    missing = [name for name in typing.get_type_hints(cls) if name not in words]
    assert missing == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mell": {}}, "unknown setting mell; did you mean mel?"),
        ({"network": {"residual_chanels": 64}}, "network.residual_chanels; did you mean network.residual_channels?"),
        ({"network": {"zzz": 64}}, "unknown setting network.zzz; known: residual_channels, residual_layers"),
        ({"network": 3}, "network: expected settings in braces; got 3"),
        ({"mel": None}, "mel: expected settings in braces; got None"),
        ({"mel": {"n_fft": "1024"}}, "mel.n_fft: expected int; got '1024'"),
        ({"mel": {"n_fft": 1024.0}}, "mel.n_fft: expected int; got 1024.0"),
        ({"mel": {"n_mels": True}}, "mel.n_mels: expected int; got True"),
        ({"mel": {"f_min": True}}, "mel.f_min: expected float; got True"),
        ({"mel": {"stft_normalized": 1}}, "mel.stft_normalized: expected bool; got 1"),
        ({"mel": {"log": None}}, "mel.log: expected str; got None"),
        ({"diffusion": {"betas": 0.1}}, "diffusion.betas: expected a list; got 0.1"),
        ({"diffusion": {"betas": [0.1, "x"]}}, "diffusion.betas[1]: expected float; got 'x'"),
        ({"sampling": {"fast_betas": [0.1]}}, "sampling.fast_betas: expected settings in braces; got [0.1]"),
        ({"sampling": {"fast_betas": {"1": [None]}}}, "sampling.fast_betas.1[0]: expected float; got None"),
        ([], "expected settings in braces; got []"),
        (None, "expected settings in braces; got None"),
    ],
)  # fmt: skip
def test_from_dict_is_strict(values: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_dict(ModelConfig, values)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("cls", "values", "message"),
    [
        (MelConfig, {"hop_length": 0}, "0 < hop_length"),
        (MelConfig, {"hop_length": 2048}, "hop_length=2048, win_length=1024, n_fft=1024"),
        (MelConfig, {"win_length": 1025}, "win_length=1025"),
        (MelConfig, {"f_max": 8001.0}, "sample_rate / 2; got f_min=0.0, f_max=8001.0, sample_rate=16000"),
        (MelConfig, {"f_min": 8000.0}, "f_min < f_max"),
        (MelConfig, {"n_mels": 0}, "n_mels must be positive; got 0"),
        (MelConfig, {"floor": 0.0}, "floor must be positive"),
        (MelConfig, {"floor": float("inf")}, "floor must be positive; got inf"),
        (MelConfig, {"magnitude_epsilon": float("nan")}, "mel.magnitude_epsilon cannot be negative; got nan"),
        (MelConfig, {"magnitude_epsilon": -1e-9}, "mel.magnitude_epsilon cannot be negative; got -1e-09"),
        (MelConfig, {"log": "log3"}, "mel.log must be one of ln, log10, log2, db, db01, linear; got 'log3'"),
        (MelConfig, {"spectrum": "energy"}, "mel.spectrum must be one of magnitude, power; got 'energy'"),
        (MelConfig, {"mean": [1.0, 2.0]}, "mel.mean: expected one value for each of 80 bands, or one for all; got 2"),
        (MelConfig, {"scale": [1.0] * 81}, "mel.scale: expected one value for each of 80 bands, or one for all; got"),
        (MelConfig, {"scale": [0.0]}, "mel.scale must be positive; got 0.0"),
        (MelConfig, {"framing": "center"}, "hop, centre; got 'center'"),
        (MelConfig, {"mel_scale": "mel"}, "slaney, htk"),
        (MelConfig, {"mel_norm": "area"}, "slaney, none"),
        (NetworkConfig, {"residual_channels": 0}, "residual_channels must be at least 1; got 0"),
        (NetworkConfig, {"residual_layers": 0}, "residual_layers"),
        (NetworkConfig, {"dilation_cycle": 0}, "dilation_cycle"),
        (NetworkConfig, {"squeeze": 0}, "squeeze must be at least 1"),
        (NetworkConfig, {"squeeze": 5, "squeeze_overlap": 2}, "squeeze_overlap=2, squeeze=5"),
        (NetworkConfig, {"condition_std": 0.0}, "condition_std must be positive"),
        (NetworkConfig, {"parameterization": "v"}, "noise, velocity, clean; got 'v'"),
        (DiffusionConfig, {"steps": 0}, "steps must be at least 1"),
        (DiffusionConfig, {"schedule": "sigmoid"}, "linear, cosine, list"),
        (DiffusionConfig, {"schedule": "list", "steps": 3, "betas": [0.1]}, "steps=3 values; got 1"),
        (DiffusionConfig, {"schedule": "list", "steps": 2, "betas": [0.1, 1.5]}, "inside (0, 1); got [0.1, 1.5]"),
        (DiffusionConfig, {"beta_start": 0.0}, "beta_start=0.0"),
        (DiffusionConfig, {"beta_start": 0.1}, "beta_start <= beta_end"),
        (DiffusionConfig, {"beta_end": 1.0}, "beta_end < 1"),
        (DiffusionConfig, {"angle_end": 1.0}, "angle_end=1.0"),
        (DiffusionConfig, {"angle_start": 0.99}, "angle_start < angle_end"),
        (DiffusionConfig, {"prior": "flat"}, "standard, spectral, energy"),
        (DiffusionConfig, {"prior_exponent": 1.5}, "1.5"),
        (DiffusionConfig, {"prior_floor": 0.0}, "prior_floor > 0"),
        (SamplingConfig, {"steps": 0}, "sampling.steps"),
        (SamplingConfig, {"sampler": "euler"}, f"{', '.join(SAMPLERS)}; got 'euler'"),
        (SamplingConfig, {"guided_sampler": "euler"}, "sampling.guided_sampler must be one of ddpm"),
        (SamplingConfig, {"consistency_at": "start"}, "end, steps, warm; got 'start'"),
        (SamplingConfig, {"step_iterations": -1}, "sampling.step_iterations cannot be negative; got -1"),
        (SamplingConfig, {"warm_iterations": -2}, "sampling.warm_iterations cannot be negative; got -2"),
        (SamplingConfig, {"schedules": {"2": [1.0]}}, 'sampling.schedules["2"] must hold as many values'),
        (SamplingConfig, {"schedules": {"0": []}}, 'sampling.schedules["0"] must hold as many values'),
        (SamplingConfig, {"schedules": {"2": [5.0, 3.0]}}, 'sampling.schedules["2"] must rise from 0'),
        (SamplingConfig, {"guided_schedules": {"1": [-1.0]}}, 'sampling.guided_schedules["1"] must rise from 0'),
        (ModelConfig, {"sampling": {"schedules": {"1": [50.0]}}}, "in [0, 49], the trained steps; got [50.0]"),
        (SamplingConfig, {"consistency_iterations": -1}, "cannot be negative; got -1"),
        (SamplingConfig, {"fast_betas": {"6": [0.1, 0.2]}}, 'sampling.fast_betas["6"]'),
        (SamplingConfig, {"fast_betas": {"2": [0.1, 1.2]}}, "inside (0, 1)"),
        (SamplingConfig, {"fast_betas": {"six": [0.1]}}, 'fast_betas["six"]'),
        (DataConfig, {"crop_frames": 0}, "crop_frames must be at least 1"),
        (DataConfig, {"workers": -1}, "workers cannot be negative"),
        (OptimizationConfig, {"iterations": 0}, "iterations must be at least 1"),
        (OptimizationConfig, {"batch_size": 0}, "batch_size"),
        (OptimizationConfig, {"keep_checkpoints": 0}, "keep_checkpoints"),
        (OptimizationConfig, {"loss": "huber"}, "l1, l2"),
        (OptimizationConfig, {"precision": "float16"}, "float32, bfloat16"),
        (OptimizationConfig, {"device": "tpu"}, "auto, cpu, cuda"),
        (OptimizationConfig, {"ema_decay": 1.0}, "[0, 1); got 1.0"),
        (OptimizationConfig, {"learning_rate": 0.0}, "learning_rate"),
        (OptimizationConfig, {"gradient_clip": -1.0}, "gradient_clip"),
        (OptimizationConfig, {"noise_weighting": "snr"}, "none, min_snr, logit_normal; got 'snr'"),
        (OptimizationConfig, {"stft_weight": -0.1}, "stft_weight must be in [0, 1000]; got -0.1"),
        (OptimizationConfig, {"stft_weight": float("nan")}, "stft_weight must be in [0, 1000]; got nan"),
        (ModelConfig, {"network": {"squeeze": 24, "squeeze_overlap": 1}}, "hop_length=256, squeeze=24"),
    ],
)  # fmt: skip
def test_impossible_settings_are_refused_in_words(cls: type, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_dict(cls, values)
    assert message in str(caught.value)
