"""Download a large file over a connection that may break: it goes on where it stopped, also in another run.

Bytes go to ``NAME.part``, which is asked to be continued by an HTTP range. The file gets its name only when its
checksum is right; what is wrong is kept as ``NAME.bad``.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffwave.config import ConfigError

PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)  # s between attempts that bring nothing
_TIMEOUT = 60.0  # s without a byte
_BLOCK = 1 << 20
_TOO_FAR = 416  # HTTP: the range begins behind the end


class _BrokenError(Exception):
    """The connection ended early; another may do better."""


def remote_size(url: str) -> int:
    """Size of a file on a server in bytes; 0 if the server does not say.

    Raises:
        ConfigError: if there is no such file, or no server answers.
    """
    try:
        with urllib.request.urlopen(_request(url, 0), timeout=_TIMEOUT) as response:
            return int(response.headers.get("Content-Length") or 0)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ConfigError(_unreachable(url, error)) from None


def fetch(url: str, path: Path, sha256: str, pauses: Sequence[float] = PAUSES) -> None:
    """Download to ``path`` unless it is there, and make sure of its checksum; a progress bar is on stderr.

    Args:
        url: http or https.
        path: of the file; its folder is there.
        sha256: in hexadecimal.
        pauses: seconds to wait after each attempt in a row that brought nothing new; then it is given up.

    Raises:
        ConfigError: if the server has no such file, does not answer, or gives another content.
        OSError: if the file cannot be written.
    """
    if not path.exists():
        part = path.with_name(path.name + ".part")
        _download(url, part, list(pauses))
        _verify(part, path, sha256)
        part.replace(path)
    else:
        _verify(path, path, sha256)


def _download(url: str, part: Path, pauses: list[float]) -> None:
    left = list(pauses)
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _continue(url, part, before)
            return
        except urllib.error.HTTPError as error:
            if 400 <= error.code < 500 and error.code not in (408, 429):
                raise ConfigError(_unreachable(url, error)) from None
            problem: Exception = error
        except (_BrokenError, urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
            problem = error
        if part.exists() and part.stat().st_size > before:
            left = list(pauses)  # it is slow, but it comes
        if not left:
            raise ConfigError(f"{_unreachable(url, problem)}; {part} is kept, the same command goes on") from None
        time.sleep(left.pop(0))


def _continue(url: str, part: Path, start: int) -> None:
    """Append what is missing behind ``start``; from the beginning if the server cannot begin elsewhere."""
    try:
        response = urllib.request.urlopen(_request(url, start), timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != _TOO_FAR or not start:
            raise
        if error.headers.get("Content-Range") == f"bytes */{start}":
            return  # all of it is there: the run before was stopped behind the last byte
        part.unlink()
        raise _BrokenError(f"the server has no byte {start}; the download begins anew") from None
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            start = 0
        elif _range_start(response.headers) != start:
            raise _BrokenError(f"asked for bytes from {start}; got {response.headers.get('Content-Range')}")
        length = response.headers.get("Content-Length")
        _append(response, part, start, start + int(length) if length else None)


def _append(response: http.client.HTTPResponse, part: Path, start: int, size: int | None) -> None:
    from tqdm import tqdm

    bar: Any = tqdm(
        desc=part.name.removesuffix(".part"),
        total=size,
        initial=start,
        unit="B",
        unit_scale=True,
        disable=None,
        dynamic_ncols=True,
    )
    with part.open("r+b" if start else "wb") as file, bar:
        file.seek(start)
        while block := response.read1(_BLOCK):
            file.write(block)
            bar.update(len(block))
        end = file.tell()
    if size is not None and end < size:
        raise _BrokenError(f"the connection ended after {end} of {size} bytes")


def _request(url: str, start: int) -> urllib.request.Request:
    # Compressed on the way, ranges and lengths would mean something else.
    headers = {"Accept-Encoding": "identity", "User-Agent": "diffwave"}
    if start:
        headers["Range"] = f"bytes={start}-"
    return urllib.request.Request(url, headers=headers)


def _range_start(headers: Any) -> int:
    found = re.match(r"bytes (\d+)-", headers.get("Content-Range", ""))
    return int(found[1]) if found else -1


def _verify(file: Path, path: Path, sha256: str) -> None:
    """Compare the checksum; a wrong file is set aside, so that the next run begins anew."""
    with file.open("rb") as content:
        got = hashlib.file_digest(content, "sha256").hexdigest()
    if got != sha256:
        bad = path.with_name(path.name + ".bad")
        file.replace(bad)
        raise ConfigError(f"{path.name}: expected sha256 {sha256}; got {got}; it is kept as {bad}")


def _unreachable(url: str, error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        said = f"the server says {error.code} {error.reason}"
    else:
        said = str(getattr(error, "reason", "") or error or type(error).__name__)
    return f"{url}: expected a file to download; {said} (--mirror names another server)"
