"""A small server for a lab: shows the page of a listening test and collects the answers.

It serves one document from memory and takes one kind of request, so that nothing else on the disk (above all the key)
can be asked for. Answers are on the disk before they are acknowledged; see ``diffwave.listening.answers``.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from diffwave.errors import InputError, reason
from diffwave.listening.answers import AnswerError, AnswerStore
from diffwave.listening.sheet_page import NO_CONNECTION, PageError, read_sheet
from diffwave.web.addresses import is_own_name

MAX_BODY = 1 << 20  # bytes; a hundred rows are a twentieth of it
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class RequestError(Exception):
    """A request that is answered with an error: the status, and one line for whoever sent it."""

    def __init__(self, status: HTTPStatus, message: str):
        super().__init__(message)
        self.status = status


class ListeningServer(ThreadingHTTPServer):
    """Serves one listening test.

    Args:
        address: host and port to bind; port 0 takes a free one.
        page: the exported ``index.html``.
        open_store: opens where answers go, once the port is ours.
    """

    daemon_threads = True

    def __init__(self, address: tuple[str, int], page: str, open_store: Callable[[], AnswerStore]):
        # Only here may the page talk to anybody: to the server it came from.
        self.page = page.replace(NO_CONNECTION, "connect-src 'self'", 1).encode()
        self.names = {"localhost", address[0].lower(), socket.gethostname().lower()}
        self.names |= {f"{socket.gethostname().lower()}.local"}
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, Handler)
        try:
            self.store = open_store()
        except BaseException:
            self.server_close()
            raise

    def server_bind(self) -> None:
        """Bind, without asking the name service for our own name as the base class does (it may take seconds)."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle is nothing to report."""
        import sys

        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """Where the page is, for a browser on this machine if the server listens everywhere."""
        host = str(self.server_address[0])
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.server_port}/"

    def knows_host(self, header: str) -> bool:
        """Whether a Host header is one of our own; ports are free, for those who come through a tunnel."""
        return is_own_name(header, self.names)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: ListeningServer
    timeout = 30  # seconds without a byte
    server_version, sys_version = "diffwave", ""

    def do_GET(self) -> None:
        """The page."""
        self._answer(self._page)

    def do_HEAD(self) -> None:
        """Whether there is a page."""
        self._answer(self._page)

    def do_POST(self) -> None:
        """Answers of a listener: ``{"rows": [...]}``."""
        self._answer(self._save)

    def _answer(self, action: Any) -> None:
        try:
            if not self.server.knows_host(self.headers.get("Host", "")):
                raise RequestError(HTTPStatus.FORBIDDEN, "expected this server's own address in the Host header")
            kind, body = action()
            self._send(HTTPStatus.OK, kind, body)
        except RequestError as refusal:
            self._refuse(refusal)
        except ValueError:  # of urlsplit
            self._refuse(RequestError(HTTPStatus.BAD_REQUEST, "expected valid addresses in path and headers"))

    def _refuse(self, refusal: RequestError) -> None:
        self._send(refusal.status, "text/plain; charset=utf-8", f"{refusal}\n".encode())

    def _page(self) -> tuple[str, bytes]:
        if urlsplit(self.path).path not in ("/", "/index.html"):
            raise RequestError(HTTPStatus.NOT_FOUND, "there is nothing here; the listening test is at /")
        return "text/html; charset=utf-8", self.server.page

    def _save(self) -> tuple[str, bytes]:
        if urlsplit(self.path).path != "/results":
            raise RequestError(HTTPStatus.NOT_FOUND, "answers go to /results")
        self._check_origin()
        try:
            message = json.loads(self._body())
            if not isinstance(message, dict) or set(message) != {"rows"}:
                raise AnswerError("expected a JSON object with rows")
            saved = self.server.store.add(message["rows"])
        except (
            ValueError,
            RecursionError,
        ) as error:  # of JSON, of a number with thousands of digits, or an AnswerError
            raise RequestError(HTTPStatus.BAD_REQUEST, str(error)) from None
        except OSError as error:
            self.log_error("answers could not be written: %s", error)
            raise RequestError(HTTPStatus.INSUFFICIENT_STORAGE, "the answers could not be written to disk") from None
        return "application/json", json.dumps({"saved": saved}).encode()

    def _check_origin(self) -> None:
        """Refuse what another site's page makes a browser send."""
        origin = self.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() != self.headers.get("Host", "").lower():
            raise RequestError(HTTPStatus.FORBIDDEN, "expected answers from this server's own page")
        # A form of another site cannot send this type, and a script of another site has to ask first.
        if self.headers.get_content_type() != "application/json":
            raise RequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected application/json")

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()):
            raise RequestError(HTTPStatus.LENGTH_REQUIRED, "expected a Content-Length")
        if len(length) > 9 or int(length) > MAX_BODY:
            raise RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {MAX_BODY} bytes")
        body = self.rfile.read(int(length))
        if len(body) != int(length):
            raise RequestError(HTTPStatus.BAD_REQUEST, "the request ended early")
        return body

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Only what goes wrong is worth a line."""
        if not (isinstance(code, HTTPStatus) and code < HTTPStatus.BAD_REQUEST):
            super().log_request(code, size)


def read_page(folder: Path) -> tuple[str, dict[str, Any]]:
    """The page of an exported test, and its sheet.

    Raises:
        PageError: if ``folder`` holds none; the message names the file.
    """
    path = folder / "index.html"
    try:
        page = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PageError(f"{path}: expected an exported listening test; {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise PageError(f"{path}: expected an exported listening test; it is no text") from None
    try:
        return page, read_sheet(page)
    except PageError as error:
        raise PageError(f"{path}: {error}") from None


def open_server(folder: Path, address: tuple[str, int], results: Path | None = None) -> ListeningServer:
    """Read the page, bind the port, take over earlier answers; in this order a mistake leaves no folder behind.

    Args:
        folder: of an exported test.
        address: host and port; port 0 takes a free one.
        results: folder for the answers; None for :func:`default_results`.

    Raises:
        InputError: if any of it cannot be done.
    """
    kept = results or default_results(folder)
    if kept.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"--results {kept}: expected a folder outside the test; a new export would delete answers")
    try:
        page, sheet = read_page(folder)
        return ListeningServer(address, page, lambda: _open_store(kept, sheet))
    except PageError as error:
        raise InputError(str(error)) from None
    except OSError as error:
        host, port = address
        raise InputError(f"{host}:{port}: expected a free port of this machine; {reason(error)}") from None


def _open_store(folder: Path, sheet: dict[str, Any]) -> AnswerStore:
    try:
        return AnswerStore(folder, sheet)
    except AnswerError as error:
        raise InputError(str(error)) from None
    except OSError as error:
        raise InputError(f"{folder}: expected a folder that can be written; {reason(error)}") from None


def default_results(folder: Path) -> Path:
    """Where answers go: beside the exported folder.

    Not inside: a new export replaces that folder, and the folder is what gets sent around.
    """
    whole = folder.resolve()
    return whole.with_name(f"{whole.name}-results")
