"""What a foreign checkpoint says is taken over; what cannot be one is refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import foreign_checkpoints
from diffwave.checkpoint.folder import CheckpointError
from diffwave.config import ConfigError, mel_preset
from diffwave.interop.importing import Imported, import_checkpoint
from diffwave.vocoder import Vocoder


def read(tmp_path: Path, found: Any, source: str = "lmnt", **options: Any) -> Imported:
    path = tmp_path / "weights.pt"
    torch.save(found, path)
    return import_checkpoint(path, source, **options)


def refused(tmp_path: Path, found: Any, source: str = "lmnt", **options: Any) -> str:
    with pytest.raises((CheckpointError, ConfigError)) as caught:
        read(tmp_path, found, source, **options)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 500
    return line


def test_params_become_settings(tmp_path: Path) -> None:
    imported = read(tmp_path, foreign_checkpoints.lmnt_file())
    config = imported.checkpoint.config
    assert config.mel == mel_preset("lmnt-22k")
    assert (config.network.residual_channels, config.network.residual_layers, config.network.dilation_cycle) == (
        4,
        3,
        2,
    )
    assert (config.diffusion.schedule, config.diffusion.beta_start, config.diffusion.beta_end) == ("linear", 1e-4, 0.05)
    assert config.sampling.clip
    assert config.sampling.steps == 6
    assert config.sampling.consistency_iterations == 0
    assert imported.checkpoint.training["iterations"] == 7
    assert imported.notes == []
    assert Vocoder(imported.checkpoint, "cpu").synthesize(torch.rand(80, 2)).shape == (512,)


def test_other_params_are_read(tmp_path: Path) -> None:
    params = {"sample_rate": 24000, "n_fft": 2048, "noise_schedule": [0.01, 0.5], "inference_noise_schedule": [0.02]}
    config = read(tmp_path, foreign_checkpoints.lmnt_file(**params)).checkpoint.config
    assert (config.mel.sample_rate, config.mel.n_fft, config.mel.win_length, config.mel.f_max) == (
        24000,
        2048,
        1024,
        12000,
    )
    assert config.diffusion.steps == 2
    assert config.sampling.fast_betas == {"1": [0.02]}


def test_a_fast_schedule_beyond_the_trained_levels_is_left_out(tmp_path: Path) -> None:
    imported = read(tmp_path, foreign_checkpoints.lmnt_file(inference_noise_schedule=[1e-4, 0.9]))
    assert imported.checkpoint.config.sampling.fast_betas == {}
    assert len(Vocoder(imported.checkpoint, "cpu").resolve().sampler) == imported.checkpoint.config.sampling.steps
    (note,) = imported.notes
    assert "2 steps is left out" in note


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module."])
def test_prefixes_of_wrappers_are_taken_off(tmp_path: Path, prefix: str) -> None:
    plain = foreign_checkpoints.lmnt_file()
    wrapped = plain | {"model": {prefix + name: value for name, value in plain["model"].items()}}
    weights = read(tmp_path, wrapped).checkpoint.weights
    assert all(torch.equal(weights[name], value) for name, value in plain["model"].items())


def test_a_state_dict_alone_takes_the_defaults_and_says_so(tmp_path: Path) -> None:
    imported = read(tmp_path, foreign_checkpoints.weights())
    assert imported.checkpoint.config.network.dilation_cycle == 10
    assert "params.py are assumed" in imported.notes[0]


def test_settings_can_be_replaced(tmp_path: Path) -> None:
    changes = [("network.dilation_cycle", "3"), ("mel.f_max", "8000"), ("sampling.sampler", "ddim")]
    config = read(tmp_path, foreign_checkpoints.lmnt_file(), settings=changes).checkpoint.config
    assert (config.network.dilation_cycle, config.mel.f_max, config.sampling.sampler) == (3, 8000.0, "ddim")
    assert read(tmp_path, foreign_checkpoints.lmnt_file(), mel="hifigan-22k").checkpoint.config.mel == mel_preset(
        "hifigan-22k"
    )


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (("mel.f_mx", "1"), "did you mean mel.f_max"),
        (("steps", "1"), "unknown setting steps"),
        (("mel.log.base", "1"), "unknown setting mel.log.base"),
        (("mel.f_max", '"high"'), "mel.f_max: expected float"),
        (("network.residual_layers", "9"), "missing"),
        (("mel.n_mels", "20"), r"shape \[8, 20, 1\]; got \[8, 80, 1\]"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path: Path, setting: tuple[str, str], expected: str) -> None:
    with pytest.raises((CheckpointError, ConfigError), match=expected):
        read(tmp_path, foreign_checkpoints.lmnt_file(), settings=[setting])


def _without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda file: file["model"].pop(name)


def _unconditional(file: dict[str, Any]) -> None:
    file["model"] = {k: v for k, v in file["model"].items() if "upsampler" not in k and "conditioner" not in k}


def _put(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda file: file["model"].update({name: value})


def _say(**params: Any) -> Callable[[dict[str, Any]], None]:
    return lambda file: file["params"].update(params)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_without("residual_layers.1.dilated_conv.bias"), "residual_layers.1.dilated_conv.bias missing"),
        (_without("input_projection.weight"), "expected the weights of a DiffWave"),
        (_put("extra.weight", torch.zeros(2)), "extra.weight left over"),
        (_put("skip_projection.bias", torch.zeros(5)), "skip_projection.bias of shape [4]; got [5]"),
        (_put("skip_projection.bias", torch.full((4,), torch.nan)), "finite"),
        (_put("skip_projection.bias", torch.zeros(4, dtype=torch.int64)), "floats"),
        (_put("skip_projection.bias", [0.0] * 4), "floats"),
        (_put("spectrogram_upsampler.conv1.weight", torch.zeros(1, 1, 3, 30)), "kernels of 30 and 32 taps"),
        (_unconditional, "unconditional"),
        (_say(unconditional=True), "unconditional=True"),
        (_say(residual_layers=30), "says residual_layers=30; expected 3"),
        (_say(hop_samples=300), "says hop_samples=300; expected 256"),
        (_say(n_mels=128), "says n_mels=128; expected 80"),
        (_say(noise_schedule="linear"), "noise_schedule: expected a list of numbers"),
        (_say(noise_schedule=[0.1, float("nan")]), "noise_schedule: expected a list of numbers"),
        (_say(inference_noise_schedule=[2.0]), "inference_noise_schedule: expected a list of numbers"),
        (_say(dilation_cycle_length=0), "dilation_cycle_length to be a positive whole number"),
        (_say(n_fft=512), "expected 0 < hop_length <= win_length <= n_fft"),
        (lambda file: file.update(params=[]), "params to be a dictionary"),
        (lambda file: file.update(model={}), "an empty dictionary"),
    ],
)
def test_what_is_no_lmnt_checkpoint_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], expected: str
) -> None:
    file = foreign_checkpoints.lmnt_file()
    change(file)
    assert expected in refused(tmp_path, file)


def test_names_of_the_other_project_are_recognised(tmp_path: Path) -> None:
    assert "--from speechbrain" in refused(
        tmp_path, foreign_checkpoints.speechbrain_names(foreign_checkpoints.weights())
    )
    assert "--from lmnt" in refused(tmp_path, foreign_checkpoints.weights(), "speechbrain")
    assert "expected one of lmnt, speechbrain" in refused(tmp_path, foreign_checkpoints.lmnt_file(), "espnet")


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a folder with weights\.pt; there is none"):
        import_checkpoint(tmp_path, "lmnt")
    with pytest.raises(CheckpointError, match=r"a folder with diffwave\.ckpt; there is none"):
        import_checkpoint(tmp_path, "speechbrain")


def speechbrain_folder(tmp_path: Path, yaml: str | None) -> Path:
    torch.save(foreign_checkpoints.speechbrain_names(foreign_checkpoints.weights()), tmp_path / "diffwave.ckpt")
    if yaml is not None:
        (tmp_path / "hyperparams.yaml").write_text(yaml, encoding="utf-8")
    return tmp_path


def test_speechbrain_without_settings_takes_the_recipes(tmp_path: Path) -> None:
    imported = import_checkpoint(speechbrain_folder(tmp_path, None), "speechbrain")
    config = imported.checkpoint.config
    assert config.mel == mel_preset("speechbrain-22k")
    assert config.network.padding == "reflect"
    assert (config.diffusion.steps, config.sampling.steps, config.sampling.clip) == (50, 6, True)
    assert "hyperparams.yaml" in imported.notes[0]


def test_speechbrains_settings_are_read(tmp_path: Path) -> None:
    yaml = """
