"""How much work a synthesis is, and how fast a machine could do it at best (the roofline model).

Letters as in ``network.diffwave``: ``B`` batch, ``N`` samples, ``F`` frames, ``M`` bands, ``C`` channels, ``L``
layers, ``P = N / squeeze`` positions; ``S`` sampling steps.

*Operations* are those of convolutions and matrix products, two for each multiply-add, as
``torch.utils.flop_counter`` counts them; gates, additions and Fourier transforms are not in them.

*Traffic* is compulsory: weights are read once in a network call, and every layer reads its input once and writes its
output once, in the dtype it computes in. A residual layer reads and writes the residual stream and the sum of the skip
connections, and reads the mel, upsampled (``M`` numbers a position) or already projected (``2C``). A kernel that keeps
several layers in a cache can stay below that; one that stores what lies within a layer cannot reach it.

Roofline: Williams, Waterman & Patterson 2009, "Roofline: an insightful visual performance model".
"""

from __future__ import annotations

from dataclasses import dataclass

from diffwave.config import ModelConfig
from diffwave.network.upsampling import upsampling_factors
from diffwave.speed.timing import MachineLimits

# Shapes that no setting changes; a test counts a real network's operations and weights.
_EMBEDDING, _HIDDEN = 128, 512  # of a diffusion step: sines and cosines, and the layers after them
_TAPS = 3  # of the dilated convolution
_BANDS = 3  # that a tap of the upsampler sees
_WAVEFORM = 4  # bytes of a sample: the sampler works in float32


@dataclass(frozen=True)
class Work:
    """Operations, and bytes from and to memory."""

    operations: int
    traffic: int

    def __add__(self, other: Work) -> Work:
        return Work(self.operations + other.operations, self.traffic + other.traffic)

    def __mul__(self, times: int) -> Work:
        return Work(self.operations * times, self.traffic * times)

    def seconds(self, limits: MachineLimits) -> float:
        """The shortest time in which a machine can do it."""
        return max(self.operations / limits.operations, self.traffic / limits.traffic)


@dataclass(frozen=True)
class Roofline:
    """The shortest time that a synthesis can take on a machine.

    Args:
        work: of the whole synthesis.
        kept: whether projections of the mel are kept between steps, as is faster on this machine.
        compute_seconds, memory_seconds: what each of the two limits asks for.
    """

    work: Work
    kept: bool
    compute_seconds: float
    memory_seconds: float

    @property
    def seconds(self) -> float:
        """The larger of the two."""
        return max(self.compute_seconds, self.memory_seconds)

    @property
    def limit(self) -> str:
        """Which of the two: ``compute`` or ``memory``."""
        return "compute" if self.compute_seconds >= self.memory_seconds else "memory"


def roofline(config: ModelConfig, samples: int, steps: int, batch: int, width: int, limits: MachineLimits) -> Roofline:
    """The better of keeping the projections of the mel and of making them anew, on a machine.

    Args:
        config: the model.
        samples: ``N``, of each example.
        steps: ``S``.
        batch: ``B``.
        width: bytes of a number: 4 in float32, 2 in bfloat16.
        limits: of the machine.
    """
    ways = {kept: synthesis_work(config, samples, steps, batch, kept, width) for kept in (False, True)}
    kept = ways[True].seconds(limits) < ways[False].seconds(limits)
    work = ways[kept]
    return Roofline(work, kept, work.operations / limits.operations, work.traffic / limits.traffic)


def synthesis_work(config: ModelConfig, samples: int, steps: int, batch: int, kept: bool, width: int) -> Work:
    """Everything the network does for ``B`` waveforms of ``N`` samples: the preparation and ``S`` calls.

    Arguments as for :func:`roofline`; ``kept``: projections of the mel are made once instead of in every call.

    Raises:
        ValueError: if ``N`` is not a positive multiple of the hop.
    """
    hop = config.mel.hop_length
    if samples <= 0 or samples % hop:
        raise ValueError(f"samples: expected a positive multiple of the hop, {hop}; got {samples}")
    return (
        preparation_work(config, samples, batch, kept, width) + call_work(config, samples, batch, kept, width) * steps
    )


