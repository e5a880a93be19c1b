"""The vocoders of other projects as ``synthesis_runner.py`` runs them: each through its own inference code."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

Mode = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Work:
    """A synthesis, ready to be run.

    Args:
        call: runs it and returns the waveforms.
        audio_seconds: length of all outputs together.
        notes: what is worth telling, such as the backend that ``auto`` has chosen.
    """

    call: Callable[[], Tensor]
    audio_seconds: float
    notes: dict[str, str] = dataclasses.field(default_factory=dict)


class Package(Protocol):
    """What is asked of every package."""

    def prepare(self, mode: Mode, seconds: float, batch: int) -> Work:
        """A synthesis of ``batch`` outputs of about ``seconds``; what is not to be timed is done here."""

    def parameters(self) -> int:
        """Number of parameters of the network."""


class Lmnt:
    """lmnt-com's ``diffwave``, through its own ``predict``.

    Args:
        model: folder with ``weights.pt`` and ``inputs.pt``.
        device: where to run.
    """

    def __init__(self, model: Path, device: torch.device) -> None:
        from diffwave import inference

        self.inference, self.model, self.device = inference, str(model), device
        self.mel: Tensor = torch.load(model / "inputs.pt", weights_only=True)["mel"]
        self._predict(self.mel[:, :1], self.model)  # loads the weights

    def parameters(self) -> int:
        """Number of parameters of the network."""
        return count(self.inference.models[self.model])

    def prepare(self, mode: Mode, seconds: float, batch: int) -> Work:
        """As a user of the package does, or with the two switches that PyTorch offers to everybody."""
        mel, key = repeat(self.mel, round(seconds * 22050 / 256), batch), self.model
        if mode.get("compile"):
            key = "compiled"
            # The package keeps loaded networks under the folder they came from.
            self.inference.models.setdefault(key, torch.compile(self.inference.models[self.model]))
        half = mode["precision"] == "bfloat16"

        def call() -> Tensor:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
                return self._predict(mel, key)

        return Work(call, mel.shape[0] * mel.shape[-1] * 256 / 22050)

    def with_noise(self, mode: Mode, noise: Tensor) -> Tensor:
        """The output ``[N]`` for the whole mel and noise ``[S, N]``."""
        from peer_runner import prepared_noise

        del mode
        with prepared_noise(noise.to(self.device)):
            return self._predict(self.mel, self.model)[0]

    def _predict(self, mel: Tensor, key: str) -> Tensor:
        wav: Tensor
        wav, _rate = self.inference.predict(mel, model_dir=key, device=self.device, fast_sampling=True)
        return wav


class Vocos:
    """Vocos with the architecture of its published ``mel-24khz`` (Siuzdak 2024) and random weights."""

    def __init__(self, model: Path, device: torch.device) -> None:
        from vocos import Vocos as Network
        from vocos.feature_extractors import MelSpectrogramFeatures
        from vocos.heads import ISTFTHead
        from vocos.models import VocosBackbone

        del model
        features = MelSpectrogramFeatures(sample_rate=24000, n_fft=1024, hop_length=256, n_mels=100, padding="center")
        backbone = VocosBackbone(input_channels=100, dim=512, intermediate_dim=1536, num_layers=8)
        head = ISTFTHead(dim=512, n_fft=1024, hop_length=256, padding="center")
        self.network, self.device = Network(features, backbone, head).eval().to(device), device

    def parameters(self) -> int:
        """Number of parameters of the network."""
        return count(self.network)

    def prepare(self, mode: Mode, seconds: float, batch: int) -> Work:
        """Its own ``decode``, which runs in inference mode."""
        del mode
        frames = round(seconds * 24000 / 256)
        # Frames are centred: there is one more of them than hops.
        mel = torch.randn(batch, 100, frames + 1, device=self.device)
        return Work(lambda: self.network.decode(mel), batch * frames * 256 / 24000)


class HifiGan:
    """HiFi-GAN V1 (Kong, Kim & Bae 2020, ``config_v1.json``) with random weights, as its ``inference.py`` runs it."""

    def __init__(self, model: Path, device: torch.device) -> None:
        from hifi_gan.env import AttrDict
        from hifi_gan.models import Generator

        del model
        settings = AttrDict(
            resblock="1",
            upsample_rates=[8, 8, 2, 2],
            upsample_kernel_sizes=[16, 16, 4, 4],
            upsample_initial_channel=512,
            resblock_kernel_sizes=[3, 7, 11],
            resblock_dilation_sizes=[[1, 3, 5], [1, 3, 5], [1, 3, 5]],
        )
        self.network, self.device = Generator(settings).to(device).eval(), device
        self.network.remove_weight_norm()

    def parameters(self) -> int:
        """Number of parameters of the network."""
        return count(self.network)

    def prepare(self, mode: Mode, seconds: float, batch: int) -> Work:
        """The generator without gradients."""
        del mode
        mel = torch.randn(batch, 80, round(seconds * 22050 / 256), device=self.device)

        def call() -> Tensor:
            with torch.no_grad():
                return self.network(mel)

        return Work(call, batch * mel.shape[-1] * 256 / 22050)


def repeat(mel: Tensor, frames: int, batch: int) -> Tensor:
    """A batch ``[B, M, frames]`` of a mel ``[M, F]``, repeated or cut."""
    longer = mel.repeat(1, -(-frames // mel.shape[1]))[:, :frames]
    return longer.expand(batch, -1, -1).contiguous()


def count(network: nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in network.parameters())
