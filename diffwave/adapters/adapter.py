"""What the adapters of all frameworks share: mels of a stated convention in, waveforms out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffwave.adapters.padded import speak, valid_frames
from diffwave.config import MelConfig, MelConvention
from diffwave.config.checks import one_of
from diffwave.mel.spectrogram import MelWarning
from diffwave.vocoder import Vocoder


class MelValueError(ValueError):
    """A mel whose numbers cannot be of the convention that was stated."""


class Adapter:
    """A vocoder that takes mels of another convention.

    Args:
        vocoder: who speaks.
        convention: of the mels that will come: a name of ``diffwave mels``, the path of a JSON file, or one of your
            own; the framework's usual one if not given.
        steps, seed, consistency: see :class:`~diffwave.config.SynthesisOptions`; TTS code does not know of them. The
            other choices are those of ``vocoder.with_options``.
        on_doubt: ``refuse`` or ``warn`` of a mel that is possible but does not look like one of the convention.

    Raises:
        ConfigError: for an unknown name, or a convention that cannot be spoken.
        ValueError: for an impossible number of steps or iterations.

    ``notes`` tell what is done to the mels.
    """

    usual_convention = ""

    def __init__(
        self,
        vocoder: Vocoder,
        convention: MelConvention | MelConfig | str | Path = "",
        steps: int | str | None = None,
        seed: int = 0,
        consistency: int | None = None,
        on_doubt: str = "refuse",
    ) -> None:
        one_of("on_doubt", on_doubt, ("refuse", "warn"))
        own = vocoder.options
        # Raises now, not when the first mel comes, if the options cannot be.
        self.vocoder = vocoder.with_mel(convention or self.usual_convention).with_options(
            replace(
                own,
                steps=own.steps if steps is None else steps,
                seed=seed or own.seed,
                consistency=own.consistency if consistency is None else consistency,
            )
        )
        self.convention = self.vocoder.convention
        self._on_doubt = on_doubt

    @property
    def notes(self) -> list[str]:
        """What is done to the mels on the way, in words; empty if they are the network's own."""
        turned = ["axes: turned"] if self.convention.axes == "frames-first" else []
        return [*turned, *self.vocoder.notes]

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

    def read(self, mels: Tensor) -> Tensor:
        """Mels of the convention as the vocoder takes them.

        Args:
            mels: one, or a batch, with the axes of the convention.

        Returns:
            Shape ``[B, M, F]``.

        Raises:
            MelValueError: if they cannot be of the convention, or do not look like it (see ``on_doubt``).

        Warns:
            MelWarning: of the latter, with ``on_doubt="warn"``.
        """
        batch = self._turned(mels)
        front_end = self.vocoder.front_end
        try:
            front_end.check_range(batch)
        except ValueError as error:
            raise MelValueError(str(error)) from None
        for mel in batch.unsqueeze(1):
            try:
                front_end.check_convention(mel)
            except ValueError as error:
                if self._on_doubt == "refuse":
                    raise MelValueError(f'{error} (on_doubt="warn" lets it pass)') from None
                warnings.warn(str(error), MelWarning, stacklevel=4)
        return batch.float().to(self.device)

    def _turned(self, mels: Tensor) -> Tensor:
        """``[B, M, F]``, whatever the axes."""
        bands = self.convention.mel.n_mels
        turned = self.convention.axes == "frames-first"
        axes = f"[frames, {bands} bands]" if turned else f"[{bands} bands, frames]"
        expected = f"expected {self.convention.name} mels {axes}, {self.convention.mel.log}"
        if not isinstance(mels, Tensor) or not mels.is_floating_point() or mels.layout != torch.strided:
            kind = str(mels.dtype) if isinstance(mels, Tensor) else type(mels).__name__
            raise MelValueError(f"{expected}, a tensor of floats; got {kind}")
        batch = mels.detach().unsqueeze(0) if mels.ndim == 2 else mels.detach()
        if batch.ndim != 3 or batch.numel() == 0:
            raise MelValueError(f"{expected}; got shape {list(mels.shape)}")
        first = batch.transpose(1, 2) if turned else batch
        if first.shape[1] != bands:
            swapped = " (transposed?)" if first.shape[2] == bands else ""
            raise MelValueError(f"{expected}; got shape {list(mels.shape)}{swapped}")
        return first

    def waveforms(self, mels: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Synthesize mels of the convention.

        Args:
            mels: one, or a padded batch, with the axes of the convention.
            lengths: valid frames of each, shape ``[B]``; all if not given. What lies behind is not looked at.

        Returns:
            Waveforms ``[B, N]``, ``N = F * hop_length``, zero after their end, and how many samples of each are valid
            (None without ``lengths``).

        Raises:
            MelValueError, ValueError, MemoryError: see :meth:`read` and
                :meth:`~diffwave.vocoder.Vocoder.synthesize`.
        """
        if lengths is None:
            return speak(self, self.read(mels))
        axis = 1 if self.convention.axes == "frames-first" else 2
        if mels.ndim != 3:
            raise ValueError(f"lengths: expected a batch of mels with them; got shape {list(mels.shape)}")
        longest = mels.shape[axis]
        frames = valid_frames(longest, len(mels), lengths)
        alone = [mel.narrow(axis - 1, 0, count) for mel, count in zip(mels, frames, strict=True)]
        converted = [self.read(mel)[0] for mel in alone]
        padded = torch.stack([F.pad(mel, (0, longest - mel.shape[1])) for mel in converted])
        return speak(self, padded, lengths)

    def waveform(self, mel: Tensor) -> Tensor:
        """Synthesize one mel of the convention, without a batch's axis; returns ``[N]``.

        Raises:
            MelValueError, ValueError, MemoryError: see :meth:`waveforms`; also for a batch.
        """
        return self.waveforms(mel.unsqueeze(0) if isinstance(mel, Tensor) else mel)[0][0]

    def synthesize(self, mel: Tensor) -> Tensor:
        """Mels ``[B, M, F]`` to waveforms ``[B, N]``."""
        with self._quiet():
            return self.vocoder.synthesize(mel)

    def synthesize_batch(self, mels: list[Tensor]) -> list[Tensor]:
        """Mels ``[M, F_i]`` to waveforms, each as if it were alone."""
        with self._quiet():
            return self.vocoder.synthesize_batch(mels)

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """Keep the vocoder from saying again what ``read`` has warned of."""
        if self._on_doubt != "warn":
            yield
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MelWarning)
            yield
