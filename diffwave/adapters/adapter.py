"""What the adapters of all frameworks share: mels of a stated convention in, waveforms out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffwave.adapters.padded import speak, valid_frames
from diffwave.config import MelConfig, MelConvention
from diffwave.config.checks import one_of
from diffwave.mel.spectrogram import MelValueError, MelWarning
from diffwave.vocoder import Vocoder


class Adapter(nn.Module):
    """A vocoder that takes mels of any convention, as a module for those who have their vocoder as one.

    Args:
        vocoder: who speaks.
        convention: of the mels that will come: a name of ``diffwave mels``, the path of a JSON file, or one of your
            own. If not given, that which the vocoder was made for, where it is not the network's own, else the
            framework's usual one.
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
        super().__init__()
        one_of("on_doubt", on_doubt, ("refuse", "warn"))
        own = vocoder.options
        told = vocoder.convention if vocoder.convention.mel != vocoder.config.mel else self.usual_convention
        # Raises now, not when the first mel comes, if the options cannot be.
        self.vocoder = vocoder.with_mel(convention or told).with_options(
            replace(
                own,
                steps=own.steps if steps is None else steps,
                seed=seed or own.seed,
                consistency=own.consistency if consistency is None else consistency,
            )
        )
        self.convention = self.vocoder.convention
        self.network = self.vocoder.network  # for who asks for parameters
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

    def _apply(self, fn: Callable[[Tensor], Tensor], *_: object, **__: object) -> Self:
        """Leave network and precision as they were loaded, whoever moves the module or what it is a part of.

        Raises:
            ValueError: for another device than the vocoder's.
        """
        try:
            asked = str(fn(torch.empty(0, device=self.device)).device)
        except (AssertionError, RuntimeError):
            asked = "one that is not there"
        if asked != str(torch.empty(0, device=self.device).device):
            raise ValueError(
                f"expected device {self.device}, where the vocoder was loaded; got {asked}: load it there, "
                "Vocoder.from_pretrained(..., device=...)"
            )
        return self

    def read(self, mels: Tensor) -> Tensor:
        """Mels of the convention as the vocoder takes them.

        Args:
            mels: one, or a batch, with the axes of the convention. One of nothing but zeros, which no recording has, is
                that of a denoiser who asks what silence sounds like, and becomes silence.

        Returns:
            Shape ``[B, M, F]``.

        Raises:
            MelValueError: if they cannot be of the convention, or do not look like it (see ``on_doubt``).

        Warns:
            MelWarning: of the latter, with ``on_doubt="warn"``.
        """
        batch = self._turned(mels).to(self.device, torch.float32)
        front_end = self.vocoder.front_end
        silent = front_end.compress(torch.zeros_like(batch))
        batch = torch.where((batch == 0).all(dim=2).all(dim=1)[:, None, None], silent, batch)
        front_end.check_range(batch)
        for mel in batch.unsqueeze(1):
            try:
                front_end.check_convention(mel)
            except MelValueError as error:
                if self._on_doubt == "refuse":
                    raise MelValueError(f'{error} (on_doubt="warn" lets it pass)') from None
                warnings.warn(str(error), MelWarning, stacklevel=4)
        return batch

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
        if batch.ndim != 3 or len(batch) == 0:
            raise MelValueError(f"{expected}; got shape {list(mels.shape)}")
        first = batch.transpose(1, 2) if turned else batch
        if first.shape[1] != bands:
            swapped = " (transposed?)" if first.shape[2] == bands else ""
            raise MelValueError(f"{expected}; got shape {list(mels.shape)}{swapped}")
        return first

    def stream(self, mels: Iterable[Tensor]) -> Iterator[Tensor]:
        """Speak one mel while it arrives.

        Args:
            mels: its parts, in order, each with the axes of the convention; a batch's axis may stand before them.

        Yields:
            The waveform in pieces ``[n_i]``, as soon as each is known.

        Raises:
            MelValueError, MemoryError: when the turn of a part that cannot be has come; also if the first 64 frames do
                not look like the convention.

        Warns:
            MelWarning: of the latter instead, with ``on_doubt="warn"``.
        """
        pieces = self.vocoder.stream(self._alone(part) for part in mels)
        while True:
            with warnings.catch_warnings():
                if self._on_doubt == "refuse":
                    warnings.simplefilter("error", MelWarning)
                try:
                    piece = next(pieces, None)
                except MelWarning as doubt:
                    raise MelValueError(f'{doubt} (on_doubt="warn" lets it pass)') from None
            if piece is None:
                return
            yield piece

    def _alone(self, mel: Tensor) -> Tensor:
        """``[M, F]``."""
        batch = self._turned(mel)
        if len(batch) > 1:
            raise MelValueError(f"expected one {self.convention.name} mel; got a batch of {len(batch)}")
        return batch[0]

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
