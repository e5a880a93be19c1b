"""Between the waveforms that a caller's mels are of and the domain that the network's diffusion runs in.

Mels of the network's own convention have one waveform with it, filtered by the prior. Of any other convention, even at
another rate, a waveform that is consistent with the mels tells the network what it needs: its own mel, taken from that
waveform at its own rate. From then on, mels and network take turns on the same signal: what the network can hear of
it is resampled to its rate and back, what lies above its band stays with the waveform that is consistent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from diffwave.config import DiffusionConfig, MelConfig
from diffwave.diffusion import Prior
from diffwave.dsp.resampling import resample
from diffwave.mel.prior import make_prior
from diffwave.mel.spectrogram import MelSpectrogram


class Domain(Protocol):
    """What a group of examples of one length is heard in."""

    @property
    def mel(self) -> Tensor:
        """The network's own, ``[b, M, F]``."""

    def start(self) -> Tensor | None:
        """A consistent estimate ``[b, N]`` to begin with, where there is one already."""

    def waveform(self, white: Tensor) -> Tensor:
        """From the domain of the diffusion ``[b, N]``, or what begins with it, to the caller's waveform."""

    def white(self, wav: Tensor) -> Tensor:
        """The way back."""


@dataclass(frozen=True, eq=False)
class OwnDomain:
    """Of mels that are the network's own.

    Args:
        mel: shape ``[b, M, F]``.
        prior: of the mel.
        samples: of the waveform.
    """

    mel: Tensor
    prior: Prior
    samples: int

    def start(self) -> Tensor | None:
        """None: it is yet to be made, of the diffusion's noise."""
        return None

    def waveform(self, white: Tensor) -> Tensor:
        """See :class:`Domain`."""
        return self.prior.color(white[:, : self.samples])

    def white(self, wav: Tensor) -> Tensor:
        """See :class:`Domain`."""
        return self.prior.whiten(wav)


@dataclass(frozen=True)
class Window:
    """Where a stretch of an utterance lies, at the caller's rate and, in whole frames, at the network's.

    Args:
        theirs, ours: the conventions of caller and network.
        begin, end: positions of the caller's samples.
    """

    theirs: MelConfig
    ours: MelConfig
    begin: int
    end: int

    @property
    def first_frame(self) -> int:
        """Of the network's frames, the last that does not begin after the stretch."""
        return self.begin * self.ours.sample_rate // (self.theirs.sample_rate * self.ours.hop_length)

    @property
    def last_frame(self) -> int:
        """The first that does not begin before its end."""
        return -(-self.end * self.ours.sample_rate // (self.theirs.sample_rate * self.ours.hop_length))

    def down(self, wav: Tensor) -> Tensor:
        """The caller's samples ``[b, n]`` as the network's, ``[b, N]``."""
        begin, end = (frame * self.ours.hop_length for frame in (self.first_frame, self.last_frame))
        return resample(wav, self.theirs.sample_rate, self.ours.sample_rate, first=self.begin, begin=begin, end=end)

    def up(self, wav: Tensor) -> Tensor:
        """The network's samples ``[b, N]`` as the caller's, ``[b, n]``."""
        first = self.first_frame * self.ours.hop_length
        return resample(
            wav, self.ours.sample_rate, self.theirs.sample_rate, first=first, begin=self.begin, end=self.end
        )


@dataclass(eq=False)
class ForeignDomain:
    """Of mels of another convention.

    Args:
        window: the stretch.
        estimate: the newest waveform that is consistent with the mels, ``[b, n]``.
        front_end: of the network.
        diffusion: what its prior is made from.
    """

    window: Window
    estimate: Tensor
    front_end: MelSpectrogram
    diffusion: DiffusionConfig
    mel: Tensor = field(init=False)
    prior: Prior = field(init=False)

    def __post_init__(self) -> None:
        self._narrow = self.window.down(self.estimate)
        self.mel = self.front_end(self._narrow)
        self.prior = make_prior(self.diffusion, self.front_end, self.mel)

    def start(self) -> Tensor | None:
        """The estimate."""
        return self.prior.whiten(self._narrow)

    def waveform(self, white: Tensor) -> Tensor:
        """See :class:`Domain`; what the network cannot hear is the estimate's."""
        made = self.prior.color(white[:, : self._narrow.shape[1]])
        if self.window.theirs.sample_rate <= self.window.ours.sample_rate:
            return self.window.up(made)
        return self.estimate + self.window.up(made - self._narrow)

    def white(self, wav: Tensor) -> Tensor:
        """See :class:`Domain`; the waveform is the newest estimate."""
        self.estimate, self._narrow = wav, self.window.down(wav)
        return self.prior.whiten(self._narrow)
