"""Measure synthesis: beside other vocoders, the default checkpoint and smaller networks, the start of the program.

    python benchmarks/synthesis.py [--sections peers,ours,startup] [--device cpu|cuda] [--threads 2 1] [--peers FOLDER]

Writes ``docs/benchmarks/synthesis.json`` (every figure), ``docs/benchmarks/synthesis.md`` and the README's table. A
section that is measured again replaces its old figures, for its device alone; the others stay. The page states the
goals beside what was measured; a missed one is no failure of the program, BASE with another output than the other
package's is.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import synthesis_turns
from diffwave.files import write_text
from machine import environment
from peer import ROOT
from quality_page import replace_block
from synthesis_goals import goal_table
from synthesis_page import agrees, page
from synthesis_systems import own_cases, peer_cases

DOCUMENTS = ROOT / "docs" / "benchmarks"
DEFAULTS = {"seconds": 1.0, "repeats": 5}


def peers(options: argparse.Namespace) -> dict[str, Any]:
    """Other projects' vocoders and ours."""
    cases = peer_cases(options.device, options.seconds)
    return synthesis_turns.measure(options, cases, ("lmnt", "vocos", "hifigan"))


def ours(options: argparse.Namespace) -> dict[str, Any]:
    """The default checkpoint, and networks of its kind at other sizes."""
    return synthesis_turns.measure(options, own_cases(options.device, options.seconds), ())


def startup(options: argparse.Namespace) -> dict[str, Any]:
    """From the command to the first sample, beside ``import torch``."""
    import startup as measurement

    # Processes are short, and start more unevenly than they synthesize.
    found: dict[str, Any] = measurement.measure(2 * options.repeats + 1, options.threads[0])
    return found


SECTIONS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {"peers": peers, "ours": ours, "startup": startup}
# Those whose figures of a CPU and of a GPU stand side by side.
BY_DEVICE = ("peers", "ours")


def sections_argument(text: str) -> list[str]:
    """Names of sections, separated by commas.

    Raises:
        argparse.ArgumentTypeError: for an unknown one.
    """
    names = text.split(",")
    unknown = [name for name in names if name not in SECTIONS]
    if unknown:
        raise argparse.ArgumentTypeError(f"expected some of {','.join(SECTIONS)}; got {unknown[0]!r}")
    return names


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", type=sections_argument, default=list(SECTIONS), metavar="NAME,NAME")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, nargs="+", help="default: 2 1; with --device cuda PyTorch's choice")
    parser.add_argument(
        "--seconds", type=float, default=DEFAULTS["seconds"], help="of audio; long outputs are 10 times"
    )
    parser.add_argument(
        "--repeats", type=int, default=DEFAULTS["repeats"], help="rounds of the timing, after a warm-up"
    )
    help_ = "folder of the other projects' packages, for the next time; without it they are installed for once"
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help=help_)
    parser.add_argument("--page", action="store_true", help="measure nothing, only write the page anew")
    parser.add_argument("--output", type=Path, default=DOCUMENTS, help="folder of the two files")
    options = parser.parse_args(arguments)
    options.sections = [] if options.page else options.sections
    if options.threads is None:
        options.threads = [2, 1] if options.device == "cpu" else [torch.get_num_threads()]
    if min(options.threads) < 1 or options.repeats < 1 or options.seconds < 0.1:
        parser.error("expected positive threads and repeats, and at least 0.1 seconds")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: expected a CUDA GPU; this machine has none that PyTorch can use")
    return options


def stamp(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """When, how and where a section was measured; folders of this machine are left out."""
    where = environment()
    words = [f"python benchmarks/synthesis.py --sections {name}"]
    if name in BY_DEVICE:
        words += [f"--device {options.device} --threads {' '.join(map(str, options.threads))}"]
        words += [f"--seconds {options.seconds:g}"]
        if options.device == "cuda":
            where["gpu"] = torch.cuda.get_device_name()
    else:
        words += [f"--threads {options.threads[0]}"]
    words += [f"--repeats {options.repeats}"]
    return {"command": " ".join(words), "date": datetime.now(UTC).strftime("%Y-%m-%d"), "environment": where}


def merged(results: dict[str, Any], name: str, device: str, section: dict[str, Any]) -> dict[str, Any]:
    """The results with a section in its place."""
    if name in BY_DEVICE:
        section = {**results.get(name, {}), device: section}
    return {key: section if key == name else results[key] for key in SECTIONS if key == name or key in results}


def with_training(results: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The results with what ``benchmarks/training.py`` has found, which two of the goals are about."""
    path = folder / "training.json"
    document = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    gpu = document.get("throughput", {}).get("cuda", {}).get("speed_ratio", {})
    kernel = {key: document.get("kernel", {}).get(key) for key in ("speed_ratio", "setting") if "kernel" in document}
    return results | {"training": gpu, "training_kernel": {key: value for key, value in kernel.items() if value}}


def write(results: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write both files, and return the results with what other benchmarks have found."""
    results = with_training(results, folder)
    write_text(folder / "synthesis.json", json.dumps(results, indent=1) + "\n")
    write_text(folder / "synthesis.md", page(results))
    if folder.resolve() == DOCUMENTS:
        readme = ROOT / "README.md"
        text = readme.read_text(encoding="utf-8")
        write_text(readme, replace_block(text, "speed", "\n".join(goal_table(results, measured_only=True))))
    return results


def main() -> None:
    """Measure section after section; both files are written after each, and at the end."""
    options = parse_options()
    path = options.output / "synthesis.json"
    results = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.sections:
        print(f"{name} ...", file=sys.stderr, flush=True)
        section = stamp(name, options) | SECTIONS[name](options)
        results = write(merged(results, name, options.device, section), options.output)
    print(page(write(results, options.output)))
    if not all(agrees(found["equality"]) for found in results.get("peers", {}).values()):
        sys.exit("synthesis: the outputs differ by more than the tolerance")


if __name__ == "__main__":
    main()
