"""What the weights of a DiffWave in lmnt-com's naming tell of it: its sizes, and whether all of them are there.

Letters as in ``diffwave.network.diffwave``: ``C`` channels, ``L`` layers, ``M`` mel bands.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffwave.checkpoint.folder import CheckpointError
from diffwave.config import ModelConfig
from diffwave.network.diffwave import DiffWave
from diffwave.network.upsampling import upsampling_factors

_LAYER = re.compile(r"residual_layers\.(\d{1,4})\.")
_NAMED = 3  # so many names are shown of those that are missing or left over


@dataclass(frozen=True)
class ForeignSizes:
    """Of a network with ``squeeze=1``.

    Args:
        channels: ``C``.
        layers: ``L``.
        bands: ``M``.
        hop: samples per mel frame, the product of the upsampler's strides.
    """

    channels: int
    layers: int
    bands: int
    hop: int

    def check(self, said: Mapping[str, Any], names: Mapping[str, str], source: str) -> None:
        """Refuse settings that say something else than the weights.

        Args:
            said: settings that came with the weights.
            names: field of this class to the name of the setting.
            source: file and place of the settings, for messages.

        Raises:
            CheckpointError: if one does.
        """
        for field, name in names.items():
            if name in said and said[name] != getattr(self, field):
                raise CheckpointError(
                    f"{source} says {name}={said[name]!r}; expected {getattr(self, field)}, which its weights have"
                )


def sizes_of(weights: Mapping[str, Tensor], path: object) -> ForeignSizes:
    """Sizes of the network that has these weights.

    Raises:
        CheckpointError: if they are not those of a DiffWave that speaks mels, or cut the hop in another way than the
            network here.
    """
    first, last = weights.get("input_projection.weight"), weights.get("skip_projection.weight")
    if first is None or last is None or first.ndim != 3 or last.ndim != 3:
        shown = ", ".join(list(weights)[:_NAMED])
        raise CheckpointError(
            f"{path}: expected the weights of a DiffWave, input_projection.weight and others; got {shown}"
        )
    projection = weights.get("residual_layers.0.conditioner_projection.weight")
    strides = [weights.get(f"spectrogram_upsampler.conv{number}.weight") for number in (1, 2)]
    if projection is None and strides == [None, None]:
        raise CheckpointError(
            f"{path}: expected a model that speaks mels; got an unconditional one, without spectrogram_upsampler and "
            "conditioner_projection: it makes speech of its own and is no vocoder"
        )
    if projection is None or projection.ndim != 3 or any(weight is None or weight.ndim != 4 for weight in strides):
        raise CheckpointError(
            f"{path}: expected weights of spectrogram_upsampler and conditioner_projection; one is not there"
        )
    layers = {int(match.group(1)) for match in map(_LAYER.match, weights) if match}
    return ForeignSizes(
        first.shape[0], len(layers), projection.shape[1], _hop([w for w in strides if w is not None], path)
    )


def _hop(kernels: list[Tensor], path: object) -> int:
    """The product of the strides, of which each kernel has two over time (a stride of 16 has 32 taps)."""
    taps = [kernel.shape[-1] for kernel in kernels]
    first, second = (count // 2 for count in taps)
    hop = first * second
    if any(count % 4 or count < 4 for count in taps) or upsampling_factors(hop) != (first, second):
        raise CheckpointError(
            f"{path}: expected an upsampler of two even strides as equal as possible, the smaller first, such as 16 "
            f"and 16, with kernels of two strides; got kernels of {taps[0]} and {taps[1]} taps"
        )
    return hop


def check_weights(weights: Mapping[str, Tensor], config: ModelConfig, path: object) -> None:
    """Refuse weights that are not exactly those of the network of ``config``.

    Raises:
        CheckpointError: if some are missing, left over, have another shape, or are no finite numbers.
    """
    with torch.device("meta"):
        expected = {name: tuple(value.shape) for name, value in DiffWave(config).state_dict().items()}
    missing, more = expected.keys() - weights.keys(), weights.keys() - expected.keys()
    if missing or more:
        words = [f"{_some(missing)} missing"] * bool(missing) + [f"{_some(more)} left over"] * bool(more)
        raise CheckpointError(f"{path}: expected the weights of a DiffWave, each once; {', '.join(words)}")
    for name, shape in expected.items():
        if tuple(weights[name].shape) != shape:
            raise CheckpointError(f"{path}: expected {name} of shape {list(shape)}; got {list(weights[name].shape)}")
        if not bool(torch.isfinite(weights[name]).all()):
            raise CheckpointError(f"{path}: expected finite weights; {name} has NaN or infinite values")


def _some(names: Collection[str]) -> str:
    shown, left = sorted(names)[:_NAMED], len(names) - _NAMED
    return ", ".join(shown) + (f" and {left} more" if left > 0 else "")
