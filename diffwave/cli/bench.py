"""``diffwave bench``: how fast a model speaks on this machine, and how fast it could at best."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from diffwave.cli.arguments import add_backend, checkpoint_argument, steps_argument
from diffwave.config import SynthesisOptions
from diffwave.errors import InputError, reason
from diffwave.terminal.arguments import CommandParser, device_argument, path_argument, seconds_argument

if TYPE_CHECKING:
    from torch import Tensor

    from diffwave.checkpoint.folder import Checkpoint
    from diffwave.cli.bench_results import BenchRow, Setting
    from diffwave.network.protocol import VocoderNetwork, VocoderRefiner
    from diffwave.speed.timing import MachineLimits
    from diffwave.vocoder import Vocoder

_BATCHES = {"cpu": [1, 4], "cuda": [1, 8, 32, 128]}
_MOST, _LONGEST = 1024, 3600.0
_DESCRIPTION = """Time synthesis on this machine: one output of each length (latency), and batches (throughput).

Every figure is the median of several calls, after two to warm up, and stands beside the least time that the network's
arithmetic and memory traffic allow at the rates of a large matrix product and a large copy, measured in the same run
with the same number of threads."""


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = CommandParser(prog="diffwave bench", description=_DESCRIPTION)
    model = result.add_mutually_exclusive_group()
    folder = "checkpoint folder, or the name of a packaged one (default: default)"
    model.add_argument("--checkpoint", type=checkpoint_argument, default="default", metavar="DIR", help=folder)
    untrained = "a configuration (base, large, fast ...: configs/model) with random weights instead"
    model.add_argument("--model", type=_configuration, metavar="NAME", help=untrained)
    add = result.add_argument
    add("--device", type=device_argument, default="auto", metavar="auto|cpu|cuda", help="default: auto")
    add_backend(result)
    add("--steps", type=steps_argument, metavar="N|full", help="network calls (default: the checkpoint's)")
    add("--threads", type=_positive, metavar="N", help="of the processor (default: PyTorch's choice)")
    lengths = "lengths of the outputs (default: 1 10)"
    add("--seconds", type=_length, nargs="+", default=[1.0, 10.0], metavar="S", help=lengths)
    sizes = "outputs made at once, each as long as the first of --seconds (default: 1 4; on a GPU 1 8 32 128)"
    add("--batch", type=_positive, nargs="+", metavar="N", help=sizes)
    add("--repeats", type=_positive, default=5, metavar="N", help="timed calls for each figure (default: 5)")
    add("--json", type=path_argument, metavar="FILE", help="write every figure as JSON too")
    add("--output", "-o", type=path_argument, metavar="FILE", help="write the table as Markdown too")
    add("--force", action="store_true", help="replace files that exist")
    return result


def _positive(text: str) -> int:
    if text.isdecimal() and 0 < int(text) <= _MOST:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a number from 1 to {_MOST}; got {text!r}")


def _configuration(text: str) -> str:
    """The name of a file in configs/model."""
    from diffwave.config.composing import configs_folder

    names = sorted(path.stem for path in (configs_folder() / "model").glob("*.yaml"))
    if text in names:
        return text
    raise argparse.ArgumentTypeError(f"expected one of {', '.join(names)}; got {text!r}")


def _length(text: str) -> float:
    seconds = seconds_argument(text)
    if seconds > _LONGEST:
        raise argparse.ArgumentTypeError(f"expected at most {_LONGEST:g} seconds; got {text!r}")
    return seconds


def main(arguments: list[str]) -> int:
    """Measure, print the table, and write the files that were asked for."""
    options = parser().parse_args(arguments)
    for path in (options.json, options.output):
        _check_target(path, options.force)
    if options.json and options.output and options.json.absolute() == options.output.absolute():
        raise InputError(f"expected two files for --json and --output; got {options.json} for both")
    import torch

    from diffwave.cli.bench_results import as_json, as_markdown, as_text
    from diffwave.files import write_text
    from diffwave.speed.timing import measure_limits

    if options.threads:
        torch.set_num_threads(options.threads)
    vocoder = _vocoder(options)
    setting = _setting(vocoder, options)
    _say("limits of the machine")
    limits = measure_limits(vocoder.device, getattr(torch, setting.precision))
    rows = measure(vocoder, options, setting.steps, limits)
    print(as_text(setting, limits, rows))
    writers = ((options.json, as_json), (options.output, as_markdown))
    for path, text in ((path, write(setting, limits, rows)) for path, write in writers if path):
        try:
            write_text(path, text)
        except OSError as error:
            raise InputError(f"{path}: expected a file that can be written; {reason(error)}") from None
    return 0


def _check_target(path: Path | None, force: bool) -> None:
    """Complain of a file that cannot be written before anything is measured, not after."""
    if path is None:
        return
    if path.is_dir() or not path.parent.is_dir() or (path.exists() and not path.is_file()):
        raise InputError(f"{path}: expected a regular file in a folder that exists")
    if os.path.lexists(path) and not force:
        raise InputError(f"{path}: expected a file that is not there yet; --force replaces it")


def _say(text: str) -> None:
    print(f"diffwave bench: {text} ...", file=sys.stderr, flush=True)


def _vocoder(options: argparse.Namespace) -> Vocoder:
    """The checkpoint or a new network; a backend that the machine does not have is the user's mistake."""
    from diffwave.kernels.dispatch import BackendError
    from diffwave.vocoder import Vocoder

    how = (options.device, options.backend, options.precision)
    try:
        if options.model is None:
            return Vocoder.from_pretrained(options.checkpoint, *how)
        return Vocoder(_untrained(options.model), *how)
    except BackendError as error:
        raise InputError(str(error)) from None


