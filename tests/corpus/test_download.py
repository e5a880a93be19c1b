from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from diffwave.config import ConfigError
from diffwave.corpus.download import fetch, remote_size

if TYPE_CHECKING:
    from conftest import FileServer

CONTENT = random.Random(0).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PAUSES = (0.0, 0.0, 0.0)


@pytest.fixture
def file(server: FileServer) -> str:
    server.files["a.tar.gz"] = CONTENT
    return f"{server.url}/a.tar.gz"


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_comes_whole(server: FileServer, file: str, tmp_path: Path) -> None:
    assert remote_size(file) == len(CONTENT)
    fetch(file, tmp_path / "a", SHA256)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert left(tmp_path) == ["a"]
    asked = len(server.asked)
    fetch(file, tmp_path / "a", SHA256)
    assert len(server.asked) == asked


def test_after_a_break_it_goes_on_where_it_stopped(server: FileServer, file: str, tmp_path: Path) -> None:
    server.breaks = [100_000, 50_000, 149_999]
    fetch(file, tmp_path / "a", SHA256, PAUSES)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == ["", "bytes=100000-", "bytes=150000-", "bytes=299999-"]
    assert server.sent == len(CONTENT)


def test_more_breaks_than_pauses_are_fine_as_long_as_something_comes(
    server: FileServer, file: str, tmp_path: Path
) -> None:
    server.breaks = [20_000] * 14
    fetch(file, tmp_path / "a", SHA256, PAUSES)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_server_without_ranges_begins_anew(server: FileServer, file: str, tmp_path: Path) -> None:
    server.has_ranges = False
    server.breaks = [100_000]
    fetch(file, tmp_path / "a", SHA256, PAUSES)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert server.sent == len(CONTENT) + 100_000


def test_another_run_goes_on(server: FileServer, file: str, tmp_path: Path) -> None:
    server.breaks = [100_000, 0, 0, 0, 0]
    with pytest.raises(ConfigError, match=r"the connection ended after 100000 of 300000 bytes.*a.part is kept"):
        fetch(file, tmp_path / "a", SHA256, PAUSES)
    assert left(tmp_path) == ["a.part"]
    server.breaks, server.sent = [], 0
    fetch(file, tmp_path / "a", SHA256, PAUSES)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert server.sent == 200_000


@pytest.mark.parametrize(("size", "again"), [(300_000, 0), (300_007, 300_000)])
def test_a_part_that_is_all_of_it_or_more(server: FileServer, file: str, tmp_path: Path, size: int, again: int) -> None:
    (tmp_path / "a.part").write_bytes((CONTENT + b"of another file")[:size])
    fetch(file, tmp_path / "a", SHA256, PAUSES)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert server.sent == again


@pytest.mark.parametrize("is_there", [True, False])
def test_a_wrong_checksum_is_said_and_the_file_set_aside(
    server: FileServer, file: str, tmp_path: Path, is_there: bool
) -> None:
    if is_there:  # an archive that somebody put there is not trusted either
        (tmp_path / "a").write_bytes(CONTENT)
    with pytest.raises(ConfigError, match=f"^a: expected sha256 {'0' * 64}; got {SHA256}; it is kept as .*/a.bad$"):
        fetch(file, tmp_path / "a", "0" * 64)
    assert left(tmp_path) == ["a.bad"]


def test_a_busy_server_is_asked_again_but_a_missing_file_is_not(server: FileServer, file: str, tmp_path: Path) -> None:
    server.errors = [503, 429]
    fetch(file, tmp_path / "a", SHA256, PAUSES)
    asked = len(server.asked)
    assert asked == 3
    with pytest.raises(ConfigError, match=r"/b: expected a file to download; the server says 404"):
        fetch(f"{server.url}/b", tmp_path / "b", SHA256, PAUSES)
    assert len(server.asked) == asked + 1


@pytest.mark.parametrize(("url", "said"), [("http://127.0.0.1:9/a", "Connection refused"), ("no/url", "unknown url")])
def test_a_server_that_does_not_answer_is_named(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"{url}: expected a file to download; .*{said}.*--mirror"):
        remote_size(url)
    if ":" in url:
        with pytest.raises(ConfigError, match=f"{url}: expected a file to download; .*{said}.*--mirror"):
            fetch(url, tmp_path / "a", SHA256, PAUSES)
