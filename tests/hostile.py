"""Requests as nobody should send them, from a seed."""

from __future__ import annotations

import io
import json
import pickle
import random
import re
import socket
import struct
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from services import encoded, npy

_HEAD = "HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
_NUMBERS = ("0", "-1", "2**31", "2147483648", "9223372036854775807", "80", "1e9", "'a'", "None")
_DTYPES = ("'<f4'", "'|O'", "'<U9999999'", "'<c16'", "'|V999999999'", "[('a', '<f4')]", "'<m8[ns]'", "'f4x'")
_PARAMETERS = ("steps", "seed", "consistency", "refinements", "sampler", "input", "format", "x", "%00")
_VALUES = ("-1", "0", "1e9", "NaN", "9" * 4000, "%ff%fe", "true", "", "../..", "full", "'; --", "3")
_STARTS = (b"\x16\x03\x01", b"GET", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0" * 100, b"\r\n" * 50)


@dataclass(frozen=True)
class Request:
    """Bytes to send, and how.

    Args:
        name: of what is wrong with it.
        parts: are sent one after the other.
        pause: seconds between them.
        leave: hang up without reading the answer.
    """

    name: str
    parts: list[bytes]
    pause: float = 0.0
    leave: bool = False


@dataclass
class Answer:
    """What came back; status 0 if the connection ended without an answer."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Hostile:
    """Makes requests from valid ones.

    Args:
        speech: samples at 16 kHz, ``[N]``.
        mel: a valid mel, ``[80, F]``.
        seed: the same gives the same requests.
    """

    def __init__(self, speech: np.ndarray, mel: np.ndarray, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._mel = mel
        self._valid = [
            encoded(speech, 16000),
            encoded(speech, 16000, "FLAC"),
            encoded(speech, 16000, "OGG", "VORBIS"),
            encoded(speech, 16000, "MP3", None),
            encoded(speech, 16000, "AIFF"),
            npy(mel),
            npy(mel.astype(np.float64)),
            json.dumps({"mel": mel[:, :4].tolist()}).encode(),
        ]
        self._rows = np.ascontiguousarray(mel.T, "<f4").tobytes()
        self._silence = encoded(np.zeros(16000 * 3600, np.float32), 16000, "FLAC")
        self._bomb = _npz_bomb()
        self._makers: list[Callable[[], Request]] = [
            self._mutated,
            self._mutated,
            self._mutated,
            self._valid_body,
            self._npy_header,
            self._pickled,
            self._bombs,
            self._claims,
            self._odd_query,
            self._odd_path,
            self._odd_header,
            self._odd_length,
            self._slow,
            self._leaving,
            self._rows_mutated,
            self._chunked,
            self._no_http,
        ]

    def request(self) -> Request:
        """The next one."""
        return self._random.choice(self._makers)()

    def _post(self, name: str, body: bytes, target: str = "", headers: str = "", **how: float) -> Request:
        target = target or self._random.choice(["/synthesize", "/synthesize", "/stream"])
        head = f"POST {target} {_HEAD}{headers}Content-Length: {len(body)}\r\n\r\n"
        return Request(name, [head.encode("latin1") + body], **how)  # type: ignore[arg-type]

    def _body(self) -> bytes:
        return self._random.choice(self._valid)

    def _mutated(self) -> Request:
        body = bytearray(self._body())
        kind = self._random.choice(["truncated", "flipped", "header", "spliced", "repeated", "extended"])
        if kind == "truncated":
            body = body[: self._random.randrange(len(body))]
        elif kind in ("flipped", "header"):
            reach = len(body) if kind == "flipped" else min(100, len(body))
            for _ in range(self._random.randint(1, 30)):
                body[self._random.randrange(reach)] ^= 1 << self._random.randrange(8)
        elif kind == "spliced":
            other = self._body()
            body = body[: self._random.randrange(len(body))] + other[self._random.randrange(len(other)) :]
        elif kind == "repeated":
            body *= 2
        else:
            body += self._random.randbytes(self._random.randint(1, 5000))
        return self._post(f"mutated: {kind}", bytes(body))

    def _valid_body(self) -> Request:
        return self._post("valid", self._body())

    def _npy_header(self) -> Request:
        number = self._random.choice(
            ["0", "-1", "2**31", "2147483648", "9223372036854775807", "80", "1e9", "'a'", "None"]
        )
        kind = self._random.choice(
            ["<f4", "|O", "<U9999999", "<c16", "|V999999999", "[('a', '<f4')]", "<m8[ns]", "f4x"]
        )
        text = f"{{'descr': {kind}, 'fortran_order': False, 'shape': ({number}, {number}), }}"
        version = self._random.choice([b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x04\x00", b"\xff\xff"])
        size = struct.pack("<H" if version[0] == 1 else "<I", self._random.choice([len(text), 0, 65535, len(text) + 7]))
        return self._post("npy header", b"\x93NUMPY" + version + size + text.encode() + self._random.randbytes(64))

    def _pickled(self) -> Request:
        class Evil:
            def __reduce__(self) -> tuple[object, ...]:
                return (exec, ("import os; os._exit(66)",))

        buffer = io.BytesIO()
        kind = self._random.choice(["pickle", "npy", "pt", "old pt"])
        if kind == "pickle":
            buffer.write(pickle.dumps(Evil(), protocol=self._random.randint(0, 5)))
        elif kind == "npy":
            np.save(buffer, np.array([[Evil()]], dtype=object), allow_pickle=True)
        else:
            torch.save(Evil(), buffer, _use_new_zipfile_serialization=kind == "pt")
        return self._post(f"pickled: {kind}", buffer.getvalue())

    def _bombs(self) -> Request:
        nested = self._random.choice([b"[", b'{"mel":', b"[[],"]) * 30_000
        body = self._random.choice([self._bomb, self._silence, b'{"mel": ' + nested, b'{"mel": [[' + b"9" * 100_000])
        return self._post("bomb", body)

    def _claims(self) -> Request:
        body = bytearray(self._random.choice(self._valid[:5]))
        claim = self._random.choice([0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 0x7FFF0000, 1])
        if body[:4] == b"RIFF":
            struct.pack_into("<I", body, self._random.choice([4, 16, 24, 28, 40]), claim)
            if self._random.random() < 0.5:
                struct.pack_into("<H", body, self._random.choice([20, 22, 32, 34]), claim & 0xFFFF)
        elif body[:4] == b"fLaC":
            struct.pack_into(">I", body, self._random.choice([18, 20, 22]), claim)
        else:
            struct.pack_into(">I", body, self._random.randrange(4, 60), claim)
        return self._post("claims too much", bytes(body))

    def _odd_query(self) -> Request:
        name = self._random.choice(
            ["steps", "seed", "consistency", "refinements", "sampler", "input", "format", "x", "%00"]
        )
        value = self._random.choice(
            ["-1", "0", "1e9", "NaN", "9" * 4000, "%ff%fe", "true", "", "../..", "full", "'; --", "3"]
        )
        again = f"&{name}={value}" if self._random.random() < 0.2 else ""
        endpoint = self._random.choice(["/synthesize", "/stream"])
        return self._post("query", self._valid[5], f"{endpoint}?{name}={value}{again}")

    def _odd_path(self) -> Request:
        path = self._random.choice(
            [
                "/../../etc/passwd",
                "/synthesize/../../..",
                "/%2e%2e/%2e%2e/etc/passwd",
                "/..%5c..%5cboot.ini",
                "//etc/passwd",
                "/health/../synthesize",
                "/synthesize%00.wav",
                "/" + "a" * 5000,
                "/\xe4",
                "/docs",
                "/%",
                "*",
                "http://evil.example/synthesize",
            ]
        )
        return self._post("path", self._body(), path)

    def _odd_header(self) -> Request:
        header = self._random.choice(
            [
                "Content-Type: multipart/form-data; boundary=x",
                "Content-Type: application/json",
                "Content-Type: \xff\xfe",
                "Content-Encoding: gzip",
                "Transfer-Encoding: gzip",
                "Transfer-Encoding: chunked",
                "Upgrade: websocket\r\nConnection: upgrade",
                "Expect: 100-continue",
                "Origin: null",
                "Range: bytes=0-1",
                "X-Long: " + "y" * 9000,
                "X-Many: z\r\n" * 300 + "X-Last: z",
                "Host: other",
                " folded: x",
            ]
        )
        return self._post("header", self._body(), headers=f"{header}\r\n")

    def _odd_length(self) -> Request:
        length = self._random.choice(["-1", "99999999999", "9" * 30, "1e3", "0x10", "", "5, 6", "\xb2", "1073741824"])
        head = f"POST /synthesize {_HEAD}Content-Length: {length}\r\n\r\n"
        return Request("length", [head.encode("latin1") + self._body()])

    def _slow(self) -> Request:
        whole = self._post("slow", self._random.choice(self._valid[5:])).parts[0]
        cuts = sorted(self._random.sample(range(1, len(whole)), 4))
        parts = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        stop = self._random.random() < 0.3
        return Request("slow", parts[:-1] if stop else parts, self._random.choice([0.01, 0.05]))

    def _leaving(self) -> Request:
        whole = self._post("leaving", self._body()).parts[0]
        return Request("leaving", [whole[: self._random.randint(1, len(whole))]], leave=True)

    def _rows_mutated(self) -> Request:
        rows = bytearray(self._rows)
        for _ in range(self._random.choice([0, 1, 100])):
            rows[self._random.randrange(len(rows))] ^= 1 << self._random.randrange(8)
        end = self._random.choice([len(rows), self._random.randrange(len(rows))])
        return self._post("rows", bytes(rows[:end]), "/stream?input=rows")

    def _chunked(self) -> Request:
        body = self._body()
        size = self._random.choice([b"%x" % len(body), b"ffffffffffffffff", b"-1", b"zz", b"%x;ext=1" % len(body), b""])
        end = self._random.choice([b"\r\n0\r\n\r\n", b"\r\n", b"", b"\r\n0\r\nTrailer: x\r\n\r\n"])
        target = self._random.choice(["/synthesize", "/stream", "/stream?input=rows"])
        head = f"POST {target} {_HEAD}Transfer-Encoding: chunked\r\n\r\n".encode()
        return Request("chunked", [head + size + b"\r\n" + body + end])

    def _no_http(self) -> Request:
        start = self._random.choice(
            [b"\x16\x03\x01", b"GET", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0" * 100, b"\r\n" * 50]
        )
        return Request("no http", [start + self._random.randbytes(self._random.randint(0, 200)) + b"\r\n\r\n"])


def _npz_bomb() -> bytes:
    """An ``.npz`` of less than a megabyte that holds half a gigabyte of zeros."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file,
        file.open("mel.npy", "w", force_zip64=True) as member,
    ):
        for _ in range(512):
            member.write(bytes(1 << 20))
    return buffer.getvalue()


