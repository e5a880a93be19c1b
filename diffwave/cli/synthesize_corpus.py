"""``diffwave synthesize-corpus``: a manifest or folder in, a folder of audio out, by many workers."""

from __future__ import annotations

import argparse
import re

from diffwave.cli.corpus_results import Progress, show
from diffwave.cli.vocoder_arguments import add_backend, add_checkpoint, add_mel, add_sampling, options_of
from diffwave.terminal.arguments import CommandParser, count_argument, device_argument, path_argument, seconds_argument

_DESCRIPTION = """Synthesize a corpus: copy synthesis of recordings, or mels to speech, with workers of one thread each.

The bytes of an output depend on its input and the settings alone: not on workers, shards, machines (of one kind of
processor), Ray, or how often the command was stopped. Given again, it goes on where it was."""
_EPILOG = """Exit code: 0 if all is well, 1 if some outputs have not all their scores, 2 if some utterances failed or
nothing could be done. With --ray-address or shards on several machines, the manifest, its audio, the checkpoint and DIR
must lie on storage that all of them share, under the same paths. docs/corpus.md tells more."""


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = CommandParser(prog="diffwave synthesize-corpus", description=_DESCRIPTION, epilog=_EPILOG)
    add = result.add_argument
    what = "JSON lines with audio_filepath or mel_filepath and perhaps id and speaker; or a folder of audio and mels"
    add("manifest", type=path_argument, metavar="MANIFEST", help=what)
    add("--output", "-o", type=path_argument, required=True, metavar="DIR", help="folder for audio and records")
    root = "what ids are relative to where the manifest gives none (default: its folder, or the one that holds all)"
    add("--root", type=path_argument, metavar="DIR", help=root)
    add("--format", choices=("wav", "flac"), default="wav", help="of the outputs, 16 bit (default: wav)")
    add("--shard", type=_shard_argument, default=(1, 1), metavar="I/N", help="do part I of N, counted from 1")
    workers = "default: one for each GPU, or for each core without a GPU; 0: in this process"
    add("--workers", type=count_argument, metavar="N", help=workers)
    ray = "work on a Ray cluster: auto, HOST:PORT, or local for one of this machine (pip install diffwave-vocoder[ray])"
    add("--ray-address", metavar="ADDRESS", help=ray)
    scores = "also score outputs against their recordings: default, full, or metrics separated by commas"
    add("--evaluate", nargs="?", const="default", metavar="METRICS", help=scores)
    add("--timeout", type=seconds_argument, default=120.0, metavar="S", help="give a metric up after so long (120)")
    add_checkpoint(result)
    add_mel(result)
    add_sampling(result)
    add("--seed", type=int, default=0, help="of the noise, the same for every utterance (default: 0)")
    add("--device", type=device_argument, default="auto", metavar="auto|cpu|cuda", help="default: auto")
    add_backend(result)
    add("--force", action="store_true", help="make outputs of other settings anew, and replace files not recorded")
    add("--json", action="store_true", help="print the results as JSON")
    return result


def main(arguments: list[str]) -> int:
    """Synthesize what is left to do."""
    options = parser().parse_args(arguments)
    from diffwave.bulk.corpus import CorpusOptions, run_corpus

    progress = Progress()
    asked = CorpusOptions(
        manifest=options.manifest,
        output=options.output,
        root=options.root,
        file_format=options.format,
        shard=options.shard,
        workers=options.workers,
        ray_address=options.ray_address,
        evaluate=options.evaluate,
        timeout=options.timeout,
        checkpoint=options.checkpoint,
        options=options_of(options),
        device=options.device,
        backend=options.backend,
        precision=options.precision,
        force=options.force,
        mel=options.mel,
    )
    try:
        result = run_corpus(asked, progress)
    finally:
        progress.close()
    show(result, options.shard, options.json)
    return 2 if result["shard"]["failed"] else 1 if result["unscored"] else 0


def _shard_argument(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    index, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= index <= count:
        raise argparse.ArgumentTypeError(f"expected I/N with I from 1 to N; got {text!r}")
    return index, count
