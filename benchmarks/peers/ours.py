"""This project's package, as its process answers for it: ``Vocoder.synthesize``, and what the trainer does."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers.given import count, repeat
from benchmarks.peers.vocoders import Request, Speaking, Work


class Ours(Speaking):
    """The package; as long as nothing is asked of it, nothing of it is imported."""

    def load(self, request: Request) -> Request:
        """Read the checkpoint of BASE and the mel ``[M, F]`` of a folder."""
        self.model = Path(request["model"])
        self.mel: Tensor = torch.load(self.model / "inputs.pt", weights_only=True)["mel"]
        self.vocoders: dict[tuple[str, ...], Any] = {}
        return {"parameters": count(self._vocoder({"model": "base"}).network)}

    def prepare(self, request: Request) -> Work:
        """As a user does; BASE with the other package's mel."""
        from diffwave.speed.benchmark import speech_mel

        mode, batch = request["mode"], request["batch"]
        vocoder, consistency = self._vocoder(mode), mode.get("consistency")
        frames = round(request["seconds"] * vocoder.sample_rate / vocoder.hop_length)
        mel = repeat(self.mel if mode["model"] == "base" else speech_mel(vocoder, request["seconds"]), frames, batch)
        audio = batch * frames * vocoder.hop_length / vocoder.sample_rate
        notes = {"backend": vocoder.backend, "precision": vocoder.precision}
        return Work(lambda: vocoder.synthesize(mel, consistency=consistency), audio, notes)

    def wav(self, request: Request) -> Request:
        """Write the output ``[N]`` for the whole mel; the other package's noise is ours (see ``base.prepare``)."""
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            wav: Tensor = self._vocoder(request["mode"]).synthesize(self.mel, seed=0, consistency=0)
        torch.save(wav.float().cpu().clone(), request["output"])
        return {}

    def load_batch(self, request: Request) -> Request:
        """Read weights, noise, steps, and crops with context."""
        from diffwave.config import ModelConfig
        from diffwave.config.document import from_dict
        from diffwave.training.crops import Crops
        from diffwave.training.distributed import Processes

        torch.backends.cudnn.benchmark = True  # as the trainer does
        self.inputs = torch.load(request["inputs"], weights_only=True)
        self.processes, self.config = Processes(self.device), from_dict(ModelConfig, self.inputs["model"])
        wav = self.inputs["wav"].pin_memory() if self.device.type == "cuda" else self.inputs["wav"]
        self.crops = Crops(torch.arange(len(wav)), wav)
        self.learners: dict[str, Any] = {}
        return {}

    def learn(self, request: Request) -> Request:
        """Write loss and gradients of a training step in float32, with noise and steps in place of those it draws."""
        from diffwave.training.loss.diffusion_loss import Batch

        self.learners.clear()
        learner = self._learner("float32")
        noise, steps = self.inputs["noise"].to(self.device), self.inputs["steps"].float().to(self.device)
        learner.draw = lambda crops: Batch(crops.wav.to(self.device), noise, steps)
        step = learner.step([self.crops], 0)
        gradients = {name: value.grad.cpu() for name, value in learner.network.named_parameters()}
        torch.save({"loss": step.losses.mean().cpu(), "gradients": gradients}, request["output"])
        self.learners.clear()
        return {}

    def train(self, request: Request) -> Request:
        """Time what ``Trainer`` does with a batch: the gradient, a look at loss and norm, the update."""
        learner = self._learner(request["mode"])
        begun = time.perf_counter()
        for _ in range(request["steps"]):
            step = learner.step([self.crops], 0)
            loss, _norm = float(step.losses.mean()), float(step.gradient_norm)
            learner.update(step.gradient_norm)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return {"seconds": time.perf_counter() - begun, "loss": loss}

    def _vocoder(self, mode: dict[str, Any]) -> Any:
        """One vocoder for each model, backend and precision."""
        from diffwave.vocoder import Vocoder

        choice = (mode.get("backend", "auto"), mode.get("precision", "auto"))
        key = (mode["model"], *choice)
        if key not in self.vocoders:
            name = self.model if mode["model"] == "base" else mode["model"]
            self.vocoders[key] = Vocoder.from_pretrained(name, self.device, *choice)
        return self.vocoders[key]

    def _learner(self, mode: str) -> Any:
        """A learner with the given weights and the other package's settings: L1, 2e-4, no clipping to speak of."""
        from diffwave.config import OptimizationConfig
        from diffwave.training.learner import Learner

        if mode not in self.learners:
            precision, *more = mode.split()
            settings = OptimizationConfig(
                batch_size=len(self.crops.wav), precision=precision, compile="compiled" in more, gradient_clip=1e9
            )
            learner = Learner(self.config, settings, self.processes)
            learner.network.load_state_dict(self.inputs["weights"])
            self.learners[mode] = learner
        return self.learners[mode]
