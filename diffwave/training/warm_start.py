"""A new network that begins with what another one knows, also one of another mel.

Fine-tuning on other speech takes the weights as they are. For another mel, all of the network but its way in for the
condition is taken as it is, and that way is fitted: the old mel's bands are read off the new one's at their centre
frequencies in Hz, the nearest where the new one has none, and levelled for another logarithm, window, or height of the
triangles; the upsampler's taps are stretched to the new number of positions per frame.

The stack hears samples, not seconds: at another sample rate its filters mean other frequencies. Where the bands do not
reach, a spectral prior whitens by their outermost. Floors and frames may differ, too. All that is for learning to mend.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from diffwave.checkpoint.folder import Checkpoint, CheckpointError
from diffwave.config import ConfigError, ModelConfig
from diffwave.config.document import to_dict
from diffwave.mel.logarithms import LOGARITHMS
from diffwave.mel.spectrogram import band_corners
from diffwave.network.diffwave import DiffWave
from diffwave.network.upsampling import MelUpsampler
from diffwave.training.record.run_folder import BEST_NAME

_CONDITION, _CONDITION_BIAS = "conditioner_projection.weight", "conditioner_projection.bias"
_NETWORK_OF_THE_MEL = ("condition_mean", "condition_std")  # what may differ of the network
_UNCLIPPED = tuple(name for name in LOGARITHMS if name != "db01")
_HANN_ENERGY = 3 / 8  # of a window, per sample
_STEADY_FRAMES = 5
_OTHER_RANGE = 0.3  # in standard deviations, and nepers of them
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
        ConfigError: if the models differ in more than the mel, if only one of the mels has a logarithm that can be
            undone, or if the mel is not normalised to the range that the network knows: the weights would mean
            something else.
        CheckpointError: if the source's weights do not fit its own configuration.
    """
    _check_shapes(source.config, config)
    bands, offsets = _reading(source.config, config)
    before = source.build()
    old, moved = before.state_dict(), _heard(before.spectrogram_upsampler, offsets)
    same = source.config.mel.hop_length == config.mel.hop_length
    weights = {}
    for name, new in network.state_dict().items():
        value = old[name]
        if name.endswith(_CONDITION):
            value = torch.einsum("cmk,mn->cnk", value, bands)
        elif name.endswith(_CONDITION_BIAS):
            value = value + old[name.replace(_CONDITION_BIAS, _CONDITION)][..., 0] @ moved
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
    """Everything that says what weights mean must be the same: all but the mel, and of that what cannot be undone."""
    theirs, ours = to_dict(old), to_dict(new)
    free = {"network": _NETWORK_OF_THE_MEL, "diffusion": ()}
    for group, allowed in free.items():
        before, now = theirs[group], ours[group]
        for name in before:
            if name not in allowed and before[name] != now[name]:
                expected = f"model.{group}.{name}={before[name]}"
                raise ConfigError(f"train.start_from: expected {expected} as in the checkpoint; got {now[name]}")
    logs = {old.mel.log, new.mel.log}
    if not (logs <= {*_UNCLIPPED} or logs == {"db01"} or old.mel == new.mel):
        raise ConfigError(
            f"train.start_from: expected logarithms that can be undone ({', '.join(_UNCLIPPED)}) or the checkpoint's "
            f"own mels; got model.mel.log={new.mel.log}, the checkpoint's is {old.mel.log}"
        )


def _reading(old: ModelConfig, new: ModelConfig) -> tuple[Tensor, Tensor]:
    """The old network's normalised mel is ``bands @ new + offsets``: ``[M_old, M_new]`` and ``[M_old]``, in float32.

    Raises:
        ConfigError: if the new model normalises to another range: what bends in the upsampler would bend elsewhere.
    """
    found = _found_between(band_corners(old.mel)[1:-1], band_corners(new.mel)[1:-1])
    (old_slope, old_offset), (new_slope, new_offset) = _line(old), _line(new)
    bands = old_slope[:, None] * found / new_slope
    offsets = old_offset - bands @ new_offset
    gain, offset = float(bands.sum(dim=1).mean()), float(offsets.mean())
    if abs(math.log(gain)) > _OTHER_RANGE or abs(offset) > _OTHER_RANGE:
        std, mean = new.network.condition_std, new.network.condition_mean
        raise ConfigError(
            "train.start_from: expected the mel to be normalised to the range that the network knows, by "
            f"model.network.condition_mean={mean - std * offset / gain:.2f} "
            f"model.network.condition_std={std / gain:.2f}; got {mean:g} and {std:g}"
        )
    return bands.float(), offsets.float()


def _found_between(theirs: Tensor, ours: Tensor) -> Tensor:
    """Weights ``[M_old, M_new]`` of a linear interpolation at ``theirs`` of values at ``ours``; rows sum to 1."""
    if len(ours) == 1:
        return torch.ones(len(theirs), 1, dtype=theirs.dtype)
    above = torch.searchsorted(ours, theirs).clamp(1, len(ours) - 1)
    low, high = ours[above - 1], ours[above]
    share = ((theirs - low) / (high - low)).clamp(0, 1).unsqueeze(1)  # [M_old, 1]
    return (1 - share) * F.one_hot(above - 1, len(ours)) + share * F.one_hot(above, len(ours))


def _line(config: ModelConfig) -> tuple[Tensor, Tensor]:
    """What the network sees of noise with the density ``d`` per Hz: ``slope * ln(sqrt(d)) + offset``, each ``[M]``."""
    mel, network = config.mel, config.network
    corners = band_corners(mel)
    # Integral of each triangle over frequency; a band adds up the bins under it.
    area = (corners[2:] - corners[:-2]) / 2 if mel.mel_norm == "none" else torch.ones(mel.n_mels, dtype=torch.float64)
    energy = 1.0 if mel.stft_normalized else _HANN_ENERGY * mel.win_length
    power = 2 if mel.spectrum == "power" else 1
    nepers = (area * mel.n_fft / mel.sample_rate).log() + power / 2 * math.log(energy * mel.sample_rate)
    slope, offset = LOGARITHMS.get(mel.log, (1.0, 0.0))  # between linear mels nothing differs
    mean, scale = (
        torch.tensor(given or (none,), dtype=torch.float64) for given, none in ((mel.mean, 0), (mel.scale, 1))
    )
    values = (slope * nepers + offset - mean) / scale
    slopes = (power * slope / scale / network.condition_std).expand(mel.n_mels)
    return slopes, (values - network.condition_mean) / network.condition_std


def _heard(upsampler: MelUpsampler, offsets: Tensor) -> Tensor:
    """How far offsets ``[M]`` of the bands move what the upsampler says, on either side of its bends, ``[M]``."""
    steady = torch.stack([offsets, -offsets])[:, :, None].expand(-1, -1, _STEADY_FRAMES)
    with torch.no_grad():
        up, down = upsampler(steady)
    moved: Tensor = (up - down)[:, up.shape[-1] // 2] / 2
    return moved


def _stretched(value: Tensor, new: Tensor) -> Tensor:
    """Taps over time ``[1, 1, 3, 2 s]`` with another stride; those of stride 1 are none of this kind and stay new."""
    if value.shape[-1] == 3 or new.shape[-1] == 3:
        return new
    return F.interpolate(value[0], size=new.shape[-1], mode="linear", align_corners=False).unsqueeze(0)
