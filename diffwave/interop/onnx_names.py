"""What the files of an ONNX export are called, with their inputs and outputs.

========================  ==========================================================================================
``conditioner.onnx``      ``mel`` [batch, M, frames] to ``condition`` [batch, M, positions]: the upsampler, once for an
                          utterance; positions = frames * hop / squeeze
``step.onnx``             ``noisy`` [batch, samples], ``step`` [batch] (may be fractional), ``condition`` to ``output``
                          [batch, samples]: the network, once for each denoising step
``refiner.onnx``          ``mel`` [batch, M, frames], ``deviation`` [batch, M, 2 frames] to ``refined`` of the same
                          shape; only there if the model has a refiner
========================  ==========================================================================================

All are float32. ``config.json`` beside them says what the output means (``network.parameterization``), and has the
noise schedule and the mel convention.
"""

from __future__ import annotations

from diffwave.checkpoint.folder import STEP_NAME

__all__ = ["CONDITIONER_NAME", "OPSET", "REFINER_NAME", "STEP_NAME", "onnx_missing"]

CONDITIONER_NAME = "conditioner.onnx"
REFINER_NAME = "refiner.onnx"
OPSET = 18


def onnx_missing(package: str | None) -> ImportError:
    """What to say where a package of the extra is not installed."""
    return ImportError(f"ONNX needs the package {package or 'onnx'}: pip install 'diffwave-vocoder[onnx]'")