def preparation_work(config: ModelConfig, samples: int, batch: int, kept: bool, width: int) -> Work:
    """What is done once for a mel: its upsampling and, if ``kept``, its projection for every layer."""
    bands, positions = config.mel.n_mels, batch * samples // config.network.squeeze
    first, second = upsampling_factors(config.mel.hop_length // config.network.squeeze)
    numbers = batch * bands * samples // config.mel.hop_length  # of the mel
    work = _upsampling(numbers, first, width) + _upsampling(numbers * first, second, width)
    if kept:
        projection = _projection(bands, 2 * config.network.residual_channels, positions, width)
        work += projection * config.network.residual_layers
    return work


def call_work(config: ModelConfig, samples: int, batch: int, kept: bool, width: int) -> Work:
    """One call of the network, for one diffusion step."""
    network = config.network
    channels, positions = network.residual_channels, batch * samples // network.squeeze
    kernel = network.squeeze * network.squeeze_overlap
    # In and out: both convolutions make kernel * C products for every position.
    enter, leave = (_edge(channels, kernel, positions, batch * samples, biases, width) for biases in (channels, 1))
    stack = layer_work(config, positions, kept, width) * network.residual_layers
    # The first layer finds no sum of skip connections, and nobody reads the last one's residual stream.
    spared = Work(0, -2 * channels * positions * width)
    skip = _projection(channels, channels, positions, width)
    return _embedding(config, batch, width) + enter + stack + spared + skip + leave


def layer_work(config: ModelConfig, positions: int, kept: bool, width: int) -> Work:
    """One residual layer at ``B * P`` positions.

    >>> from diffwave.config import BASE
    >>> layer_work(BASE, 1, kept=True, width=4).operations == 16 * 64**2
    True
    """
    channels, bands = config.network.residual_channels, config.mel.n_mels
    weights = 2 * channels * (_TAPS * channels + 1) + 2 * channels * (channels + 1)
    products = 2 * channels * (_TAPS + 1) * channels
    condition = 2 * channels
    if not kept:
        weights += 2 * channels * (bands + 1)
        products += 2 * channels * bands
        condition = bands
    numbers = weights + positions * (4 * channels + condition)
    return Work(2 * products * positions, numbers * width)


def _embedding(config: ModelConfig, batch: int, width: int) -> Work:
    """The step embedding and its projection for every layer; its few numbers other than weights are left out."""
    sizes = [(_EMBEDDING, _HIDDEN), (_HIDDEN, _HIDDEN)]
    sizes += [(_HIDDEN, config.network.residual_channels)] * config.network.residual_layers
    products = sum(inputs * outputs for inputs, outputs in sizes)
    return Work(2 * products * batch, sum((inputs + 1) * outputs for inputs, outputs in sizes) * width)


def _edge(channels: int, kernel: int, positions: int, samples: int, biases: int, width: int) -> Work:
    """The convolution between a waveform and the stack, in either direction."""
    numbers = channels * kernel + biases + channels * positions
    return Work(2 * channels * kernel * positions, numbers * width + samples * _WAVEFORM)


def _projection(inputs: int, outputs: int, positions: int, width: int) -> Work:
    """A convolution with one tap, and bias."""
    numbers = outputs * (inputs + 1) + (inputs + outputs) * positions
    return Work(2 * inputs * outputs * positions, numbers * width)


def _upsampling(numbers: int, factor: int, width: int) -> Work:
    """A transposed convolution over ``numbers`` values of a mel, which become ``factor`` times as many."""
    taps = _BANDS * (3 if factor == 1 else 2 * factor)
    return Work(2 * numbers * taps, (taps + 1 + numbers * (1 + factor)) * width)
