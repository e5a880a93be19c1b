"""What every package answers of its synthesis, and the two vocoders of another kind: each by its own inference code."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers.given import count

Request = dict[str, Any]


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


class Speaking:
    """A vocoder that is timed.

    Args:
        device: where to run.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.timing = device, load_timing()

    def prepare(self, request: Request) -> Work:
        """A synthesis of ``batch`` outputs of about ``seconds`` in a ``mode``; what is not to be timed is done here."""
        raise NotImplementedError

    def warm_up(self, request: Request) -> Request:
        """Synthesize for the first time: its seconds, and the memory of a second one in bytes."""
        work = self.prepare(request)
        seconds, memory = self.timing.warm_up(work.call, self.device)
        return {"audio": work.audio_seconds, **work.notes, "warm_up": seconds, "memory": memory}

    def time(self, request: Request) -> Request:
        """Synthesize once more."""
        work = self.prepare(request)
        seconds = self.timing.seconds(work.call, self.device)
        return {"audio": work.audio_seconds, **work.notes, "seconds": seconds}


class Vocos(Speaking):
    """Vocos with the architecture of its published ``mel-24khz`` (Siuzdak 2024) and random weights."""

    def load(self, request: Request) -> Request:
        """Build the network."""
        from vocos import Vocos as Network
        from vocos.feature_extractors import MelSpectrogramFeatures
        from vocos.heads import ISTFTHead
        from vocos.models import VocosBackbone

        del request
        features = MelSpectrogramFeatures(sample_rate=24000, n_fft=1024, hop_length=256, n_mels=100, padding="center")
        backbone = VocosBackbone(input_channels=100, dim=512, intermediate_dim=1536, num_layers=8)
        head = ISTFTHead(dim=512, n_fft=1024, hop_length=256, padding="center")
        self.network = Network(features, backbone, head).eval().to(self.device)
        return {"parameters": count(self.network)}

    def prepare(self, request: Request) -> Work:
        """Its own ``decode``, which runs in inference mode."""
        frames, batch = round(request["seconds"] * 24000 / 256), request["batch"]
        # Frames are centred: there is one more of them than hops.
        mel = torch.randn(batch, 100, frames + 1, device=self.device)
        return Work(lambda: self.network.decode(mel), batch * frames * 256 / 24000)


class HifiGan(Speaking):
    """HiFi-GAN V1 (Kong, Kim & Bae 2020, ``config_v1.json``) with random weights, as its ``inference.py`` runs it."""

    def load(self, request: Request) -> Request:
        """Build the network."""
        from hifi_gan.env import AttrDict
        from hifi_gan.models import Generator

        del request
        settings = AttrDict(
            resblock="1",
            upsample_rates=[8, 8, 2, 2],
            upsample_kernel_sizes=[16, 16, 4, 4],
            upsample_initial_channel=512,
            resblock_kernel_sizes=[3, 7, 11],
            resblock_dilation_sizes=[[1, 3, 5], [1, 3, 5], [1, 3, 5]],
        )
        self.network = Generator(settings).to(self.device).eval()
        self.network.remove_weight_norm()
        return {"parameters": count(self.network)}

    def prepare(self, request: Request) -> Work:
        """The generator without gradients."""
        mel = torch.randn(request["batch"], 80, round(request["seconds"] * 22050 / 256), device=self.device)

        def call() -> Tensor:
            with torch.no_grad():
                return self.network(mel)

        return Work(call, len(mel) * mel.shape[-1] * 256 / 22050)


def load_timing() -> ModuleType:
    """This project's ``diffwave/speed/timing.py`` by its path: in one process another package has that name."""
    path = Path(__file__).resolve().parents[2] / "diffwave" / "speed" / "timing.py"
    spec = spec_from_file_location("bench_timing", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look their module up
    spec.loader.exec_module(module)
    return module
