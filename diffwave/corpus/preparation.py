"""From a folder of audio to manifests: every file inspected, every utterance on one side.

The results are a function of the files and the settings; how many processes looked at them, and in how many sittings,
does not show.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diffwave.config import ConfigError
from diffwave.corpus.cache import InspectionCache
from diffwave.corpus.folders import EVALUATION_SUBSETS, audio_paths, speaker_of, subset_of, training_folders
from diffwave.corpus.inspecting import inspect_all
from diffwave.corpus.inspection import Inspection
from diffwave.corpus.lock import alone_in
from diffwave.corpus.manifest import Utterance
from diffwave.corpus.products import Products, Rejection, check_settings, write_products, write_rejected
from diffwave.corpus.split import Split, read_list, split

CACHE = "inspected.jsonl"


@dataclass(frozen=True)
class Preparation:
    """What to make manifests of, and how.

    Args:
        root: a LibriSpeech root, or any folder tree of audio.
        output: folder for the manifests.
        subsets: folders of ``root``; by default its ``train-*`` folders (all of any other root), and LibriSpeech's own
            dev and test subsets as far as they are there.
        sample_rate: of usable audio, in Hz.
        min_seconds: length of the shortest usable utterance.
        seed: of the validation speakers, and of the utterances laid out.
        validation_speakers: how many to hold out; by default 40, at most a tenth.
        validation_list: text with the speakers to hold out instead.
        per_speaker: utterances of each speaker in the folders of links; 0 for all.
    """

    root: Path
    output: Path
    subsets: tuple[str, ...] = ()
    sample_rate: int = 16000
    min_seconds: float = 1.0
    seed: int = 0
    validation_speakers: int | None = None
    validation_list: Path | None = None
    per_speaker: int = 1


def prepare(settings: Preparation, jobs: int, force: bool = False) -> Products:
    """Inspect, divide and write; a progress bar is on stderr.

    Args:
        settings: root, output and rules.
        jobs: processes that decode.
        force: whether manifests made with other settings may be replaced.

    Raises:
        ConfigError: if there is nothing usable, or other settings are not to be replaced.
        OSError: if the output cannot be written.
    """
    # A manifest is read from other folders than this one.
    settings = replace(settings, root=_absolute(settings.root), output=_absolute(settings.output))
    paths = _find(settings)
    speakers, listed = read_list(settings.validation_list) if settings.validation_list else ([], [])
    settings.output.mkdir(parents=True, exist_ok=True)
    with alone_in(settings.output):
        recorded = _record(settings, speakers)
        changes = check_settings(settings.output, recorded, force)
        found = _inspect(paths, settings.output / CACHE, jobs)
        utterances, rejected = _judge(found, settings)
        splits, divided = _divide(utterances, settings, speakers)
        products = Products(
            root=settings.root,
            settings=recorded,
            splits=splits,
            validation_speakers=divided.speakers,
            rejected=rejected,
            found=found,
            notes=[*changes, *divided.notes],
            preferred={settings.root / path for path in listed},
        )
        write_products(settings.output, products, settings.seed, settings.per_speaker)
    return products


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 - Path.resolve would follow links


def _find(settings: Preparation) -> list[Path]:
    """All audio to inspect, sorted; raises ConfigError."""
    root = settings.root
    paths = audio_paths(root, settings.subsets, "--")
    if not settings.subsets:
        if not training_folders(root) and training_folders(root / "LibriSpeech"):
            # Its test subsets would be taken for training.
            raise ConfigError(f"--root {root}: expected the LibriSpeech root itself; that is {root / 'LibriSpeech'}")
        there = [name for name in EVALUATION_SUBSETS if (root / name).is_dir()]
        paths = sorted({*paths, *(audio_paths(root, there, "--") if there else [])})
    # Links that an earlier run laid out below the root are no utterances of their own.
    paths = [path for path in paths if not path.is_relative_to(settings.output)]
    if not paths:
        raise ConfigError(f"--root {root}: expected audio (.flac, .wav, ...) below it; found none")
    return paths


def _record(settings: Preparation, speakers: list[str]) -> dict[str, Any]:
    """The settings that the products depend on, as they are written down."""
    return {
        "root": str(settings.root),
        "subsets": list(settings.subsets),
        "sample_rate": settings.sample_rate,
        "min_seconds": settings.min_seconds,
        "seed": settings.seed,
        "validation_speakers": settings.validation_speakers,
        "validation_list": speakers,
        "per_speaker": settings.per_speaker,
    }


def _inspect(paths: list[Path], cache_path: Path, jobs: int) -> dict[Path, Inspection]:
    """What is in each file, in the order of the paths."""
    from tqdm import tqdm

    found: dict[Path, Inspection] = {}
    with InspectionCache(cache_path) as cache:
        for path in paths:
            known = cache.get(path)
            if known is not None:
                found[path] = known
        left = [path for path in paths if path not in found]
        results = inspect_all(left, jobs)
        bar = tqdm(desc="inspect", total=len(paths), initial=len(found), unit="file", disable=None, dynamic_ncols=True)
        # Closed by name: after Ctrl-C the workers end now, not when somebody collects garbage.
        with bar, contextlib.closing(results):
            for path, inspection in results:
                cache.add(path, inspection)
                found[path] = inspection
                bar.update()
        if left:
            cache.compact(paths)
    return {path: found[path] for path in paths}


def _judge(found: dict[Path, Inspection], settings: Preparation) -> tuple[list[Utterance], list[Rejection]]:
    """Usable utterances, and the others with the reason; raises ConfigError if there are only others."""
    root = settings.root
    utterances: list[Utterance] = []
    rejected: list[Rejection] = []
    first: dict[str, Path] = {}
    for path, inspection in found.items():
        reason, detail = _reason(inspection, settings)
        if not reason and inspection.sha256 in first:
            reason, detail = "duplicate", f"the same content as {first[inspection.sha256].relative_to(root)}"
        if reason:
            rejected.append(Rejection(path, reason, detail))
            continue
        first[inspection.sha256] = path
        utterances.append(
            Utterance(
                path,
                inspection.samples,
                inspection.sample_rate,
                speaker_of(path, root),
                subset_of(path, root, settings.subsets),
                inspection.sha256,
            )
        )
    if not utterances:
        write_rejected(settings.output, rejected)
        reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(r.reason for r in rejected).most_common())
        raise ConfigError(f"--root {root}: expected usable audio; all {len(rejected)} files are rejected ({reasons})")
    return utterances, rejected


def _reason(found: Inspection, settings: Preparation) -> tuple[str, str]:
    """Why a file cannot be used, in a few words and in a sentence; empty if it can."""
    if found.reason:
        return found.reason, found.detail
    if found.sample_rate != settings.sample_rate:
        return "other sample rate", f"expected {settings.sample_rate} Hz; got {found.sample_rate} Hz"
    seconds = found.samples / found.sample_rate
    if seconds < settings.min_seconds:
        return "too short", f"expected {settings.min_seconds:g} s or more; got {seconds:g} s"
    if found.is_silent:
        return "silence", f"all {found.samples} samples are {found.high:g}"
    return "", ""


def _divide(
    utterances: Iterable[Utterance], settings: Preparation, speakers: list[str]
) -> tuple[dict[str, list[Utterance]], Split]:
    """Utterances by split: LibriSpeech's own dev and test subsets stay what they are, the rest is divided."""
    own: dict[str, list[Utterance]] = {}
    rest: list[Utterance] = []
    for utterance in utterances:
        subset = subset_of(utterance.path, settings.root)
        (own.setdefault(subset, []) if subset in EVALUATION_SUBSETS else rest).append(utterance)
    if not rest:
        return own, Split([], [], [], ["no training subset is there: train.jsonl and val.jsonl are not made"])
    divided = split(rest, settings.seed, settings.validation_speakers, speakers)
    return {"train": divided.training, "val": divided.validation, **own}, divided
