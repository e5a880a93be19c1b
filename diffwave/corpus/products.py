"""What a preparation leaves: manifests, folders of links, rejected files, statistics.

Everything is written beside its place first and moved into it in one go, ``train.jsonl`` and ``statistics.json`` last:
a run that is interrupted, or finds the disk full, leaves what was there before.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffwave.config import ConfigError
from diffwave.corpus.inspection import Inspection
from diffwave.corpus.layout import check_replaceable, choose, lay_out
from diffwave.corpus.manifest import Utterance, write_manifest
from diffwave.corpus.totals import DEFINITIONS, OFFSET, summarize_split
from diffwave.files import write_text

STATISTICS = "statistics.json"
REJECTED = "rejected.jsonl"
_NEW = ".new"
_ENOUGH = 20  # utterances that tables and listening tests need at least
_LAST = ("train.jsonl", STATISTICS)


@dataclass(frozen=True)
class Rejection:
    """A file that is no utterance.

    Args:
        path: of the file.
        reason: in two or three words.
        detail: in a sentence.
    """

    path: Path
    reason: str
    detail: str


@dataclass(frozen=True, eq=False)
class Products:
    """What was found and decided.

    Args:
        root: of the corpus.
        settings: that all of it depends on, as they are written down.
        splits: utterances by name: ``train``, ``val``, ``test-clean`` ...
        validation_speakers: who is held out, sorted.
        rejected: files that are no utterances, sorted by path.
        found: what is in the files.
        notes: what a person should know, a sentence each.
        preferred: utterances to lay out first.
    """

    root: Path
    settings: dict[str, Any]
    splits: dict[str, list[Utterance]]
    validation_speakers: list[str]
    rejected: list[Rejection]
    found: dict[Path, Inspection]
    notes: list[str]
    preferred: Collection[Path] = ()

    def statistics(self) -> dict[str, Any]:
        """The content of ``statistics.json``."""
        return {
            "settings": self.settings,
            "definitions": DEFINITIONS,
            "splits": {name: summarize_split(utterances, self.found) for name, utterances in self.splits.items()},
            "validation_speakers": self.validation_speakers,
            "rejected": dict(sorted(Counter(rejection.reason for rejection in self.rejected).items())),
            "clipped": self._names(lambda found: found.clipped > 0),
            "with_dc_offset": self._names(lambda found: abs(found.mean) > OFFSET),
        }

    def _names(self, which: Callable[[Inspection], bool]) -> dict[str, list[str]]:
        """Utterances of each split, as paths below the root."""
        return {
            name: [str(u.path.relative_to(self.root)) for u in utterances if which(self.found[u.path])]
            for name, utterances in self.splits.items()
        }


def check_settings(output: Path, settings: dict[str, Any], force: bool) -> list[str]:
    """Refuse to replace manifests that were made with other settings, unless forced.

    Returns:
        A line for each setting that changed, from what and to what.

    Raises:
        ConfigError: naming the first of them.
    """
    before = _earlier(output).get("settings", settings)
    changed = [name for name in settings if before.get(name) != settings[name]]
    if changed and not force:
        name = changed[0]
        option = f"--{name.replace('_', '-')}"
        raise ConfigError(
            f"{output}: expected {option} {_short(before.get(name))}, as before; got {_short(settings[name])} (--force "
            "replaces the manifests, another folder keeps both)"
        )
    return [f"{name} was {_short(before.get(name))}, is now {_short(settings[name])}" for name in changed]


def write_products(output: Path, products: Products, seed: int, per_speaker: int) -> None:
    """Write everything, and remove what an earlier run left of splits that are no more.

    Args:
        output: folder, which is there.
        products: to write.
        seed, per_speaker: of the utterances laid out.

    Raises:
        ConfigError: if a folder that is not ours is in the way.
        OSError: if it cannot be written.
    """
    folders = [name for name in products.splits if name != "train"]
    gone = [name for name in _earlier(output).get("splits", {}) if name not in products.splits]
    for name in (*folders, *gone):
        check_replaceable(output / name)
    new = output / _NEW
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    for name, utterances in products.splits.items():
        write_manifest(new / f"{name}.jsonl", utterances)
    for name in folders:
        # Whoever lists utterances means those and no more.
        at_least = 0 if products.preferred else _ENOUGH
        some = choose(products.splits[name], seed, per_speaker, products.preferred, at_least)
        lay_out(new / name, some, products.root)
    write_rejected(new, products.rejected)
    write_text(new / STATISTICS, json.dumps(products.statistics(), indent=1) + "\n")
    _move(new, output, gone)


def write_rejected(output: Path, rejected: Iterable[Rejection]) -> None:
    """Write a line for each file that is no utterance."""
    documents = ({"audio_filepath": str(r.path), "reason": r.reason, "detail": r.detail} for r in rejected)
    write_text(output / REJECTED, "".join(json.dumps(document) + "\n" for document in documents))


def _earlier(output: Path) -> dict[str, Any]:
    """The statistics of an earlier run; empty if there are none that can be read."""
    try:
        document = json.loads((output / STATISTICS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _move(new: Path, output: Path, gone: list[str]) -> None:
    """Move all of ``new`` into the output, folders first."""
    old = new / ".old"
    old.mkdir()
    # Without a list to train on, nothing can be trained on half of a change.
    for name in (*_LAST, *gone, *(f"{name}.jsonl" for name in gone)):
        if (output / name).exists():
            (output / name).rename(old / name)
    for path in sorted(new.iterdir(), key=lambda path: (path.name in _LAST, path.name == STATISTICS, path.name)):
        target = output / path.name
        if path == old:
            continue
        if target.is_dir():
            target.rename(old / path.name)
        path.replace(target)
    shutil.rmtree(new)
