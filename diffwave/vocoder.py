"""The vocoder: a mel in, a waveform out. The facade that everybody uses."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffwave.checkpoint.folder import DEFAULT, CheckpointError, checkpoint_folder, load_checkpoint
from diffwave.config import (
    AS_TRAINED,
    MelConfig,
    MelConvention,
    ModelConfig,
    SynthesisOptions,
    check_speakable,
    mel_convention,
)
from diffwave.devices import in_pieces, pick_device
from diffwave.diffusion import DiffusionProcess, NoiseSchedule
from diffwave.kernels.dispatch import choose
from diffwave.mel.conversion import Conversion, converts
from diffwave.mel.parts import mel_parts
from diffwave.mel.recognition import looks_like
from diffwave.mel.spectrogram import MelSpectrogram, MelWarning
from diffwave.network.protocol import VocoderModel
from diffwave.synthesis.blockwise import Synthesis
from diffwave.synthesis.denoising import Denoiser
from diffwave.synthesis.graphs import Graphs
from diffwave.synthesis.resolved import ResolvedSynthesis, choosing, resolve

# A "batch" of more examples than this, each of fewer samples, is soundfile's [N, channels].
_MOST_CHANNELS = 16

# Frames of a stream that tell whether it looks like speech, and of which convention.
ENOUGH_FRAMES, _TELLING_FRAMES = 64, 256

# (index of the step just done, counting down to 0; state as a waveform [B, N]; clean estimate [B, N])
StepCallback = Callable[[int, Tensor, Tensor], None]


@dataclass(frozen=True)
class _Watched(SynthesisOptions):
    """The same, and who is shown every step."""

    callback: StepCallback | None = None


class Vocoder:
    """A trained model with everything it needs to speak; TTS code calls it through :mod:`diffwave.adapters`.

    Args:
        checkpoint: configuration and weights.
        device: where to run: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        backend: what runs the residual layers: ``auto``, ``reference``, ``compiled``, ``native`` (CPU) or ``triton``
            (GPU); ``auto`` is the kernel made for the device, or the reference where that cannot run.
        precision: ``float32``, ``bfloat16``, or ``auto``: what the backend is fastest in.
        graphs: on a GPU, record the sampler as a CUDA graph when a length comes up again (``synthesis.graphs``).
        mel: convention of the mels that it is to speak, and the rate to speak at: a name of ``diffwave mels``, the path
            of a JSON file, or a :class:`~diffwave.config.MelConfig`; the checkpoint's if None.

    Raises:
        ConfigError: for an unknown convention, or one that cannot be spoken.
        BackendError: if a backend is named that cannot run on the device, or not in the precision that is named.

    ``backend`` and ``precision`` tell what was chosen; ``options`` are how it speaks unless told otherwise;
    ``convention`` is what mels are read as, and ``named`` whether somebody asked for it.

    >>> vocoder = Vocoder.from_pretrained(device="cpu")
    >>> mel = vocoder.mel(torch.zeros(16000))
    >>> mel.shape
    torch.Size([80, 63])
    >>> vocoder.synthesize(mel, steps=2).shape
    torch.Size([16128])
    """

    def __init__(
        self,
        checkpoint: VocoderModel,
        device: str | torch.device = "auto",
        backend: str = "auto",
        precision: str = "auto",
        graphs: bool = True,
        mel: MelConvention | MelConfig | str | Path | None = None,
    ) -> None:
        self.device = pick_device(device) if isinstance(device, str) else device
        self.config: ModelConfig = checkpoint.config
        self.training_story = checkpoint.training
        shape = self.config.network
        choice = choose(backend, precision, self.device, shape.residual_channels, shape.padding)
        self.precision = choice.precision
        self.network = checkpoint.build(self.device, choice.backend)
        self.refiner = checkpoint.build_refiner(self.device)
        self._own = MelSpectrogram(self.config.mel).to(self.device)
        self.schedule = NoiseSchedule.from_config(self.config.diffusion)
        self.process = DiffusionProcess(self.schedule, self.config.network.parameterization)
        self.options = AS_TRAINED
        self._denoiser = Denoiser.on(self.device, self.network, self.process, choice)
        self._graphs = Graphs.on(self.device, self._denoiser) if graphs and self.device.type == "cuda" else None
        self._take(mel or checkpoint.speaks or self.config.mel)
        self.named = mel is not None or checkpoint.speaks is not None

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path = DEFAULT,
        device: str | torch.device = "auto",
        backend: str = "auto",
        precision: str = "auto",
        graphs: bool = True,
        mel: MelConvention | MelConfig | str | Path | None = None,
    ) -> Vocoder:
        """Load a checkpoint folder, or one that the package ships.

        Args:
            name_or_path: ``default``, ``10ms``, or a folder with ``model.safetensors`` and ``config.json``.
            device, backend, precision, graphs, mel: see :class:`Vocoder`.

        Raises:
            CheckpointError: if there is no such checkpoint or it is damaged.
            DeviceError: if the device is not there.
            BackendError: if the backend or the precision cannot be had.
        """
        folder = checkpoint_folder(name_or_path)
        checkpoint = load_checkpoint(folder)
        try:
            return cls(checkpoint, device, backend, precision, graphs, mel)
        except CheckpointError as error:
            raise CheckpointError(f"{folder}: {error}") from None

    @property
    def backend(self) -> str:
        """What runs the residual layers."""
        return self.network.backend.name

    @property
    def notes(self) -> list[str]:
        """What is done to mels of the convention before the network speaks, in words; empty for its own."""
        own, theirs = self._own.config, self.front_end.config
        if self.front_end is self._own:
            return []
        if self._convert is not None:
            return [f"values: written as {own.log}, floor {own.floor:g}"]
        edge = f"above {own.sample_rate / 2:g} Hz the mel alone speaks"
        above = [edge] if theirs.sample_rate > own.sample_rate else []
        return [f"through a consistent waveform to the network's mel of {own.sample_rate} Hz", *above]

    @property
    def sample_rate(self) -> int:
        """Of the waveforms, in Hz."""
        return self.front_end.config.sample_rate

    @property
    def hop_length(self) -> int:
        """Samples per mel frame."""
        return self.front_end.config.hop_length

    @torch.inference_mode()
    def mel(self, wav: Tensor) -> Tensor:
        """Log-mel of a waveform in this model's convention.

        Args:
            wav: samples in ``[-1, 1]`` at ``sample_rate``, shape ``[N]`` or ``[B, N]``; zeros are added up to a whole
                number of frames.

        Returns:
            Shape ``[M, F]`` or ``[B, M, F]``, ``F = ceil(N / hop_length)``, on the vocoder's device.

        Raises:
            ValueError: for integers, an empty waveform, or one of more examples than samples.
        """
        if not isinstance(wav, Tensor) or not wav.is_floating_point():
            raise ValueError(f"mel: expected a tensor of floats in [-1, 1]; got {_kind(wav)}")
        batch = (wav.unsqueeze(0) if wav.ndim == 1 else wav).to(self.device, torch.float32)
        if batch.ndim != 2 or batch.shape[-1] == 0:
            raise ValueError(f"mel: expected a waveform [N] or [B, N]; got shape {list(wav.shape)}")
        if batch.shape[1] <= _MOST_CHANNELS < batch.shape[0]:
            raise ValueError(f"mel: expected a waveform [N] or [B, N]; got shape {list(wav.shape)}, [N, channels]?")
        mel = torch.cat(list(mel_parts(self.front_end, [batch])), dim=-1)
        return mel[0] if wav.ndim == 1 else mel

    def with_options(self, options: SynthesisOptions) -> Vocoder:
        """The same vocoder, which speaks in another way unless told otherwise; networks and graphs are shared.

        Raises:
            ValueError: for options that cannot be with this model.
        """
        self.resolve(options)
        other = copy.copy(self)
        other.options = options
        return other

    def with_mel(self, mel: MelConvention | MelConfig | str | Path) -> Vocoder:
        """The same vocoder for mels of another convention; networks are shared.

        Raises:
            ConfigError: for an unknown convention, or one that cannot be spoken.
        """
        other = copy.copy(self)
        other._take(mel)
        other.named = True
        return other

    def _take(self, mel: MelConvention | MelConfig | str | Path) -> None:
        """Make a convention the one of the mels to come."""
        theirs, own = mel_convention(mel), self._own
        if theirs.mel != own.config:
            check_speakable(theirs)
        self.convention = theirs
        self.front_end = own if theirs.mel == own.config else MelSpectrogram(theirs.mel, theirs.name).to(self.device)
        same = self.front_end is not own and converts(theirs.mel, own.config)
        self._convert = Conversion(self.front_end, own) if same else None

    def resolve(self, options: SynthesisOptions | None = None) -> ResolvedSynthesis:
        """What options come to with this model; its own way if none are given.

        Raises:
            ValueError: for an impossible number of steps, an unknown sampler or place, or refinements that cannot be.
        """
        wanted = self.options if options is None else options
        return resolve(wanted, self.config.sampling, self.schedule, self.refiner is not None)

    def record(self, resolved: ResolvedSynthesis) -> dict[str, Any]:
        """What outputs depend on beside checkpoint and mel, ready for JSON."""
        ran = {"device": str(self.device), "backend": self.backend, "precision": self.precision}
        return {**resolved.record(), **ran}

    @choosing(_Watched)
    def synthesize(self, mel: Tensor, options: _Watched) -> Tensor:
        """Turn a mel into a waveform: ``synthesize(mel)``, or ``synthesize(mel, steps=6, seed=1)``.

        Args:
            mel: log-mel in this model's convention, shape ``[M, F]`` or ``[B, M, F]``.
            options: the fields of :class:`~diffwave.config.SynthesisOptions`, each by its name or in their order; and
                ``callback``, called after every step with its index and, as waveforms ``[B, N]``, the state and the
                estimate of the clean signal. The mel is then one block, however long
                (:mod:`diffwave.synthesis.blockwise`).

        Returns:
            Waveform, shape ``[N]`` or ``[B, N]``, ``N = F * hop_length``, on the vocoder's device.

        Raises:
            ValueError: if the mel cannot be of this model's convention, or the options not of this model.
            MemoryError: if an example does not fit into memory, even alone.

        Warns:
            MelWarning: if the mel is in range but looks like one of another convention.
        """
        if not isinstance(mel, Tensor):
            raise ValueError(f"synthesize: expected a tensor [M, F] or [B, M, F]; got {_kind(mel)}")
        if mel.ndim not in (2, 3):
            raise ValueError(f"synthesize: expected a tensor [M, F] or [B, M, F]; got shape {list(mel.shape)}")
        batch = mel.unsqueeze(0) if mel.ndim == 2 else mel
        batch = batch.to(self.device, torch.float32)
        if len(batch) == 0:
            raise ValueError(f"synthesize: expected at least one example; got a mel of shape {list(mel.shape)}")
        batch = self._checked(batch)
        synthesis, callback = self._synthesis(options), options.callback

        def run(piece: Sequence[Tensor]) -> list[Tensor]:
            if callback is not None:
                return synthesis.speak([torch.cat(list(piece))], callback=callback)
            # A tensor rounds otherwise on a CPU than each example alone; iterations from noise would amplify that.
            apart = synthesis.foreign and self.device.type == "cpu"
            groups = piece if apart else [torch.cat(list(piece))]
            return list(torch.cat(synthesis.whole(groups)).unsqueeze(1))

        # A callback is shown the whole batch.
        pieces = list(batch.unsqueeze(1)) if callback is None else [batch]
        with torch.inference_mode():
            made = torch.cat(in_pieces(run, pieces, self._release, self._describe))
        wavs = made.clone()  # of inference mode's own tensors none could be changed in place
        return wavs[0] if mel.ndim == 2 else wavs

    @choosing(SynthesisOptions)
    def synthesize_batch(self, mels: list[Tensor], options: SynthesisOptions) -> list[Tensor]:
        """Turn mels of different lengths into waveforms, in one batch; each as if it were alone.

        Args:
            mels: log-mels ``[M, F_i]``.
            options: as for :meth:`synthesize`.

        Returns:
            Waveforms ``[F_i * hop_length]``. They equal those of :meth:`synthesize`: on a CPU to the bit as far as was
            seen; where a batch rounds otherwise, as on GPUs, iterations of consistency amplify that.

        Raises:
            ValueError, MemoryError: as :meth:`synthesize`.
        """
        if not mels:
            return []
        if len(mels) == 1:
            return [self.with_options(options).synthesize(mels[0])]
        batch = [mel.to(self.device, torch.float32) for mel in mels]
        batch = [self._checked(mel.unsqueeze(0))[0] for mel in batch]
        synthesis = self._synthesis(options)

        def run(piece: Sequence[Tensor]) -> list[Tensor]:
            return [wav[0] for wav in synthesis.whole([mel.unsqueeze(0) for mel in piece])]

        with torch.inference_mode():
            made = in_pieces(run, batch, self._release, self._describe)
        return [wav.clone() for wav in made]

    @choosing(SynthesisOptions)
    def stream(self, mels: Iterable[Tensor], options: SynthesisOptions) -> Iterator[Tensor]:
        """Turn a mel into a waveform while it arrives.

        Args:
            mels: parts of one log-mel, in order, each ``[M, F_i]`` with any number of frames.
            options: as for :meth:`synthesize`.

        Yields:
            The waveform in pieces ``[n_i]``, as soon as each is known; together ``F * hop_length`` samples. With
            consistency they are those of :meth:`synthesize`, bit by bit; without, to float rounding.

        Raises:
            ValueError, MemoryError: as :meth:`synthesize`; for what a part has wrong, when its turn has come.
        """
        synthesis = self._synthesis(options)
        if isinstance(mels, Tensor):
            raise ValueError("stream: expected parts of a mel, such as [mel]; got one tensor")
        return (piece[0].clone() for piece in synthesis.stream(self._parts(mels)))

    def _parts(self, mels: Iterable[Tensor]) -> Iterator[Tensor]:
        """Parts of a stream as ``[1, M, F_i]``, checked."""
        frames = 0
        head: list[Tensor] = []
        for mel in mels:
            if not isinstance(mel, Tensor) or mel.ndim != 2:
                got = f"shape {list(mel.shape)}" if isinstance(mel, Tensor) else _kind(mel)
                raise ValueError(
                    f"stream: expected parts of a mel [{self.front_end.config.n_mels} bands, frames]; got {got}"
                )
            part = mel.unsqueeze(0).to(self.device, torch.float32)
            if part.shape[-1]:
                self.front_end.check_range(part)
                yield self._heard(part)
            before, frames = frames, frames + part.shape[-1]
            if before < _TELLING_FRAMES:
                head.append(part)
            if before < ENOUGH_FRAMES <= frames:
                self._doubted(torch.cat(head, dim=-1))
            if before < _TELLING_FRAMES <= frames:
                self._recognize(torch.cat(head, dim=-1))
        if frames == 0:
            raise ValueError(f"stream: expected a mel [{self.front_end.config.n_mels} bands, frames]; got no frames")
        if frames < _TELLING_FRAMES:
            self._recognize(torch.cat(head, dim=-1))

    def _synthesis(self, options: SynthesisOptions) -> Synthesis:
        heard = self.front_end if self._convert is None else self._own
        model = (self._denoiser, heard, self._own, self.config.diffusion)
        return Synthesis(*model, self.resolve(options), self.refiner, self._graphs)

    def _checked(self, mel: Tensor) -> Tensor:
        """Refuse what cannot be a mel; only warn of what looks strange, for it may be a strange recording."""
        self.front_end.check_range(mel)
        if not self._doubted(mel):
            self._recognize(mel)
        return self._heard(mel)

    def _doubted(self, mel: Tensor) -> bool:
        """Warn of a mel ``[B, M, F]`` that looks strange."""
        try:
            self.front_end.check_convention(mel)
        except ValueError as error:
            warnings.warn(str(error), MelWarning, stacklevel=5)  # past the wrapper of `choosing`
            return True
        return False

    def _recognize(self, mel: Tensor) -> None:
        """Warn of a mel ``[B, M, F]`` that looks like one of another convention."""
        config = self.front_end.config
        if named := looks_like(mel, config):
            read = f"{self.front_end.name or 'what it is read as'}: {config.describe()}"
            warnings.warn(
                f'mel looks like {named} rather than {read}; mel="{named.split()[0]}" names it',
                MelWarning,
                stacklevel=5,
            )

    def _heard(self, mel: Tensor) -> Tensor:
        """A mel in range ``[..., M, F]`` as it is synthesized."""
        # How numbers lie in memory can change how a library rounds.
        within = self.front_end.within_limits(mel).contiguous()
        return within if self._convert is None else self._convert(within)

    def _release(self) -> bool:
        """Give back the memory of recorded graphs; false if there are none."""
        released = self._graphs is not None and self._graphs.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return released

    def _describe(self, mel: Tensor) -> str:
        """What to say of a mel ``[..., M, F]`` that does not fit into memory."""
        seconds = mel.shape[-1] * self.hop_length / self.sample_rate
        return (
            f"expected what fits into the memory of {self.device}; got {seconds:.1f} s, a mel of shape "
            f"{list(mel.shape)}: cut it into shorter pieces, or use a device with more memory"
        )


def _kind(value: object) -> str:
    return str(value.dtype) if isinstance(value, Tensor) else type(value).__name__
