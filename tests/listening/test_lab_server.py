"""The server of a listening test: what it shows, what it refuses, and that no answer is ever lost."""

from __future__ import annotations

import csv
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diffwave.listening.answers import AnswerError, AnswerStore, check_row
from diffwave.listening.design import RESULT_COLUMNS
from diffwave.listening.lab_server import MAX_BODY, ListeningServer, read_page
from diffwave.listening.sheet_page import PageError, build_page, sheet_of
from diffwave.web.addresses import is_loopback
from tones import tone_test

TEST, AUDIO = tone_test("mushra")
SHEET = sheet_of(TEST)


def trial_rows(trial: int = 0, session: str = "0123456789abcdef", listener: str = "P01") -> list[dict[str, Any]]:
    """The rows of one trial, as the page sends them."""
    common = {"test_id": TEST.test_id, "method": "mushra", "listener": listener, "session": session}
    common |= {"position": trial + 1, "other": "", "x": "", "plays": 2, "listen_ms": 1500, "page_ms": 9000}
    common |= {"started_at": "2026-03-01T12:00:00.123Z", "order_seed": TEST.order_seed, "user_agent": "Mozilla/5.0 (X)"}
    return [
        {**common, "trial": TEST.trials[trial].trial, "stimulus": stimulus, "slot": slot, "answer": 10 * slot}
        for slot, stimulus in enumerate(TEST.trials[trial].stimuli, start=1)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An exported test, with a key that nobody may see."""
    whole = tmp_path / "listen"
    (whole / "private").mkdir(parents=True)
    (whole / "index.html").write_text(build_page(TEST, AUDIO), encoding="utf-8")
    (whole / "private" / "key.csv").write_text("TOP-SECRET-KEY")
    return whole


@pytest.fixture
def server(folder: Path, tmp_path: Path) -> Iterator[ListeningServer]:
    store = AnswerStore(tmp_path / "results", SHEET)
    with ListeningServer(("127.0.0.1", 0), read_page(folder)[0], lambda: store) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()
    store.close()


def ask(port: int, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
    """One request; header names with _ for -."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        named.setdefault("Content-Type", "application/json")
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(method, path, body, named)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        assert tuple(reader.fieldnames or ()) == RESULT_COLUMNS
        return list(reader)


def test_page_is_served_and_may_talk_to_its_server_only(server: ListeningServer, folder: Path) -> None:
    status, page = ask(server.server_port, "GET", "/?listener=P01")
    assert status == 200
    assert "connect-src 'self'" in page
    assert page.replace("connect-src 'self'", "connect-src 'none'") == (folder / "index.html").read_text()
    assert ask(server.server_port, "HEAD", "/") == (200, "")


@pytest.mark.parametrize(
    "path",
    [
        *("/private/key.csv", "/private/", "/../listen/private/key.csv", "/%2e%2e/private/key.csv", "/results"),
        *(
            "/..%2fprivate%2fkey.csv",
            "//private/key.csv",
            "/index.html/../private/key.csv",
            "/etc/passwd",
            "/tones-mushra.csv",
        ),
    ],
)
def test_nothing_else_is_served(path: str, server: ListeningServer) -> None:
    server.store.add(trial_rows())
    status, text = ask(server.server_port, "GET", path)
    assert status == 404
    assert "SECRET" not in text


def test_answers_reach_the_table_before_they_are_acknowledged(server: ListeningServer) -> None:
    assert ask(server.server_port, "POST", "/results", {"rows": trial_rows()}) == (200, '{"saved": 4}')
    rows = read_table(server.store.table)
    assert [row["answer"] for row in rows] == ["10", "20", "30", "40"]
    expected = [{name: str(value) for name, value in row.items()} for row in trial_rows()]
    assert [dict(row) for row in rows] == [{name: row[name] for name in RESULT_COLUMNS} for row in expected]


def test_repeated_answers_count_once(server: ListeningServer) -> None:
    port = server.server_port
    ask(port, "POST", "/results", {"rows": trial_rows()})
    # A later request brings the old trial along, and a row twice; the first answer stands.
    changed = [{**row, "answer": 99} for row in trial_rows()]
    assert ask(port, "POST", "/results", {"rows": changed + trial_rows(1) + trial_rows(1)}) == (200, '{"saved": 4}')
    assert [int(row["answer"]) for row in read_table(server.store.table)] == [10, 20, 30, 40] * 2
    # The same listener once more is another session.
    assert ask(port, "POST", "/results", {"rows": trial_rows(session="f" * 16)}) == (200, '{"saved": 4}')
    assert len(read_table(server.store.table)) == 12


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),  # DNS rebinding
        ({"Host": "evil.example:8000", "Origin": "http://evil.example:8000"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Content_Type": "text/plain"}, 415),  # what another site's form can send
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content_Length": "-1"}, 411),
        ({"Content_Length": str(MAX_BODY + 1)}, 413),
        ({"Content_Length": "9" * 30}, 413),
    ],
)
def test_foreign_requests_are_refused(headers: dict[str, str], status: int, server: ListeningServer) -> None:
    assert ask(server.server_port, "POST", "/results", {"rows": trial_rows()}, **headers)[0] == status
    assert server.store.rows == []


