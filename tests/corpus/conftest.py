"""A server of files on this machine that can break a connection in the middle."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass(eq=False)
class FileServer:
    """What is served, how, and what was asked for.

    Args:
        files: content by name.
        has_ranges: whether a download can begin in the middle.
        breaks: after how many bytes each of the next connections ends; whole ones follow.
        errors: status codes that the next requests are answered with.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    has_ranges: bool = True
    breaks: list[int] = field(default_factory=list)
    errors: list[int] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    sent: int = 0


class _Handler(BaseHTTPRequestHandler):
    state: FileServer

    def do_GET(self) -> None:
        state, name = self.state, self.path.rsplit("/", 1)[-1]
        wanted = self.headers.get("Range", "")
        state.asked.append((name, wanted))
        if state.errors or name not in state.files:
            self.send_error(state.errors.pop(0) if state.errors else 404)
            return
        content = state.files[name]
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and state.has_ranges else 0
        if start >= len(content) > 0 and start:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = start + state.breaks.pop(0) if state.breaks else len(content)
        state.sent += len(content[start:end])
        with contextlib.suppress(OSError):  # who only asks how large it is does not read it
            self.wfile.write(content[start:end])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[FileServer]:
    state = FileServer()
    handler = type("Handler", (_Handler,), {"state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        state.url = f"http://127.0.0.1:{httpd.server_port}/12"
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        yield state
        httpd.shutdown()
        thread.join()
