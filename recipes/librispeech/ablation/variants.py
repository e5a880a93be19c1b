"""What is tried: each variant changes one thing of ``experiment=librispeech_fast``, and says why and after whom."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from diffwave.config import ConfigError

DEFAULT = "default"
LMNT = "lmnt-com"
# The paper's own six steps for its linear schedule (appendix B).
_SIX = "+model.sampling.fast_betas.6=[0.0001,0.001,0.01,0.05,0.2,0.5]"


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
        "energy-prior",
        ("model.diffusion.prior=energy", "model.diffusion.prior_exponent=1"),
        "Noise as loud as the speech, the same at all frequencies: pauses count as much as vowels.",
        "Lee et al. 2022, PriorGrad",
    ),
    Variant(
        "exponent-1",
        ("model.diffusion.prior_exponent=1",),
        "The spectral prior at full strength: white in the domain of the diffusion, but a worse invertible filter.",
        "Koizumi et al. 2022, SpecGrad",
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
        "linear",
        ("model.diffusion.schedule=linear", _SIX),
        "The paper's schedule, which ends with half of the signal's amplitude left, sampled in the paper's six.",
        "Kong et al. 2021, DiffWave",
    ),
    Variant(
        "l1",
        ("train.loss=l1",),
        "The paper's code takes absolute errors: outliers weigh less, but the best answer is a median, not a mean.",
        "Kong et al. 2021, DiffWave",
    ),
    Variant(
        "min-snr",
        ("train.noise_weighting=min_snr",),
        "Less weight for the steps that are hardly noisy, whose gradients pull elsewhere.",
        "Hang et al. 2023, Min-SNR, gamma = 5",
    ),
    Variant(
        "logit-normal",
        ("train.noise_weighting=logit_normal",),
        "The middle noise levels weigh most: at the ends the answer is either given or the mean.",
        "Esser et al. 2024, Stable Diffusion 3, m = 0, s = 1",
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
        "ema-0.99",
        ("train.ema_decay=0.99",),
        "A short average of the weights: it forgets the beginning, which in a short training is much of it. Averages "
        "start shorter still, (1 + n) / (10 + n) after n iterations, so that up to 890 this is the default to the bit.",
        "Karras et al. 2024, EDM2, on the length of the average",
    ),
    Variant(
        "ema-0.9999",
        ("train.ema_decay=0.9999",),
        "A long average of the weights, as image models have it. For the same reason it is the default up to 8,990 "
        "iterations.",
        "Ho et al. 2020, DDPM",
    ),
    Variant(
        "crop-16",
        ("data.crop_frames=16", "train.batch_size=16"),
        "Crops of a quarter of a second and twice as many: the same audio in an iteration, of more speakers.",
        "Kong et al. 2021, appendix, have 62 frames",
    ),
    Variant(
        "crop-64",
        ("data.crop_frames=64", "train.batch_size=4"),
        "Crops of a second and half as many: the same audio in an iteration, fewer of its samples near a cut.",
        "Kong et al. 2021, appendix, have 62 frames",
    ),
    Variant(
        "squeeze-4",
        ("model.network.squeeze=4", "model.network.residual_channels=64"),
        "Groups of 4 samples, fewer channels: shifts by a sample are learned sooner, at about the same cost.",
        "Prenger et al. 2019, WaveGlow, on groups of samples",
    ),
    Variant(
        "squeeze-16",
        ("model.network.squeeze=16", "model.network.residual_channels=128", "model.network.residual_layers=14"),
        "Groups of 16 samples, more channels and layers at about the same cost (144 channels do not fit the C kernel, "
        "which takes multiples of 32).",
        "Prenger et al. 2019, WaveGlow, on groups of samples",
    ),
    Variant(
        "lr-1e-3",
        ("train.learning_rate=1e-3",),
        "Half of the learning rate: a short training may want more, a bfloat16 one less.",
        "Kingma & Ba 2015, Adam's usual rate",
    ),
    Variant(
        LMNT,
        (),
        "BASE of lmnt-com/diffwave 0.1.7 by its own network, training step and fast sampler, on the same crops with "
        "mels of its own convention at 16 kHz.",
        "github.com/lmnt-com/diffwave",
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
