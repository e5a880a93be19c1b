"""Entry point: ``diffwave COMMAND ...``.

A user's mistake is one line on stderr and exit code 2, never a traceback.
"""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys

import diffwave
from diffwave.config.checks import ConfigError
from diffwave.errors import UserError, one_line

# command -> (module, what it does); modules are imported only when called, so that --help is instant.
COMMANDS = {
    "synthesize": ("diffwave.cli.synthesize", "turn recordings or mels into speech"),
    "serve": ("diffwave.cli.serve", "the vocoder as a small HTTP service: mels or recordings in, speech out"),
    "synthesize-corpus": ("diffwave.cli.synthesize_corpus", "the same for a corpus, on many cores, GPUs or machines"),
    "mels": ("diffwave.cli.mels", "the mels that can be spoken, by the names that --mel takes"),
    "train": ("diffwave.cli.train", "train a model: hydra overrides such as experiment=debug_cpu data.root=FOLDER"),
    "export": ("diffwave.cli.export", "turn a run directory into a checkpoint folder to give away"),
    "import": ("diffwave.cli.import_checkpoint", "take over a checkpoint of lmnt-com/diffwave or SpeechBrain"),
    "train-refiner": ("diffwave.cli.train_refiner", "give a checkpoint a refiner: what its mels leave open"),
    "search-schedule": ("diffwave.cli.search_schedule", "find the trained steps that few network calls should visit"),
    "listen": ("diffwave.cli.listen", "listening tests: export one, serve it, analyze the answers"),
    "evaluate": ("diffwave.cli.evaluate", "score folders of audio against recordings: PESQ, STOI, spectra, a report"),
    "baseline": ("diffwave.cli.baseline", "the floor: Griffin-Lim or mel consistency from the same mel"),
    "bench": ("diffwave.cli.bench", "time synthesis on this machine, and how fast it could be at best"),
    "show-diffusion": ("diffwave.cli.show_diffusion", "draw the forward and reverse process of an utterance"),
    "demo": ("diffwave.cli.demo", "synthesize the bundled utterance and score it"),
}


def usage() -> str:
    """The text of ``diffwave --help``."""
    lines = [f"  {name:<19}{text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: diffwave COMMAND [ARGUMENTS]",
            "",
            "A diffusion vocoder: mel spectrograms to speech.",
            "",
            "commands:",
            *lines,
            "",
            "diffwave COMMAND --help explains a command; diffwave --version prints the version.",
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"diffwave {diffwave.__version__}")
        return 0
    name = arguments[0]
    if name not in COMMANDS:
        print(f"diffwave: expected a command ({', '.join(COMMANDS)}); got {name!r}", file=sys.stderr)
        return 2
    return run(name, arguments[1:])


def run(name: str, arguments: list[str]) -> int:
    """Run one command; what a user did wrong becomes one line."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names that the terminal's encoding lacks are shown escaped, as on stderr, instead of ending the command.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code: int = importlib.import_module(COMMANDS[name][0]).main(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print(f"diffwave {name}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return _closed_pipe()
    except Exception as error:
        if not isinstance(error, UserError | ImportError):
            raise
        # torchrun starts a command several times on a machine: what is wrong with it need not be told as often.
        if os.environ.get("LOCAL_RANK", "0") == "0" or not isinstance(error, ConfigError):
            print(f"diffwave {name}: {one_line(str(error))}", file=sys.stderr)
        return 2
    return code


def _closed_pipe() -> int:
    """Whoever read our output has gone (``| head``): stop as other commands do."""
    # The interpreter flushes stdout at exit and would complain a second time.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + signal.SIGPIPE
