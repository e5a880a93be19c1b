"""A process that trains with one of the two packages called ``diffwave``; ``benchmarks/training.py`` starts both.

    python benchmarks/training_runner.py {peer,ours} --package FOLDER --inputs FILE --threads N --device DEVICE

It answers each line of standard input, a request in JSON, with one line of JSON on standard output, and sleeps in
between. ``{"action": "check", "output": FILE}`` computes loss and gradients of the given batch, ``{"action": "time",
"mode": "float32", "steps": 1}`` trains and answers with the seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

# Loss of the batch, and the gradient of every parameter.
Learned = tuple[Tensor, dict[str, Tensor]]


class Package(Protocol):
    """What is asked of both packages."""

    def learn(self) -> Learned:
        """One training step in float32 with the given weights, noise and diffusion steps."""

    def train(self, mode: str) -> float:
        """One training step as the package's own loop does it, with its own noise; returns the loss."""


class Peer:
    """lmnt-com's package: its learner, its optimiser, and what its loop does around ``train_step``.

    Args:
        inputs: weights, noise and steps, and the batch as its loader would hand it over.
        device: that it trains on.
    """

    def __init__(self, inputs: dict[str, Any], device: torch.device) -> None:
        from diffwave.params import params

        from diffwave import learner
        from diffwave.mel.prior import DiffWave

        self.inputs, self.device, self.params = inputs, device, params
        self.module, self.network = learner, DiffWave
        self.features = {"audio": inputs["audio"], "spectrogram": inputs["spectrogram"]}
        if device.type == "cuda":  # its loader pins
            self.features = {name: value.pin_memory() for name, value in self.features.items()}
        self.learners: dict[str, Any] = {}

    def learner(self, mode: str) -> Any:
        """A learner with the given weights; ``float16`` is the package's ``--fp16``."""
        if mode not in self.learners:
            model = self.network(self.params).to(self.device)
            model.load_state_dict(self.inputs["weights"])
            optimizer = torch.optim.Adam(model.parameters(), lr=self.params.learning_rate)
            folder = tempfile.gettempdir()  # it only makes sure that the folder exists
            self.learners[mode] = self.module.DiffWaveLearner(
                folder, model, None, optimizer, self.params, fp16=mode == "float16"
            )
        return self.learners[mode]

    def learn(self) -> Learned:
        """Serve noise and steps in place of torch's, and look at what the step leaves."""
        self.learners.clear()
        learner = self.learner("float32")
        steps, noise = self.inputs["steps"].to(self.device), self.inputs["noise"].to(self.device)
        with served("randint", steps), served("randn_like", noise):
            loss = learner.train_step(self._features())
        gradients = {name: value.grad for name, value in learner.model.named_parameters()}
        self.learners.clear()
        return loss.detach(), gradients

    def train(self, mode: str) -> float:
        """What ``DiffWaveLearner.train`` does with a batch; progress bar and summary are left out."""
        learner = self.learner(mode)
        loss = learner.train_step(self._features())
        if torch.isnan(loss).any():
            raise RuntimeError("the loss is NaN")
        return float(loss.detach())

    def _features(self) -> dict[str, Tensor]:
        features: dict[str, Tensor] = self.module._nested_map(self.features, lambda x: x.to(self.device))
        return features


@contextlib.contextmanager
def served(name: str, value: Tensor) -> Iterator[None]:
    """Let ``torch.<name>`` return ``value``, once."""
    saved, left = getattr(torch, name), [value]

    def serve(*_arguments: Any, **_settings: Any) -> Tensor:
        return left.pop()

    setattr(torch, name, serve)
    try:
        yield
    finally:
        setattr(torch, name, saved)
    if left:
        raise RuntimeError(f"expected torch.{name} to be called; it was not")


class Ours:
    """This project's package: its learner, and what its trainer does around ``step`` and ``update``.

    Args:
        inputs: weights, noise and steps, and crops with context.
        device: that it trains on.
    """

    def __init__(self, inputs: dict[str, Any], device: torch.device) -> None:
        from diffwave.config import ModelConfig
        from diffwave.config.document import from_dict
        from diffwave.training.crops import Crops
        from diffwave.training.distributed import Processes

        self.inputs, self.processes = inputs, Processes(device)
        self.model = from_dict(ModelConfig, inputs["model"])
        wav = inputs["wav"].pin_memory() if device.type == "cuda" else inputs["wav"]
        self.crops = Crops(torch.arange(len(wav)), wav)
        self.learners: dict[str, Any] = {}

    def learner(self, mode: str) -> Any:
        """A learner with the given weights and the other package's settings: L1, 2e-4, no clipping to speak of."""
        from diffwave.config import OptimizationConfig, TrainingConfig
        from diffwave.training.learner import Learner

        if mode not in self.learners:
            precision, *more = mode.split()
            settings = OptimizationConfig(
                batch_size=len(self.crops.wav), precision=precision, compile="compiled" in more, gradient_clip=1e9
            )
            learner = Learner(TrainingConfig(model=self.model, train=settings), self.processes)
            learner.network.load_state_dict(self.inputs["weights"])
            self.learners[mode] = learner
        return self.learners[mode]

    def learn(self) -> Learned:
        """Give the learner noise and steps in place of those that it draws."""
        from diffwave.training.loss.diffusion_loss import Batch

        self.learners.clear()
        learner, device = self.learner("float32"), self.processes.device
        noise, steps = self.inputs["noise"].to(device), self.inputs["steps"].float().to(device)
        learner.draw = lambda crops: Batch(crops.wav.to(device), noise, steps)
        step = learner.step([self.crops], 0)
        gradients = {name: value.grad for name, value in learner.network.named_parameters()}
        self.learners.clear()
        return step.losses.mean(), gradients

    def train(self, mode: str) -> float:
        """What ``Trainer`` does with a batch: the gradient, a look at loss and norm, the update."""
        learner = self.learner(mode)
        step = learner.step([self.crops], 0)
        loss, _norm = float(step.losses.mean()), float(step.gradient_norm)
        learner.update(step.gradient_norm)
        return loss


def answer(package: Package, device: torch.device, request: dict[str, Any]) -> dict[str, Any]:
    """Do one request."""
    if request["action"] == "check":
        loss, gradients = package.learn()
        found = {name: value.cpu() for name, value in gradients.items()}
        torch.save({"loss": loss.cpu(), "gradients": found}, request["output"])
        return {}
    begun = time.perf_counter()
    try:
        for _ in range(request["steps"]):
            loss = package.train(request["mode"])
    except Exception as error:  # what a compiler raises is no business of a benchmark; it is told and left out
        return {"error": (str(error).strip().splitlines() or [type(error).__name__])[0][:200]}
    if device.type == "cuda":
        torch.cuda.synchronize()
    return {"seconds": time.perf_counter() - begun, "loss": loss}


def main() -> None:
    """Load one package, then answer requests until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", choices=("peer", "ours"))
    parser.add_argument("--package", type=Path, required=True, help="folder that diffwave must come from")
    parser.add_argument("--inputs", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.backends.cudnn.benchmark = True  # as both packages do
    import diffwave

    # Both packages have the same name: say so here rather than compare a package with itself.
    if not Path(diffwave.__file__).resolve().is_relative_to(options.package.resolve()):
        sys.exit(f"expected diffwave from {options.package}; got {diffwave.__file__}")
    inputs, device = torch.load(options.inputs, weights_only=True), torch.device(options.device)
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a package prints is not an answer
    package = (Peer if options.role == "peer" else Ours)(inputs, device)
    for line in sys.stdin:
        print(json.dumps(answer(package, device, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
