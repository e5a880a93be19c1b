"""Checkpoints: ``model.safetensors`` (weights) and ``config.json`` (all that synthesis must know).

Nothing is ever unpickled. Weights may be stored in half precision; they are used in float32.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffwave.assets import ASSETS
from diffwave.config import ConfigError, MelConvention, ModelConfig
from diffwave.config.conventions import convention_from_json
from diffwave.config.document import from_dict, to_dict
from diffwave.errors import UserError
from diffwave.files import atomic_path
from diffwave.kernels.layers import Backend
from diffwave.network.diffwave import DiffWave
from diffwave.network.refiner import Refiner

FORMAT_VERSION = 2  # of checkpoints that speak another convention than their own; 1 of all others
DEFAULT = "default"  # name of the packaged checkpoint that speaks unless another is asked for
WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"
STEP_NAME = "step.onnx"  # of a folder that diffwave export --to onnx has written, in place of the weights
REFINER_PREFIX = "refiner."  # of the names of its weights, beside the network's


class CheckpointError(UserError, ValueError):
    """A checkpoint that cannot be used; the message names the file and what was expected."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model's settings and weights, and the story of its training.

    Args:
        config: everything that synthesis needs.
        weights: parameter name to tensor.
        training: what is known of the training (data, iterations, figures); plain JSON values, for people.
        speaks: convention of the mels to come, unless another is asked for; the network's own if None.
    """

    config: ModelConfig
    weights: dict[str, Tensor]
    training: dict[str, Any] = field(default_factory=dict)
    speaks: MelConvention | None = None

    def build(self, device: torch.device | str = "cpu", backend: Backend | None = None) -> DiffWave:
        """Return the network with these weights, in float32 and evaluation mode.

        Args:
            device: where it lies.
            backend: runs the residual layers; the reference if not given.

        Raises:
            CheckpointError: if names or shapes of the weights do not fit the configuration.
        """
        network = DiffWave(self.config)
        expected = bool(self.config.refiner.dilations)
        own = {k: v for k, v in self.weights.items() if not (expected and k.startswith(REFINER_PREFIX))}
        _load(network, own)
        network.backend = backend or network.backend
        return network.to(device).eval()

    def build_refiner(self, device: torch.device | str = "cpu") -> Refiner | None:
        """Return the refiner in float32 and evaluation mode; None if the model has none.

        Raises:
            CheckpointError: if names or shapes of the weights do not fit the configuration.
        """
        if not self.config.refiner.dilations:
            return None
        refiner, start = Refiner(self.config), len(REFINER_PREFIX)
        _load(refiner, {k[start:]: v for k, v in self.weights.items() if k.startswith(REFINER_PREFIX)})
        return refiner.to(device).eval()

    def with_refiner(self, refiner: Refiner, config: ModelConfig) -> Checkpoint:
        """The same network with a refiner, in the place of one that may be there, and a configuration that says so."""
        own = {name: value for name, value in self.weights.items() if not name.startswith(REFINER_PREFIX)}
        more = {REFINER_PREFIX + name: value for name, value in refiner.state_dict().items()}
        return replace(self, config=config, weights={**own, **more})


def _load(module: nn.Module, weights: dict[str, Tensor]) -> None:
    try:
        module.load_state_dict({name: value.float() for name, value in weights.items()})
    except RuntimeError as error:
        detail = " ".join(str(error).split())
        raise CheckpointError(f"weights do not fit the configuration: {detail[:300]}") from None


def save_checkpoint(folder: Path, checkpoint: Checkpoint, half: bool = False) -> None:
    """Write both files, each atomically.

    Args:
        folder: is made if missing.
        checkpoint: what to write.
        half: store the weights in float16.
    """
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    dtype = torch.float16 if half else torch.float32
    weights = {name: value.detach().to("cpu", dtype).contiguous() for name, value in checkpoint.weights.items()}
    # Serialized in memory, since Rust tells of a full disk in its own words. Both files are written before either gets
    # its name, so that without room for the one the other stays as it was too.
    with atomic_path(folder / CONFIG_NAME) as settings, atomic_path(folder / WEIGHTS_NAME) as tensors:
        tensors.write_bytes(save(weights))
        settings.write_text(config_document(checkpoint), encoding="utf-8")


def config_document(checkpoint: Checkpoint) -> str:
    """The text of ``config.json``."""
    speaks = checkpoint.speaks
    document = {
        "format_version": FORMAT_VERSION if speaks else FORMAT_VERSION - 1,
        "model": to_dict(checkpoint.config),
        "training": checkpoint.training,
        **({"speaks": speaks.document()} if speaks else {}),
    }
    return json.dumps(document, indent=2) + "\n"


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint folder.

    Raises:
        CheckpointError: if a file is missing, damaged, of a newer format, or has unknown settings.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config, training = load_config(folder)
    path = folder / WEIGHTS_NAME
    if not path.is_file():
        hint = ", for it is an ONNX export: only diffwave synthesize takes those" * (folder / STEP_NAME).is_file()
        raise CheckpointError(f"{folder}: expected a checkpoint with {WEIGHTS_NAME}; there is none{hint}")
    try:
        weights = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: expected safetensors weights; {error} (truncated?)") from None
    return Checkpoint(config, weights, training, load_spoken(folder))


def load_config(folder: Path) -> tuple[ModelConfig, dict[str, Any]]:
    """Read a checkpoint's settings and the story of its training.

    Raises:
        CheckpointError: if ``config.json`` is missing, damaged, of a newer format, or has unknown settings.
    """
    document = _read_config(folder)
    try:
        return from_dict(ModelConfig, document["model"]), document.get("training", {})
    except ConfigError as error:
        raise CheckpointError(f"{folder / CONFIG_NAME}: {error}") from None


def load_spoken(folder: Path) -> MelConvention | None:
    """The convention that a checkpoint speaks unless another is asked for; None for its own.

    Raises:
        CheckpointError: as :func:`load_config`.
    """
    speaks = _read_config(folder).get("speaks")
    if speaks is None:
        return None
    try:
        return convention_from_json(json.dumps(speaks), f"{folder / CONFIG_NAME}: speaks", folder.resolve().name)
    except ConfigError as error:
        raise CheckpointError(str(error)) from None


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG_NAME
    if not path.is_file():
        raise CheckpointError(
            f"{folder}: expected a checkpoint folder with {CONFIG_NAME} and {WEIGHTS_NAME}; there is no {CONFIG_NAME}"
        )
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        version = document["format_version"]
        document["model"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: expected a diffwave configuration in JSON; {error!r}") from None
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: expected checkpoint format {FORMAT_VERSION} or older; got {version!r} - upgrade diffwave-vocoder"
        )
    result: dict[str, Any] = document
    return result


def packaged_checkpoints() -> dict[str, Path]:
    """Folders of the checkpoints that the package ships, by name, the default first."""
    names = sorted((path.parent.name for path in ASSETS.glob(f"*/{CONFIG_NAME}")), key=lambda n: (n != DEFAULT, n))
    return {name: ASSETS / name for name in names}


def checkpoint_folder(name_or_path: str | Path) -> Path:
    """A packaged checkpoint by its name, or a folder as given (``./default`` for one that is called so).

    Raises:
        CheckpointError: if there is no such folder, or a file in its place.
    """
    packaged = packaged_checkpoints()
    if str(name_or_path) in packaged:
        return packaged[str(name_or_path)]
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise CheckpointError(f"{name_or_path}: expected {_instead_of(folder)}; got a file")
    names = " or ".join(map(repr, packaged))
    raise CheckpointError(f"{name_or_path}: expected a checkpoint folder or {names}; there is no such folder")


def _instead_of(file: Path) -> str:
    """What to give instead of a file."""
    if fnmatch(file.name, "training-*.pt"):
        return "the folder of the run, which is a checkpoint, not one of its states"
    hint = " (checkpoints of others become one with diffwave import)" * (file.suffix in (".pt", ".pth", ".ckpt"))
    return f"a folder with {CONFIG_NAME} and {WEIGHTS_NAME}{hint}"
