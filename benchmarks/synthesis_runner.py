"""A process that holds one vocoder's package; ``benchmarks/synthesis.py`` starts one for each.

    python benchmarks/synthesis_runner.py {lmnt,vocos,hifigan,ours} --package FOLDER --model FOLDER --threads N
        --device DEVICE

It answers each line of standard input, a request in JSON, with one line of JSON on standard output, and sleeps in
between. ``warm up`` synthesizes for the first time and tells the memory, ``time`` synthesizes once more and tells the
seconds, ``wav`` writes an output made of given noise, ``limits`` measures the machine, ``roofline`` counts the work,
``about`` tells the size of the network. What cannot be done is answered with ``error``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from synthesis_peers import HifiGan, Lmnt, Mode, Package, Vocos, Work, count, repeat
from torch import Tensor


class Ours:
    """This project's package, through ``Vocoder.synthesize``.

    Args:
        model: folder with the checkpoint of BASE and ``inputs.pt``.
        device: where to run.
    """

    def __init__(self, model: Path, device: torch.device) -> None:
        self.model, self.device = model, device
        self.mel: Tensor = torch.load(model / "inputs.pt", weights_only=True)["mel"]
        self.vocoders: dict[str, Any] = {}

    def parameters(self) -> int:
        """Number of parameters of BASE."""
        return count(self.vocoder({"model": "base"}).network)

    def vocoder(self, mode: Mode) -> Any:
        """One vocoder for each model, backend and precision."""
        choice = {name: mode.get(name, "auto") for name in ("backend", "precision")}
        key = json.dumps([mode["model"], mode.get("network"), choice])
        if key not in self.vocoders:
            self.vocoders[key] = self._load(mode, choice)
        return self.vocoders[key]

    def _load(self, mode: Mode, choice: dict[str, str]) -> Any:
        from diffwave.checkpoint.folder import Checkpoint
        from diffwave.network.diffwave import DiffWave
        from diffwave.vocoder import Vocoder

        name = self.model if mode["model"] == "base" else mode["model"]
        vocoder = Vocoder.from_pretrained(name, self.device, **choice)
        if "network" not in mode:
            return vocoder
        network = dataclasses.replace(vocoder.config.network, **mode["network"])
        config = dataclasses.replace(vocoder.config, network=network)
        torch.manual_seed(0)
        return Vocoder(Checkpoint(config, DiffWave(config).state_dict()), self.device, **choice)

    def prepare(self, mode: Mode, seconds: float, batch: int) -> Work:
        """As a user does; BASE with the other package's mel."""
        from diffwave.speed.benchmark import speech_mel

        vocoder = self.vocoder(mode)
        frames = round(seconds * vocoder.sample_rate / vocoder.hop_length)
        one = self.mel if mode["model"] == "base" else speech_mel(vocoder, seconds)
        mel, consistency = repeat(one, frames, batch), mode.get("consistency")
        audio = batch * frames * vocoder.hop_length / vocoder.sample_rate
        notes = {"backend": vocoder.backend, "precision": vocoder.precision}
        return Work(lambda: vocoder.synthesize(mel, consistency=consistency), audio, notes)

    def with_noise(self, mode: Mode, noise: Tensor) -> Tensor:
        """The output ``[N]`` for the whole mel; ``noise`` is the vocoder's own (see ``synthesis_turns.prepare``)."""
        del noise
        wav: Tensor = self.vocoder(mode).synthesize(self.mel, seed=0, consistency=0)
        return wav

    def roofline(self, mode: Mode, seconds: float, batch: int, limits: dict[str, float]) -> dict[str, Any]:
        """The least time that the network's work takes at these limits."""
        from diffwave.speed.roofline import roofline
        from diffwave.speed.timing import MachineLimits

        vocoder = self.vocoder(mode)
        frames = round(seconds * vocoder.sample_rate / vocoder.hop_length)
        width = getattr(torch, vocoder.precision).itemsize
        steps = len(vocoder.sampler())
        best = roofline(vocoder.config, frames * vocoder.hop_length, steps, batch, width, MachineLimits(**limits))
        return dataclasses.asdict(best) | {"seconds": best.seconds, "limit": best.limit}


def load_timing() -> ModuleType:
    """This project's ``diffwave/timing.py`` by its path: in one of the processes another package has that name."""
    path = Path(__file__).resolve().parents[1] / "diffwave" / "timing.py"
    spec = spec_from_file_location("bench_timing", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def answer(package: Any, device: torch.device, timing: ModuleType, request: dict[str, Any]) -> dict[str, Any]:
    """Do one request."""
    action, mode = request["action"], request.get("mode", {})
    if action == "about":
        return {"parameters": package.parameters()}
    if action == "limits":
        return dataclasses.asdict(timing.measure_limits(device, getattr(torch, request["precision"])))
    if action == "wav":
        noise = torch.load(request["noise"], weights_only=True)
        # TF32, PyTorch's default for convolutions on a GPU, keeps three digits: too few to compare two packages with.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            torch.save(package.with_noise(mode, noise).float().cpu().clone(), request["output"])
        return {}
    if action == "roofline":
        found: dict[str, Any] = package.roofline(mode, request["seconds"], request["batch"], request["limits"])
        return found
    work = package.prepare(mode, request["seconds"], request["batch"])
    said = {"audio": work.audio_seconds, **work.notes}
    if action == "warm up":
        seconds, memory = timing.warm_up(work.call, device)
        return said | {"warm_up": seconds, "memory": memory}
    return said | {"seconds": timing.seconds(work.call, device)}


def main() -> None:
    """Load one package, then answer requests until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    packages: dict[str, type[Package]] = {"lmnt": Lmnt, "vocos": Vocos, "hifigan": HifiGan, "ours": Ours}
    parser.add_argument("role", choices=packages)
    parser.add_argument("--package", type=Path, required=True, help="folder that the package must come from")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device, timing = torch.device(options.device), load_timing()
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a package prints is not an answer
    if options.role in ("lmnt", "ours"):
        import diffwave

        # Both have the same name: say so here rather than compare a package with itself.
        if not Path(diffwave.__file__).resolve().is_relative_to(options.package.resolve()):
            sys.exit(f"expected diffwave from {options.package}; got {diffwave.__file__}")
    package = packages[options.role](options.model, device)
    for line in sys.stdin:
        try:
            said = answer(package, device, timing, json.loads(line))
        except Exception as error:
            said = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        print(json.dumps(said), file=answers, flush=True)


if __name__ == "__main__":
    main()
