"""A new network that begins with what another one knows, also one of another mel.

Fine-tuning on other speech takes the weights as they are. Where the mel's frames or bands differ, all of the network
but its way in for the condition is taken too, and that way is fitted: the bands of the old mel are read off the new one
at their centre frequencies, and the upsampler's taps are stretched to the new number of positions per frame.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from diffwave.checkpoint.folder import Checkpoint, CheckpointError
from diffwave.config import ConfigError, MelConfig, ModelConfig
from diffwave.config.document import to_dict
from diffwave.mel.spectrogram import mel_filterbank
from diffwave.network.diffwave import DiffWave
from diffwave.training.record.run_folder import BEST_NAME

_CONDITION = "conditioner_projection.weight"
# What may differ. Normalisation belongs to the mel; edges of the bands do not, for the spectral prior whitens by them.
_NETWORK_OF_THE_MEL = ("condition_mean", "condition_std")
_FRAMES_AND_BANDS = ("n_fft", "win_length", "hop_length", "n_mels", "framing", "floor")
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
        ConfigError: if the models differ in more than frames and bands of the mel: the weights would mean something
            else.
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


def source_name(name: str, source: Checkpoint) -> str:
    """What a run tells of the checkpoint that it began with: ``default, 81,200 iterations`` or ``my-run/best``."""
    *_, run, last = ("", *Path(name).expanduser().resolve().parts)
    iterations = source.training.get("iterations")
    known = f", {iterations:,} iterations" if isinstance(iterations, int) else ""
    return f"{run}/{last}{known}" if last == BEST_NAME else f"{last}{known}"


def _check_shapes(old: ModelConfig, new: ModelConfig) -> None:
    """Everything that says what weights and waveforms mean must be the same: of the mel all but frames and bands."""
    theirs, ours = to_dict(old), to_dict(new)
    free = {"network": _NETWORK_OF_THE_MEL, "diffusion": (), "mel": _FRAMES_AND_BANDS}
    for group, allowed in free.items():
        before, now = theirs[group], ours[group]
        for name in before:
            if name not in allowed and before[name] != now[name]:
                expected = f"model.{group}.{name}={before[name]}"
                raise ConfigError(f"train.start_from: expected {expected} as in the checkpoint; got {now[name]}")


def _read_off(old: MelConfig, new: MelConfig) -> Tensor:
    """How the old mel's bands are found between the new one's, ``[M_old, M_new]``; rows sum to 1."""
    if old.n_mels == new.n_mels:
        return torch.eye(new.n_mels)
    if new.n_mels == 1:
        return torch.ones(old.n_mels, 1)
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
