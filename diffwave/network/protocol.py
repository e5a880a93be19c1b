"""What synthesis asks of a model's networks, whoever computes them: PyTorch (:class:`DiffWave`) or onnxruntime."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from diffwave.config import MelConvention, ModelConfig, NetworkConfig
from diffwave.kernels.layers import Backend
from diffwave.mel.spectrogram import MelSpectrogram
from diffwave.network.diffwave import Condition


class Named(Protocol):
    """Something with a name for messages and tables."""

    @property
    def name(self) -> str:
        """How it is called."""


class VocoderNetwork(Protocol):
    """``(noisy waveform, diffusion step, condition) -> predicted noise``; :class:`DiffWave` tells the shapes."""

    config: NetworkConfig

    @property
    def backend(self) -> Named:
        """What runs the layers."""

    def condition(self, mel: Tensor) -> Condition:
        """Upsample a log-mel ``[B, M, F]``, once for all diffusion steps."""

    def prepare(self, condition: Condition, calls: int) -> Condition:
        """Make ready for ``calls`` calls with a condition."""

    def shifts(self, step: Tensor) -> Tensor:
        """What each layer adds to its input at these diffusion steps ``[B]``, shape ``[B, L, C]``."""

    def __call__(self, noisy: Tensor, step: Tensor, condition: Condition, shifts: Tensor | None = None) -> Tensor:
        """Predict the noise ``[B, N]``, or what the parameterization says."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Those that PyTorch holds."""


class VocoderRefiner(Protocol):
    """``(mel, finer mel of an estimate) -> finer mel of the recording``; :class:`Refiner` tells the shapes."""

    coarse: MelSpectrogram
    fine: MelSpectrogram

    def __call__(self, mel: Tensor, estimate: Tensor) -> Tensor:
        """Find the finer mel ``[B, M, 2 F]``."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Those that PyTorch holds."""


class VocoderModel(Protocol):
    """Configuration and networks: a checkpoint, or an export."""

    @property
    def config(self) -> ModelConfig:
        """Everything that synthesis needs."""

    @property
    def training(self) -> dict[str, Any]:
        """What is known of the training, for people."""

    @property
    def speaks(self) -> MelConvention | None:
        """Convention of the mels to come, unless another is asked for; the network's own if None."""

    def build(self, device: torch.device | str = "cpu", backend: Backend | None = None) -> VocoderNetwork:
        """The network; what computes it elsewhere needs neither device nor backend."""

    def build_refiner(self, device: torch.device | str = "cpu") -> VocoderRefiner | None:
        """The refiner; None if the model has none."""
