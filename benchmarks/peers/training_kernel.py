"""A training step of the default model: through the C kernel, and as PyTorch's convolutions alone would do it."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import os
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.report import spread
from diffwave.config import TrainingConfig
from diffwave.config.composing import compose_config
from diffwave.kernels.native import unavailable
from diffwave.network.diffwave import DiffWave
from diffwave.network.upsampling import MelUpsampler
from diffwave.training.crops import Crops, context_samples
from diffwave.training.distributed import Processes
from diffwave.training.learner import Learner

_WARM_UP = 2
_SLOPE = 0.4  # of the leaky ReLU between the upsampling convolutions
SYSTEMS = ("convolutions", "reference", "native")


class PlainUpsampler(MelUpsampler):
    """The upsampler with PyTorch's transposed convolutions."""

    def forward(self, mel: Tensor) -> Tensor:
        """See :class:`MelUpsampler`."""
        x = F.leaky_relu(self.conv1(mel.unsqueeze(1)), _SLOPE)
        return F.leaky_relu(self.conv2(x), _SLOPE).squeeze(1)


class PlainDiffWave(DiffWave):
    """The network with PyTorch's convolutions wherever the paper says convolution; the same parameters."""

    def enter(self, noisy: Tensor) -> Tensor:
        """``[B, N]`` to ``[B, C, P]``."""
        return self.input_projection(noisy.unsqueeze(1))  # type: ignore[no-any-return]

    def hidden(self, total: Tensor, mask: Tensor | None) -> Tensor:
        """See :class:`DiffWave`; channels stay before positions."""
        assert mask is None
        return F.relu(self.skip_projection(total * self.config.residual_layers**-0.5))

    def leave(self, hidden: Tensor) -> Tensor:
        """The output layer."""
        return self.output_projection(hidden).squeeze(1)  # type: ignore[no-any-return]


def kernel(options: argparse.Namespace) -> dict[str, Any]:
    """The section ``kernel``."""
    torch.set_num_threads(options.threads)
    config = compose_config(["experiment=librispeech_fast", "data.root=."])
    missing = unavailable(torch.device("cpu"), config.model.network.residual_channels)
    if missing:
        return {"unavailable": missing}
    crops = speech_like(config)
    steps = {name: make_step(config, name, crops) for name in SYSTEMS}
    load = os.getloadavg()[0]
    for step in steps.values():
        for _ in range(_WARM_UP):
            step()
    seconds: dict[str, list[float]] = {name: [] for name in SYSTEMS}
    for _ in range(options.kernel_rounds):
        for name, step in steps.items():
            begun = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - begun)
    setting = {"batch": config.train.batch_size, "frames": config.data.crop_frames, "threads": options.threads}
    ratios = {
        name: spread(plain / ours for plain, ours in zip(seconds["convolutions"], taken, strict=True))
        for name, taken in seconds.items()
        if name != "convolutions"
    }
    return {
        "setting": setting | {"rounds": options.kernel_rounds},
        "seconds": {name: spread(taken) for name, taken in seconds.items()},
        "speed_ratio": ratios,
        "gradient_difference": compare(config, crops),
        "load_before": round(load, 2),
    }


def speech_like(config: TrainingConfig) -> Crops:
    """A batch of noise in memory: what is timed does not depend on what is said."""
    samples = config.data.crop_frames * config.model.mel.hop_length + 2 * context_samples(config.model.mel)
    wav = torch.randn(config.train.batch_size, samples, generator=torch.Generator().manual_seed(1)) * 0.1
    return Crops(torch.arange(len(wav)), wav)


def make_learner(config: TrainingConfig, system: str) -> Learner:
    """A learner whose network is run in one of the ways; the output layer is not zero, as it is at the very start."""
    backend = "native" if system == "native" else "reference"
    train = dataclasses.replace(config.train, backend=backend, precision="bfloat16")
    learner = Learner(config.model, train, Processes(torch.device("cpu")))
    torch.manual_seed(0)
    nn.init.normal_(learner.network.output_projection.weight, std=0.02)
    if system == "convolutions":
        learner.network.__class__ = PlainDiffWave
        learner.network.spectrogram_upsampler.__class__ = PlainUpsampler
    return learner


def make_step(config: TrainingConfig, system: str, crops: Crops) -> Callable[[], None]:
    """One whole step of training, from crops in memory to moved weights."""
    learner = make_learner(config, system)

    def step() -> None:
        found = learner.step([crops], 1000)
        learner.update(found.gradient_norm)

    return step


def compare(config: TrainingConfig, crops: Crops) -> dict[str, float]:
    """Norm of the difference of the gradient from the one in float32, over the norm of that one."""
    gradients = {}
    for system in SYSTEMS:
        learner = make_learner(config, system)
        learner.step([crops], 0)
        gradients[system] = _flat(learner.network)
    exact = make_learner(config, "reference")
    exact.loss = copy.copy(exact.loss)
    exact.loss.precision = "float32"
    exact._objective.loss = exact.loss
    exact.step([crops], 0)
    truth = _flat(exact.network)
    return {name: float((value - truth).norm() / truth.norm()) for name, value in gradients.items()}


def _flat(network: DiffWave) -> Tensor:
    return torch.cat([value.grad.flatten() for value in network.parameters() if value.grad is not None])
