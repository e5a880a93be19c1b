from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
from collections import namedtuple
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from diffwave.config import ConfigError
from diffwave.corpus.librispeech import MIRROR, SUBSETS, download

if TYPE_CHECKING:
    from conftest import FileServer

PAUSES = (0.0,)


def archive(subset: str, folder: str = "LibriSpeech") -> bytes:
    """As LibriSpeech's are: texts, then speaker/chapter/utterance."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in ("SPEAKERS.TXT", f"{subset}/19/198/19-198-0000.flac", f"{subset}/19/198/19-198.trans.txt"):
            info = tarfile.TarInfo(f"{folder}/{name}")
            content = f"{subset} {name}".encode()
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def mirror(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> FileServer:
    """Two subsets, with the checksums that torchaudio would know."""
    from torchaudio.datasets import librispeech

    for subset in ("dev-clean", "train-clean-100"):
        content = archive(subset)
        server.files[f"{subset}.tar.gz"] = content
        key = f"http://www.openslr.org/resources/12/{subset}.tar.gz"
        monkeypatch.setitem(librispeech._CHECKSUMS, key, hashlib.sha256(content).hexdigest())
    return server


def files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


SUBSET = ["dev-clean/19/198/19-198-0000.flac", "dev-clean/19/198/19-198.trans.txt"]


def test_our_subsets_and_checksums_are_torchaudios() -> None:
    from torchaudio.datasets import librispeech

    assert sorted(SUBSETS) == sorted(librispeech._DATA_SUBSETS)
    assert {f"http://www.openslr.org/resources/12/{name}.tar.gz" for name in SUBSETS} == set(librispeech._CHECKSUMS)
    assert MIRROR == "https://www.openslr.org/resources/12"


@pytest.mark.parametrize("name", ["LibriSpeech", "another name"])
def test_a_subset_comes_into_the_root_whatever_its_name(mirror: FileServer, tmp_path: Path, name: str) -> None:
    root = tmp_path / "data" / name
    assert download(root, ["dev-clean", "train-clean-100", "dev-clean"], mirror.url) == ["dev-clean", "train-clean-100"]
    assert files(root) == ["SPEAKERS.TXT", *SUBSET, *(path.replace("dev-clean", "train-clean-100") for path in SUBSET)]
    assert [path.name for path in root.iterdir() if path.name.startswith(".")] == []
    asked = len(mirror.asked)
    assert download(root, ["dev-clean"], mirror.url) == []
    assert len(mirror.asked) == asked


def test_archives_are_kept_if_asked_for(mirror: FileServer, tmp_path: Path) -> None:
    download(tmp_path, ["dev-clean"], mirror.url + "/", keep=True)
    assert (tmp_path / ".download/dev-clean.tar.gz").read_bytes() == mirror.files["dev-clean.tar.gz"]


def test_half_an_extracted_subset_is_no_subset(mirror: FileServer, tmp_path: Path) -> None:
    # What a run leaves that was killed while it extracted.
    half = tmp_path / ".download/LibriSpeech/dev-clean/19/198/19-198-0000.flac"
    half.parent.mkdir(parents=True)
    half.write_text("hal")
    (tmp_path / ".download/dev-clean.tar.gz").write_bytes(mirror.files["dev-clean.tar.gz"])
    download(tmp_path, ["dev-clean"], mirror.url)
    assert files(tmp_path) == ["SPEAKERS.TXT", *SUBSET]
    assert (tmp_path / SUBSET[0]).read_text() == "dev-clean dev-clean/19/198/19-198-0000.flac"


def test_a_wrong_checksum_brings_nothing_into_the_root(mirror: FileServer, tmp_path: Path) -> None:
    mirror.files["dev-clean.tar.gz"] += b"!"
    with pytest.raises(ConfigError, match=r"dev-clean.tar.gz: expected sha256 \w{64}; got \w{64}; it is kept as"):
        download(tmp_path, ["dev-clean"], mirror.url)
    assert files(tmp_path) == [".download/dev-clean.tar.gz.bad"]
    mirror.files["dev-clean.tar.gz"] = mirror.files["dev-clean.tar.gz"][:-1]
    assert download(tmp_path, ["dev-clean"], mirror.url) == ["dev-clean"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no archive", "cannot be extracted"),
        (archive("dev-clean", "Else"), "expected LibriSpeech/dev-clean in the ar"),
    ],
)
def test_an_archive_of_something_else_is_refused(
    mirror: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str
) -> None:
    from torchaudio.datasets import librispeech

    mirror.files["dev-clean.tar.gz"] = content
    key = "http://www.openslr.org/resources/12/dev-clean.tar.gz"
    monkeypatch.setitem(librispeech._CHECKSUMS, key, hashlib.sha256(content).hexdigest())
    with pytest.raises(ConfigError, match=message):
        download(tmp_path, ["dev-clean"], mirror.url)
    assert not (tmp_path / "dev-clean").exists()


def test_too_little_space_is_said_before_anything_comes(
    mirror: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    size = len(mirror.files["dev-clean.tar.gz"])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, int(2.1 * size) - 1))
    with pytest.raises(ConfigError, match=r"expected .* GB of free space for dev-clean .*; got"):
        download(tmp_path, ["dev-clean"], mirror.url)
    assert files(tmp_path) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, int(2.1 * size) + 1))
    assert download(tmp_path, ["dev-clean"], mirror.url) == ["dev-clean"]


def test_an_unknown_subset_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected subsets \(dev-clean, .*\); got 'train'"):
        download(tmp_path / "root", ["dev-clean", "train"], "http://127.0.0.1:9")
    assert not (tmp_path / "root").exists()
