"""The vocoder: a mel in, a waveform out. The facade that everybody uses."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from diffwave.checkpoint.folder import DEFAULT, CheckpointError, checkpoint_folder, load_checkpoint
from diffwave.config import ModelConfig, SamplingConfig
from diffwave.config.sampling import chosen_sampling
from diffwave.devices import in_pieces, pick_device
from diffwave.diffusion import DiffusionProcess, NoiseSchedule, Prior, Sampler
from diffwave.kernels.dispatch import choose
from diffwave.mel.parts import mel_parts
from diffwave.mel.spectrogram import MelSpectrogram, MelWarning
from diffwave.network.protocol import VocoderModel
from diffwave.synthesis.blockwise import Synthesis
from diffwave.synthesis.denoising import Denoiser, make_sampler
from diffwave.synthesis.graphs import Graphs

# A "batch" of more examples than this, each of fewer samples, is soundfile's [N, channels].
_MOST_CHANNELS = 16

# Frames of a stream that tell whether it looks like speech.
_ENOUGH_FRAMES = 64

# (index of the step just done, counting down to 0; state as a waveform [B, N]; clean estimate [B, N])
StepCallback = Callable[[int, Tensor, Tensor], None]


class Vocoder:
    """A trained model with everything it needs to speak; TTS code calls it through :mod:`diffwave.adapters`.

    Args:
        checkpoint: configuration and weights.
        device: where to run: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        backend: what runs the residual layers: ``auto``, ``reference``, ``compiled``, ``native`` (CPU) or ``triton``
            (GPU); ``auto`` is the kernel made for the device, or the reference where that cannot run.
        precision: ``float32``, ``bfloat16``, or ``auto``: what the backend is fastest in.
        graphs: on a GPU, record the sampler as a CUDA graph when a length comes up again (``synthesis.graphs``).

    Raises:
        BackendError: if a backend is named that cannot run on the device, or not in the precision that is named.

    ``backend`` and ``precision`` tell what was chosen.

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
    ) -> None:
        self.device = pick_device(device) if isinstance(device, str) else device
        self.config: ModelConfig = checkpoint.config
        self.training_story = checkpoint.training
        shape = self.config.network
        choice = choose(backend, precision, self.device, shape.residual_channels, shape.padding)
        self.precision = choice.precision
        self.network = checkpoint.build(self.device, choice.backend)
        self.refiner = checkpoint.build_refiner(self.device)
        self.front_end = MelSpectrogram(self.config.mel).to(self.device)
        self.schedule = NoiseSchedule.from_config(self.config.diffusion)
        self.process = DiffusionProcess(self.schedule, self.config.network.parameterization)
        self._denoiser = Denoiser.on(self.device, self.network, self.process, choice)
        self._graphs = Graphs.on(self.device, self._denoiser) if graphs and self.device.type == "cuda" else None

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path = DEFAULT,
        device: str | torch.device = "auto",
        backend: str = "auto",
        precision: str = "auto",
        graphs: bool = True,
    ) -> Vocoder:
        """Load a checkpoint folder, or one that the package ships.

        Args:
            name_or_path: ``default``, ``10ms``, or a folder with ``model.safetensors`` and ``config.json``.
            device, backend, precision, graphs: see :class:`Vocoder`.

        Raises:
            CheckpointError: if there is no such checkpoint or it is damaged.
            DeviceError: if the device is not there.
            BackendError: if the backend or the precision cannot be had.
        """
        folder = checkpoint_folder(name_or_path)
        checkpoint = load_checkpoint(folder)
        try:
            return cls(checkpoint, device, backend, precision, graphs)
        except CheckpointError as error:
            raise CheckpointError(f"{folder}: {error}") from None

    @property
    def backend(self) -> str:
        """What runs the residual layers."""
        return self.network.backend.name

    @property
    def sample_rate(self) -> int:
        """Of the waveforms, in Hz."""
        return self.config.mel.sample_rate

    @property
    def hop_length(self) -> int:
        """Samples per mel frame."""
        return self.config.mel.hop_length

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

    def settings(
        self, consistency: int | None = None, at: str | None = None, refinements: int | None = None
    ) -> SamplingConfig:
        """The checkpoint's settings of sampling with what a caller asks for.

        Args:
            consistency, at, refinements: see :meth:`synthesize`.

        Raises:
            ValueError: for impossible numbers, an unknown place, or refinements without a refiner.
        """
        if self.refiner is None and isinstance(refinements, int) and refinements > 0:
            raise ValueError(f"refinements: expected 0, for this model has no refiner; got {refinements}")
        return chosen_sampling(self.config.sampling, consistency, at, refinements)

    def sampler(
        self,
        steps: int | str | None = None,
        sampler: str | None = None,
        consistency: int | None = None,
        consistency_at: str | None = None,
    ) -> Sampler:
        """The way back from noise.

        Args:
            steps: number of network calls, ``"full"`` for as many as there are trained steps; the checkpoint's own if
                not given.
            sampler: ``ddpm``, ``ddim``, ``renoise``, ``dpm++`` or ``midpoint``; the checkpoint's own if not given.
            consistency, consistency_at: see :meth:`synthesize`; a checkpoint may have other schedules with them than
                for the network alone.

        Raises:
            ValueError: for an impossible number of steps or an unknown sampler.
        """
        settings = self.settings(consistency, consistency_at)
        return make_sampler(settings, self.schedule, steps, sampler)

    def synthesize(
        self,
        mel: Tensor,
        steps: int | str | None = None,
        sampler: str | None = None,
        seed: int = 0,
        consistency: int | None = None,
        callback: StepCallback | None = None,
        consistency_at: str | None = None,
        refinements: int | None = None,
    ) -> Tensor:
        """Turn a mel into a waveform.

        Args:
            mel: log-mel in this model's convention, shape ``[M, F]`` or ``[B, M, F]``.
            steps, sampler: see :meth:`sampler`.
            seed: of the noise, which is a function of seed and position only: the same for every example.
            consistency: iterations of :class:`MelConsistency` on the result; the checkpoint's own if not given. 0 is
                the network alone, from pure noise.
            callback: called after every step with its index and, as waveforms ``[B, N]``, the state and the estimate
                of the clean signal. The mel is then one block, however long (:mod:`diffwave.synthesis.blockwise`).
            consistency_at: where else consistency works, ``end``, ``steps`` or ``warm`` (``synthesis.guidance``); the
                checkpoint's own if not given.
            refinements: rounds of the refiner after consistency (``network.refiner``); the checkpoint's own if
                not given, 0 leaves it out.

        Returns:
            Waveform, shape ``[N]`` or ``[B, N]``, ``N = F * hop_length``, on the vocoder's device.

        Raises:
            ValueError: if the mel cannot be of this model's convention.
            MemoryError: if an example does not fit into memory, even alone.

        Warns:
            MelWarning: if the mel is in range but looks like one of another convention.
        """
        if not isinstance(mel, Tensor):
            raise ValueError(f"synthesize: expected a tensor [M, F] or [B, M, F]; got {_kind(mel)}")
        batch = mel.unsqueeze(0) if mel.ndim == 2 else mel
        batch = batch.to(self.device, torch.float32)
        if len(batch) == 0:
            raise ValueError(f"synthesize: expected at least one example; got a mel of shape {list(mel.shape)}")
        batch = self._checked(batch)
        synthesis = self._synthesis(steps, sampler, seed, consistency, consistency_at, refinements)

        def run(piece: Sequence[Tensor]) -> list[Tensor]:
            examples = torch.cat(list(piece))
            if callback is not None:
                shown = _as_waveforms(callback, synthesis.prior(examples))
                return synthesis.speak([examples], callback=shown)
            [wavs] = synthesis.whole([examples])
            return [wavs] if len(piece) == 1 else list(wavs.unsqueeze(1))

        # A callback is shown the whole batch.
        pieces = list(batch.unsqueeze(1)) if callback is None else [batch]
        with torch.inference_mode():
            made = torch.cat(in_pieces(run, pieces, self._release, self._describe))
        wavs = made.clone()  # of inference mode's own tensors none could be changed in place
        return wavs[0] if mel.ndim == 2 else wavs

    def synthesize_batch(
        self,
        mels: list[Tensor],
        steps: int | str | None = None,
        sampler: str | None = None,
        seed: int = 0,
        consistency: int | None = None,
        consistency_at: str | None = None,
        refinements: int | None = None,
    ) -> list[Tensor]:
        """Turn mels of different lengths into waveforms, in one batch; each as if it were alone.

        Args:
            mels: log-mels ``[M, F_i]``.
            steps, sampler, seed, consistency, consistency_at, refinements: see :meth:`synthesize`.

        Returns:
            Waveforms ``[F_i * hop_length]``. They equal those of :meth:`synthesize`: on a CPU to the bit as far as was
            seen; where a batch rounds otherwise, as on GPUs, iterations of consistency amplify that.

        Raises:
            ValueError, MemoryError: as :meth:`synthesize`.
        """
        if not mels:
            return []
        if len(mels) == 1:
            alone = self.synthesize(mels[0], steps, sampler, seed, consistency, None, consistency_at, refinements)
            return [alone]
        batch = [mel.to(self.device, torch.float32) for mel in mels]
        batch = [self._checked(mel.unsqueeze(0))[0] for mel in batch]
        synthesis = self._synthesis(steps, sampler, seed, consistency, consistency_at, refinements)

        def run(piece: Sequence[Tensor]) -> list[Tensor]:
            return [wav[0] for wav in synthesis.whole([mel.unsqueeze(0) for mel in piece])]

        with torch.inference_mode():
            made = in_pieces(run, batch, self._release, self._describe)
        return [wav.clone() for wav in made]

    def stream(
        self,
        mels: Iterable[Tensor],
        steps: int | str | None = None,
        sampler: str | None = None,
        seed: int = 0,
        consistency: int | None = None,
        consistency_at: str | None = None,
        refinements: int | None = None,
    ) -> Iterator[Tensor]:
        """Turn a mel into a waveform while it arrives.

        Args:
            mels: parts of one log-mel, in order, each ``[M, F_i]`` with any number of frames.
            steps, sampler, seed, consistency, consistency_at, refinements: see :meth:`synthesize`.

        Yields:
            The waveform in pieces ``[n_i]``, as soon as each is known; together ``F * hop_length`` samples. With
            consistency they are those of :meth:`synthesize`, bit by bit; without, to float rounding.

        Raises:
            ValueError, MemoryError: as :meth:`synthesize`; for what a part has wrong, when its turn has come.
        """
        synthesis = self._synthesis(steps, sampler, seed, consistency, consistency_at, refinements)
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
                raise ValueError(f"stream: expected parts of a mel [{self.config.mel.n_mels} bands, frames]; got {got}")
            part = mel.unsqueeze(0).to(self.device, torch.float32)
            if part.shape[-1]:
                self.front_end.check_range(part)
                part = self.front_end.within_limits(part)
                yield part
            if frames < _ENOUGH_FRAMES <= frames + part.shape[-1]:
                self._checked(torch.cat([*head, part], dim=-1))
            if frames < _ENOUGH_FRAMES:
                head.append(part)
            frames += part.shape[-1]
        if frames == 0:
            raise ValueError(f"stream: expected a mel [{self.config.mel.n_mels} bands, frames]; got no frames")

    def _synthesis(
        self,
        steps: int | str | None,
        sampler: str | None,
        seed: int,
        consistency: int | None,
        consistency_at: str | None,
        refinements: int | None,
    ) -> Synthesis:
        settings = self.settings(consistency, consistency_at, refinements)
        way = make_sampler(settings, self.schedule, steps, sampler)
        model = (self._denoiser, self.front_end, self.config.diffusion)
        return Synthesis(*model, settings, way, seed, self.refiner, self._graphs)

    def _checked(self, mel: Tensor) -> Tensor:
        """Refuse what cannot be a mel; only warn of what looks strange, for it may be a strange recording."""
        self.front_end.check_range(mel)
        try:
            self.front_end.check_convention(mel)
        except ValueError as error:
            warnings.warn(str(error), MelWarning, stacklevel=3)
        return self.front_end.within_limits(mel)

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


def _as_waveforms(callback: StepCallback | None, prior: Prior) -> StepCallback | None:
    """A callback that is shown waveforms instead of what the diffusion runs on."""
    if callback is None:
        return None

    def shown(index: int, state: Tensor, clean: Tensor) -> None:
        callback(index, prior.color(state), prior.color(clean))

    return shown


def _kind(value: object) -> str:
    return str(value.dtype) if isinstance(value, Tensor) else type(value).__name__
