"""Files that torch.save wrote, and files made to harm: nothing in them is run, and each gets one line."""

from __future__ import annotations

import collections
import contextlib
import io
import os
import pickle
import random
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

import foreign_checkpoints
from diffwave.checkpoint.folder import CheckpointError
from diffwave.interop.archives import load_archive
from diffwave.interop.importing import import_checkpoint


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def line(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_archive(path)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(path))
    assert len(text) < 500 + len(str(path))
    return text


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["params", "model", "step", "all"])
def test_a_pickle_that_would_run_code_does_not(tmp_path: Path, place: str, zipped: bool) -> None:
    sentinel, path = tmp_path / "ran", tmp_path / "weights.pt"
    evil = Touch(sentinel)
    found: Any = evil if place == "all" else foreign_checkpoints.lmnt_file() | {place: evil}
    torch.save(found, path, _use_new_zipfile_serialization=zipped)
    text = line(path)
    assert "posix.system" in text
    assert "was not" in text
    assert not sentinel.exists()
    torch.load(path, weights_only=False)  # the file does harm where it is let
    assert sentinel.exists()


def test_a_plain_pickle_that_would_run_code_does_not(tmp_path: Path) -> None:
    sentinel, path = tmp_path / "ran", tmp_path / "weights.pt"
    path.write_bytes(pickle.dumps(Touch(sentinel)))
    line(path)
    assert not sentinel.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_and_plain_values_are_read(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "weights.pt"
    torch.save(foreign_checkpoints.lmnt_file(), path, _use_new_zipfile_serialization=zipped)
    assert load_archive(path)["params"] == foreign_checkpoints.lmnt_params()


def test_lmnts_dictionary_class_is_read_as_a_dictionary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts that save ``params`` itself store an instance of lmnt-com's class."""

    class AttrDict(dict):  # type: ignore[type-arg]
        def __init__(self, *values: Any) -> None:
            super().__init__(*values)
            self.__dict__ = self

    AttrDict.__module__, AttrDict.__qualname__ = "diffwave.params", "AttrDict"
    module = types.ModuleType("diffwave.params")
    module.AttrDict = AttrDict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "diffwave.params", module)
    path = tmp_path / "weights.pt"
    torch.save(
        foreign_checkpoints.lmnt_file() | {"params": AttrDict(foreign_checkpoints.lmnt_params(sample_rate=16000))}, path
    )
    monkeypatch.delitem(sys.modules, "diffwave.params")
    assert type(load_archive(path)["params"]) is collections.OrderedDict
    assert import_checkpoint(path, "lmnt").checkpoint.config.mel.sample_rate == 16000


@pytest.mark.parametrize(
    "content", [b"", b"RIFF", b"PK\x03\x04", b"\x80\x02}q\x00", bytes(1000), b"not a checkpoint\n"]
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    assert "expected a file that torch.save wrote" in line(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_archive_is_refused(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "weights.pt"
    torch.save(foreign_checkpoints.lmnt_file(), path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    for share in (0.05, 0.5, 0.9, 0.999):
        path.write_bytes(content[: int(len(content) * share)])
        line(path)


def test_an_archive_that_grows_is_refused(tmp_path: Path) -> None:
    plain, path = io.BytesIO(), tmp_path / "weights.pt"
    torch.save({"model": {"a": torch.zeros(3_000_000)}}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in source.namelist():
            packed.writestr(name, source.read(name))
    assert path.stat().st_size < 100_000
    assert "unpack to 12" in line(path)


def test_damaged_archives_are_refused_or_read(tmp_path: Path) -> None:
    """A flipped byte may hit a number, which nobody can see; whatever it hits, the answer is a checkpoint or a line."""
    path, random_ = tmp_path / "weights.pt", random.Random(0)
    torch.save(foreign_checkpoints.lmnt_file(), path)
    content = path.read_bytes()
    start = content.index(b"step")  # of the pickle, which comes first
    lines = []
    for _ in range(60):
        damaged = bytearray(content)
        damaged[start + random_.randrange(2000)] = random_.randrange(256)
        path.write_bytes(damaged)
        with contextlib.suppress(CheckpointError):
            try:
                import_checkpoint(path, "lmnt")
            except CheckpointError as error:
                lines.append(str(error))
                raise
    assert len(lines) > 20
    assert not any("\n" in line or len(line) > 700 for line in lines)
