"""Mels of other conventions over HTTP: ``mel=NAME``, what the answer says they were read as, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import torch

from diffwave.config import CONVENTIONS
from diffwave.serving.limits import Limits
from diffwave.vocoder import Vocoder
from services import Served, npy, serving

httpx = pytest.importorskip("httpx", reason="asks the service")
QUICK = "consistency=2"


def mel_of(vocoder: Vocoder, speech: np.ndarray, name: str) -> np.ndarray:
    """At the convention's own rate, ``[M, F]``."""
    rate = CONVENTIONS[name].mel.sample_rate
    return vocoder.with_mel(name).mel(torch.from_numpy(soxr.resample(speech, 16000, rate))).numpy()


def samples(data: bytes) -> np.ndarray:
    return np.frombuffer(data[44:], "<i2") / 32768


def ask(served: Served, endpoint: str, query: str, content: bytes) -> Any:
    return httpx.post(f"{served.url}{endpoint}?{QUICK}&{query}", content=content, timeout=60)


@pytest.mark.parametrize("endpoint", ["synthesize", "stream"])
@pytest.mark.parametrize("name", ["vocos-24k", "espnet-24k", "matcha-22k"])
def test_a_named_mel_is_spoken_at_its_rate(served: Served, vocoder: Vocoder, speech, endpoint, name) -> None:
    mel, config = mel_of(vocoder, speech, name), CONVENTIONS[name].mel
    answer = ask(served, endpoint, f"mel={name}", npy(mel))
    assert answer.status_code == 200, answer.text
    assert int.from_bytes(answer.content[24:28], "little") == config.sample_rate
    assert answer.headers["x-mel"] == f"{name}; {config.brief()}"
    expected = vocoder.with_mel(name).synthesize(torch.from_numpy(mel), consistency=2).numpy()
    np.testing.assert_allclose(samples(answer.content), expected.clip(-1, 1), atol=2 / 32768)


def test_rows_of_a_named_mel(served: Served, vocoder: Vocoder, speech: np.ndarray) -> None:
    mel = mel_of(vocoder, speech, "vocos-24k")
    whole = ask(served, "stream", "mel=vocos-24k", npy(mel))
    rows = ask(served, "stream", "mel=vocos-24k&input=rows", mel.T.astype("<f4").tobytes())
    assert rows.headers["x-sample-rate"] == "24000"
    np.testing.assert_array_equal(samples(rows.content), samples(whole.content))


def test_frames_may_come_first_where_the_convention_has_it_so(served: Served, vocoder: Vocoder, speech) -> None:
    mel = mel_of(vocoder, speech, "speecht5-16k")
    answers = [ask(served, "synthesize", "mel=speecht5-16k", npy(body)).content for body in (mel, mel.T)]
    assert answers[0] == answers[1]
    as_json = httpx.post(f"{served.url}synthesize?{QUICK}&mel=speecht5-16k", json={"mel": mel.T.tolist()}, timeout=60)
    assert as_json.content == answers[0]


def test_what_nobody_named_is_told(served: Served, npy_bytes: bytes) -> None:
    for endpoint in ("synthesize", "stream"):
        assert ask(served, endpoint, "seed=0", npy_bytes).headers["x-mel"] == "default; 16000 Hz, hop 256, 80 bands, ln"
    told = httpx.get(f"{served.url}health").json()
    assert (told["mel"]["name"], told["mels"]) == ("default", list(CONVENTIONS))


def test_several_conventions_at_once_do_not_get_mixed(served: Served, vocoder: Vocoder, speech: np.ndarray) -> None:
    # bigvgan-22k and hifigan-22k have the same shapes and numbers, and the default the same bands.
    from concurrent.futures import ThreadPoolExecutor

    bodies = {name: npy(mel_of(vocoder, speech, name)) for name in ("default", "hifigan-22k", "vocos-24k")}
    with ThreadPoolExecutor(6) as threads:
        jobs = [
            (name, threads.submit(ask, served, "synthesize", f"mel={name}", bodies[name])) for name in [*bodies] * 2
        ]
        for name, job in jobs:
            assert job.result().headers["x-mel"].startswith(f"{name};")
            assert int.from_bytes(job.result().content[24:28], "little") == CONVENTIONS[name].mel.sample_rate