def test_foreign_host_does_not_get_the_page(server: ListeningServer) -> None:
    assert ask(server.server_port, "GET", "/", Host="evil.example")[0] == 403
    for host in ("localhost:1234", "127.0.0.1", "[::1]:80", "192.168.1.7:8000"):
        assert ask(server.server_port, "GET", "/", Host=host)[0] == 200


def test_own_origin_is_taken(server: ListeningServer) -> None:
    own = f"localhost:{server.server_port}"
    answer = ask(server.server_port, "POST", "/results", {"rows": trial_rows()}, Host=own, Origin=f"http://{own}")
    assert answer[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"\xff", b"[]", b'{"rows": 1}', b'{"rows": []}', b"[" * 100_000, b'{"rows": [NaN]}'),
        b'{"rows": [{"position": 1' + 6000 * b"9" + b"}]}",
    ],
)
def test_what_is_no_answer_is_refused(body: bytes, server: ListeningServer) -> None:
    status, text = ask(server.server_port, "POST", "/results", body)
    assert status == 400
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    "change",
    [
        *({"test_id": "other"}, {"method": "acr"}, {"order_seed": "x"}, {"trial": "t77"}, {"stimulus": "s99"}),
        *({"stimulus": TEST.trials[1].stimuli[0]}, {"other": "s01q"}, {"x": "a"}, {"slot": 1.5}, {"position": -1}),
        *({"answer": 101}, {"answer": -1}, {"answer": "50"}, {"answer": True}, {"answer": 50.5}, {"answer": None}),
        *({"listener": "=cmd|x"}, {"listener": "../../etc"}, {"listener": ""}, {"listener": "a\nb"}, {"listener": 7}),
        *({"session": "../x"}, {"session": "A" * 16}, {"session": "0" * 15}, {"started_at": "yesterday"}),
        *({"user_agent": "=HYPERLINK()"}, {"user_agent": "a\nb"}, {"user_agent": "x" * 401}, {"extra": 1}),
        *({"plays": True}, {"listen_ms": 10**12}, {"page_ms": [1]}, {"stimulus": ["s00q"]}, {"trial": {}}),
    ],
    ids=str,
)
def test_rows_that_do_not_fit_are_refused_as_a_whole(change: dict[str, Any], tmp_path: Path) -> None:
    store = AnswerStore(tmp_path, SHEET)
    good, bad = trial_rows()[0], {**trial_rows()[1], **change}
    with pytest.raises(AnswerError, match="expected"):
        store.add([good, bad])
    assert store.rows == []
    store.close()


@pytest.mark.parametrize(
    ("method", "answers", "wrong"),
    [("ab", ["a", "b", "none"], "x"), ("abx", ["a", "b"], "none"), ("cmos", [-3, 0, 3], 4), ("acr", [1, 5], 0)],
)
def test_answers_of_every_method(method: str, answers: list[Any], wrong: Any) -> None:
    test = tone_test(method)[0]
    a, b = test.trials[0].stimuli
    other, x = ("", "") if method == "acr" else (b, a if method == "abx" else "")
    row = trial_rows()[0] | {"test_id": test.test_id, "method": method, "trial": test.trials[0].trial}
    row |= {"stimulus": a, "other": other, "x": x}
    for answer in answers:
        assert check_row({**row, "answer": answer}, sheet_of(test))["answer"] == answer
    with pytest.raises(AnswerError, match="answer: expected"):
        check_row({**row, "answer": wrong}, sheet_of(test))
    if method != "acr":
        with pytest.raises(AnswerError, match="stimuli of the trial"):
            check_row({**row, "answer": answers[0], "other": a}, sheet_of(test))


def test_a_line_cut_off_by_a_crash_is_dropped(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path, SHEET)
    store.add(trial_rows(0))
    store.add(trial_rows(1))
    store.close()
    (journal,) = (tmp_path / "journal").glob("*.jsonl")
    whole = journal.read_bytes()
    for length in (len(whole) - 1, len(whole) - 30, len(whole) // 2, 1, 0):
        journal.write_bytes(whole[:length])
        store = AnswerStore(tmp_path, SHEET)
        kept = len(store.rows)
        assert kept == whole[:length].count(b"\n")
        assert store.add(trial_rows(0) + trial_rows(1)) == 8 - kept, "what was lost comes again"
        assert len(read_table(store.table)) == 8
        store.close()
        assert sorted(journal.read_bytes().splitlines()) == sorted(whole.splitlines())


def test_a_full_disk_loses_nothing_and_breaks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = AnswerStore(tmp_path, SHEET)
    store.add(trial_rows(0))
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda handle, data: write(handle, data[:100]))
        with pytest.raises(OSError, match="no space"):
            store.add(trial_rows(1))
    assert store.add(trial_rows(1)) == 4
    store.close()
    store = AnswerStore(tmp_path, SHEET)
    assert len(store.rows) == 8
    store.close()


