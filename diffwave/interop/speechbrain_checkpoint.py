"""Checkpoints of SpeechBrain's DiffWave: ``diffwave.ckpt``, with the ``hyperparams.yaml`` beside it.

``speechbrain.lobes.models.DiffWave`` is lmnt-com's network in modules of its own: names have ``.conv`` and ``.w`` in
them, and its convolutions mirror the signal at the ends (``network.padding=reflect``). The recipe's front end is
``lobes.models.HifiGAN.mel_spectrogram``, the ``speechbrain-22k`` preset. A ``DiffWaveDiffusion`` has the network behind
``model.``, and its noise schedule as buffers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from diffwave.checkpoint.folder import CheckpointError
from diffwave.config import BASE, ConfigError, DiffusionConfig, MelConfig, ModelConfig, NetworkConfig, mel_preset
from diffwave.interop.archives import load_archive, named_tensors
from diffwave.interop.foreign import (
    FAST_BETAS,
    Foreign,
    find_file,
    noise_schedule,
    number,
    original_sampling,
    variances,
    whole_number,
)
from diffwave.interop.hyperparams import read_hyperparams
from diffwave.interop.shapes import ForeignSizes, sizes_of

WEIGHTS_NAME, SETTINGS_NAME = "diffwave.ckpt", "hyperparams.yaml"
_NETWORK_PREFIX = "model."
_SAID = {
    "channels": "residual_channels",
    "layers": "residual_layers",
    "bands": "spec_n_mels",
    "hop": "spec_hop_length",
}


def read(path: Path) -> Foreign:
    """Read ``diffwave.ckpt``, the state dict of a ``DiffWave`` or a ``DiffWaveDiffusion``.

    Args:
        path: the file, or the folder that it lies in.

    Raises:
        CheckpointError: if it cannot be used.
    """
    file = find_file(path, WEIGHTS_NAME)
    tensors = named_tensors(load_archive(file), file, "the state dict of SpeechBrain's DiffWave")
    settings_file = file.parent / SETTINGS_NAME
    said = read_hyperparams(settings_file) if settings_file.is_file() else {}
    if said.get("unconditional") is True:
        raise CheckpointError(f"{settings_file}: expected a model that speaks mels; it says unconditional: True")
    if "input_projection.weight" in tensors:
        raise CheckpointError(f"{file}: expected SpeechBrain's names; got lmnt-com's - use --from lmnt")
    weights, betas = _network(tensors)
    sizes = sizes_of(weights, file)
    sizes.check(said, _SAID, str(settings_file))
    notes = [] if said else [f"no {SETTINGS_NAME} beside {file.name}: the settings of the LJSpeech recipe are assumed"]
    config = _config(sizes, said, betas, settings_file if said else file)
    return Foreign(file, "speechbrain", weights, config, {}, notes)


def _network(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[float] | None]:
    """The network's weights in lmnt-com's names, and the variances, if they are there."""
    betas = tensors.get("betas")
    if any(name.startswith(_NETWORK_PREFIX) for name in tensors):
        start = len(_NETWORK_PREFIX)
        tensors = {name[start:]: value for name, value in tensors.items() if name.startswith(_NETWORK_PREFIX)}
    weights = {_renamed(name): value for name, value in tensors.items()}
    return weights, None if betas is None or betas.ndim != 1 else betas.double().tolist()


def _renamed(name: str) -> str:
    for inner in ("conv", "w"):
        for last in ("weight", "bias"):
            if name.endswith(f".{inner}.{last}"):
                return name.removesuffix(f"{inner}.{last}") + last
    return name


def _config(sizes: ForeignSizes, said: Mapping[str, Any], betas: list[float] | None, file: Path) -> ModelConfig:
    source = str(file)
    cycle = whole_number(said, "dilation_cycle_length", BASE.network.dilation_cycle, source)
    network = NetworkConfig(sizes.channels, sizes.layers, cycle, padding="reflect")
    fast = said.get("fast_sampling_noise_schedule", said.get("inference_noise_schedule", FAST_BETAS))
    try:
        if betas is not None:
            diffusion = noise_schedule(betas, f"{source}: betas")
        else:
            diffusion = DiffusionConfig(
                steps=whole_number(said, "train_timesteps", BASE.diffusion.steps, source),
                beta_start=number(said, "beta_start", BASE.diffusion.beta_start, source),
                beta_end=number(said, "beta_end", BASE.diffusion.beta_end, source),
            )
        sampling = original_sampling(variances(fast, f"{source}: fast schedule"))
        return ModelConfig(_mel(sizes, said, source), network, diffusion, sampling=sampling)
    except ConfigError as error:
        raise CheckpointError(f"{source} cannot work: {error}") from None


def _mel(sizes: ForeignSizes, said: Mapping[str, Any], source: str) -> MelConfig:
    """The recipe's front end; what this project's cannot do is refused."""
    if number(said, "spec_power", 1, source) != 1 or said.get("dynamic_range_compression", True) is not True:
        raise CheckpointError(f"{source}: expected spec_power: 1 and dynamic_range_compression: True; got another mel")
    preset = mel_preset("speechbrain-22k")
    return replace(
        preset,
        sample_rate=whole_number(said, "sample_rate", preset.sample_rate, source),
        n_fft=whole_number(said, "spec_n_fft", preset.n_fft, source),
        win_length=whole_number(said, "spec_win_length", preset.win_length, source),
        hop_length=sizes.hop,
        n_mels=sizes.bands,
        f_min=number(said, "spec_f_min", preset.f_min, source),
        f_max=number(said, "spec_f_max", preset.f_max, source),
        mel_scale=str(said.get("spec_mel_scale", preset.mel_scale)),
        mel_norm=str(said.get("spec_norm", preset.mel_norm) or "none"),
        stft_normalized=said.get("mel_normalized") is True,
    )
