"""A checkpoint as ONNX: the conditioner and one denoising step (and the refiner), for any batch and length.

The loop stays outside: which steps are visited, noise, priors and mel consistency are not part of the graphs, so one
export serves every sampler and number of steps.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import diffwave
from diffwave.checkpoint.folder import CONFIG_NAME, Checkpoint, CheckpointError, config_document
from diffwave.diffusion import NoiseSchedule
from diffwave.interop.onnx_names import CONDITIONER_NAME, OPSET, REFINER_NAME, STEP_NAME, onnx_missing
from diffwave.interop.onnx_runtime import OnnxModel
from diffwave.kernels.reference import Reference
from diffwave.network.diffwave import Condition, DiffWave
from diffwave.network.refiner import DIVISION, Refiner

# An example's sizes; the graphs hold for all others. None is 1, which exporters take for a constant.
_BATCH, _FRAMES = 2, 20
_CHECKED = ((1, 1), (1, 37), (3, 8))  # batch and frames that every export is tried with
TOLERANCE = 1e-4
"""An export that differs more from PyTorch, for outputs of about 1, is not written."""


class Step(nn.Module):
    """One call of the network, with the projections of the mel in it.

    Args:
        network: plain, in float32.
    """

    def __init__(self, network: DiffWave) -> None:
        super().__init__()
        self.network = network

    def forward(self, noisy: Tensor, step: Tensor, condition: Tensor) -> Tensor:
        """``[B, N]``, ``[B]`` and ``[B, M, P]`` to what the network predicts, ``[B, N]``."""
        network, embedding = self.network, self.network.diffusion_embedding
        x = _silu(embedding.projection1(embedding.encode(step)))
        shifts = network.project(_silu(embedding.projection2(x)))
        stack = Reference().stack(network.layers(), condition, None, calls=1)
        return network.leave(network.hidden(stack(F.relu(network.enter(noisy)), shifts), None))


def _silu(x: Tensor) -> Tensor:
    """SiLU by the exponential: onnxruntime's sigmoid is cut off far from zero, where the step's embedding is large."""
    return x / (1 + torch.exp(-x))


class Conditioner(nn.Module):
    """The upsampler.

    Args:
        network: that has it.
    """

    def __init__(self, network: DiffWave) -> None:
        super().__init__()
        self.network = network

    def forward(self, mel: Tensor) -> Tensor:
        """``[B, M, F]`` to ``[B, M, P]``."""
        return self.network.condition(mel).mel


class Deviation(nn.Module):
    """The refiner's network.

    Args:
        refiner: that has it.
    """

    def __init__(self, refiner: Refiner) -> None:
        super().__init__()
        self.refiner = refiner

    def forward(self, mel: Tensor, deviation: Tensor) -> Tensor:
        """``[B, M, F]`` and ``[B, M, 2 F]`` to ``[B, M, 2 F]``."""
        return self.refiner.deviation(mel, deviation)


def export_onnx(checkpoint: Checkpoint, folder: Path, say: Callable[[str], None] = lambda _text: None) -> float:
    """Write the graphs and ``config.json``; all of them or nothing.

    Args:
        checkpoint: with its weights.
        folder: is made if missing; files of the same names are replaced.
        say: is told what happens.

    Returns:
        The largest difference between PyTorch's output and onnxruntime's, of one step with white noise.

    Raises:
        ImportError: if the extra ``onnx`` is not installed.
        CheckpointError: if the weights do not fit the configuration, or the graphs do not compute what they should.
        OSError: if the folder cannot be written.
    """
    network, refiner = checkpoint.build(), checkpoint.build_refiner()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unfinished-") as name:
        draft = Path(name)
        for file, module, inputs in _graphs(network, refiner):
            say(f"{file} ...")
            _export(module, inputs, draft / file, checkpoint)
        (draft / CONFIG_NAME).write_text(config_document(checkpoint), encoding="utf-8")
        say("comparing with PyTorch ...")
        difference = _difference(draft, network, refiner)
        if not difference <= TOLERANCE:
            raise CheckpointError(
                f"{folder}: expected graphs that equal PyTorch to {TOLERANCE:g}; got {difference:.2g}"
            )
        written = sorted(draft.iterdir())
        for path in written:
            path.replace(folder / path.name)
        if refiner is None:  # of an export before
            (folder / REFINER_NAME).unlink(missing_ok=True)
    return difference


# A graph's inputs by name: an example, and the names of its dimensions (None for what is fixed).
Inputs = dict[str, tuple[Tensor, dict[int, Any]]]


def _graphs(network: DiffWave, refiner: Refiner | None) -> Iterator[tuple[str, nn.Module, Inputs]]:
    batch, frames, positions = (torch.export.Dim(name, min=1) for name in ("batch", "frames", "positions"))
    bands, squeeze = network.n_mels, network.config.squeeze
    count = _FRAMES * network.hop_length // squeeze
    mel = (torch.randn(_BATCH, bands, _FRAMES), {0: batch, 2: frames})
    yield CONDITIONER_NAME, Conditioner(network), {"mel": mel}
    samples = positions if squeeze == 1 else squeeze * positions
    step: Inputs = {
        "noisy": (torch.randn(_BATCH, count * squeeze), {0: batch, 1: samples}),
        "step": (torch.linspace(0, 1.5, _BATCH), {0: batch}),
        "condition": (torch.randn(_BATCH, bands, count), {0: batch, 2: positions}),
    }
    yield STEP_NAME, Step(network), step
    if refiner is not None:
        deviation = (torch.randn(_BATCH, bands, DIVISION * _FRAMES), {0: batch, 2: DIVISION * frames})
        yield REFINER_NAME, Deviation(refiner), {"mel": mel, "deviation": deviation}


_OUTPUTS = {CONDITIONER_NAME: "condition", STEP_NAME: "output", REFINER_NAME: "refined"}


def _export(module: nn.Module, inputs: Inputs, path: Path, checkpoint: Checkpoint) -> None:
    """Write one graph, and make sure that it is valid ONNX."""
    try:
        import onnx
        import onnxscript  # noqa: F401  (torch.onnx needs it, and says so at length)
    except ImportError as error:
        raise onnx_missing(error.name) from None
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            tuple(example for example, _ in inputs.values()),
            dynamo=True,
            opset_version=OPSET,
            verbose=False,
            input_names=list(inputs),
            output_names=[_OUTPUTS[path.name]],
            dynamic_shapes={name: dimensions for name, (_, dimensions) in inputs.items()},
        )
    assert program is not None
    program.model.metadata_props.update(_metadata(checkpoint))
    program.save(str(path), external_data=False)
    onnx.checker.check_model(str(path), full_check=True)


def _metadata(checkpoint: Checkpoint) -> dict[str, str]:
    config = checkpoint.config
    return {
        "diffwave.version": diffwave.__version__,
        "diffwave.mel.spectrogram": config.mel.describe(),
        "diffwave.parameterization": config.network.parameterization,
    }


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter tells of itself, such as that torchvision is not installed."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


@torch.inference_mode()
def _difference(folder: Path, network: DiffWave, refiner: Refiner | None) -> float:
    """Largest difference of the graphs from PyTorch, at sizes that they were not made with."""
    model, generator = OnnxModel.read(folder), torch.Generator().manual_seed(0)
    exported, exported_refiner = model.build(), model.build_refiner()
    last, worst, shape = len(NoiseSchedule.from_config(model.config.diffusion)) - 1, 0.0, network.config
    for batch, frames in _CHECKED:
        white = torch.randn(batch, network.n_mels, frames, generator=generator)
        mel = shape.condition_mean + shape.condition_std * white
        noisy = torch.randn(batch, frames * network.hop_length, generator=generator)
        step = torch.rand(batch, generator=generator) * last
        condition = network.condition(mel)
        found = [(network.condition(mel).mel, exported.condition(mel).mel)]
        found.append((network(noisy, step, condition), exported(noisy, step, Condition(condition.mel))))
        if refiner is not None and exported_refiner is not None:
            fine = white.repeat_interleave(DIVISION, dim=-1)
            found.append((refiner.deviation(mel, fine), exported_refiner.deviation(mel, fine)))
        differences = [float((ours - theirs).abs().max()) for ours, theirs in found]
        # Not max(): it may hide what is no number.
        worst = float(torch.tensor([worst, *differences]).max())
    return worst
