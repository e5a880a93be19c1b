"""Checkpoints of lmnt-com/diffwave: ``weights.pt`` as its ``learner.py`` writes them.

The parameter names here are lmnt-com's, so the weights are taken as they are. Its ``params`` are taken for what the
weights do not tell (its own ``inference.py`` ignores them); its front end is ``preprocess.py``, the ``lmnt-22k``
preset with the rate, bands and frames of ``params``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from diffwave.checkpoint.folder import CheckpointError
from diffwave.config import BASE, ConfigError, MelConfig, ModelConfig, NetworkConfig, mel_preset
from diffwave.interop.archives import load_archive, named_tensors
from diffwave.interop.foreign import (
    FAST_BETAS,
    Foreign,
    find_file,
    noise_schedule,
    original_sampling,
    variances,
    whole_number,
)
from diffwave.interop.shapes import ForeignSizes, sizes_of

WEIGHTS_NAME = "weights.pt"
_SAID = {
    "channels": "residual_channels",
    "layers": "residual_layers",
    "bands": "n_mels",
    "hop": "hop_samples",
}


def read(path: Path) -> Foreign:
    """Read ``weights.pt``, or a state dict alone.

    Args:
        path: the file, or the folder that lmnt-com's learner wrote.

    Raises:
        CheckpointError: if it cannot be used.
    """
    file = find_file(path, WEIGHTS_NAME)
    found = load_archive(file)
    whole = isinstance(found, dict) and "model" in found
    weights = named_tensors(found["model"] if whole else found, file, "the state dict of a DiffWave")
    params = found.get("params", {}) if whole else {}
    if not isinstance(params, dict):
        raise CheckpointError(f"{file}: expected params to be a dictionary; got {type(params).__name__}")
    if params.get("unconditional") is True and "spectrogram_upsampler.conv1.weight" in weights:
        raise CheckpointError(f"{file}: expected a model that speaks mels; its params say unconditional=True")
    if "input_projection.conv.weight" in weights:
        raise CheckpointError(f"{file}: expected lmnt-com's names; got SpeechBrain's - use --from speechbrain")
    sizes = sizes_of(weights, file)
    sizes.check(params, _SAID, f"{file}: params")
    step = found.get("step") if whole else None
    story = {"iterations": step} if isinstance(step, int) and not isinstance(step, bool) else {}
    notes = [] if params else [f"{file.name} has no params: those of lmnt-com's params.py are assumed"]
    return Foreign(file, "lmnt-com/diffwave", weights, _config(sizes, params, file), story, notes)


def _config(sizes: ForeignSizes, params: Mapping[str, Any], file: Path) -> ModelConfig:
    source = f"{file}: params"
    cycle = whole_number(params, "dilation_cycle_length", BASE.network.dilation_cycle, source)
    network = NetworkConfig(sizes.channels, sizes.layers, cycle)
    diffusion = BASE.diffusion
    if "noise_schedule" in params:
        diffusion = noise_schedule(params["noise_schedule"], f"{source}: noise_schedule")
    fast = variances(params.get("inference_noise_schedule", FAST_BETAS), f"{source}: inference_noise_schedule")
    try:
        return ModelConfig(_mel(sizes, params, source), network, diffusion, sampling=original_sampling(fast))
    except ConfigError as error:
        raise CheckpointError(f"{source} cannot work: {error}") from None


def _mel(sizes: ForeignSizes, params: Mapping[str, Any], source: str) -> MelConfig:
    preset = mel_preset("lmnt-22k")
    rate = whole_number(params, "sample_rate", preset.sample_rate, source)
    return replace(
        preset,
        sample_rate=rate,
        n_fft=whole_number(params, "n_fft", preset.n_fft, source),
        win_length=4 * sizes.hop,
        hop_length=sizes.hop,
        n_mels=sizes.bands,
        f_max=rate / 2,
    )