REFUSED = {
    "mel=vocos": "did you mean vocos-24k?",
    "mel=": "expected the name of a convention; got ''",
    "mel=mine.json": "got 'mine.json'",
    "mel=/etc/passwd": "got '/etc/passwd'",
    "mel=vocos-24k&mel=default": "mel: expected one value",
    "mels=vocos-24k": "got 'mels'",
    "mel=" + "n" * 1000: "expected the name of a convention; got",
}


@pytest.mark.parametrize("endpoint", ["synthesize", "stream"])
@pytest.mark.parametrize("query", REFUSED)
def test_names_that_are_none_are_refused_and_the_service_goes_on(served: Served, npy_bytes, endpoint, query) -> None:
    answer = ask(served, endpoint, query, npy_bytes)
    assert answer.status_code == 422
    assert REFUSED[query] in answer.json()["error"]
    assert len(answer.json()["error"].splitlines()) == 1
    assert ask(served, endpoint, "seed=0", npy_bytes).status_code == 200


# How a mel of vocos-24k is spoiled, and what the line must say of it.
SPOILED = {
    "bands": (lambda m: m[:80], "expected a mel [100 bands, frames] of vocos-24k"),
    "transposed": (lambda m: m.T, "transposed?"),
    "nan": (lambda m: m * np.nan, "NaN"),
    "decibel": (lambda m: 20 * m / np.log(10), "another logarithm"),
    "no frames": (lambda m: m[:, :0], "no frames"),
}


@pytest.mark.parametrize("endpoint", ["synthesize", "stream"])
@pytest.mark.parametrize("case", SPOILED)
def test_mels_that_are_none_of_the_named(served: Served, vocoder: Vocoder, speech, endpoint, case) -> None:
    spoil, said = SPOILED[case]
    answer = ask(served, endpoint, "mel=vocos-24k", npy(spoil(mel_of(vocoder, speech, "vocos-24k"))))
    assert answer.status_code == 422
    assert said in answer.json()["error"]


@pytest.fixture(scope="module")
def gpt_sovits(vocoder: Vocoder) -> Iterator[Served]:
    """A service whose own mels have mean and scale, frames of another rate, and 100 bands."""
    with serving(vocoder.with_mel("gpt-sovits-24k"), Limits()) as running:
        yield running


def test_a_service_may_have_another_convention_of_its_own(gpt_sovits: Served, vocoder: Vocoder, speech) -> None:
    answer = ask(gpt_sovits, "synthesize", "seed=0", npy(mel_of(vocoder, speech, "gpt-sovits-24k")))
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-mel"] == "gpt-sovits-24k; 24000 Hz, hop 256, 100 bands, ln, standardised"
    told = httpx.get(f"{gpt_sovits.url}health").json()
    assert (told["sample_rate"], told["mel"]["scale"]) == (24000, [7.0])
    assert ask(gpt_sovits, "synthesize", "mel=default", npy(mel_of(vocoder, speech, "default"))).status_code == 200


def test_what_looks_like_another_is_told_and_rows_of_another_logarithm_are_refused(
    served: Served, vocoder: Vocoder
) -> None:
    recording = Path(__file__).parents[1] / "data" / "403-126855-0000.flac"
    long = np.tile(soundfile.read(recording, dtype="float32")[0], 3)
    other = mel_of(vocoder, long, "hifigan-22k")[:, :300]
    for endpoint in ("synthesize", "stream"):
        answer = ask(served, endpoint, "seed=0", npy(other))
        assert answer.status_code == 200, answer.text
        told = answer.headers["x-mel-doubt"]
        assert "looks like hifigan-22k" in told
        assert "mel=hifigan-22k names it" in told
    assert "x-mel-doubt" not in ask(served, "synthesize", "mel=hifigan-22k", npy(other)).headers
    own = mel_of(vocoder, long, "default")[:, :80] / np.log(10)
    answer = ask(served, "stream", "input=rows", own.T.astype("<f4").tobytes())
    assert answer.status_code == 422
    assert "log10" in answer.text
