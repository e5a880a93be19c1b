"""One variant and seed after the other: train, speak, score, write down; what is done is not done again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ablation.settings import ROOT, Laboratory, read, write
from ablation.systems import FLOORS, make_floor, metric_names, score, synthesize
from ablation.training import VariantError, all_overrides, train
from ablation.variants import LMNT, Variant
from diffwave.checkpoint.provenance import commit
from diffwave.errors import UserError, one_line

sys.path.insert(0, str(ROOT))
from benchmarks.report import environment


def run_all(laboratory: Laboratory, variants: list[Variant], seeds: list[int], package: Path | None) -> int:
    """Fill in every result that is missing; returns how many could not be had."""
    _fill(laboratory.result("floors"), laboratory, lambda: _run_floors(laboratory))
    work = [(variant, seed) for seed in seeds for variant in variants]  # a whole table first, then more seeds
    failed = 0
    for variant, seed in work:
        path = laboratory.result(variant.name, seed)

        def make(variant: Variant = variant, seed: int = seed) -> dict[str, Any]:
            found = _run_peer if variant.name == LMNT else _run_variant
            return found(variant, seed, laboratory, package)

        changed = [] if variant.name == LMNT else all_overrides(variant, seed, laboratory)
        told = {"variant": variant.name, "seed": seed, "overrides": changed}
        failed += not _fill(path, laboratory, make, told, laboratory.command(variant.name, seeds))
    return failed


def _fill(
    path: Path,
    laboratory: Laboratory,
    make: Callable[[], dict[str, Any]],
    told: dict[str, Any] | None = None,
    command: str = "",
) -> bool:
    """Make a result unless it is there; false if it cannot be had, which is written down too and tried again.

    Args:
        path: of the result.
        laboratory: the conditions; a result under others is made anew.
        make: trains, speaks and scores.
        told: what else it depends on.
        command: that makes it.
    """
    head = {"settings": laboratory.common(), "metrics": metric_names()[0], **(told or {})}
    there = read(path)
    if "error" not in there and all(there.get(key) == value for key, value in head.items()):
        _say(f"{path.stem}: done before")
        return True
    _say(f"{path.stem}: begins")
    try:
        document = make()
    except (VariantError, UserError, ImportError) as error:
        document = {"error": one_line(str(error))}
    where = {"environment": environment(), "commit": commit(), "command": command}
    document = {**head, "missing_metrics": metric_names()[1], **where, **document}
    write(path, document)
    _say(f"{path.stem}: {document.get('error') or 'done'}")
    return "error" not in document


def _run_floors(laboratory: Laboratory) -> dict[str, Any]:
    return {"systems": score({floor.name: make_floor(floor, laboratory) for floor in FLOORS}, laboratory)}


def _run_variant(variant: Variant, seed: int, laboratory: Laboratory, package: Path | None) -> dict[str, Any]:
    del package
    training = train(variant, seed, laboratory)
    folders = synthesize(laboratory.runs / f"{variant.name}-{seed}", laboratory)
    return {"training": training, "systems": score(folders, laboratory)}


def _run_peer(variant: Variant, seed: int, laboratory: Laboratory, package: Path | None) -> dict[str, Any]:
    from ablation import lmnt

    del variant
    with lmnt.start(laboratory, package, seed) as runner:
        training = lmnt.train(runner, seed, laboratory)
        folders = lmnt.synthesize(runner, seed, laboratory)
    return {"training": training, "systems": score(folders, laboratory)}


def _say(line: str) -> None:
    print(f"ablate.py: {one_line(line)}", file=sys.stderr, flush=True)
