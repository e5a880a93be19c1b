"""The page as a document: what is in it, what never is, and in which order listeners meet the trials."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html.parser
import json
import re
import shutil
import subprocess
from collections import Counter
from importlib import resources
from typing import Any

import pytest

from diffwave.listening.design import METHODS, RESULT_COLUMNS
from diffwave.listening.sheet_page import SCRIPTS, PageError, build_page, read_script, read_sheet, sheet_of
from tones import SYSTEMS, tone_test

needs_node = pytest.mark.skipif(not shutil.which("node"), reason="needs node")


class Document(html.parser.HTMLParser):
    """The elements of a page, and the texts of its scripts."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.title, self._inside = "", ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside == "title":
            self.title += data


@pytest.mark.parametrize("method", METHODS)
def test_nothing_of_the_key_is_inside(method: str) -> None:
    test, audio = tone_test(method)
    page = build_page(test, audio)
    names = {stimulus.system for stimulus in test.stimuli} - {"reference"} | {"griffin"}
    secrets = names | {"hidden-item", "secret", str(test.seed), "package_version", 'sha256":', "lufs"}
    # Base64 might spell anything: only what is no sound is searched.
    rest = re.sub(r'<script type="application/json" id="audio-\w+">.*?</script>', "", page)
    assert [secret for secret in secrets if secret in rest] == []
    may_know = {"test_id", "title", "method", "order_seed", "sample_rate", "volume", "training", "trials", "columns"}
    assert set(read_sheet(page)) == may_know
    assert {key for trial in read_sheet(page)["trials"] for key in trial} == {"trial", "reference", "stimuli"}
    assert SYSTEMS[0] in {stimulus.system for stimulus in test.stimuli}, "the test would have had something to tell"


def test_sounds_that_no_trial_plays_stay_out() -> None:
    test, audio = tone_test("ab")
    assert build_page(test, {**audio, "extra": b"never sent"}) == build_page(test, audio)


def test_order_of_the_test_does_not_show() -> None:
    test, audio = tone_test("ab")
    turned = [dataclasses.replace(trial, stimuli=trial.stimuli[::-1]) for trial in test.trials[::-1]]
    assert build_page(dataclasses.replace(test, trials=tuple(turned)), audio) == build_page(test, audio)


def test_sheet_and_sounds_come_back() -> None:
    test, audio = tone_test("mushra")
    page = build_page(test, audio)
    document = Document(page)
    assert read_sheet(page) == sheet_of(test)
    assert document.title == test.title
    assert tuple(read_sheet(page)["columns"]) == RESULT_COLUMNS
    found = {
        attributes["id"]: json.loads(text)
        for (tag, attributes), text in zip(
            [element for element in document.elements if element[0] == "script"], document.scripts, strict=True
        )
        if attributes.get("type") == "application/json"
    }
    sounds = {name.removeprefix("audio-"): base64.b64decode(text) for name, text in found.items() if name != "sheet"}
    assert sounds == audio


def test_nothing_outside_the_file_is_referred_to() -> None:
    document = Document(build_page(*tone_test("ab")))
    links = {
        value for _, attributes in document.elements for name, value in attributes.items() if name in ("src", "href")
    }
    assert links == {"data:,"}
    assert document.scripts[-1] == read_script()
    assert not re.search(r"https?://|innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", read_script())


def test_policy_lets_only_this_program_run() -> None:
    page = build_page(*tone_test("ab"))
    (policy,) = [
        str(attributes["content"]) for _, attributes in Document(page).elements if attributes.get("http-equiv")
    ]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    digest = base64.b64encode(hashlib.sha256(read_script().encode()).digest()).decode()
    assert rules["default-src"] == "'none'"
    assert rules["connect-src"] == "'none'"
    assert rules["script-src"] == f"'sha256-{digest}'"


def test_every_script_is_in_the_page() -> None:
    folder = resources.files("diffwave.listening") / "sheet"
    assert {file.name for file in folder.iterdir() if file.name.endswith(".js")} == set(SCRIPTS)


def test_missing_sound_and_odd_identifier() -> None:
    test, audio = tone_test("ab")
    with pytest.raises(PageError, match=f"none for '{test.volume}'"):
        build_page(test, {name: sound for name, sound in audio.items() if name != test.volume})
    with pytest.raises(PageError, match="expected stimulus identifiers"):
        build_page(dataclasses.replace(test, volume='"><script>'), audio)
    with pytest.raises(PageError, match="expected a test_id"):
        build_page(dataclasses.replace(test, test_id="../up"), audio)


