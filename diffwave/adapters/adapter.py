"""What the adapters of all frameworks share: mels of a stated convention in, waveforms out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffwave.adapters.convention import MelConvention, mel_convention
from diffwave.adapters.conversion import MelConversion, MelValueError
from diffwave.adapters.padded import speak, valid_frames
from diffwave.config import MelConfig
from diffwave.config.checks import one_of
from diffwave.mel.spectrogram import MelWarning
from diffwave.vocoder import Vocoder


class Adapter:
    """A vocoder that takes mels of another convention.

    Args:
        vocoder: who speaks.
        convention: of the mels that will come: a name of :data:`~diffwave.adapters.CONVENTIONS`, or one of your own;
            the framework's usual one if not given.
        steps, seed, consistency: see :class:`~diffwave.config.SynthesisOptions`; TTS code does not know of them. The
            other choices are those of ``vocoder.with_options``.
        on_doubt: ``refuse`` or ``warn`` of a mel that is possible but does not look like one of the convention.

    Raises:
        ConventionError: if such mels cannot be converted to the vocoder's; both conventions are in the message.
        ConfigError: for an unknown name.
        ValueError: for an impossible number of steps or iterations.

    ``notes`` tell what is converted.
    """

    usual_convention = ""

    def __init__(
        self,
        vocoder: Vocoder,
        convention: MelConvention | MelConfig | str = "",
        steps: int | str | None = None,
        seed: int = 0,
        consistency: int | None = None,
        on_doubt: str = "refuse",
    ) -> None:
        one_of("on_doubt", on_doubt, ("refuse", "warn"))
        own = vocoder.options
        # Raises now, not when the first mel comes, if the options cannot be.
        self.vocoder = vocoder.with_options(
            replace(
                own,
                steps=own.steps if steps is None else steps,
                seed=seed or own.seed,
                consistency=own.consistency if consistency is None else consistency,
            )
        )
        named = convention or self.usual_convention
        stated = MelConvention(named) if isinstance(named, MelConfig) else named
        self.convention = mel_convention(stated) if isinstance(stated, str) else stated
        self._conversion = MelConversion(self.convention, vocoder.config.mel)
        self._on_doubt = on_doubt

    @property
    def notes(self) -> list[str]:
        """What is converted on the way, in words; empty if the mels are the vocoder's own."""
        return list(self._conversion.notes)

    @property
    def sample_rate(self) -> int:
        """Of the waveforms, in Hz."""
        return self.vocoder.sample_rate

    @property
    def hop_length(self) -> int:
        """Samples per mel frame."""
        return self.vocoder.hop_length

    @property
    def device(self) -> torch.device:
        """Where the vocoder runs and the waveforms are."""
        return self.vocoder.device

    def parameters(self) -> Iterator[nn.Parameter]:
        """Those of the network: frameworks look at the first one's device."""
        return self.vocoder.network.parameters()

    def eval(self) -> Adapter:
        """Do nothing: a vocoder is always in evaluation mode."""
        return self

    def to(self, device: torch.device | str) -> Adapter:
        """Make sure of the device.

        Raises:
            ValueError: for another one than the vocoder was loaded on; ``Vocoder.from_pretrained(device=...)`` chooses.
        """
        asked = torch.device(device)
        if asked.type != self.device.type or (asked.index is not None and asked.index != self.device.index):
            raise ValueError(
                f"expected device {self.device}, where the vocoder was loaded; got {asked}: load it there, "
                f'Vocoder.from_pretrained(..., device="{asked}")'
            )
        return self

    def convert(self, mels: Tensor) -> Tensor:
        """Mels of the convention as mels of the vocoder.

        Args:
            mels: one, or a batch, with the axes of the convention.

        Returns:
            Shape ``[B, M, F]``; frame ``i`` stays frame ``i``, also where the framing differs.

        Raises:
            MelValueError: if they cannot be of the convention, or do not look like it (see ``on_doubt``).

        Warns:
            MelWarning: of the latter, with ``on_doubt="warn"``.
        """
        nepers = self._conversion.read(mels)
        self._doubt(nepers)
        return self._conversion.write(nepers).to(self.device)

    def waveforms(self, mels: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Synthesize mels of the convention.

        Args:
            mels: one, or a padded batch, with the axes of the convention.
            lengths: valid frames of each, shape ``[B]``; all if not given. What lies behind is not looked at.

        Returns:
            Waveforms ``[B, N]``, ``N = F * hop_length``, zero after their end, and how many samples of each are valid
            (None without ``lengths``).

        Raises:
            MelValueError, ValueError, MemoryError: see :meth:`convert` and
                :meth:`~diffwave.vocoder.Vocoder.synthesize`.
        """
        if lengths is None:
            return speak(self, self.convert(mels))
        axis = 1 if self.convention.axes == "frames-first" else 2
        if mels.ndim != 3:
            raise ValueError(f"lengths: expected a batch of mels with them; got shape {list(mels.shape)}")
        longest = mels.shape[axis]
        frames = valid_frames(longest, len(mels), lengths)
        alone = [mel.narrow(axis - 1, 0, count) for mel, count in zip(mels, frames, strict=True)]
        converted = [self.convert(mel)[0] for mel in alone]
        padded = torch.stack([F.pad(mel, (0, longest - mel.shape[1])) for mel in converted])
        return speak(self, padded, lengths)

    def waveform(self, mel: Tensor) -> Tensor:
        """Synthesize one mel of the convention, without a batch's axis; returns ``[N]``.

        Raises:
            MelValueError, ValueError, MemoryError: see :meth:`waveforms`; also for a batch.
        """
        return self.waveforms(mel.unsqueeze(0) if isinstance(mel, Tensor) else mel)[0][0]

    def synthesize(self, mel: Tensor) -> Tensor:
        """Mels of the vocoder, ``[B, M, F]``, to waveforms ``[B, N]``, the framing's shift undone."""
        with self._quiet():
            wavs = self.vocoder.synthesize(self._padded(mel))
        return self._cut(wavs, mel.shape[-1])

    def synthesize_batch(self, mels: list[Tensor]) -> list[Tensor]:
        """Mels of the vocoder, ``[M, F_i]``, to waveforms, each as if it were alone."""
        longer = [self._padded(mel) for mel in mels]
        with self._quiet():
            wavs = self.vocoder.synthesize_batch(longer)
        return [self._cut(wav, mel.shape[-1]) for wav, mel in zip(wavs, mels, strict=True)]

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """Keep the vocoder from saying again what ``convert`` has warned of."""
        if self._on_doubt != "warn":
            yield
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MelWarning)
            yield

    def _padded(self, mel: Tensor) -> Tensor:
        """One frame more where the waveform will be cut: after the end if the mel's frames are early, else before."""
        if not self._conversion.shift:
            return mel
        if self.convention.mel.framing == "centre":
            return torch.cat([mel, mel[..., -1:]], dim=-1)
        return torch.cat([mel[..., :1], mel], dim=-1)

    def _cut(self, wav: Tensor, frames: int) -> Tensor:
        start = self._conversion.shift
        return wav[..., start : start + frames * self.hop_length]

    def _doubt(self, nepers: Tensor) -> None:
        for mel in nepers.unsqueeze(1):
            reason = self._conversion.doubt(mel)
            if reason and self._on_doubt == "refuse":
                raise MelValueError(f'{reason} (on_doubt="warn" lets it pass)')
            if reason:
                warnings.warn(reason, MelWarning, stacklevel=4)
