"""How fast a model speaks on this machine: what is timed, beside what the machine could do at best."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffwave.assets import bundled_utterance
from diffwave.audio.file import read_audio
from diffwave.checkpoint.folder import Checkpoint
from diffwave.config import MelConvention, SynthesisOptions
from diffwave.config.composing import compose_config
from diffwave.devices import out_of_memory
from diffwave.errors import InputError
from diffwave.kernels.dispatch import BackendError
from diffwave.mel.spectrogram import MelWarning
from diffwave.network.diffwave import DiffWave
from diffwave.network.protocol import VocoderNetwork, VocoderRefiner
from diffwave.speed.roofline import Roofline, roofline
from diffwave.speed.timing import MachineLimits, Spread, device_name, measure_limits, seconds, warm_up
from diffwave.vocoder import Vocoder

_BATCHES = {"cpu": (1, 4), "cuda": (1, 8, 32, 128)}


@dataclass(frozen=True)
class BenchSettings:
    """What to time.

    Args:
        checkpoint: a folder, or the name of a packaged one.
        model: a configuration whose untrained network is timed instead; None for the checkpoint.
        device, backend, precision: as for :class:`diffwave.vocoder.Vocoder`.
        steps: network calls, or ``full``; None for the checkpoint's.
        threads: of the processor; None for PyTorch's choice.
        lengths: of the outputs, in seconds.
        batches: outputs made at once, each of the first length; None for what suits the device.
        repeats: timed calls for each figure.
        mel: convention that is spoken; the checkpoint's if None.
    """

    checkpoint: str = "default"
    model: str | None = None
    device: str = "auto"
    backend: str = "auto"
    precision: str = "auto"
    steps: int | str | None = None
    threads: int | None = None
    lengths: Sequence[float] = (1.0, 10.0)
    batches: Sequence[int] | None = None
    repeats: int = 5
    mel: MelConvention | None = None


@dataclass(frozen=True)
class Setting:
    """What was measured, and where.

    Args:
        model: name of the checkpoint or configuration.
        parameters: of its network.
        refiner_parameters: of its refiner, which speaks with mel consistency alone; 0 without one.
        mel: name of the convention that is spoken.
        sample_rate: in Hz.
        steps: network calls.
        backend, precision: what ran the residual layers, and in which dtype.
        device, machine: what computed, and its name.
        threads: of the processor.
        torch: version of PyTorch.
        repeats: timed calls for each figure.
    """

    model: str
    parameters: int
    refiner_parameters: int
    mel: str
    sample_rate: int
    steps: int
    backend: str
    precision: str
    device: str
    machine: str
    threads: int
    torch: str
    repeats: int


@dataclass(frozen=True)
class BenchRow:
    """One case.

    Args:
        batch: outputs made at once.
        audio_seconds: length of each.
        consistency: mel-consistency iterations.
        refinements: rounds of the refiner after them.
        wall: seconds of a call; None if there was not enough memory.
        memory: how far it rose during a call, in bytes; None if unknown.
        best: what the network alone would take at the machine's limits; None with mel consistency or another
            convention than the network's, whose Fourier transforms are not counted.
    """

    batch: int
    audio_seconds: float
    consistency: int
    refinements: int
    wall: Spread | None
    memory: int | None
    best: Roofline | None

    @property
    def real_time_factor(self) -> float | None:
        """Seconds of work for each second of audio."""
        return None if self.wall is None else self.wall.median / (self.batch * self.audio_seconds)

    @property
    def reached(self) -> float | None:
        """Share of the machine's limit."""
        return None if self.wall is None or self.best is None else self.best.seconds / self.wall.median


def run_benchmark(
    settings: BenchSettings, tell: Callable[[str], None]
) -> tuple[Setting, MachineLimits, list[BenchRow]]:
    """Measure the machine and the model; PyTorch keeps the number of threads.

    Args:
        settings: what to time.
        tell: called with what comes next.

    Raises:
        InputError: for a backend or a number of steps that cannot be.
        CheckpointError, DeviceError: as :meth:`diffwave.vocoder.Vocoder.from_pretrained`.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    vocoder = _vocoder(settings)
    setting = _setting(vocoder, settings)
    tell("limits of the machine")
    limits = measure_limits(vocoder.device, getattr(torch, setting.precision))
    return setting, limits, measure(vocoder, settings, setting.steps, limits, tell)


def _vocoder(settings: BenchSettings) -> Vocoder:
    """The checkpoint or a new network; a backend that the machine does not have is the user's mistake."""
    how: dict[str, Any] = {
        "device": settings.device,
        "backend": settings.backend,
        "precision": settings.precision,
        "mel": settings.mel,
    }
    try:
        if settings.model is None:
            return Vocoder.from_pretrained(settings.checkpoint, **how)
        return Vocoder(_untrained(settings.model), **how)
    except BackendError as error:
        raise InputError(str(error)) from None


