"""``diffwave show-diffusion``: a picture of the forward and the reverse process of one utterance."""

from __future__ import annotations

import argparse

from diffwave.cli.vocoder_arguments import add_checkpoint, steps_argument
from diffwave.errors import one_line
from diffwave.rendering.diffusion_states import LONGEST_SECONDS, MOST_STEPS
from diffwave.terminal.arguments import CommandParser, device_argument, path_argument, seconds_argument


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
        help=f"network calls (default: 6, at most {MOST_STEPS})",
    )
    seconds = f"how much is shown (default: 3, at most {LONGEST_SECONDS:g})"
    add("--seconds", type=seconds_argument, default=3.0, metavar="S", help=seconds)
    add("--device", type=device_argument, default="auto", metavar="auto|cpu|cuda", help="default: auto")
    add("--seed", type=int, default=0, help="of the noise (default: 0)")
    add("--force", action="store_true", help="replace a picture that exists")
    return result


def main(arguments: list[str]) -> int:
    """Draw the picture and write the numbers behind it."""
    options = parser().parse_args(arguments)
    from diffwave.rendering.diffusion_picture import check_target, write_story
    from diffwave.rendering.diffusion_states import story_of
    from diffwave.vocoder import Vocoder

    check_target(options.output, options.force)
    vocoder = Vocoder.from_pretrained(options.checkpoint, options.device)
    story = story_of(options.input, vocoder, options.steps, options.seconds, options.seed)
    write_story(story, options.output)
    print(one_line(f"{options.output}: {len(story.steps) - 1} steps of {options.input.name}"))
    return 0
