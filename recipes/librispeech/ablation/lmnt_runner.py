"""A process that holds lmnt-com's ``diffwave`` and trains it; ``lmnt.py`` starts it.

    python lmnt_runner.py peer --package FOLDER --threads N --device DEVICE --seed N

It answers each line of standard input, a request in JSON, with one line of JSON on standard output: ``{"action":
"train", "batches": FILE}`` takes a training step with each batch, ``{"action": "save", "folder": DIR}`` writes its
checkpoint, ``{"action": "synthesize", "mels": FILE, "output": FILE, "folder": DIR}`` runs its own fast sampler.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch


class Learner:
    """The package's learner with its own network, optimiser and parameters, at the corpus's sample rate.

    Args:
        device: that it trains on.
    """

    def __init__(self, device: torch.device) -> None:
        from diffwave.params import params

        from diffwave import learner
        from diffwave.mel.prior import DiffWave

        self.module, self.device = learner, device
        model = DiffWave(params).to(device)
        optimizer = torch.optim.Adam(model.parameters(), lr=params.learning_rate)  # as its _train_impl does
        folder = tempfile.gettempdir()  # it only makes sure that the folder exists
        self.learner = learner.DiffWaveLearner(folder, model, None, optimizer, params, fp16=False)

    def train(self, request: dict[str, Any]) -> dict[str, Any]:
        """What ``DiffWaveLearner.train`` does with batches; progress bar and summary are left out."""
        batches = torch.load(request["batches"], weights_only=True)
        begun = time.perf_counter()
        for batch in batches:
            features = self.module._nested_map(batch, lambda x: x.to(self.device))
            loss = self.learner.train_step(features)
            if torch.isnan(loss).any():
                return {"error": f"the loss is no number at step {self.learner.step}"}
            self.learner.step += 1
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return {"seconds": time.perf_counter() - begun, "loss": float(loss.detach())}

    def save(self, request: dict[str, Any]) -> dict[str, Any]:
        """Its own checkpoint, ``weights.pt``."""
        self.learner.model_dir = request["folder"]
        self.learner.save_to_checkpoint()
        return {"parameters": sum(parameter.numel() for parameter in self.learner.model.parameters())}

    def synthesize(self, request: dict[str, Any]) -> dict[str, Any]:
        """Its own ``predict`` on each mel ``[M, F]``, with the seconds of each."""
        from diffwave import inference

        wavs, seconds = {}, {}
        for name, mel in torch.load(request["mels"], weights_only=True).items():
            torch.manual_seed(0)
            begun = time.perf_counter()
            wav, _ = inference.predict(mel, model_dir=request["folder"], device=self.device, fast_sampling=True)
            wavs[name] = wav[0].cpu()
            seconds[name] = time.perf_counter() - begun
        torch.save(wavs, request["output"])
        return {"seconds": seconds}


def main() -> None:
    """Load the package, then answer requests until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", choices=("peer",))
    parser.add_argument("--package", type=Path, required=True, help="folder that diffwave must come from")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    torch.backends.cudnn.benchmark = True  # as the package does
    import diffwave

    # Both packages have the same name: say so here rather than train ourselves as somebody else.
    if not Path(diffwave.__file__).resolve().is_relative_to(options.package.resolve()):
        sys.exit(f"expected diffwave from {options.package}; got {diffwave.__file__}")
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever the package prints is not an answer
    learner = Learner(torch.device(options.device))
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(learner, request["action"])(request)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
