"""Settings of a model: network, diffusion, and with mel, refiner and sampling all that a checkpoint stores.

``ModelConfig`` is everything that synthesis needs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from diffwave.config.checks import one_of, require
from diffwave.config.mel import MelConfig
from diffwave.config.refiner import RefinerConfig
from diffwave.config.sampling import SamplingConfig


@dataclass(frozen=True)
class NetworkConfig:
    """Shape of the dilated-convolution network (DiffWave, section 3 and table 1).

    The defaults are the paper's BASE; LARGE has ``residual_channels=128``.

    Args:
        residual_channels: ``C``.
        residual_layers: ``L``.
        dilation_cycle: layer ``i`` has dilation ``2 ** (i % dilation_cycle)``.
        squeeze: audio samples per position of the residual stack; 1 is the paper's network. The stack then
            runs at ``1 / squeeze`` of the sample rate, between a strided and a transposed convolution.
        squeeze_overlap: kernel of those two convolutions, in units of ``squeeze``; 1 cuts the signal into
            groups as WaveGlow does, 2 and more let neighbouring groups overlap like a learned filterbank.
        condition_mean, condition_std: the mel is normalised with them before the upsampler.
        parameterization: what the network's last layer means: ``noise`` (the paper), ``velocity`` or ``clean``
            (Salimans & Ho 2022, "v-prediction" and "x-prediction"), from which the noise follows in closed form.
        padding: what the dilated convolutions see beyond both ends of the signal: ``zeros`` (the paper), or its mirror
            image, ``reflect`` (SpeechBrain), which only the plain PyTorch backends can.
    """

    residual_channels: int = 64
    residual_layers: int = 30
    dilation_cycle: int = 10
    squeeze: int = 1
    squeeze_overlap: int = 1
    condition_mean: float = 0.0
    condition_std: float = 1.0
    parameterization: str = "noise"
    padding: str = "zeros"

    def __post_init__(self) -> None:
        for name in ("residual_channels", "residual_layers", "dilation_cycle", "squeeze"):
            value = getattr(self, name)
            require(value >= 1, f"network.{name} must be at least 1; got {value}")
        require(
            self.squeeze_overlap >= 1 and (self.squeeze_overlap - 1) * self.squeeze % 2 == 0,
            "network.squeeze_overlap must be at least 1, and (squeeze_overlap - 1) * squeeze even; got "
            f"squeeze_overlap={self.squeeze_overlap}, squeeze={self.squeeze}",
        )
        require(self.condition_std > 0, "network.condition_std must be positive")
        one_of("network.parameterization", self.parameterization, ("noise", "velocity", "clean"))
        one_of("network.padding", self.padding, ("zeros", "reflect"))

    @property
    def receptive_field(self) -> int:
        """Audio samples on each side of an output sample that can change it."""
        positions: int = sum(2 ** (i % self.dilation_cycle) for i in range(self.residual_layers))
        # One kernel less a sample: half of it on the way into the stack, half on the way out.
        return (positions + self.squeeze_overlap) * self.squeeze - 1


@dataclass(frozen=True)
class DiffusionConfig:
    """The forward process a network was trained on, and the fast schedules for it.

    Args:
        schedule: ``linear`` (betas from ``beta_start`` to ``beta_end``), ``cosine`` (constant signal + noise
            power with the angle linear in the step, from ``angle_start`` to ``angle_end`` quarter turns) or
            ``list`` (``betas``).
        steps: ``T``.
        betas: for ``schedule="list"``: the variances themselves.
        prior: shape of the noise: ``standard`` (white), ``spectral`` (the mel's spectral envelope; SpecGrad, Koizumi
            et al. 2022) or ``energy`` (the mel's energy, one gain for each frame; PriorGrad, Lee et al. 2022).
        prior_floor: smallest envelope, or energy, of the prior, as an amplitude of the waveform.
        prior_exponent: power of the envelope or the energy; 1 whitens speech fully, less keeps the filter better
            invertible (docs/benchmarks/prior.md); PriorGrad has 1.
        prior_level: amplitude that the prior leaves alone; about where whitened speech has unit variance, with 1 as
            the exponent it changes nothing.
    """

    schedule: str = "linear"
    steps: int = 50
    beta_start: float = 1e-4
    beta_end: float = 0.05
    angle_start: float = 0.012
    angle_end: float = 0.988
    betas: list[float] = field(default_factory=list)
    prior: str = "standard"
    prior_floor: float = 1e-4
    prior_exponent: float = 0.75
    prior_level: float = 0.005

    def __post_init__(self) -> None:
        one_of("diffusion.schedule", self.schedule, ("linear", "cosine", "list"))
        one_of("diffusion.prior", self.prior, ("standard", "spectral", "energy"))
        require(self.steps >= 1, f"diffusion.steps must be at least 1; got {self.steps}")
        require(
            self.schedule != "list" or len(self.betas) == self.steps,
            f"diffusion.betas must hold steps={self.steps} values; got {len(self.betas)}",
        )
        require(
            all(0 < beta < 1 for beta in self.betas),
            f"diffusion.betas must lie inside (0, 1); got {self.betas}",
        )
        require(
            self.prior_floor > 0 and self.prior_level > 0 and 0 < self.prior_exponent <= 1,
            "diffusion: expected prior_floor > 0, prior_level > 0 and 0 < prior_exponent <= 1; got "
            f"{self.prior_floor}, {self.prior_level} and {self.prior_exponent}",
        )
        require(
            0 < self.beta_start <= self.beta_end < 1,
            "diffusion: expected 0 < beta_start <= beta_end < 1; got "
            f"beta_start={self.beta_start}, beta_end={self.beta_end}",
        )
        require(
            0 < self.angle_start < self.angle_end < 1,
            "diffusion: expected 0 < angle_start < angle_end < 1; got "
            f"angle_start={self.angle_start}, angle_end={self.angle_end}",
        )


@dataclass(frozen=True)
class ModelConfig:
    """Everything that synthesis needs to know; stored in a checkpoint's ``config.json``."""

    mel: MelConfig = field(default_factory=MelConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    refiner: RefinerConfig = field(default_factory=RefinerConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)

    def __post_init__(self) -> None:
        hop, squeeze = self.mel.hop_length, self.network.squeeze
        require(
            hop % squeeze == 0,
            f"mel.hop_length must be a multiple of network.squeeze; got hop_length={hop}, squeeze={squeeze}",
        )
        require(
            self.sampling.refinements == 0 or bool(self.refiner.dilations),
            f"sampling.refinements={self.sampling.refinements} needs a refiner; refiner.dilations is empty",
        )
        require(
            not self.refiner.dilations
            or not any(n % 2 for n in (self.mel.n_fft, self.mel.win_length, self.mel.hop_length)),
            "refiner: expected a mel whose frames can be halved; got "
            f"n_fft={self.mel.n_fft}, win_length={self.mel.win_length}, hop_length={self.mel.hop_length}",
        )
        last = self.diffusion.steps - 1
        for name, steps in self.sampling.all_schedules():
            require(steps[-1] <= last, f"{name} must lie in [0, {last}], the trained steps; got {steps}")


BASE = ModelConfig(sampling=SamplingConfig(fast_betas={"6": [1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5]}))
"""BASE of the paper (table 1, appendix B): 64 channels, T = 50, 6 fast steps."""

LARGE = ModelConfig(
    network=NetworkConfig(residual_channels=128),
    diffusion=DiffusionConfig(steps=200, beta_end=0.02),
    sampling=SamplingConfig(fast_betas={"6": [1e-4, 1e-3, 0.01, 0.05, 0.2, 0.7]}),
)
"""LARGE of the paper (table 1, appendix B): 128 channels, T = 200, 6 fast steps."""