def test_a_page_of_another_version_is_told_apart() -> None:
    page = build_page(*tone_test("ab"))
    with pytest.raises(PageError, match="export it again"):
        read_sheet(page.replace('"listen_ms",', ""))
    with pytest.raises(PageError, match="expected a test_id"):
        read_sheet(page.replace('"test_id":"tones-ab"', '"test_id":"/etc/x"'))


@pytest.mark.parametrize("page", ["", "<html></html>", '<script type="application/json" id="sheet">[</script>'])
def test_another_document_is_no_sheet(page: str) -> None:
    with pytest.raises(PageError, match="expected the page of a listening test"):
        read_sheet(page)


def in_node(expression: str, **values: Any) -> Any:
    """What a JavaScript expression gives, with the page's functions for orders and tables."""
    folder = resources.files("diffwave.listening") / "sheet"
    sources = "\n".join((folder / name).read_text(encoding="utf-8") for name in ("order.js", "results.js"))
    constants = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in values.items())
    program = f"'use strict';\n{sources}\n{constants}console.log(JSON.stringify({expression}))"
    result = subprocess.run(["node", "-"], input=program, capture_output=True, text=True, check=True)
    return json.loads(result.stdout)


@needs_node
def test_orders_are_the_listeners_own() -> None:
    sheet = sheet_of(tone_test("mushra", trials=6)[0])
    again, first, second = in_node("['P01', 'P01', 'P02'].map((name) => orderOf(sheet, name, 'trials'))", sheet=sheet)
    assert again == first != second
    for order in (first, second):
        assert sorted(page["trial"] for page in order) == [trial["trial"] for trial in sheet["trials"]]
        stimuli = {page["trial"]: sorted(page["stimuli"]) for page in order}
        assert stimuli == {trial["trial"]: trial["stimuli"] for trial in sheet["trials"]}
    other = in_node("orderOf(sheet, 'P01', 'trials')", sheet={**sheet, "order_seed": "another"})
    assert other != first


@needs_node
def test_generator_gives_known_numbers() -> None:
    # FNV-1a of "a" is e40c292c; the finalizer of MurmurHash3 and mulberry32, worked out independently below.
    mask = 0xFFFFFFFF
    value = 0xE40C292C
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        value = (value ^ (value >> shift)) * factor & mask
    numbers, state = [], value
    for _ in range(3):
        state = (state + 0x6D2B79F5) & mask
        mixed = (state ^ (state >> 15)) * (state | 1) & mask
        mixed ^= (mixed + ((mixed ^ (mixed >> 7)) * (mixed | 61) & mask)) & mask
        numbers.append((mixed ^ (mixed >> 14)) / 2**32)
    assert in_node("seedOf('a')") == value
    assert in_node("(() => { const next = randomFrom(seedOf('a')); return [next(), next(), next()]; })()") == numbers


@needs_node
def test_sides_and_x_are_balanced() -> None:
    sheet = sheet_of(tone_test("abx", trials=10)[0])
    orders = in_node("Array.from({length: 400}, (_, i) => orderOf(sheet, `listener-${i}`, 'trials'))", sheet=sheet)
    pages = [page for order in orders for page in order]
    # 4000 fair coins: 110 is three and a half standard deviations.
    first = sum(page["stimuli"] == sorted(page["stimuli"]) for page in pages)
    x_is_a = sum(page["x"] == page["stimuli"][0] for page in pages)
    both = sum((page["stimuli"] == sorted(page["stimuli"])) == (page["x"] == page["stimuli"][0]) for page in pages)
    assert all(abs(count - 2000) < 110 for count in (first, x_is_a, both))
    assert {page["x"] in page["stimuli"] for page in pages} == {True}
    # Every trial is equally often at every place: 400 / 10, give or take.
    places = Counter((page["trial"], place) for order in orders for place, page in enumerate(order))
    assert len(places) == 100
    assert max(abs(count - 40) for count in places.values()) < 28


@needs_node
def test_absolute_ratings_come_one_at_a_time() -> None:
    order = in_node("orderOf(sheet, 'P01', 'trials')", sheet=sheet_of(tone_test("acr")[0]))
    assert [len(page["stimuli"]) for page in order] == [1] * 6
    assert len({page["stimuli"][0] for page in order}) == 6


@needs_node
def test_table_is_quoted() -> None:
    text = in_node("csvOf(['a', 'b'], [{a: 'x, \"y\"', b: -3}, {a: 'two\\nlines', b: ''}])")
    assert text == 'a,b\r\n"x, ""y""",-3\r\n"two\nlines",\r\n'
    names = ["P01", "a.b_c-d", "=1+1", "-x", "../up", "", "a b", "x" * 65]
    assert in_node("names.map((name) => LISTENER.test(name))", names=names) == [True, True] + [False] * 6
