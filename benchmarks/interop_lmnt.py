"""A process that holds lmnt-com's ``diffwave``, which has the name of this project's package.

    python benchmarks/interop_lmnt.py --package FOLDER --work FOLDER

Reads ``request.pt`` in the work folder: ``params`` (in place of its own), ``wav`` ``[N]``, ``noise`` ``[T, N]``
and ``kinds`` of sampling. Writes ``model/weights.pt`` through its ``learner.py``, after a training step, with an output
layer that is not zero; and ``answer.pt``: the mel that its ``preprocess.py`` makes of the wav, and what its ``predict``
makes of mels with the noise, in all steps and in fast ones, for one example and for two at once.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import unittest.mock
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_OUTPUT_STD, _CONDITION_GAIN = 0.25, 6.0


@contextlib.contextmanager
def served(noise: Tensor) -> Iterator[None]:
    """Let ``torch.randn`` and ``torch.randn_like`` return the rows of ``noise`` ``[S, B, N]``, all of them, in turn."""
    rows = iter(noise)

    def serve(*_arguments: Any, **_settings: Any) -> Tensor:
        return next(rows).clone()

    with unittest.mock.patch.multiple(torch, randn=serve, randn_like=serve):
        yield
    left = sum(1 for _ in rows)
    if left:
        raise RuntimeError(f"noise: expected all {len(noise)} rows to be used; {left} are left")


@torch.no_grad()
def stir(network: torch.nn.Module) -> None:
    """Give a new network an output layer that is not zero, and let the mel have a say in it.

    Args:
        network: of lmnt-com or SpeechBrain.
    """
    for name, value in network.named_parameters():
        if name.startswith("output_projection.") and name.endswith("weight"):
            value.normal_(std=_OUTPUT_STD)
        elif "conditioner_projection" in name and name.endswith("weight"):
            value.mul_(_CONDITION_GAIN)


def write_model(folder: Path, params: Any, mel: Tensor) -> None:
    """A checkpoint by lmnt-com's learner, after one iteration of Adam."""
    from diffwave.learner import DiffWaveLearner

    from diffwave.mel.prior import DiffWave

    torch.manual_seed(0)
    model = DiffWave(params)
    stir(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=params.learning_rate)
    learner = DiffWaveLearner(str(folder), model, None, optimizer, params)
    samples = params.hop_samples * mel.shape[-1]
    learner.train_step({"audio": 0.1 * torch.randn(1, samples), "spectrogram": mel.unsqueeze(0)})
    learner.step = 1
    learner.save_to_checkpoint()


def front_end(wav: Tensor, rate: int, folder: Path) -> Tensor:
    """The mel ``[M, F]`` that ``preprocess.py`` writes for a 16-bit file with this wav ``[N]``."""
    import torchaudio

    from diffwave import preprocess

    # torchaudio.load_wav went with torchaudio 0.9: 16-bit numbers as floats.
    torchaudio.load_wav = lambda _name: (wav.unsqueeze(0) * 32767.5, rate)
    preprocess.transform(str(folder / "speech.wav"))
    return torch.from_numpy(np.load(folder / "speech.wav.spec.npy"))


def predict(folder: Path, mel: Tensor, noise: Tensor, fast: bool) -> Tensor:
    """Waveforms ``[B, N]`` of mels ``[B, M, F]`` by ``predict``, the same noise ``[S, N]`` for each."""
    from diffwave import inference

    with served(noise.unsqueeze(1).expand(-1, len(mel), -1)):
        wav, _rate = inference.predict(mel, model_dir=str(folder), device=torch.device("cpu"), fast_sampling=fast)
    return wav


def main() -> None:
    """Answer the request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, required=True, help="folder that diffwave must come from")
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    import diffwave

    if not Path(diffwave.__file__).resolve().is_relative_to(options.package.resolve()):
        sys.exit(f"expected diffwave from {options.package}; got {diffwave.__file__}")
    from diffwave.params import params

    request = torch.load(options.work / "request.pt", weights_only=True)
    params.override(request["params"])
    mel = front_end(request["wav"], params.sample_rate, options.work)[
        :, : request["noise"].shape[1] // params.hop_samples
    ]
    model = options.work / "model"
    write_model(model, params, mel)
    fast, noise = len(params.inference_noise_schedule), request["noise"]
    two = torch.stack([mel, mel.flip(-1)])
    answer = {"mel": mel, "two": two}
    for name, mels in (("one", mel.unsqueeze(0)), ("two", two)):
        for kind in request["kinds"]:
            count = fast if kind == "fast" else len(params.noise_schedule)
            answer[f"{kind} {name}"] = predict(model, mels, noise[:count], kind == "fast")
    torch.save(answer, options.work / "answer.pt")


if __name__ == "__main__":
    main()
