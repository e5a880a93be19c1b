"""What is to be spoken: the utterances of a manifest or a folder, their ids, and which shard each belongs to.

A manifest has one JSON object a line. ``mel_filepath`` or, without it, ``audio_filepath`` is what an utterance is made
from (a path that is not absolute starts at the manifest's folder). Beside a mel, ``audio_filepath`` is the recording to
compare with. ``id`` names the output; without it, that is the input's path below the root, without suffix. ``speaker``
and ``subset`` are passed on; other keys are ignored. So the project's manifests (:mod:`diffwave.corpus.manifest`) and
NeMo's are manifests here.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffwave.audio.file import AUDIO_SUFFIXES
from diffwave.bulk.output_names import BulkError, check_ids, output_name
from diffwave.config.conventions import MEL_SUFFIXES
from diffwave.corpus.folders import speaker_of


@dataclass(frozen=True)
class CorpusJob:
    """An utterance to synthesize.

    Args:
        id: names the output.
        source: recording or mel.
        reference: recording to compare with; None if there is none.
        speaker, subset: passed on to manifests of the outputs.
    """

    id: str
    source: Path
    reference: Path | None = None
    speaker: str = ""
    subset: str = ""


@dataclass(frozen=True)
class Plan:
    """All utterances of a corpus.

    Args:
        jobs: in the order of the manifest, or of their paths.
        root: folder that ids are relative to, as seen from the manifest's folder; empty if every id was given.
    """

    jobs: tuple[CorpusJob, ...]
    root: str


@dataclass(frozen=True)
class Shard:
    """One of ``count`` disjoint parts of a corpus, counted from 1.

    Which part an utterance belongs to depends on its id and ``count`` alone: a corpus that has grown keeps its shards.
    """

    index: int = 1
    count: int = 1

    @property
    def name(self) -> str:
        """In file names."""
        return f"{self.index:05d}-of-{self.count:05d}"

    def holds(self, identity: str) -> bool:
        """Whether an utterance belongs to it."""
        digest = hashlib.sha256(identity.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index - 1


def read_plan(source: Path, output: Path, file_format: str, root: Path | None = None) -> Plan:
    """Read a manifest, or list a folder of recordings and mels.

    Args:
        source: manifest or folder.
        output: folder of the outputs; it is left out of what is listed.
        file_format: suffix of the outputs.
        root: what ids are relative to; by default the manifest's folder or, if a file lies outside, the deepest folder
            that holds them all.

    Raises:
        BulkError: if it cannot be read, a line is no utterance, or ids will not do (:func:`check_ids`).
    """
    lines = list(_listed(source, output) if source.is_dir() else _manifest_lines(source))
    home = source if source.is_dir() else source.parent
    unnamed = [line["source"] for line in lines if line["id"] is None]
    found = _root(unnamed, home, root) if unnamed else None
    for line in lines:
        if line["id"] is None:
            assert found is not None
            line["id"] = line["source"].relative_to(found).with_suffix("").as_posix()
        line["speaker"] = line["speaker"] or _speaker(line["source"], found)
    check_ids(((line["id"], line["place"]) for line in lines), file_format)
    jobs = tuple(
        CorpusJob(*(line[key] for key in ("id", "source", "reference", "speaker", "subset"))) for line in lines
    )
    _spare_inputs(jobs, output, file_format)
    return Plan(jobs, os.path.relpath(found, _plain(home)) if found else "")


def _manifest_lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise BulkError(f"{path}: expected a manifest (JSON lines in UTF-8) or a folder; {reason}") from None
    numbered = [(f"{path}:{number}", line) for number, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise BulkError(f"{path}: expected a manifest with one utterance a line; it is empty")
    home = path.parent
    for place, line in numbered:
        yield _line(line, home, place)


def _line(text: str, home: Path, place: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
        text.encode()  # a lone surrogate is no text
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise BulkError(f"{place}: expected an utterance in JSON; got {text[:60]!r}")
    for key in ("id", "mel_filepath", "audio_filepath", "speaker", "subset"):
        value = document.get(key)
        if value is not None and not (isinstance(value, str) and "\0" not in value):
            raise BulkError(f"{place}: expected text as {key}; got {str(value)[:60]!r}")
    mel, audio = (_absolute(home, document.get(key)) for key in ("mel_filepath", "audio_filepath"))
    source = mel or audio
    if source is None:
        raise BulkError(
            f"{place}: expected audio_filepath or mel_filepath; got {', '.join(document)[:60] or 'nothing'}"
        )
    reference = None if audio is None or _is_mel(audio) else audio
    about = {key: document.get(key) or "" for key in ("speaker", "subset")}
    return {"id": document.get("id"), "source": source, "reference": reference, "place": place, **about}


def _listed(folder: Path, output: Path) -> Iterator[dict[str, Any]]:
    """Recordings and mels below a folder, sorted by path, without hidden ones and without the outputs."""
    root, seen = _plain(folder), {os.path.realpath(folder), os.path.realpath(output)}
    found: list[Path] = []
    for here, folders, names in os.walk(root, onerror=_refuse, followlinks=True):
        real = {name: os.path.realpath(Path(here, name)) for name in sorted(folders) if name[0] != "."}
        folders[:] = [name for name in real if real[name] not in seen]
        seen.update(real.values())  # a link back to a folder above would never end
        wanted = (n for n in names if n[0] != "." and Path(n).suffix.lower() in (*AUDIO_SUFFIXES, *MEL_SUFFIXES))
        found.extend(Path(here, name) for name in wanted)
    if not found:
        raise BulkError(f"{folder}: expected a manifest, or a folder with audio or mels in it; there are none")
    for path in sorted(found):
        reference = None if _is_mel(path) else path
        yield {"id": None, "source": path, "reference": reference, "place": str(path), "speaker": "", "subset": ""}


def _refuse(error: OSError) -> None:
    # Silently, a folder that cannot be listed would be missing from the corpus.
    raise BulkError(f"{error.filename}: expected a folder that can be listed; {error.strerror}")


def _absolute(home: Path, text: str | None) -> Path | None:
    return _plain(home / text) if text else None


def _plain(path: Path) -> Path:
    """The absolute path without ``..``; links stay, since names below them are what people know."""
    return Path(os.path.normpath(path.absolute()))


def _root(paths: list[Path], home: Path, wanted: Path | None) -> Path:
    root = _plain(wanted or home)
    if all(path.is_relative_to(root) for path in paths):
        return root
    if wanted is not None:
        outside = next(path for path in paths if not path.is_relative_to(root))
        raise BulkError(f"--root {wanted}: expected a folder that every input lies in; {outside} does not")
    return Path(os.path.commonpath([path.parent for path in paths]))


def _speaker(path: Path, root: Path | None) -> str:
    return speaker_of(path, root if root and path.is_relative_to(root) else path.parent)


def _is_mel(path: Path) -> bool:
    return path.suffix.lower() in MEL_SUFFIXES


def _spare_inputs(jobs: tuple[CorpusJob, ...], output: Path, file_format: str) -> None:
    """Refuse to write over what is read."""
    inputs = {os.path.realpath(path) for job in jobs for path in (job.source, job.reference) if path}
    folder = os.path.realpath(output)
    for job in jobs:
        if os.path.realpath(os.path.join(folder, output_name(job.id, file_format))) in inputs:  # noqa: PTH118
            raise BulkError(f"{job.source}: the output {job.id} would replace an input; choose another --output")
