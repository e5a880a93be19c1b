"""``diffwave show-diffusion``: a picture of the forward and the reverse process of one utterance."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from diffwave.cli.plan import InputError

if TYPE_CHECKING:
    from diffwave.figures import DiffusionStory
    from diffwave.vocoder import Vocoder

_LONGEST_SECONDS = 6.0


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = argparse.ArgumentParser(prog="diffwave show-diffusion", description=__doc__)
    result.add_argument("input", type=Path, metavar="WAV", help="a recording; its first seconds are shown")
    result.add_argument("--output", "-o", type=Path, required=True, metavar="PICTURE", help="PNG, SVG or PDF; the figures go beside it as JSON")
    result.add_argument("--checkpoint", default="default", metavar="DIR")
    result.add_argument("--steps", type=int, default=6, metavar="N", help="network calls (default: 6)")
    result.add_argument("--seconds", type=float, default=3.0, metavar="S", help=f"how much is shown (at most {_LONGEST_SECONDS:g})")
    result.add_argument("--device", default="auto", metavar="auto|cpu|cuda")
    result.add_argument("--seed", type=int, default=0)
    result.add_argument("--force", action="store_true", help="replace a picture that exists")
    return result


def main(arguments: list[str]) -> int:
    """Draw the picture and write the numbers behind it."""
    from diffwave.audio import read_audio
    from diffwave.figures import draw_story
    from diffwave.files import atomic_path, write_text
    from diffwave.vocoder import Vocoder

    options = parser().parse_args(arguments)
    _check_output(options)
    vocoder = Vocoder.from_pretrained(options.checkpoint, options.device)
    wav = read_audio(options.input, vocoder.sample_rate).wav
    shortest = vocoder.config.mel.win_length
    if len(wav) < shortest:
        raise InputError(f"{options.input}: expected at least {shortest} samples; got {len(wav)}")
    length = int(min(max(options.seconds, 0.1), _LONGEST_SECONDS) * vocoder.sample_rate)
    # Whole frames only, so that every panel has the same time axis.
    length = max(min(length, len(wav)) // vocoder.hop_length * vocoder.hop_length, shortest)
    try:
        story = tell_story(vocoder, wav[:length], options.steps, options.seed)
    except ValueError as error:
        raise InputError(str(error)) from None
    with atomic_path(options.output) as temporary:
        draw_story(story, temporary)
    write_text(options.output.with_suffix(".json"), json.dumps(story.figures(), indent=2) + "\n")
    print(f"{options.output}: {options.steps} steps of {options.input.name}")
    return 0


def _check_output(options: argparse.Namespace) -> None:
    if options.output.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise InputError(f"--output {options.output}: expected a .png, .svg or .pdf file")
    if not options.output.parent.is_dir():
        raise InputError(f"--output {options.output}: expected an existing folder; {options.output.parent} is none")
    if options.output.exists() and not options.force:
        raise InputError(f"--output {options.output} exists; --force replaces it")


def tell_story(vocoder: Vocoder, wav: Tensor, steps: int, seed: int) -> DiffusionStory:
    """Run the forward process on ``wav`` ``[N]`` and the reverse process from its mel.

    Args:
        vocoder: the model.
        wav: clean waveform, a whole number of frames.
        steps: network calls.
        seed: of the noise.
    """
    import torch

    from diffwave.figures import DiffusionStory
    from diffwave.model import make_prior
    from diffwave.noise import white_noise

    mel = vocoder.mel(wav).unsqueeze(0)
    prior = make_prior(vocoder.config.diffusion, vocoder.front_end, mel)
    sampler = vocoder.sampler(steps)
    clean = prior.whiten(wav.to(vocoder.device).unsqueeze(0))
    noise = white_noise(seed, len(sampler), len(wav)).to(vocoder.device).unsqueeze(0)
    forward = [wav]
    for step in sampler.steps:
        noisy = vocoder.schedule.add_noise(clean, noise, torch.full((1,), float(step)))
        forward.append(prior.color(noisy)[0].cpu())
    backward = [prior.color(noise)[0].cpu()]
    vocoder.synthesize(
        mel[0], steps, seed=seed, callback=lambda _, state, __: backward.append(state[0].cpu())
    )
    alpha_bars = [1.0, *sampler.schedule.alpha_bars.tolist()]
    return DiffusionStory(vocoder.sample_rate, alpha_bars, [0.0, *sampler.steps.tolist()], forward, backward[::-1])


if TYPE_CHECKING:
    from torch import Tensor
