"""Make the final listening test: recordings, a checkpoint and Griffin-Lim in one MUSHRA, ready to send.

    python recipes/librispeech/mushra.py --data data/LibriSpeech --output listening
    python recipes/librispeech/mushra.py --data data/LibriSpeech --output listening --system theirs=FOLDER

The utterances of --list are spoken by the checkpoint and by Griffin-Lim (60 iterations); `diffwave listen export`
chooses --items of them. The recording is the hidden reference, its 3.5 kHz low-pass the anchor. Every command is
printed before it runs, so that it can be typed instead. To send: OUTPUT/test/index.html.
Exit code: 0; 2: a mistake, in one line; else that of the command that failed.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

from diffwave.checkpoint.folder import checkpoint_folder, load_config
from diffwave.config import convention_name
from diffwave.errors import InputError, UserError, one_line
from diffwave.evaluation.floor import floor_preset
from diffwave.terminal.arguments import CommandParser, count_argument, named_folder_argument, path_argument

_NAME = "mushra.py"
_SPLIT = Path(__file__).resolve().parent / "splits" / "test.txt"
OURS, FLOOR = "diffwave", "griffin-lim-60"


def parser() -> argparse.ArgumentParser:
    """The script's arguments."""
    result = CommandParser(
        prog=_NAME, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = result.add_argument
    add("--data", type=path_argument, required=True, metavar="DIR", help="LibriSpeech root")
    add("--output", "-o", type=path_argument, required=True, metavar="DIR", help="folder for audio and test")
    add("--list", type=path_argument, default=_SPLIT, metavar="FILE", help="utterances, paths below --data (test.txt)")
    add("--checkpoint", default="default", metavar="NAME|DIR", help="that speaks (default: the packaged one)")
    more = "a further system and the folder of its outputs, named as the recordings are; once for each"
    add("--system", type=named_folder_argument, action="append", default=[], metavar="NAME=DIR", help=more)
    add("--items", type=count_argument, default=10, metavar="N", help="utterances of the test (default: 10)")
    add("--seed", type=count_argument, default=0, metavar="S", help="of their choice and of all names (default: 0)")
    add("--device", default="auto", metavar="auto|cpu|cuda", help="of the network (default: auto)")
    add("--force", action="store_true", help="replace an earlier test, whose key is lost")
    return result


def main(arguments: list[str] | None = None) -> int:
    """Link the recordings, let both systems speak, export the test."""
    options = parser().parse_args(arguments)
    try:
        mel = _mel(options.checkpoint)
        _check(options)
        _link(options.data, options.list.read_text(encoding="utf-8").split(), options.output / "reference")
    except (UserError, ImportError) as error:
        print(f"{_NAME}: {one_line(str(error))}", file=sys.stderr)
        return 2
    except OSError as error:
        where = error.filename or options.output
        print(f"{_NAME}: {where}: cannot be read or written; {error.strerror or error}", file=sys.stderr)
        return 2
    for command in commands(options, mel):
        print(f"+ diffwave {shlex.join(command)}", file=sys.stderr, flush=True)
        code = diffwave(command)
        if code:
            print(f"{_NAME}: diffwave {command[0]} ended with code {code}", file=sys.stderr)
            return code
    return 0


def diffwave(command: list[str]) -> int:
    """Run a command and return its exit code, 130 after Ctrl-C."""
    try:
        return subprocess.run([sys.executable, "-m", "diffwave", *command], check=False).returncode
    except KeyboardInterrupt:
        return 130


def commands(options: argparse.Namespace, mel: str) -> list[list[str]]:
    """The commands, as they would be typed behind ``diffwave``; ``mel`` is the preset of Griffin-Lim's mels."""
    reference, spoken = str(options.output / "reference"), options.output / "systems"
    systems = {OURS: spoken / OURS, FLOOR: spoken / FLOOR, **dict(options.system)}
    named = [argument for name, folder in systems.items() for argument in ("--system", f"{name}={folder}")]
    speak = ["synthesize", reference, "--output", str(spoken / OURS), "--checkpoint", options.checkpoint]
    floor = ["baseline", "--reference", reference, "--output", str(spoken / FLOOR)]
    # The method's own anchors hold Griffin-Lim too, which would be the floor a second time.
    wanted = ["--method", "mushra", "--anchors", "anchor35", "--items", str(options.items), "--seed", str(options.seed)]
    export = ["listen", "export", "--reference", reference, *named, *wanted, "--output", str(options.output / "test")]
    return [
        [*speak, "--device", options.device, "--force"],
        [*floor, "--system", "griffin-lim", "--iterations", "60", "--mel", mel, "--force"],
        [*export, *(["--force"] if options.force else [])],
    ]


def _mel(checkpoint: str) -> str:
    """The convention that Griffin-Lim starts from: the checkpoint's own, where it has a name."""
    own = convention_name(load_config(checkpoint_folder(checkpoint))[0].mel)
    mel = floor_preset(own)
    if mel != own:
        print(f"{_NAME}: Griffin-Lim starts from {mel!r} mels, for it has none like the checkpoint's", file=sys.stderr)
    return mel


def _check(options: argparse.Namespace) -> None:
    """What can be known to go wrong before minutes of synthesis."""
    from diffwave.listening.export_settings import check_output

    names = [OURS, FLOOR, *(name for name, _ in options.system)]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"--system: expected each name once, and neither {OURS} nor {FLOOR}; got {twice[0]}")
    for name, folder in options.system:
        if not folder.is_dir():
            raise InputError(f"--system {name}: expected a folder of audio; there is no {folder}")
    check_output(options.output / "test", options.force)
    count = len(options.list.read_text(encoding="utf-8").split())
    if not 0 < options.items <= count:
        raise InputError(f"--items: expected 1 to {count}, the utterances of {options.list}; got {options.items}")


def _link(data: Path, names: list[str], folder: Path) -> None:
    """Make the folder of links to the recordings; links of another list go."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {Path(name).name: (data / name).resolve() for name in names}
    for name, path in wanted.items():
        if not path.is_file():
            raise InputError(f"--data {data}: expected the utterance {name}; there is no {path}")
    for old in folder.iterdir():
        if old.is_symlink():
            old.unlink()
    for name, path in wanted.items():
        (folder / name).symlink_to(path)


if __name__ == "__main__":
    sys.exit(main())
