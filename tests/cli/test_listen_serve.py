"""``diffwave listen serve``: what it says, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from diffwave.cli.listen_serve import main
from diffwave.errors import InputError
from diffwave.listening.lab_server import ListeningServer, default_results
from diffwave.listening.sheet_page import build_page
from tones import tone_test


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    whole = tmp_path / "listen"
    whole.mkdir()
    (whole / "index.html").write_text(build_page(*tone_test("ab")), encoding="utf-8")
    return whole


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Callable[[signal.Signals], None]:
    """Send this process a signal once it serves; earlier, nobody would catch it."""

    def soon(number: signal.Signals) -> None:
        serve = ListeningServer.serve_forever

        def served(self: ListeningServer) -> None:
            threading.Timer(0.1, os.kill, (os.getpid(), number)).start()
            serve(self)

        monkeypatch.setattr(ListeningServer, "serve_forever", served)

    return soon


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_says_where_and_ends_cleanly(
    number: signal.Signals,
    interrupt: Callable[[signal.Signals], None],
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    interrupt(number)
    assert main([str(folder), "--port", "0"]) == 0
    output, errors = capsys.readouterr()
    assert "listening test: http://127.0.0.1:" in output
    assert f"answers go to:  {folder}-results/tones-ab.csv" in output
    assert "0 answers of 0 listening sessions" in output
    assert errors == ""
    assert (folder.with_name("listen-results") / "tones-ab.csv").exists()


def test_warns_when_the_network_can_reach_it(
    interrupt: Callable[[signal.Signals], None], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt(signal.SIGINT)
    assert main([str(folder), "--port", "0", "--host", "0.0.0.0", "--results", str(tmp_path / "kept")]) == 0
    output, errors = capsys.readouterr()
    assert "everybody who reaches 0.0.0.0:" in errors
    assert len(errors.splitlines()) == 1
    assert str(tmp_path / "kept" / "tones-ab.csv") in output


def test_only_this_machine_by_default(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def serve(self: ListeningServer) -> None:
        seen.append(self.socket.getsockname()[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(ListeningServer, "serve_forever", serve)
    assert main([str(folder), "--port", "0"]) == 0
    assert seen == ["127.0.0.1"]


def test_bad_input_is_one_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing/index\.html: expected an exported listening test"):
        main([str(tmp_path / "missing")])
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file/below: expected a folder that can be written"):
        main([str(folder), "--port", "0", "--results", str(tmp_path / "file" / "below")])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"127.0.0.1:{port}: expected a free port .*; Address already in use"):
            main([str(folder), "--port", str(port)])
    with pytest.raises(InputError, match="expected a free port of this machine"):
        main([str(folder), "--host", "192.0.2.1"])
    with pytest.raises(InputError, match="expected a free port of this machine"):
        main([str(folder), "--host", "no such host"])


@pytest.mark.parametrize("port", ["-1", "65536", "http", "1.5", ""])
def test_bad_port(port: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main([str(folder), "--port", port])
    assert error.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_missing_page_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        main([str(tmp_path / "missing")])
    assert list(tmp_path.iterdir()) == []


def test_answers_stand_beside_the_exported_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_results(tmp_path / "t1") == tmp_path / "t1-results"
    (tmp_path / "t1").mkdir()
    monkeypatch.chdir(tmp_path / "t1")
    assert default_results(Path()) == tmp_path / "t1-results"


def test_ipv6(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from diffwave.listening.lab_server import ListeningServer

    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    pages = []

    def serve(self: ListeningServer) -> None:
        thread = threading.Thread(target=self.handle_request)
        thread.start()
        with urllib.request.urlopen(self.url) as response:
            pages.append(response.read())
        thread.join()
        raise KeyboardInterrupt

    monkeypatch.setattr(ListeningServer, "serve_forever", serve)
    assert main([str(folder), "--host", "::1", "--port", "0"]) == 0
    assert b"tones-ab" in pages[0]


@pytest.mark.parametrize("inside", [".", "answers", "private", "private/../x/y"])
def test_answers_do_not_go_into_the_test(inside: str, folder: Path) -> None:
    with pytest.raises(InputError, match=r"^--results .*: expected a folder outside the test; a new export"):
        main([str(folder), "--port", "0", "--results", str(folder / inside)])
    assert [path.name for path in folder.iterdir()] == ["index.html"]


def test_an_address_that_cannot_be_bound_leaves_nothing_behind(folder: Path) -> None:
    with pytest.raises(InputError, match="expected a free port of this machine"):
        main([str(folder), "--host", "192.0.2.1"])
    assert list(folder.parent.iterdir()) == [folder]