def _untrained(name: str) -> Checkpoint:
    """A new network of a configuration: what its weights are makes no difference to the time."""
    config = compose_config([f"model={name}"]).model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = DiffWave(config).state_dict()
    return Checkpoint(config, weights)


def _setting(vocoder: Vocoder, settings: BenchSettings) -> Setting:
    """What is measured, with every default filled in."""
    try:
        sampler = vocoder.resolve(SynthesisOptions(settings.steps)).sampler
    except ValueError as error:
        raise InputError(str(error)) from None
    return Setting(
        # The name alone: where the folder lies on this machine means nothing elsewhere.
        model=settings.model or Path(settings.checkpoint).expanduser().resolve().name,
        parameters=_count(vocoder.network),
        refiner_parameters=_count(vocoder.refiner) if vocoder.refiner else 0,
        mel=vocoder.convention.name,
        sample_rate=vocoder.sample_rate,
        steps=len(sampler),
        backend=vocoder.backend,
        precision=vocoder.precision,
        device=str(vocoder.device),
        machine=device_name(vocoder.device),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        repeats=settings.repeats,
    )


def _count(network: VocoderNetwork | VocoderRefiner) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def measure(
    vocoder: Vocoder, settings: BenchSettings, steps: int, limits: MachineLimits, tell: Callable[[str], None]
) -> list[BenchRow]:
    """A row for each length, batch, and with and without mel consistency, if the model has it.

    Args:
        vocoder: what is timed.
        settings: how.
        steps: network calls.
        limits: of the machine.
        tell: called with each case before it is timed.
    """
    # Where the packaged utterance is repeated, or played at another rate, its mel may look strange.
    warnings.simplefilter("ignore", MelWarning)
    first = settings.lengths[0]
    cases = [(1, length) for length in settings.lengths]
    cases += [(batch, first) for batch in settings.batches or _BATCHES[vocoder.device.type]]
    consistency = vocoder.config.sampling.consistency_iterations
    rows = []
    for batch, length in dict.fromkeys(cases):
        mel = speech_mel(vocoder, length).expand(batch, -1, -1)
        for iterations in dict.fromkeys((0, consistency)):
            tell(f"{batch} x {length:g} s" + f", {iterations} iterations of mel consistency" * bool(iterations))
            rows.append(measure_case(vocoder, mel, steps, iterations, settings, limits))
    return rows


def speech_mel(vocoder: Vocoder, length: float) -> Tensor:
    """Mel ``[M, F]`` of the packaged utterance, repeated or cut to about ``length`` seconds, at least one frame."""
    mel = vocoder.mel(read_audio(bundled_utterance(), vocoder.sample_rate).wav)
    frames = max(1, round(length * vocoder.sample_rate / vocoder.hop_length))
    return mel.repeat(1, -(-frames // mel.shape[1]))[:, :frames]


def measure_case(
    vocoder: Vocoder, mel: Tensor, steps: int, iterations: int, settings: BenchSettings, limits: MachineLimits
) -> BenchRow:
    """Time the synthesis of a batch of mels ``[B, M, F]``, after two calls to warm up."""
    batch, samples = mel.shape[0], mel.shape[-1] * vocoder.hop_length
    width = getattr(torch, vocoder.precision).itemsize
    best = None if iterations or vocoder.notes else roofline(vocoder.config, samples, steps, batch, width, limits)
    audio = samples / vocoder.sample_rate
    rounds = vocoder.resolve(SynthesisOptions(consistency=iterations)).record()["refinements"]

    def call() -> None:
        vocoder.synthesize(mel, settings.steps, consistency=iterations)

    try:
        _, memory = warm_up(call, vocoder.device)
        wall = Spread.of([seconds(call, vocoder.device) for _ in range(settings.repeats)])
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        return BenchRow(batch, audio, iterations, rounds, None, None, best)
    return BenchRow(batch, audio, iterations, rounds, wall, memory, best)
