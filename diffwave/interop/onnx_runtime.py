"""An ONNX export as a vocoder: onnxruntime computes the networks, everything else is this project's own loop.

Samplers, priors, noise, mel consistency and the facade are the same code as for a checkpoint, so a seed gives the same
output to float rounding. onnxruntime runs on the processor, in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffwave.checkpoint.folder import CheckpointError, load_config, load_spoken
from diffwave.config import MelConfig, MelConvention, ModelConfig
from diffwave.interop.onnx_names import CONDITIONER_NAME, REFINER_NAME, STEP_NAME, onnx_missing
from diffwave.kernels.layers import Backend
from diffwave.mel.spectrogram import MelSpectrogram
from diffwave.network.diffwave import Condition
from diffwave.network.refiner import finer, steady
from diffwave.vocoder import Vocoder


@dataclass(frozen=True)
class Graph:
    """An ONNX file, ready to be run.

    Args:
        session: of onnxruntime.
        path: of the file, for messages.
    """

    session: Any
    path: Path

    @classmethod
    def load(cls, path: Path, threads: int) -> Graph:
        """Read a file.

        Raises:
            ImportError: if onnxruntime is not installed.
            CheckpointError: if the file is not there or no ONNX model.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise onnx_missing(error.name) from None
        if not path.is_file():
            raise CheckpointError(f"{path.parent}: expected an ONNX export with {path.name}; there is none")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a class for each kind of failure
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"{path}: expected an ONNX model; {reason} (truncated?)") from None
        return cls(session, path)

    def __call__(self, **inputs: Tensor) -> Tensor:
        """Run it.

        Raises:
            CheckpointError: if the inputs are not what the graph takes.
        """
        arrays = {name: value.detach().to("cpu", torch.float32).contiguous().numpy() for name, value in inputs.items()}
        try:
            (result,) = self.session.run(None, arrays)
        except Exception as error:
            if "memory" in str(error).lower():
                raise MemoryError(str(error)) from None
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"{self.path}: expected the graph of this model; {reason}") from None
        return torch.from_numpy(result)


@dataclass(frozen=True)
class OnnxRuntime:
    """What runs the network, for messages and tables."""

    name: str = "onnx"