def test_one_server_for_a_folder_and_one_test(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path, SHEET)
    store.add(trial_rows())
    with pytest.raises(AnswerError, match="another server"):
        AnswerStore(tmp_path, SHEET)
    store.close()
    with pytest.raises(AnswerError, match=r"jsonl:1: order_seed: expected 'new'.*choose another --results"):
        AnswerStore(tmp_path, {**SHEET, "order_seed": "new"})


def test_one_session_in_a_request(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path, SHEET)
    with pytest.raises(AnswerError, match="rows of one session"):
        store.add(trial_rows() + trial_rows(session="f" * 16))
    store.close()


def test_leftovers_of_a_killed_server_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".tones-mushra.csv.abc123.csv").write_text("half a ta")
    AnswerStore(tmp_path, SHEET).close()
    assert {path.name for path in tmp_path.iterdir()} == {"tones-mushra.csv", "journal"}


def test_many_listeners_at_once(server: ListeningServer) -> None:
    def listen(number: int) -> None:
        for trial in range(len(TEST.trials)):
            rows = trial_rows(trial, f"{number:016x}", f"P{number}")
            statuses.append(ask(server.server_port, "POST", "/results", {"rows": rows})[0])

    statuses: list[int] = []
    threads = [threading.Thread(target=listen, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 24
    rows = read_table(server.store.table)
    assert len({(row["listener"], row["trial"], row["stimulus"]) for row in rows}) == len(rows) == 8 * 12


def test_slow_and_broken_connections_do_not_stop_the_others(server: ListeningServer) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port)) as slow:
        slow.sendall(
            b"POST /results HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
        )
        assert ask(server.server_port, "GET", "/")[0] == 200
        slow.shutdown(socket.SHUT_WR)
        assert b"400" in slow.recv(100)
    with socket.create_connection(("127.0.0.1", server.server_port)) as broken:
        broken.sendall(b"\x16\x03\x01 no HTTP at all\r\n\r\n")
    assert ask(server.server_port, "GET", "/")[0] == 200


def test_read_page_wants_an_exported_test(tmp_path: Path) -> None:
    with pytest.raises(PageError, match=r"index\.html: expected an exported listening test; No such file"):
        read_page(tmp_path)
    (tmp_path / "index.html").write_text("<html>")
    with pytest.raises(PageError, match=r"index\.html: expected the page of a listening test"):
        read_page(tmp_path)
    (tmp_path / "index.html").write_bytes(b"\xff\xfe")
    with pytest.raises(PageError, match="it is no text"):
        read_page(tmp_path)


def test_loopback() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "127.3.2.1")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "192.168.0.2", "lab.example")] == [False] * 4


def start(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """The real command, and the port it took."""
    command = "import sys; from diffwave.cli.listen_serve import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", command, str(folder), "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    found = re.search(r"http://127\.0\.0\.1:(\d+)/", process.stdout.readline())
    assert found
    return process, int(found[1])


def test_answers_survive_kill_9(folder: Path) -> None:
    """Listeners answer, the server is killed at random moments and started again; every acknowledged row is there."""
    moments = random.Random(3)
    waiting = [trial_rows(trial, f"{n:016x}", f"P{n}") for n in range(20) for trial in range(len(TEST.trials))]
    acknowledged: set[tuple[str, str, str]] = set()
    for _ in range(3):
        process, port = start(folder)
        killer = threading.Timer(moments.uniform(0.05, 0.25), process.send_signal, [signal.SIGKILL])
        killer.start()
        while waiting:
            try:
                assert ask(port, "POST", "/results", {"rows": waiting[0]})[0] == 200
            except (OSError, http.client.HTTPException):
                break  # killed; the page would try the same rows again
            acknowledged |= {(row["session"], row["trial"], row["stimulus"]) for row in waiting.pop(0)}
        killer.join()
        assert process.wait(10) == -signal.SIGKILL
    process, port = start(folder)
    for rows in waiting:
        assert ask(port, "POST", "/results", {"rows": rows})[0] == 200
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "240 answers of 20 listening sessions" in output
    rows = read_table(folder.with_name("listen-results") / "tones-mushra.csv")
    found = {(row["session"], row["trial"], row["stimulus"]) for row in rows}
    assert acknowledged <= found
    assert len(found) == len(rows) == 240


def test_a_store_that_does_not_open_frees_the_port(folder: Path) -> None:
    def fail() -> AnswerStore:
        raise OSError("disk full")

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(OSError, match="disk full"):
        ListeningServer(("127.0.0.1", port), read_page(folder)[0], fail)
    socket.create_server(("127.0.0.1", port)).close()


def test_addresses_that_are_none_are_refused(server: ListeningServer) -> None:
    assert ask(server.server_port, "POST", "/results", {"rows": trial_rows()}, Origin="http://[")[0] == 400
    assert server.store.rows == []
