"""A process that holds one of the two packages called ``diffwave``; ``benchmarks/peer.py`` starts one of each.

    python benchmarks/peer_runner.py {peer,ours} --package FOLDER --model FOLDER --inputs FILE --threads N

It answers each line of standard input, a request in JSON, with one line of JSON on standard output, and sleeps in
between. ``{"action": "check", "output": FILE}`` computes everything that is compared, ``{"action": "time",
"mode": "plain"}`` synthesizes once and answers with the seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

# States after every sampling step [S, N] and the training steps [S] at which the network was asked.
Trace = tuple[Tensor, Tensor]


class Package(Protocol):
    """What is asked of both packages."""

    modes: tuple[str, ...]

    def parameters(self) -> int:
        """Number of parameters of the network."""

    def forward(self, noisy: Tensor, step: Tensor) -> Tensor:
        """Predicted noise ``[1, N]`` for a noisy waveform ``[1, N]`` and a step ``[1]``."""

    def trace(self, noise: Tensor, mode: str) -> Trace:
        """Synthesize with given noise ``[S, N]``: the start, then what is added at each step."""

    def synthesize(self, mode: str) -> None:
        """Synthesize with the package's own noise, as a user does; this is timed."""


class Peer:
    """lmnt-com's package, through its own ``predict``.

    Args:
        model: folder with ``weights.pt``.
        mel: in the convention of ``lmnt-22k``, shape ``[M, F]``.
    """

    modes = ("plain",)

    def __init__(self, model: Path, mel: Tensor) -> None:
        from diffwave import inference

        self.inference, self.model, self.mel = inference, str(model), mel
        self.synthesize("plain")  # loads the weights
        self.network = inference.models[self.model]

    def parameters(self) -> int:
        """Number of parameters of the network."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def forward(self, noisy: Tensor, step: Tensor) -> Tensor:
        """Predicted noise ``[1, N]``."""
        with torch.no_grad():
            predicted: Tensor = self.network(noisy, self.mel.unsqueeze(0), step)
        return predicted.squeeze(1)

    def trace(self, noise: Tensor, mode: str) -> Trace:
        """Run ``predict`` on prepared noise and watch what its network is given."""
        assert mode in self.modes, mode
        states: list[Tensor] = []
        steps: list[Tensor] = []

        def watch(_module: torch.nn.Module, arguments: tuple[Tensor, Tensor, Tensor]) -> None:
            states.append(arguments[0][0].clone())
            steps.append(arguments[2].clone())

        handle = self.network.register_forward_pre_hook(watch)
        with prepared_noise(noise):
            wav = self._predict()
        handle.remove()
        return torch.stack([*states[1:], wav[0]]), torch.cat(steps)

    def synthesize(self, mode: str) -> None:
        """Synthesize as a user of the package does."""
        assert mode in self.modes, mode
        self._predict()

    def _predict(self) -> Tensor:
        cpu = torch.device("cpu")
        wav: Tensor
        wav, _rate = self.inference.predict(self.mel, model_dir=self.model, device=cpu, fast_sampling=True)
        return wav


@contextlib.contextmanager
def prepared_noise(noise: Tensor) -> Iterator[None]:
    """Let ``torch.randn`` and ``torch.randn_like`` return the rows of ``noise`` ``[S, N]`` in turn."""
    rows = iter(noise)
    saved = torch.randn, torch.randn_like

    def serve(*_arguments: Any, **_settings: Any) -> Tensor:
        return next(rows).unsqueeze(0).clone()

    torch.randn, torch.randn_like = serve, serve
    try:
        yield
    finally:
        torch.randn, torch.randn_like = saved
    left = sum(1 for _ in rows)
    if left:
        raise RuntimeError(f"prepared noise: expected all {len(noise)} rows to be used; {left} are left")


class Ours:
    """This project's package.

    Args:
        model: checkpoint folder.
        mel: in the checkpoint's convention, shape ``[M, F]``.
    """

    modes = ("plain", "cached")

    def __init__(self, model: Path, mel: Tensor) -> None:
        from diffwave.vocoder import Vocoder

        self.vocoder, self.mel = Vocoder.from_pretrained(model, "cpu", precision="float32"), mel

    def parameters(self) -> int:
        """Number of parameters of the network."""
        return sum(parameter.numel() for parameter in self.vocoder.network.parameters())

    @torch.inference_mode()
    def forward(self, noisy: Tensor, step: Tensor) -> Tensor:
        """Predicted noise ``[1, N]``."""
        network = self.vocoder.network
        return network(noisy, step, network.condition(self.mel.unsqueeze(0)))

    @torch.inference_mode()
    def trace(self, noise: Tensor, mode: str) -> Trace:
        """Run the checkpoint's own sampler on prepared noise."""
        sampler, network = self.vocoder.sampler(), self.vocoder.network
        condition = network.condition(self.mel.unsqueeze(0))
        if mode == "cached":
            condition = network.prepare(condition, calls=len(sampler))
        states: list[Tensor] = []
        sampler.sample(
            lambda _index, noisy, step: network(noisy, step, condition),
            lambda index: noise[len(sampler) - index].unsqueeze(0),
            lambda _index, state, _clean: states.append(state[0].clone()),
        )
        return torch.stack(states), sampler.steps.flip(0)

    def synthesize(self, mode: str) -> None:
        """Synthesize as a user of the package does; ``plain`` needs the parts, since the facade keeps projections."""
        if mode == "cached":
            self.vocoder.synthesize(self.mel)
            return
        sampler = self.vocoder.sampler()
        self.trace(torch.randn(len(sampler), self.mel.shape[-1] * self.vocoder.hop_length), mode)


def check(package: Package, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Everything that is compared: outputs of single forwards, and states and steps of every mode."""
    noise = inputs["noise"]
    forwards = [package.forward(noise[:1], step.reshape(1)) for step in inputs["forward_steps"]]
    found = {"forward": torch.cat(forwards)}
    for mode in package.modes:
        found[f"states {mode}"], found[f"steps {mode}"] = package.trace(noise, mode)
    return {name: value.clone() for name, value in found.items()}


def answer(package: Package, inputs: dict[str, Tensor], request: dict[str, str]) -> dict[str, Any]:
    """Do one request."""
    if request["action"] == "check":
        torch.save(check(package, inputs), request["output"])
        return {"parameters": package.parameters()}
    begun = time.perf_counter()
    package.synthesize(request["mode"])
    return {"seconds": time.perf_counter() - begun}


def main() -> None:
    """Load one package, then answer requests until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", choices=("peer", "ours"))
    parser.add_argument("--package", type=Path, required=True, help="folder that diffwave must come from")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--inputs", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    import diffwave

    # Both packages have the same name: say so here rather than compare a package with itself.
    if not Path(diffwave.__file__).resolve().is_relative_to(options.package.resolve()):
        sys.exit(f"expected diffwave from {options.package}; got {diffwave.__file__}")
    inputs = torch.load(options.inputs, weights_only=True)
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a package prints is not an answer
    package = (Peer if options.role == "peer" else Ours)(options.model, inputs["mel"])
    for line in sys.stdin:
        print(json.dumps(answer(package, inputs, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
