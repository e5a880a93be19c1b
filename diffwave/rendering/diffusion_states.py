"""What diffusion does to an utterance: its states on the way to noise and on the way back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffwave.config import SynthesisOptions
from diffwave.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from diffwave.vocoder import Vocoder

LONGEST_SECONDS = 6.0
MOST_STEPS = 20  # the picture grows with them
# The picture tells of the way from pure noise, whose steps are the network's alone.
_PLACE = "end"


@dataclass(frozen=True, eq=False)
class DiffusionStory:
    """The states of one utterance at the noise levels of a sampler.

    Args:
        sample_rate: in Hz.
        alpha_bars: share of the signal's power at each level, from 1 (clean) down.
        steps: the training step of each level.
        forward: noisy waveforms, clean first, each ``[N]``.
        backward: what the sampler had at each level, the output first, each ``[N]``.
        outcome: what to call the output.
    """

    sample_rate: int
    alpha_bars: list[float]
    steps: list[float]
    forward: list[Tensor]
    backward: list[Tensor]
    outcome: str = "output"

    def figures(self) -> dict[str, Any]:
        """The numbers behind the picture, for a program."""
        return {
            "sample_rate": self.sample_rate,
            "levels": [
                {
                    "alpha_bar": alpha_bar,
                    "step": step if index else None,
                    "forward_rms": _rms(forward),
                    "backward_rms": _rms(backward),
                }
                for index, (alpha_bar, step, forward, backward) in enumerate(
                    zip(self.alpha_bars, self.steps, self.forward, self.backward, strict=True)
                )
            ],
        }


def story_of(recording: Path, vocoder: Vocoder, steps: int | str, seconds: float, seed: int) -> DiffusionStory:
    """Run the forward process on the beginning of a recording, and the reverse process from its mel.

    Args:
        recording: the file.
        vocoder, steps, seed: as for :func:`tell_story`.
        seconds: how much of it is taken.

    Raises:
        InputError: if steps or recording do not suit a picture.
    """
    _check_steps(vocoder, steps)
    wav = _beginning(vocoder, recording, seconds)
    try:
        return tell_story(vocoder, wav, steps, seed)
    except ValueError as error:
        raise InputError(f"{recording}: {error}") from None


def _check_steps(vocoder: Vocoder, steps: int | str) -> None:
    try:
        calls = len(vocoder.resolve(SynthesisOptions(steps, consistency_at=_PLACE)).sampler)
    except ValueError as error:
        raise InputError(f"--steps {steps}: {error}") from None
    if calls > MOST_STEPS:
        raise InputError(f"--steps {steps}: expected at most {MOST_STEPS}, one column of the picture each; got {calls}")


def _beginning(vocoder: Vocoder, path: Path, seconds: float) -> Tensor:
    """The first seconds of a recording, a whole number of frames so that every panel has the same time axis."""
    from torch.nn.functional import pad

    from diffwave.audio.file import read_audio

    wav = read_audio(path, vocoder.sample_rate).wav
    shortest = vocoder.front_end.config.win_length
    if len(wav) < shortest:
        raise InputError(f"{path}: expected at least {shortest} samples; got {len(wav)}")
    wav = wav[: max(int(min(seconds, LONGEST_SECONDS) * vocoder.sample_rate), shortest)]
    return pad(wav, (0, -len(wav) % vocoder.hop_length))


def tell_story(vocoder: Vocoder, wav: Tensor, steps: int | str, seed: int) -> DiffusionStory:
    """Run the forward process on ``wav`` ``[N]`` and the reverse process from its mel.

    Args:
        vocoder: the model.
        wav: clean waveform, a whole number of frames.
        steps: network calls, or ``full``.
        seed: of the noise, the same in both directions.

    Raises:
        ValueError: if the wav is too loud for the model's mel.
    """
    import torch

    from diffwave.dsp.noise import white_noise
    from diffwave.mel.prior import make_prior

    mel = vocoder.mel(wav).unsqueeze(0)
    prior = make_prior(vocoder.config.diffusion, vocoder.front_end, mel)
    sampler = vocoder.resolve(SynthesisOptions(steps, consistency_at=_PLACE)).sampler
    clean = prior.whiten(wav.to(vocoder.device).unsqueeze(0))
    noise = white_noise(seed, len(sampler), len(wav)).to(vocoder.device).unsqueeze(0)
    forward = [wav]
    for step in sampler.steps:
        noisy = vocoder.schedule.add_noise(clean, noise, torch.full((1,), float(step)))
        forward.append(prior.color(noisy)[0].cpu())
    backward = [prior.color(noise)[0].cpu()]
    output = vocoder.synthesize(
        mel[0],
        steps,
        seed=seed,
        callback=lambda _, state, __: backward.append(state[0].cpu()),
        consistency_at=_PLACE,
        refinements=0,
    )
    # What comes out has also been pushed towards the mel, if the checkpoint does that.
    backward[-1] = output.cpu()
    alpha_bars = [1.0, *sampler.schedule.alpha_bars.tolist()]
    rounds = vocoder.config.sampling.consistency_iterations
    # Mel consistency follows the last network call; the picture must not give the network the credit for it.
    outcome = f"output, after {rounds}\nconsistency iterations" if rounds else "output"
    steps_of_levels = [0.0, *sampler.steps.tolist()]
    return DiffusionStory(vocoder.sample_rate, alpha_bars, steps_of_levels, forward, backward[::-1], outcome)


def _rms(wav: Tensor) -> float:
    return float(wav.square().mean().sqrt())
