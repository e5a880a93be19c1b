"""The service over real connections."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import re
import shlex
import shutil
import socket
import subprocess
import threading
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import torch
from torch import Tensor

from diffwave.cli.serve import parser
from diffwave.config.sampling import SAMPLERS
from diffwave.serving.limits import Limits
from diffwave.vocoder import Vocoder
from services import Served, encoded, npy, raw_exchange, serving, wait_until

httpx = pytest.importorskip("httpx", reason="asks the service")
for package in ("fastapi", "uvicorn", "prometheus_client"):
    pytest.importorskip(package, reason="diffwave serve needs it (extra: serve)")
MelWarning = pytest.importorskip("diffwave.mel.spectrogram").MelWarning


def samples_of(body: bytes) -> np.ndarray:
    """The samples of a WAV file as 16-bit numbers."""
    samples, rate = soundfile.read(io.BytesIO(body), dtype="int16")
    assert rate == 16000
    return samples


def spoken(vocoder: Vocoder, mel: np.ndarray, **settings: Any) -> np.ndarray:
    """What the service should answer."""
    buffer = io.BytesIO()
    soundfile.write(buffer, vocoder.synthesize(torch.from_numpy(mel), **settings).numpy(), 16000, format="WAV")
    return samples_of(buffer.getvalue())


def assert_same(ours: np.ndarray, expected: np.ndarray) -> None:
    assert ours.shape == expected.shape
    assert np.abs(ours.astype(int) - expected).max() <= 1


def error_of(answer: Any) -> str:
    """The complaint of an answer, which is one line of JSON."""
    document = answer.json()
    assert set(document) == {"error"}
    assert "\n" not in document["error"]
    return str(document["error"])


def test_a_recording(served: Served, vocoder: Vocoder, mel: np.ndarray, speech: np.ndarray, wav_bytes: bytes) -> None:
    answer = httpx.post(f"{served.url}synthesize", content=wav_bytes)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "audio/wav"
    samples = samples_of(answer.content)
    assert len(samples) == len(speech)
    assert_same(samples, spoken(vocoder, mel)[: len(speech)])


def test_a_mel_as_npy_and_as_json(served: Served, vocoder: Vocoder, mel: np.ndarray, npy_bytes: bytes) -> None:
    expected = spoken(vocoder, mel[:, :9])
    as_npy = httpx.post(f"{served.url}synthesize?input=mel", content=npy(mel[:, :9]))
    as_json = httpx.post(f"{served.url}synthesize", json={"mel": mel[:, :9].tolist()})
    assert_same(samples_of(as_npy.content), expected)
    assert as_json.content == as_npy.content


def test_settings_reach_the_vocoder(served: Served, vocoder: Vocoder, mel: np.ndarray, npy_bytes: bytes) -> None:
    query = {"steps": "3", "sampler": "ddpm", "seed": "5", "consistency": "2", "consistency_at": "steps"}
    answer = httpx.post(f"{served.url}synthesize", params=query, content=npy_bytes)
    settings: dict[str, Any] = {"steps": 3, "sampler": "ddpm", "seed": 5, "consistency": 2, "consistency_at": "steps"}
    assert_same(samples_of(answer.content), spoken(vocoder, mel, **settings))
    assert answer.content != httpx.post(f"{served.url}synthesize", content=npy_bytes).content


def test_alone_or_together_the_answer_is_the_same(served: Served, mel: np.ndarray) -> None:
    bodies = [npy(mel[:, :frames]) for frames in range(17, 33)]
    alone = [httpx.post(f"{served.url}synthesize", content=body).content for body in bodies]
    before = batches(served)
    together: dict[int, bytes] = {}

    def ask(index: int) -> None:
        together[index] = httpx.post(f"{served.url}synthesize", content=bodies[index], timeout=30).content

    with served.service.speaker.turns.taken():  # until all have come
        threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(bodies))]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(served.service.speaker.queue) == len(bodies))
    for thread in threads:
        thread.join(30)
    assert batches(served) - before < len(bodies) / 3
    for index, body in enumerate(alone):
        assert_same(samples_of(together[index]), samples_of(body))


def batches(served: Served) -> float:
    text = httpx.get(f"{served.url}metrics").text
    return float(re.search(r"^diffwave_batch_size_count (\S+)$", text, re.MULTILINE).group(1))  # type: ignore[union-attr]


@pytest.mark.parametrize("query", ["", "?format=pcm"])
def test_a_stream_of_a_whole_body(query: str, served: Served, vocoder: Vocoder, wav_bytes: bytes) -> None:
    whole = httpx.post(f"{served.url}synthesize", content=wav_bytes).content
    answer = httpx.post(f"{served.url}stream{query}", content=wav_bytes)
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.headers["x-sample-rate"] == "16000"
    if query:
        assert answer.headers["content-type"].startswith("audio/pcm;rate=16000")
        samples = np.frombuffer(answer.content, "<i2")
    else:
        assert answer.content[:8] == b"RIFF\xff\xff\xff\xff"
        samples = samples_of(answer.content)
    assert_same(samples, samples_of(whole))


class PartByPart(Vocoder):
    """Streams every part of a mel as an utterance of its own."""

    def stream(self, mels: Iterable[Tensor], *arguments: Any) -> Iterator[Tensor]:
        for part in mels:
            yield self.synthesize(part, *arguments[:4])


@pytest.fixture(scope="module")
def streaming(tiny_checkpoint: Path) -> Iterator[Served]:
    vocoder = PartByPart.from_pretrained(tiny_checkpoint, device="cpu", backend="reference")
    with serving(vocoder, Limits(stream_audio_seconds=8, idle_seconds=1.5, streams=1, stream_seconds=4)) as running:
        yield running


def begin_stream(running: Served, query: str = "?input=rows&format=pcm") -> http.client.HTTPConnection:
    """A request whose body has not begun."""
    connection = http.client.HTTPConnection(*running.address, timeout=20)
    connection.putrequest("POST", f"/stream{query}")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    return connection


def send_frames(connection: http.client.HTTPConnection, mel: np.ndarray) -> None:
    data = np.ascontiguousarray(mel.T, "<f4").tobytes()
    connection.send(b"%x\r\n%b\r\n" % (len(data), data))


def test_audio_comes_before_the_last_mel_goes(streaming: Served, vocoder: Vocoder, mel: np.ndarray) -> None:
    connection = begin_stream(streaming)
    send_frames(connection, mel)
    answer = connection.getresponse()
    first = answer.read(32 * 512)
    assert_same(np.frombuffer(first, "<i2"), spoken(vocoder, mel))
    send_frames(connection, mel[:, :20])
    assert_same(np.frombuffer(answer.read(20 * 512), "<i2"), spoken(vocoder, mel[:, :20]))
    connection.send(b"0\r\n\r\n")
    assert answer.read() == b""
    connection.close()


def free(running: Served) -> None:
    wait_until(lambda: running.service._streams == 0 and running.service.budget.used == 0)


def test_a_second_stream_is_refused_and_a_client_that_goes_makes_room(streaming: Served, mel: np.ndarray) -> None:
    first = begin_stream(streaming)
    send_frames(first, mel)
    answer = first.getresponse()
    answer.read(100)
    refused = httpx.post(f"{streaming.url}stream", content=npy(mel))
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert "1 streams run already" in error_of(refused)
    answer.close()
    first.close()
    free(streaming)
    assert httpx.post(f"{streaming.url}stream", content=npy(mel)).status_code == 200
    free(streaming)


def test_a_stream_whose_mels_stop_coming_ends(streaming: Served, mel: np.ndarray) -> None:
    silent = begin_stream(streaming)
    answer = silent.getresponse()
    assert answer.status == 408
    assert "nothing came for 1.5 s" in json.loads(answer.read())["error"]
    silent.close()
    free(streaming)
    stops = begin_stream(streaming)
    send_frames(stops, mel)
    answer = stops.getresponse()
    assert answer.status == 200
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        answer.read()
    stops.close()
    free(streaming)


def test_a_stream_that_is_no_mel_any_more_breaks_off(streaming: Served, mel: np.ndarray) -> None:
    for wrong in (mel + 50, np.full((80, 40), np.nan, np.float32), np.tile(mel, 16)):
        connection = begin_stream(streaming)
        send_frames(connection, mel)
        answer = connection.getresponse()
        assert len(answer.read(1000)) == 1000
        send_frames(connection, wrong)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
        connection.close()
        free(streaming)


def test_a_stream_that_trickles_ends(streaming: Served, mel: np.ndarray) -> None:
    begun = time.monotonic()
    connection = begin_stream(streaming)
    for _ in range(100):
        try:
            send_frames(connection, mel[:, :1])
        except ConnectionError:
            break
        time.sleep(0.1)
    assert 3.5 < time.monotonic() - begun < 15
    connection.close()
    free(streaming)


def test_rows_that_end_in_the_middle_of_a_frame(streaming: Served) -> None:
    answer = httpx.post(f"{streaming.url}stream?input=rows", content=b"\0" * 100)
    assert answer.status_code == 422
    assert "frames of 320 bytes; the last one has 100" in error_of(answer)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("stps=3", "expected parameters of consistency, consistency_at, input"),
        ("format=pcm", "got 'format'"),
        ("steps=3&steps=4", "steps: expected one value; got 2"),
        ("steps=0", "steps: expected a number from 1 on, or full; got '0'"),
        ("steps=51", "51"),
        ("steps=999999999", "expected a number"),
        ("sampler=euler", f"sampler: expected one of {', '.join(SAMPLERS)}; got 'euler'"),
        ("seed=-1", "seed"),
        ("seed=1e3", "seed"),
        ("seed=" + "9" * 5000, "seed"),
        ("consistency=1001", "consistency: expected at most 1000; got 1001"),
        ("consistency=-1", "consistency"),
        ("consistency_at=nowhere", "consistency_at: expected one of end, steps, warm"),
        ("refinements=1", "this model has no refiner"),
        ("refinements=9", "refinements: expected at most 4; got 9"),
        ("refinements=" + "9" * 4000, "refinements"),
        ("input=rows", "input: expected one of auto, audio, mel; got 'rows'"),
        ("%00=%ff", "expected parameters"),
    ],
)
def test_settings_that_cannot_be(query: str, said: str, served: Served, npy_bytes: bytes) -> None:
    answer = httpx.post(f"{served.url}synthesize?{query}", content=npy_bytes)
    assert answer.status_code == 422
    assert said in error_of(answer)
    assert len(answer.content) < 500


def test_a_wrong_mel_is_told_what_was_expected(served: Served, mel: np.ndarray) -> None:
    answer = httpx.post(f"{served.url}synthesize", content=npy(mel.T))
    assert answer.status_code == 422
    assert "16000 Hz, 1024/256/1024, 80 slaney bands" in error_of(answer)
    assert "(transposed?)" in error_of(answer)


def test_too_large_by_its_header_and_by_its_bytes(served: Served) -> None:
    large = b"\0" * (3 << 20)
    by_header = httpx.post(f"{served.url}synthesize", content=large)
    by_bytes = httpx.post(f"{served.url}synthesize", content=iter([large[:100000]] * 30))
    assert by_header.status_code == by_bytes.status_code == 413
    assert "at most 1048576 bytes" in error_of(by_bytes)
    for length, status in ((b"99999999999", b"413"), (b"9" * 20, b"413"), (b"9" * 30, b"400")):
        head = b"POST /synthesize HTTP/1.1\r\nHost: x\r\nContent-Length: " + length + b"\r\n\r\n"
        assert raw_exchange(served.address, head).startswith(b"HTTP/1.1 " + status)
    assert served.service.budget.used == 0


def test_too_long(served: Served) -> None:
    answer = httpx.post(f"{served.url}synthesize", content=encoded(np.zeros(16000 * 6, np.float32), 16000))
    assert answer.status_code == 413
    assert "at most 5 s of audio" in error_of(answer)


@pytest.mark.parametrize("path", ["synthesize", "stream", "stream?input=rows"])
def test_a_body_that_stops_arriving(path: str, served: Served) -> None:
    head = f"POST /{path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n".encode()
    answer = raw_exchange(served.address, head, b"RIFF")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"nothing came for 1 s" in answer
    wait_until(lambda: served.service.budget.used == 0)


def test_no_http_at_all(served: Served) -> None:
    answer = raw_exchange(served.address, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b'{"error": "expected an HTTP request that can be read"}')


@pytest.mark.parametrize("path", ["/../../etc/passwd", "/synthesize/..", "/%2e%2e/", "//synthesize", "/docs", "/redoc"])
def test_there_is_nothing_else(path: str, served: Served) -> None:
    answer = raw_exchange(served.address, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"application/json" in answer


def test_other_methods(served: Served) -> None:
    answer = httpx.get(f"{served.url}synthesize")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert "Method Not Allowed" in error_of(answer)


def test_compressed_bodies_are_not_unpacked(served: Served, wav_bytes: bytes) -> None:
    answer = httpx.post(f"{served.url}synthesize", content=wav_bytes, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 415


def test_health(served: Served) -> None:
    told = httpx.get(f"{served.url}health").json()
    assert told["status"] == "ok"
    assert told["checkpoint"] == "tiny"
    assert told["sample_rate"] == 16000
    assert told["mel"]["n_mels"] == 80
    assert told["sampling"]["steps"] == 2
    assert "/" not in told["checkpoint"]


def test_metrics_are_what_prometheus_reads(served: Served, npy_bytes: bytes) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    httpx.post(f"{served.url}synthesize", content=npy_bytes)
    httpx.get(f"{served.url}nothing-here")
    answer = httpx.get(f"{served.url}metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    values = {
        (sample.name, sample.labels.get("endpoint"), sample.labels.get("status")): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert values["diffwave_requests_total", "/synthesize", "200"] >= 1
    assert values["diffwave_requests_total", "other", "404"] >= 1
    assert values["diffwave_audio_seconds_total", None, None] > 0
    assert values["diffwave_queue_jobs", None, None] == 0
    assert values["process_resident_memory_bytes", None, None] > 1e6


def test_the_page_and_the_schema_load_nothing(served: Served) -> None:
    page = httpx.get(served.url)
    assert "POST /synthesize" in page.text
    assert f"@speech.wav {served.url}synthesize" in page.text
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", page.text)
    schema = httpx.get(f"{served.url}openapi.json").json()
    assert set(schema["paths"]) == {"/synthesize", "/stream", "/health", "/metrics"}


def test_a_full_queue(vocoder: Vocoder, npy_bytes: bytes) -> None:
    with serving(vocoder, Limits(queue=1)) as running:
        answers: list[Any] = []

        def wait() -> None:
            answers.append(httpx.post(f"{running.url}synthesize", content=npy_bytes))

        with running.service.speaker.turns.taken():
            ask = threading.Thread(
                target=lambda: answers.append(httpx.post(f"{running.url}synthesize", content=npy_bytes))
            )
            ask.start()
            wait_until(lambda: len(running.service.speaker.queue) == 1)
            refused = httpx.post(f"{running.url}synthesize", content=npy_bytes)
        ask.join(20)
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert answers[0].status_code == 200


def test_a_deadline(vocoder: Vocoder, npy_bytes: bytes) -> None:
    with serving(vocoder, Limits(request_seconds=2)) as running:
        with running.service.speaker.turns.taken():
            late = httpx.post(f"{running.url}synthesize", content=npy_bytes)
            assert late.status_code == 504
            assert "within 2 s" in error_of(late)
        assert running.service.budget.used == 0
        assert httpx.post(f"{running.url}synthesize", content=npy_bytes).status_code == 200
        assert batches(running) == 2, "what came too late was not spoken: one is from warming up"


def test_a_client_that_goes_is_not_spoken_for(vocoder: Vocoder, npy_bytes: bytes) -> None:
    with serving(vocoder, Limits()) as running:
        with running.service.speaker.turns.taken():
            with socket.create_connection(running.address) as client:
                head = f"POST /synthesize HTTP/1.1\r\nHost: x\r\nContent-Length: {len(npy_bytes)}\r\n\r\n".encode()
                client.sendall(head + npy_bytes)
                wait_until(lambda: len(running.service.speaker.queue) == 1)
            wait_until(lambda: running.service.budget.used == 0)
        assert httpx.post(f"{running.url}synthesize", content=npy_bytes).status_code == 200
        assert batches(running) == 2


def test_all_requests_together_are_bounded(vocoder: Vocoder) -> None:
    with serving(vocoder, Limits(bytes_in_flight=1 << 20, idle_seconds=5)) as running:
        head = b"POST /synthesize HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n"
        with socket.create_connection(running.address) as first:
            first.sendall(head + b"\0" * 800_000)
            wait_until(lambda: running.service.budget.used == 800_000)
            refused = httpx.post(f"{running.url}synthesize", content=b"\0" * 900_000)
            assert refused.status_code == 503
            assert "requests in flight hold" in error_of(refused)
            assert httpx.get(f"{running.url}health").status_code == 200
        wait_until(lambda: running.service.budget.used == 0)


def test_a_header_that_never_ends(vocoder: Vocoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffwave.serving.connection.HEADER_SECONDS", 0.3)
    with serving(vocoder, Limits()) as running:
        for start in (b"", b"POST /synth", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /hea"):
            begun = time.monotonic()
            raw_exchange(running.address, start)
            assert time.monotonic() - begun < 8


def test_a_client_that_does_not_read(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, mel: np.ndarray) -> None:
    monkeypatch.setattr("diffwave.serving.connection.READ_SECONDS", 0.5)

    class Endless(Vocoder):
        def stream(self, mels: Iterable[Tensor], *_: Any) -> Iterator[Tensor]:
            for _ in mels:
                while True:
                    yield torch.zeros(100_000)

    vocoder = Endless.from_pretrained(tiny_checkpoint, device="cpu", backend="reference")
    with serving(vocoder, Limits()) as running, socket.create_connection(running.address) as client:
        body = np.ascontiguousarray(mel.T, "<f4").tobytes()
        head = f"POST /stream?input=rows HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        wait_until(lambda: running.service._streams == 1)
        free(running)


def test_only_its_own_names_and_pages(vocoder: Vocoder, npy_bytes: bytes) -> None:
    with serving(vocoder, Limits(), {"localhost"}) as running:
        ask = f"{running.url}synthesize"
        for headers, status in (
            ({}, 200),
            ({"Host": "localhost:1234"}, 200),
            ({"Host": "evil.example"}, 403),
            ({"Host": "[::1"}, 403),
            ({"Origin": "http://evil.example"}, 403),
            ({"Origin": "null"}, 403),
            ({"Origin": running.url.rstrip("/")}, 200),
        ):
            assert httpx.post(ask, content=npy_bytes, headers=headers).status_code == status, headers


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MelWarning)
        yield


DOCS = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
CURL = re.findall(r"^curl .*http:.*$", DOCS, re.MULTILINE)


@pytest.mark.skipif(not shutil.which("curl"), reason="runs curl")
@pytest.mark.parametrize("line", CURL)
def test_the_curl_commands_of_the_page(
    line: str, served: Served, vocoder: Vocoder, speech: np.ndarray, npy_bytes: bytes, tmp_path: Path
) -> None:
    (tmp_path / "speech.wav").write_bytes(encoded(speech, 16000))
    (tmp_path / "speech.flac").write_bytes(encoded(speech, 16000, "FLAC"))
    (tmp_path / "mel.npy").write_bytes(npy_bytes)
    other = vocoder.with_mel("vocos-24k").mel(torch.from_numpy(soxr.resample(speech, 16000, 24000)))
    (tmp_path / "vocos.npy").write_bytes(npy(other.numpy()))
    words = shlex.split(line.replace("http://127.0.0.1:8000/", served.url))
    ran = subprocess.run([*words, "--fail-with-body", "--silent"], cwd=tmp_path, capture_output=True, check=True)
    if "--output" in words:
        assert soundfile.read(tmp_path / "out.wav")[0].size >= 8000
    else:
        assert json.loads(ran.stdout)["status"] == "ok"


def test_the_python_of_the_page(streaming: Served, vocoder: Vocoder, mel: np.ndarray, tmp_path: Path) -> None:
    one, another, live = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
    (tmp_path / "speech.wav").write_bytes(encoded(np.zeros(8000, np.float32), 16000))
    with contextlib.chdir(tmp_path):
        exec(one.replace("http://127.0.0.1:8000/", streaming.url), {})
    assert len(samples_of((tmp_path / "out.wav").read_bytes())) == 8000
    names: dict[str, Any] = {"mel": mel}
    exec(another.replace("http://127.0.0.1:8000/", streaming.url), names)
    assert_same(samples_of(names["answer"].content), spoken(vocoder, mel))
    heard: list[bytes] = []

    class Model:
        def mels(self) -> Iterator[np.ndarray]:
            for _ in range(3):
                before = len(b"".join(heard))
                yield mel.T.astype(np.float64)
                wait_until(lambda: len(b"".join(heard)) >= before + 32 * 512)  # noqa: B023

    where = f'"127.0.0.1", {streaming.address[1]}'
    exec(live.replace('"127.0.0.1", 8000', where), {"model": Model(), "play": heard.append})
    assert_same(np.frombuffer(b"".join(heard), "<i2"), np.tile(spoken(vocoder, mel), 3))


def test_the_limits_of_the_page() -> None:
    options = parser().parse_args([])
    for option, default in re.findall(r"^\| `--([a-z-]+)` \| ([0-9]+)", DOCS, re.MULTILINE):
        value = getattr(options, option.replace("-", "_"))
        assert (Limits.batch_seconds if value is None else value) == float(default), option
    from diffwave.cli.serve import _limits

    assert _limits(options, "cpu") == Limits()
