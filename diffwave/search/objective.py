"""How far a vocoder's outputs are from recordings, as a function of the trained steps that it visits.

What a schedule is chosen by are distances between spectra and the synchrony of bands. PESQ is left out, so that it can
be reported: a score that was searched on tells of the search.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffwave.audio.checks import AudioError
from diffwave.audio.file import read_audio, resample
from diffwave.config import AS_TRAINED, SamplingConfig, SynthesisOptions
from diffwave.evaluation.perceptual import MetricError
from diffwave.evaluation.run import mel_filters
from diffwave.evaluation.spectral import SAMPLE_RATE, spectral_scores
from diffwave.evaluation.synchrony import synchrony_difference
from diffwave.search.schedules import Steps
from diffwave.vocoder import Vocoder

# Score -> weight. Two count differences of logarithms, in nat. The first hears detail in time and frequency, but not
# the level; the second, with the level, the coarse spectrum that the network alone misses by tenths of a nat. After mel
# consistency it is some hundredths, the first is nearly the same for all good schedules, and leans to low noise, where
# the network may change little. Synchrony tells what is lost then: .1 of it is about a third of what distinguishes
# speech from Griffin-Lim, and shall count as much as .02 of the STFT distance.
WEIGHTS = {"mr_stft_aligned": 1.0, "log_mel": 1.0, "synchrony": 0.2}


@dataclass(frozen=True, eq=False)
class Clip:
    """A piece of a recording, to be spoken again.

    Args:
        path: of the recording.
        mel: in the model's convention, shape ``[M, F]``.
        samples: length of the piece at the model's rate.
        reference: the piece at 16 kHz, float32, shape ``[N]``.
    """

    path: Path
    mel: Tensor
    samples: int
    reference: np.ndarray


def read_clip(vocoder: Vocoder, path: Path, seconds: float) -> Clip:
    """The middle of a recording.

    Args:
        vocoder: its rate and mel.
        path: of the recording, at any rate.
        seconds: how much to take, at most.

    Raises:
        AudioError: if it cannot be read, is shorter than a frame, or too loud for the model's mel.
    """
    wav = read_audio(path, vocoder.sample_rate).wav
    shortest = vocoder.front_end.config.win_length
    if len(wav) < shortest:
        expected = f"expected at least one frame, {shortest} samples at {vocoder.sample_rate} Hz"
        raise AudioError(f"{path}: {expected}; got {len(wav)}")
    length = min(max(round(seconds * vocoder.sample_rate), shortest), len(wav))
    begin = (len(wav) - length) // 2
    wav = wav[begin : begin + length].clone()
    mel = vocoder.mel(wav)
    try:
        vocoder.front_end.check_range(mel.unsqueeze(0))
    except ValueError as error:
        raise AudioError(f"{path}: {error}") from None
    return Clip(path, mel, length, _at_16_khz(wav, vocoder.sample_rate))


def with_schedule(sampling: SamplingConfig, field: str, steps: Sequence[float]) -> SamplingConfig:
    """Settings whose ``field`` (``schedules`` or ``guided_schedules``) has these steps for their number of calls."""
    known: dict[str, list[float]] = getattr(sampling, field)
    schedules = {**known, str(len(steps)): [float(step) for step in steps]}
    ordered = {name: schedules[name] for name in sorted(schedules, key=int)}
    changed = {field: ordered}
    return dataclasses.replace(sampling, **changed)  # type: ignore[arg-type]  # mypy expects every field's type


class ScheduleObjective:
    """Mean distance of a vocoder's outputs to recordings; call it with trained steps.

    The noise is the same in every call. The vocoder's settings are as they were after each.

    Args:
        vocoder: without CUDA graphs, which would be recorded for every schedule.
        clips: at least one.
        options: of synthesis; their steps are those that are tried.

    ``sampling`` are the settings with what was asked for; ``field`` is where the checkpoint keeps such schedules.
    """

    def __init__(self, vocoder: Vocoder, clips: Sequence[Clip], options: SynthesisOptions = AS_TRAINED) -> None:
        self.vocoder, self.clips = vocoder.with_options(options), list(clips)
        self.sampling = vocoder.resolve(options).sampling
        self.field = "guided_schedules" if self.sampling.guided else "schedules"
        self._filterbank = mel_filters()

    def in_use(self, count: int) -> Steps:
        """The steps that the checkpoint visits with so many calls."""
        return tuple(self.vocoder.resolve(self._with(count)).sampler.steps.tolist())

    def stored(self, count: int) -> Steps:
        """The steps that the checkpoint names for so many calls; empty if it names none."""
        known: dict[str, list[float]] = getattr(self.sampling, self.field)
        return tuple(known.get(str(count), ()))

    def speak(self, steps: Steps) -> list[np.ndarray]:
        """All clips by way of these steps, float32 at 16 kHz, shapes ``[N]`` of the references."""
        config = self.vocoder.config
        sampling = with_schedule(config.sampling, self.field, steps)
        self.vocoder.config = dataclasses.replace(config, sampling=sampling)
        try:
            wavs = self._synthesize(len(steps))
        finally:
            self.vocoder.config = config
        rate = self.vocoder.sample_rate
        return [_at_16_khz(wav[: clip.samples], rate) for wav, clip in zip(wavs, self.clips, strict=True)]

    def __call__(self, steps: Steps) -> float:
        """The weighted distance; infinite if an output is not finite."""
        estimates = self.speak(steps)
        if not all(np.isfinite(estimate).all() for estimate in estimates):
            return math.inf
        distances = [
            self._distance(clip.reference, estimate) for clip, estimate in zip(self.clips, estimates, strict=True)
        ]
        return math.fsum(distances) / len(distances)

    def _distance(self, reference: np.ndarray, estimate: np.ndarray) -> float:
        # One by one: a batch would hold the spectra of all of them at once.
        spectral = spectral_scores([reference], [estimate], self._filterbank)
        try:
            synchrony = abs(synchrony_difference(reference, estimate, SAMPLE_RATE))
        except MetricError:  # hardly any sound: nothing to be in synchrony
            synchrony = 0.0
        scores = {name: float(values[0]) for name, values in spectral.items()} | {"synchrony": synchrony}
        return math.fsum(weight * scores[name] for name, weight in WEIGHTS.items())

    def _synthesize(self, count: int) -> list[Tensor]:
        mels = [clip.mel for clip in self.clips]
        # As `diffwave synthesize` does: a CPU gains nothing from batches.
        groups = [mels] if self.vocoder.device.type == "cuda" else [[mel] for mel in mels]
        with torch.inference_mode():
            return [wav.cpu() for group in groups for wav in self.vocoder.synthesize_batch(group, steps=count)]

    def _with(self, count: int) -> SynthesisOptions:
        return dataclasses.replace(self.vocoder.options, steps=count)


def _at_16_khz(wav: Tensor, rate: int) -> np.ndarray:
    samples: np.ndarray = wav.numpy()
    # Not a number stays one, and is found by the caller.
    return samples if rate == SAMPLE_RATE else resample(samples, rate, SAMPLE_RATE)