rate: 16000
sample_rate: !ref <rate>
train_timesteps: 20
beta_start: 1e-3
beta_end: 0.1
dilation_cycle_length: 2
spec_f_min: 50
spec_f_max: 7600
spec_norm: null
spec_mel_scale: htk
mel_normalized: True
fast_sampling_noise_schedule: [1e-3, 0.2]
"""
    config = import_checkpoint(speechbrain_folder(tmp_path, yaml), "speechbrain").checkpoint.config
    mel = config.mel
    assert (mel.sample_rate, mel.f_min, mel.f_max, mel.mel_norm, mel.mel_scale) == (16000, 50, 7600, "none", "htk")
    assert mel.stft_normalized
    assert (config.diffusion.steps, config.diffusion.beta_start, config.diffusion.beta_end) == (20, 1e-3, 0.1)
    assert config.network.dilation_cycle == 2
    assert config.sampling.fast_betas == {"2": [1e-3, 0.2]}


@pytest.mark.parametrize(
    ("yaml", "expected"),
    [
        ("unconditional: True", "unconditional: True"),
        ("spec_power: 2", "spec_power: 1"),
        ("dynamic_range_compression: False", "dynamic_range_compression: True"),
        ("residual_layers: 30", "says residual_layers=30; expected 3"),
        ("spec_hop_length: 300", "says spec_hop_length=300; expected 256"),
        ("beta_end: high", "beta_end to be a number"),
        ("train_timesteps: 0", "train_timesteps to be a positive whole number"),
        ("beta_start: 0.5\nbeta_end: 0.1", "0 < beta_start <= beta_end < 1"),
        ("- a list", "names with values"),
        ("a: [", "in YAML"),
        ("", "names with values"),
    ],
)
def test_speechbrains_settings_that_cannot_work_are_refused(tmp_path: Path, yaml: str, expected: str) -> None:
    with pytest.raises(CheckpointError, match=r"^[^\n]*$") as caught:
        import_checkpoint(speechbrain_folder(tmp_path, yaml), "speechbrain")
    assert expected in str(caught.value)


def test_tags_of_speechbrains_settings_are_not_run(tmp_path: Path) -> None:
    sentinel = tmp_path / "ran"
    yaml = f"""
sample_rate: 22050
evil: !apply:os.system ["touch {sentinel}"]
worse: !!python/object/apply:os.system ["touch {sentinel}"]
new: !new:subprocess.Popen
    args: ["touch", "{sentinel}"]
name: !name:os.system
beta_end: !!python/object/apply:os.getpid []
"""
    config = import_checkpoint(speechbrain_folder(tmp_path, yaml), "speechbrain").checkpoint.config
    assert config.diffusion.beta_end == 0.05
    assert not sentinel.exists()
