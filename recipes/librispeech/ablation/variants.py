"""What is tried: each variant changes one thing of ``experiment=librispeech_fast``, and says why and after whom."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from diffwave.config import ConfigError

DEFAULT = "default"


@dataclass(frozen=True)
class Variant:
    """A system of the table.

    Args:
        name: in files, tables and on the command line.
        overrides: hydra overrides of the experiment.
        why: what it is and what it could be good for, in one sentence.
        source: who proposed it.
    """

    name: str
    overrides: tuple[str, ...]
    why: str
    source: str


VARIANTS = (
    Variant(
        DEFAULT,
        (),
        "The packaged model's network and training: velocity, spectral prior, cosine schedule, groups of 8 samples.",
        "this project",
    ),
    Variant(
        "standard-prior",
        ("model.diffusion.prior=standard",),
        "White noise: the network has to find the envelope itself, and loud sounds rule the loss.",
        "Kong et al. 2021, DiffWave",
    ),
    Variant(
        "noise",
        ("model.network.parameterization=noise",),
        "The network predicts the noise: exact near speech, where there is little, and vague near noise.",
        "Kong et al. 2021, DiffWave",
    ),
    Variant(
        "clean",
        ("model.network.parameterization=clean",),
        "The network predicts the clean signal: its answer at the noisiest steps, where sampling begins, is direct.",
        "Salimans & Ho 2022, appendix D",
    ),
    Variant(
        "min-snr",
        ("train.noise_weighting=min_snr",),
        "Less weight for the steps that are hardly noisy, whose gradients pull elsewhere.",
        "Hang et al. 2023, Min-SNR, gamma = 5",
    ),
    Variant(
        "loudness",
        ("train.error_weighting=loudness",),
        "Errors weigh as differences of loudness: half of the bands lie above 4 kHz, where an ear has four of 24.",
        "Zwicker & Fastl 1999, specific loudness; this project",
    ),
    Variant(
        "stft",
        ("train.stft_weight=0.1",),
        "Magnitudes at three resolutions beside the error of samples: louder estimates, for means lack energy.",
        "Yamamoto et al. 2020, Parallel WaveGAN",
    ),
    Variant(
        "squeeze-4",
        ("model.network.squeeze=4", "model.network.residual_channels=64"),
        "Groups of 4 samples, fewer channels: shifts by a sample are learned sooner, at about the same cost.",
        "Prenger et al. 2019, WaveGlow, on groups of samples",
    ),
)


def choose(names: list[str]) -> list[Variant]:
    """The variants called so, in the order of the list; all of them if none is named.

    Raises:
        ConfigError: for an unknown name, with the nearest known one.
    """
    known = {variant.name: variant for variant in VARIANTS}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            raise ConfigError(f"unknown variant {name!r}; {hint}")
    return [variant for variant in VARIANTS if not names or variant.name in names]
