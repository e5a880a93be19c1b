"""``diffwave baseline``: the floor under every vocoder, made from the same mel without any network."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from diffwave.cli.arguments import CommandParser, count_argument, path_argument
from diffwave.cli.errors import one_line, reason
from diffwave.cli.plan import InputError
from diffwave.cli.results import BaselineSettings, Result, as_json, as_table, record

if TYPE_CHECKING:
    from diffwave.mel import MelSpectrogram

SYSTEMS = ("griffin-lim", "mel-consistency", "copy")


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    from diffwave.config import MEL_PRESETS

    result = CommandParser(prog="diffwave baseline", description=__doc__)
    add = result.add_argument
    add("--reference", type=path_argument, required=True, metavar="DIR", help="folder of recordings")
    add("--output", "-o", type=path_argument, required=True, metavar="DIR", help="folder for the audio")
    choices = "griffin-lim: librosa's; mel-consistency: white noise pushed towards the mel; copy: the recordings"
    add("--system", choices=SYSTEMS, required=True, help=choices)
    add("--iterations", type=count_argument, default=60, metavar="N", help="of the first two (default: 60)")
    add("--mel", choices=sorted(MEL_PRESETS), default="default", help="convention of the mel (default: default)")
    add("--force", action="store_true", help="replace outputs that exist")
    add("--json", action="store_true", help="print the results as JSON")
    return result


def main(arguments: list[str]) -> int:
    """Make the outputs of a system for every recording; exit code 2 if any could not be."""
    from diffwave.evaluation.pairs import audio_files

    options = parser().parse_args(arguments)
    recordings = audio_files(options.reference, "--reference")
    settings = BaselineSettings(options.system, options.iterations, options.mel)
    sources = {os.path.realpath(path) for path in recordings.values()}
    for path in (options.output / f"{key}.wav" for key in recordings):
        if os.path.realpath(path) in sources:
            raise InputError(f"{path}: expected an output that is no recording; choose another --output")
    existing = [key for key in recordings if (options.output / f"{key}.wav").exists()]
    if existing and not options.force:
        raise InputError(
            f"{options.output / existing[0]}.wav: expected a file that is not there yet; --force replaces it"
        )
    results, errors = make(recordings, options.output, settings)
    if options.json:
        print(as_json(settings, results, errors))
    elif results:
        print(as_table(results))
    return 2 if errors else 0


def make(recordings: dict[str, Path], output: Path, settings: BaselineSettings) -> tuple[list[Result], list[str]]:
    """Write ``output/KEY.wav`` for every recording, and the record of it.

    Args:
        recordings: by relative path without suffix.
        output: folder, made if missing.
        settings: the system.

    Returns:
        What was written, and a line for each recording that could not be used (it is on stderr too).
    """
    from tqdm import tqdm

    results: list[Result] = []
    errors: list[str] = []
    progress = tqdm(recordings.items(), unit="file", desc=settings.baseline, disable=None, file=sys.stderr, leave=False)
    try:
        for result in _outputs(progress, output, settings):
            if isinstance(result, Result):
                results.append(result)
            else:
                errors.append(result)
                tqdm.write(f"diffwave baseline: {one_line(result)}", file=sys.stderr)
    finally:
        failure = record(output, settings, results) if results else ""
    if failure:
        errors.append(failure)
        print(f"diffwave baseline: {one_line(failure)}", file=sys.stderr)
    return results, errors


def _outputs(
    recordings: Iterable[tuple[str, Path]], output: Path, settings: BaselineSettings
) -> Iterator[Result | str]:
    """What was written, or why not, one recording after the other."""
    from diffwave.config import MEL_PRESETS
    from diffwave.consistency import MelConsistency
    from diffwave.mel import MelSpectrogram

    front_end = MelSpectrogram(MEL_PRESETS[settings.mel])
    try:
        MelConsistency(front_end)
    except ValueError as error:
        raise InputError(f"--mel {settings.mel}: {error}") from None
    for key, source in recordings:
        yield _make_one(source, output / f"{key}.wav", front_end, settings)


def _make_one(source: Path, path: Path, front_end: MelSpectrogram, settings: BaselineSettings) -> Result | str:
    import torch

    from diffwave.audio import read_samples, write_wav
    from diffwave.audio_checks import AudioError
    from diffwave.baseline import copy_synthesis

    try:
        samples, rate, _ = read_samples(source)
        begun = time.perf_counter()
        wav = copy_synthesis(front_end, samples, rate, settings.baseline, settings.iterations)
        elapsed = time.perf_counter() - begun
        path.parent.mkdir(parents=True, exist_ok=True)
        clipped = write_wav(path, torch.from_numpy(wav), rate)
    except AudioError as error:
        return str(error)
    except OSError as error:
        return f"{source}: {path} cannot be written; {reason(error)}"
    except MemoryError:
        return f"{source}: not enough memory; cut it into shorter files"
    notes = [f"{clipped} samples clipped"] if clipped else []
    return Result(source, path, len(wav) / rate, elapsed, notes)
