"""``diffwave show-diffusion``: a picture of the forward and the reverse process of one utterance."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from diffwave.cli.arguments import add_checkpoint, steps_argument
from diffwave.errors import InputError, one_line, reason
from diffwave.terminal.arguments import CommandParser, device_argument, path_argument, seconds_argument

if TYPE_CHECKING:
    from torch import Tensor

    from diffwave.rendering.diffusion_picture import DiffusionStory
    from diffwave.vocoder import Vocoder

_LONGEST_SECONDS = 6.0
_MOST_STEPS = 20  # the picture grows with them
# The picture tells of the way from pure noise, whose steps are the network's alone.
_PLACE = "end"


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = CommandParser(prog="diffwave show-diffusion", description=__doc__)
    add = result.add_argument
    add("input", type=path_argument, metavar="WAV", help="a recording; its first seconds are shown")
    output = "PNG, SVG or PDF; the figures go beside it as JSON"
    add("--output", "-o", type=path_argument, required=True, metavar="PICTURE", help=output)
    add_checkpoint(result)
    add(
        "--steps",
        type=steps_argument,
        default=6,
        metavar="N",
        help=f"network calls (default: 6, at most {_MOST_STEPS})",
    )
    seconds = f"how much is shown (default: 3, at most {_LONGEST_SECONDS:g})"
    add("--seconds", type=seconds_argument, default=3.0, metavar="S", help=seconds)
    add("--device", type=device_argument, default="auto", metavar="auto|cpu|cuda", help="default: auto")
    add("--seed", type=int, default=0, help="of the noise (default: 0)")
    add("--force", action="store_true", help="replace a picture that exists")
    return result


def main(arguments: list[str]) -> int:
    """Draw the picture and write the numbers behind it."""
    options = parser().parse_args(arguments)
    _check_output(options)

    from diffwave.files import atomic_path, write_text
    from diffwave.rendering.diffusion_picture import draw_story
    from diffwave.vocoder import Vocoder

    vocoder = Vocoder.from_pretrained(options.checkpoint, options.device)
    _check_steps(vocoder, options.steps)
    wav = _beginning(vocoder, options.input, options.seconds)
    try:
        story = tell_story(vocoder, wav, options.steps, options.seed)
    except ValueError as error:
        raise InputError(f"{options.input}: {error}") from None
    try:
        with atomic_path(options.output) as temporary:
            draw_story(story, temporary)
        write_text(options.output.with_suffix(".json"), json.dumps(story.figures(), indent=2) + "\n")
    except OSError as error:
        raise InputError(f"--output {options.output}: cannot be written; {reason(error)}") from None
    print(one_line(f"{options.output}: {len(story.steps) - 1} steps of {options.input.name}"))
    return 0


def _check_output(options: argparse.Namespace) -> None:
    output = options.output
    if output.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise InputError(f"--output {output}: expected a .png, .svg or .pdf file")
    if not output.parent.is_dir():
        raise InputError(f"--output {output}: expected an existing folder; {output.parent} is none")
    for path in (output, output.with_suffix(".json")):
        if path.is_dir():
            raise InputError(f"--output {output}: expected to write {path}; it is a folder")
        if path.exists() and not options.force:
            raise InputError(f"--output {output}: {path} exists; --force replaces it")


def _check_steps(vocoder: Vocoder, steps: int | str) -> None:
    try:
        calls = len(vocoder.sampler(steps, consistency_at=_PLACE))
    except ValueError as error:
        raise InputError(f"--steps {steps}: {error}") from None
    if calls > _MOST_STEPS:
        raise InputError(
            f"--steps {steps}: expected at most {_MOST_STEPS}, one column of the picture each; got {calls}"
        )


def _beginning(vocoder: Vocoder, path: Path, seconds: float) -> Tensor:
    """The first seconds of a recording, a whole number of frames so that every panel has the same time axis."""
    from torch.nn.functional import pad

    from diffwave.audio.file import read_audio

    wav = read_audio(path, vocoder.sample_rate).wav
    shortest = vocoder.config.mel.win_length
    if len(wav) < shortest:
        raise InputError(f"{path}: expected at least {shortest} samples; got {len(wav)}")
    wav = wav[: max(int(min(seconds, _LONGEST_SECONDS) * vocoder.sample_rate), shortest)]
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
    from diffwave.rendering.diffusion_picture import DiffusionStory

    mel = vocoder.mel(wav).unsqueeze(0)
    prior = make_prior(vocoder.config.diffusion, vocoder.front_end, mel)
    sampler = vocoder.sampler(steps, consistency_at=_PLACE)
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
