"""A new network that begins with what another one knows, also one of another mel.

Fine-tuning on other speech takes the weights as they are. Where only the mel differs, all of the network but its way in
for the condition is taken too, and that way is fitted: the bands of the old mel are read off the new one at their
centre frequencies, and the upsampler's taps are stretched to the new number of positions per frame.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from diffwave.checkpoint import Checkpoint, CheckpointError
from diffwave.config import ConfigError, MelConfig, ModelConfig, NetworkConfig
from diffwave.mel import mel_filterbank
from diffwave.network import DiffWave

_CONDITION = "conditioner_projection.weight"
_UPSAMPLER = ("spectrogram_upsampler.conv1.weight", "spectrogram_upsampler.conv2.weight")


def warm_weights(source: Checkpoint, network: DiffWave, config: ModelConfig) -> dict[str, Tensor]:
    """The weights that a new network begins with.

    Args:
        source: whose network is taken; its refiner is not.
        network: the new one, as it was initialised.
        config: of the new one.

    Returns:
        Weights in float32, with the new network's names and shapes.

    Raises:
        ConfigError: if the networks differ in more than the mel, so that the weights would mean something else.
        CheckpointError: if the source's weights do not fit its own configuration.
    """
    _check_shapes(source.config, config)
    old = source.build().state_dict()
    bands = _read_off(source.config.mel, config.mel)
    same = source.config.mel.hop_length == config.mel.hop_length
    weights = {}
    for name, new in network.state_dict().items():
        value = old[name]
        if name.endswith(_CONDITION):
            value = torch.einsum("cmk,mn->cnk", value, bands)
        elif name in _UPSAMPLER and not same:
            value = _stretched(value, new)
        if value.shape != new.shape:
            raise CheckpointError(f"{name}: expected shape {list(new.shape)}; got {list(value.shape)}")
        weights[name] = value
    return weights


def _check_shapes(old: ModelConfig, new: ModelConfig) -> None:
    """Everything that says what the weights mean must be the same; of the mel nothing but the sample rate."""
    for name, theirs, ours in (
        ("model.network", _shape(old.network), _shape(new.network)),
        ("model.diffusion", old.diffusion, new.diffusion),
        ("model.mel.sample_rate", old.mel.sample_rate, new.mel.sample_rate),
    ):
        if theirs != ours:
            raise ConfigError(f"train.start_from: expected {name} as in the checkpoint, {theirs}; got {ours}")


def _shape(network: NetworkConfig) -> NetworkConfig:
    """A network's settings without the normalisation, which belongs to its mel."""
    return replace(network, condition_mean=0.0, condition_std=1.0)


def _read_off(old: MelConfig, new: MelConfig) -> Tensor:
    """How the old mel's bands are found between the new one's, ``[M_old, M_new]``; rows sum to 1."""
    if all(getattr(old, name) == getattr(new, name) for name in ("n_mels", "f_min", "f_max", "mel_scale")):
        return torch.eye(new.n_mels)
    theirs, ours = _centres(old), _centres(new)
    above = torch.searchsorted(ours, theirs).clamp(1, new.n_mels - 1)
    low, high = ours[above - 1], ours[above]
    share = ((theirs - low) / (high - low)).clamp(0, 1).unsqueeze(1)  # [M_old, 1]
    return (1 - share) * F.one_hot(above - 1, new.n_mels) + share * F.one_hot(above, new.n_mels)


def _centres(mel: MelConfig) -> Tensor:
    """Centre frequency of each band in Hz, ``[M]``, rising."""
    filterbank = mel_filterbank(mel)  # [M, K]
    frequencies = torch.linspace(0, mel.sample_rate / 2, filterbank.shape[1])
    return (filterbank @ frequencies) / filterbank.sum(dim=1).clamp_min(1e-12)


def _stretched(value: Tensor, new: Tensor) -> Tensor:
    """Taps over time ``[1, 1, 3, 2 s]`` with another stride; those of stride 1 are none of this kind and stay new."""
    if value.shape[-1] == 3 or new.shape[-1] == 3:
        return new
    return F.interpolate(value[0], size=new.shape[-1], mode="linear", align_corners=False).unsqueeze(0)
