"""The report: one file that needs no network, says what is the case, and runs nothing that a file name says."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile

from diffwave.evaluation import charts
from diffwave.evaluation.findings import Results, ScoredPair, summarize
from diffwave.evaluation.metrics import choose
from diffwave.evaluation.outcome import Outcome
from diffwave.evaluation.pairs import Pair, System
from diffwave.evaluation.report import build, scores_table

HOSTILE = "<script>alert(1)</script>\"'&"
METRICS = tuple(choose(["pesq_wb", "level"]))
PESQ = [2.0, 4.0, 1.0, 3.0, 2.5]


class Page(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture
def results(clips, noisy, write, tmp_path) -> Results:
    """A system of five rows, another whose rows failed, and a floor."""
    wavs = [clips[1][i * 8000 : i * 8000 + 12000] for i in range(5)]
    systems, rows = [], {}
    for name, shift in ((f"net {HOSTILE}", 0.0), ("broken", None), ("floor", -0.5)):
        pairs = []
        for i, wav in enumerate(wavs):
            reference = write(tmp_path / "r" / f"{i}.wav", wav)
            estimate = write(tmp_path / f"s{len(systems)}" / f"{i}.wav", noisy(wav, 0.01 * (i + 1)))
            pairs.append(Pair(name, f"u{i}{HOSTILE}", f"s{i // 2}", reference, estimate))
        origin = {"baseline": "griffin-lim"} if name == "floor" else {"checkpoint": HOSTILE}
        systems.append(System(name, Path(HOSTILE), tuple(pairs), (f"stray{HOSTILE}",), origin))
        rows[name] = [ScoredPair(pair, outcome(pesq, shift)) for pair, pesq in zip(pairs, PESQ, strict=True)]
    return Results(tuple(systems), METRICS, rows)


def outcome(pesq: float, shift: float | None) -> Outcome:
    if shift is None:
        return Outcome(-1, "unreadable", f"could not {HOSTILE}", None, {}, {})
    return Outcome(-1, "ok", "", 1.0, {"pesq_wb": pesq + shift, "level": 0.0}, {})


def make(results: Results) -> str:
    summary = summarize(results) | {"reference": HOSTILE, "parameters": {"a": HOSTILE}, "versions": {"b": HOSTILE}}
    return build(results, summary, f"Evaluation of {HOSTILE}")


def test_the_page(results, clips):
    """All that is read off one page, which takes seconds to make."""
    text = make(results)
    page = Page(text)
    names_stay_text(text, page)
    nothing_is_fetched(text, page)
    worst_middle_and_best_are_shown(page, clips[1])
    failures_are_listed(page)
    assert make(results) == text  # the same rows, the same bytes


def names_stay_text(text: str, page: Page) -> None:
    assert not page.all("script")
    assert "<script" not in text
    assert HOSTILE in page.text
    allowed = {"src", "class", "alt", "aria-label", "controls", "preload", "content", "http-equiv", "name", "lang"}
    assert {name for _, attributes in page.tags for name in attributes} <= allowed | {"charset", "open", "style"}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def nothing_is_fetched(text: str, page: Page) -> None:
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert not re.search(r"https?:", policy)
    sources = [str(attributes["src"]) for tag in ("img", "audio") for attributes in page.all(tag)]
    assert sources
    assert all(source.startswith("data:") for source in sources)
    assert not page.all("link")
    assert not re.search(r"url\(|@import", text)


def worst_middle_and_best_are_shown(page: Page, clip: np.ndarray) -> None:
    for word, index, value in (("worst", 2, 1.0), ("middle", 4, 2.5), ("best", 1, 4.0)):
        assert f"{word}: u{index}{HOSTILE}" in page.text
        assert f"PESQ-WB {value:.2f}" in page.text
    players = page.all("audio")
    assert len(players) == 2 * 3 * 2  # reference and estimate, three utterances, two systems with scores
    pictures = [image for image in page.all("img") if "Spectrogram" in str(image["alt"])]
    assert len(pictures) == 3 * 2
    source = str(players[0]["src"]).removeprefix("data:audio/flac;base64,")
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(source)), dtype="float32")
    assert rate == 16000
    assert np.allclose(samples, clip[2 * 8000 : 2 * 8000 + 12000], atol=1e-4)


def failures_are_listed(page: Page) -> None:
    assert "Rows that are not ok (5)" in page.text
    assert f"could not {HOSTILE}" in page.text
    assert "5 of 10 rows have no full set of scores" in page.text
    assert f"stray{HOSTILE}" in page.text


def test_both_spectrograms_have_the_scale_of_the_reference(clips):
    figure = charts.spectrograms([clips[0], 0.1 * clips[0]], 16000, ["reference", "estimate"])
    limits = {image.get_clim() for axes in figure.axes for image in axes.get_images()}
    assert len(limits) == 1


def test_a_file_that_has_gone_costs_its_pictures_and_not_the_report(results):
    for path in (results.systems[0].pairs[2].estimate, results.systems[0].pairs[1].reference):
        path.unlink()
    assert "there is no such file" in make(results)


def test_columns_that_should_be_zero_keep_their_sign(results):
    """In the table and in the pictures; a row without the score is no obstacle."""
    metrics = tuple(choose(["pesq_wb", "bias_high", "silence"]))
    for row, value in zip(results.rows[results.systems[0].name], (-0.4, -0.2, -0.3, -0.25, -0.35), strict=True):
        row.outcome.scores["bias_high"] = value
    signed = Results(results.systems, metrics, results.rows)
    summary = summarize(signed)
    table = Page(scores_table(signed, summary)).text
    assert "energy bias 4-8 kHz (nat) → 0-0.300" in table
    assert "level in silence" not in table
    for figure in (charts.intervals(signed, summary), charts.distributions(signed)):
        _, panel, *rest = figure.axes
        assert panel.get_title(loc="left") == "energy bias 4-8 kHz (nat)  (zero is best)"
        low, high = panel.get_xlim()
        assert low < -0.3 < high
        assert not any(axes.get_visible() for axes in rest)