def _untrained(name: str) -> Checkpoint:
    """A new network of a configuration: what its weights are makes no difference to the time."""
    import torch

    from diffwave.checkpoint.folder import Checkpoint
    from diffwave.config.composing import compose_config
    from diffwave.network.diffwave import DiffWave

    config = compose_config([f"model={name}"]).model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = DiffWave(config).state_dict()
    return Checkpoint(config, weights)


def _setting(vocoder: Vocoder, options: argparse.Namespace) -> Setting:
    """What is measured, with every default filled in."""
    import torch

    from diffwave.cli.bench_results import Setting
    from diffwave.speed.timing import device_name

    try:
        sampler = vocoder.resolve(SynthesisOptions(options.steps)).sampler
    except ValueError as error:
        raise InputError(str(error)) from None
    # The name alone: where the folder lies on this machine means nothing elsewhere.
    name = options.model or Path(options.checkpoint).expanduser().resolve().name
    return Setting(
        model=name,
        parameters=_count(vocoder.network),
        refiner_parameters=_count(vocoder.refiner) if vocoder.refiner else 0,
        sample_rate=vocoder.sample_rate,
        steps=len(sampler),
        backend=vocoder.backend,
        precision=vocoder.precision,
        device=str(vocoder.device),
        machine=device_name(vocoder.device),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        repeats=options.repeats,
    )


def _count(network: VocoderNetwork | VocoderRefiner) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def measure(vocoder: Vocoder, options: argparse.Namespace, steps: int, limits: MachineLimits) -> list[BenchRow]:
    """A row for each length, batch, and with and without mel consistency, if the model has it."""
    import warnings

    from diffwave.mel.spectrogram import MelWarning

    # Where the packaged utterance is repeated, or played at another rate, its mel may look strange.
    warnings.simplefilter("ignore", MelWarning)
    batches = options.batch or _BATCHES[vocoder.device.type]
    cases = [(1, seconds) for seconds in options.seconds] + [(batch, options.seconds[0]) for batch in batches]
    consistency = vocoder.config.sampling.consistency_iterations
    rows = []
    for batch, seconds in dict.fromkeys(cases):
        mel = speech_mel(vocoder, seconds).expand(batch, -1, -1)
        for iterations in dict.fromkeys((0, consistency)):
            _say(f"{batch} x {seconds:g} s" + f", {iterations} iterations of mel consistency" * bool(iterations))
            rows.append(_row(vocoder, mel, steps, iterations, options, limits))
    return rows


def speech_mel(vocoder: Vocoder, seconds: float) -> Tensor:
    """Mel ``[M, F]`` of the packaged utterance, repeated or cut to about ``seconds``, at least one frame."""
    from diffwave.assets import bundled_utterance
    from diffwave.audio.file import read_audio

    mel = vocoder.mel(read_audio(bundled_utterance(), vocoder.sample_rate).wav)
    frames = max(1, round(seconds * vocoder.sample_rate / vocoder.hop_length))
    return mel.repeat(1, -(-frames // mel.shape[1]))[:, :frames]


def _row(
    vocoder: Vocoder, mel: Tensor, steps: int, iterations: int, options: argparse.Namespace, limits: MachineLimits
) -> BenchRow:
    """Time one case, after two calls to warm up."""
    import torch

    from diffwave.cli.bench_results import BenchRow
    from diffwave.devices import out_of_memory
    from diffwave.speed.roofline import roofline
    from diffwave.speed.timing import Spread, seconds, warm_up

    batch, samples = mel.shape[0], mel.shape[-1] * vocoder.hop_length
    width = getattr(torch, vocoder.precision).itemsize
    best = None if iterations else roofline(vocoder.config, samples, steps, batch, width, limits)
    audio = samples / vocoder.sample_rate
    rounds = vocoder.resolve(SynthesisOptions(consistency=iterations)).record()["refinements"]

    def call() -> None:
        vocoder.synthesize(mel, options.steps, consistency=iterations)

    try:
        _, memory = warm_up(call, vocoder.device)
        wall = Spread.of([seconds(call, vocoder.device) for _ in range(options.repeats)])
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        return BenchRow(batch, audio, iterations, rounds, None, None, best)
    return BenchRow(batch, audio, iterations, rounds, wall, memory, best)