class OnnxNetwork:
    """The network of an ONNX export (a :class:`~diffwave.network.protocol.VocoderNetwork`); a step is one graph.

    Args:
        config: of the export.
        conditioner, step: its graphs.
    """

    def __init__(self, config: ModelConfig, conditioner: Graph, step: Graph) -> None:
        self.backend = OnnxRuntime()
        self.config = config.network
        self.n_mels, self.hop_length = config.mel.n_mels, config.mel.hop_length
        self._conditioner, self._step = conditioner, step

    def condition(self, mel: Tensor) -> Condition:
        """See :meth:`DiffWave.condition`."""
        return Condition(self._conditioner(mel=mel))

    def prepare(self, condition: Condition, calls: int) -> Condition:  # noqa: ARG002
        """As it is: the graph makes the projections of the mel in every call."""
        return condition

    def shifts(self, step: Tensor) -> Tensor:
        """Nothing, ``[B, 0, 0]``: the graph embeds the steps itself."""
        return torch.zeros(len(step), 0, 0)

    def parameters(self) -> Iterator[nn.Parameter]:
        """None: they are inside the graphs."""
        return iter(())

    def __call__(
        self,
        noisy: Tensor,
        step: Tensor,
        condition: Condition,
        shifts: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor:
        """See :meth:`DiffWave.forward`; examples of different lengths go one by one."""
        steps = step.expand(len(noisy))
        if condition.mask is None:
            return self._step(noisy=noisy, step=steps, condition=condition.mel)
        result = torch.zeros_like(noisy)
        for row, end in enumerate((condition.mask[:, 0] > 0).sum(dim=-1).tolist()):
            one, samples = slice(row, row + 1), end * self.config.squeeze
            mel = condition.mel[one, :, :end]
            result[one, :samples] = self._step(noisy=noisy[one, :samples], step=steps[one], condition=mel)
        return result


class OnnxRefiner:
    """The refiner of an ONNX export (a :class:`~diffwave.network.protocol.VocoderRefiner`).

    Args:
        config: of the export.
        graph: of the refiner's network.
    """

    def __init__(self, config: ModelConfig, graph: Graph) -> None:
        self.coarse, self.fine = MelSpectrogram(config.mel), MelSpectrogram(finer(config.mel))
        self._graph = graph

    def deviation(self, mel: Tensor, deviation: Tensor) -> Tensor:
        """See :meth:`Refiner.deviation`."""
        return self._graph(mel=mel, deviation=deviation)

    def __call__(self, mel: Tensor, estimate: Tensor) -> Tensor:
        """See :meth:`Refiner.forward`."""
        guess = steady(self.coarse, self.fine, mel)
        return guess + self.deviation(mel, estimate - guess)

    def parameters(self) -> Iterator[nn.Parameter]:
        """None: they are inside the graph."""
        return iter(())


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """An export, in the place of a checkpoint (a :class:`~diffwave.network.protocol.VocoderModel`).

    Args:
        folder: of the export.
        config: everything that synthesis needs.
        training: what is known of the training.
        speaks: convention of the mels to come, unless another is asked for; the network's own if None.
        threads: of onnxruntime; 0 for its own choice.
    """

    folder: Path
    config: ModelConfig
    training: dict[str, Any]
    speaks: MelConvention | None
    threads: int

    @classmethod
    def read(cls, folder: Path, threads: int | None = None) -> OnnxModel:
        """Of an export's folder; raises CheckpointError if its configuration is missing or damaged."""
        config, training = load_config(folder)
        return cls(
            folder, config, training, load_spoken(folder), torch.get_num_threads() if threads is None else threads
        )

    def build(self, device: torch.device | str = "cpu", backend: Backend | None = None) -> OnnxNetwork:  # noqa: ARG002
        """The network; it stays on the processor, and onnxruntime is its backend."""
        graphs = (Graph.load(self.folder / name, self.threads) for name in (CONDITIONER_NAME, STEP_NAME))
        network = OnnxNetwork(self.config, *graphs)
        _try_out(network, self.folder)
        return network

    def build_refiner(self, device: torch.device | str = "cpu") -> OnnxRefiner | None:  # noqa: ARG002
        """The refiner; None if the model has none."""
        if not self.config.refiner.dilations:
            return None
        return OnnxRefiner(self.config, Graph.load(self.folder / REFINER_NAME, self.threads))


def _try_out(network: OnnxNetwork, folder: Path) -> None:
    """Refuse graphs of another model than ``config.json`` tells of."""
    condition = network.condition(torch.zeros(1, network.n_mels, 1))
    noisy = torch.zeros(1, network.hop_length)
    output = network(noisy, torch.zeros(1), condition)
    if output.shape != noisy.shape:
        raise CheckpointError(
            f"{folder}: expected a step of {list(noisy.shape)} samples, as config.json says; got {list(output.shape)}"
        )


def load_onnx(
    folder: str | Path, threads: int | None = None, mel: MelConvention | MelConfig | str | Path | None = None
) -> Vocoder:
    """A vocoder whose networks are run by onnxruntime.

    Args:
        folder: that ``diffwave export --to onnx`` has written.
        threads: of onnxruntime; as many as PyTorch has, if not given.
        mel: see :class:`~diffwave.vocoder.Vocoder`.

    Raises:
        ImportError: if onnxruntime is not installed: ``pip install 'diffwave-vocoder[onnx]'``.
        CheckpointError: if a file is missing, damaged, or of another model.
    """
    model = OnnxModel.read(Path(folder).expanduser(), threads)
    with torch.inference_mode():
        return Vocoder(model, "cpu", "reference", "float32", False, mel)