def send(address: tuple[str, int], request: Request, timeout: float = 30.0) -> Answer | None:
    """Send a request and read its answer; None for one that was not waited for."""
    with socket.create_connection(address, timeout) as connection:
        received = b""
        try:
            for index, part in enumerate(request.parts):
                time.sleep(request.pause if index else 0)
                connection.sendall(part)
            if request.leave:
                return None
            # What is still missing will not come: the answer need not wait for it.
            while not _complete(received) and (data := connection.recv(1 << 16)):
                received += data
        except ConnectionError:
            pass
    return _parsed(received)


def _complete(received: bytes) -> bool:
    """Whether an answer has come as a whole, although the connection is still open."""
    head, end, body = _without_continue(received).partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        return received.endswith(b"\r\n0\r\n\r\n")
    found = re.search(rb"\r\ncontent-length: (\d+)", head)
    return bool(end) and found is not None and len(body) >= int(found[1])


def _without_continue(received: bytes) -> bytes:
    return received.partition(b"\r\n\r\n")[2] if received.startswith(b"HTTP/1.1 100") else received


def _parsed(received: bytes) -> Answer:
    head, _, body = _without_continue(received).partition(b"\r\n\r\n")
    if not head:
        return Answer(0)
    first, *lines = head.decode("latin1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        body = _unchunked(body)
    if "content-length" in headers:  # a second answer may follow
        body = body[: int(headers["content-length"])]
    return Answer(int(first.split()[1]), headers, body)


def _unchunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return whole
        whole, body = whole + rest[:length], rest[length + 2 :]
    return b""  # it broke off
