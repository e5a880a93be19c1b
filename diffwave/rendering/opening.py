"""The vocoder that a command was asked for: a checkpoint, or an ONNX export."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffwave.errors import InputError

if TYPE_CHECKING:
    from diffwave.config import MelConvention
    from diffwave.vocoder import Vocoder


def open_vocoder(
    checkpoint: str, device: str, backend: str, precision: str, mel: MelConvention | None = None
) -> Vocoder:
    """Load what ``--checkpoint`` names, for mels of a convention.

    Raises:
        InputError: for a device, backend or precision that an ONNX export does not run with.
        ConfigError, CheckpointError, DeviceError, BackendError: as :meth:`Vocoder.from_pretrained`.
    """
    from diffwave.checkpoint.folder import STEP_NAME, WEIGHTS_NAME, checkpoint_folder
    from diffwave.vocoder import Vocoder

    folder = checkpoint_folder(checkpoint)
    if (folder / WEIGHTS_NAME).exists() or not (folder / STEP_NAME).is_file():
        return Vocoder.from_pretrained(checkpoint, device, backend, precision, mel=mel)
    asked = (("--device", device, "cpu"), ("--backend", backend, "auto"), ("--precision", precision, "float32"))
    for name, value, possible in asked:
        if value not in ("auto", possible):
            kinds = " or ".join(dict.fromkeys(("auto", possible)))
            raise InputError(f"{name}: expected {kinds}, for {folder} is an ONNX export; got {value}")
    from diffwave.interop.onnx_runtime import load_onnx

    return load_onnx(folder, mel=mel)
