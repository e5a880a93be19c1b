"""What every benchmark shares: the machine, spreads of figures, tables, and the two files of a page."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from diffwave.files import write_text
from diffwave.speed.timing import Spread, device_name

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ROOT / "docs" / "benchmarks"
UTTERANCE = ROOT / "diffwave" / "assets" / "utterance.flac"
SPEECH = (*sorted((ROOT / "tests" / "data").glob("*.flac")), UTTERANCE)


def environment() -> dict[str, Any]:
    """The machine and the versions that figures were measured with."""
    return {
        "processor": device_name(torch.device("cpu")),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "ours": importlib.metadata.version("diffwave-vocoder"),
    }


def stamp(command: str, device: str = "cpu") -> dict[str, Any]:
    """How, when and where something was measured; folders of this machine have no place in the command."""
    where = environment() | ({"gpu": torch.cuda.get_device_name()} if device == "cuda" else {})
    return {"command": command, "date": datetime.now(UTC).strftime("%Y-%m-%d"), "environment": where}


def measured(found: dict[str, Any]) -> str:
    """Where it was, of a ``stamp``, as a sentence."""
    where = found["environment"]
    gpu = f"{where['gpu']}, " if "gpu" in where else ""
    more = "".join(f", {name} {where[name]}" for name in ("onnxruntime", "speechbrain", "ray") if name in where)
    return (
        f"Measured by `{found['command']}`{' on ' + found['date'] if 'date' in found else ''}: {gpu}"
        f"{where['processor']}, {where['cores']} cores, {where['system']}, Python {where['python']}, torch "
        f"{where['torch']}{more}."
    )


def spread(values: Iterable[float]) -> dict[str, Any]:
    """Median, extremes and all values, for JSON."""
    found = list(values)
    return dataclasses.asdict(Spread.of(found)) | {"values": found}


def said(found: dict[str, Any], digits: int = 2, unit: float = 1.0) -> str:
    """A spread: the median, and its extremes in brackets."""
    median, low, high = (found[name] * unit for name in ("median", "low", "high"))
    return f"{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def verdict(met: bool) -> str:
    """A word that is seen when it should be."""
    return "met" if met else "**missed**"


def merged(results: dict[str, Any], name: str, device: str, section: dict[str, Any]) -> dict[str, Any]:
    """The results with a section in its place; figures of a CPU and of a GPU stand side by side."""
    return results | {name: {**results.get(name, {}), device: section}}


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], words: int = 1) -> list[str]:
    """Lines of a Markdown table whose first columns, so many, hold words and the others figures."""
    rule = "|---" * words + "|---:" * (len(header) - words) + "|"
    return [f"| {' | '.join(header)} |", rule, *(f"| {' | '.join(map(str, row))} |" for row in rows)]


def write(name: str, results: dict[str, Any], page: str, folder: Path = DOCUMENTS) -> None:
    """Write ``name.json``, every figure, and ``name.md``; print the page."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f"{name}.json", json.dumps(results, indent=1) + "\n")
    write_text(folder / f"{name}.md", page)
    print(page)


def read(path: Path) -> dict[str, Any]:
    """A document in JSON; empty if there is none that is whole."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def write_block(name: str, content: str, root: Path = ROOT) -> None:
    """Put a table where the README or a page of ``docs`` has the markers of a generated block of that name."""
    begin, end = f"<!-- {name}: generated -->", f"<!-- {name}: end -->"
    for path in (root / "README.md", *sorted((root / "docs").glob("*.md"))):
        text = path.read_text(encoding="utf-8")
        if begin in text:
            before, rest = text.split(begin)
            write_text(path, before + begin + "\n" + content + "\n" + end + rest.split(end)[1])


def run_diffwave(*arguments: str | Path) -> int:
    """Run the program as a user does, in a process of its own; returns its exit code."""
    return subprocess.run([sys.executable, "-m", "diffwave", *map(str, arguments)], check=False).returncode


def split_names(split: str, limit: int | None = None) -> list[str]:
    """Relative paths of a split's recordings below LibriSpeech's root."""
    listed = ROOT / "recipes" / "librispeech" / "splits" / f"{split}.txt"
    return listed.read_text(encoding="utf-8").split()[:limit]
