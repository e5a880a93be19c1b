"""The YAML for webMUSHRA: a golden text, and what parsers make of it.

webMUSHRA reads its configurations with a parser of its own (``lib/external/yaml/yaml.min.js``, not YAML 1.2), whose
licence does not let us ship it. The golden text was read with it; to do that again, with node installed::

    git clone https://github.com/audiolabs/webMUSHRA
    DIFFWAVE_WEBMUSHRA=webMUSHRA pytest tests/listening/test_webmushra.py

Without that variable only PyYAML reads the text.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from diffwave.listening.design import ListeningTest, Stimulus, Trial
from diffwave.listening.webmushra import configurations, emit, used_stimuli

GOLDEN = Path(__file__).parent / "golden"
# What trips YAML parsers: quotes, comments, keys, escapes, numbers, other words for booleans, other alphabets.
NASTY = [
    'Größe "x" # it\'s: a \\ test',
    "'single' and ''doubled'' # \"",
    "- random",
    "{a: b, [c]}",
    "01",
    "1e3",
    "yes",
    "null",
    "~",
    " spaces ",
    "100 % & + <b>é</b> 日本語 🎧",
    "key: value",
    "\\n \\u00e9",
    "!tag &anchor *alias | >",
    "%directive",
    "@at `tick`",
    "---",
    "2024-01-01",
    "",
]


def stimulus(name: str, system: str, kind: str) -> Stimulus:
    return Stimulus(name, "folder/item", system, kind, "/secret/file.wav", "", 1.0, 0.0, -23.0, -3.0)


def make_test(method: str) -> ListeningTest:
    stimuli = (
        stimulus("a0open", "reference", "reference"),
        stimulus("b1hidden", "reference", "reference"),
        stimulus("c2ours", "ours", "system"),
        stimulus("d3low", "anchor35", "anchor"),
        stimulus("e4other", "reference", "reference"),
        stimulus("f5other", "theirs", "system"),
    )
    if method == "mushra":
        trials = [Trial("t1", "folder/item", "a0open", ("b1hidden", "c2ours", "d3low"))]
        training = [Trial("t2", "folder/item", "a0open", ("b1hidden", "c2ours"))]
    else:
        trials = [Trial("t1", "folder/item", "", ("b1hidden",)), Trial("t3", "folder/item", "", ("c2ours",))]
        training = [Trial("t2", "folder/item", "", ("d3low",))]
    return ListeningTest(
        "study-1", NASTY[0], method, 99, "beef", 16000, tuple(trials), tuple(training), "e4other", "0.1.0", stimuli
    )


def webmushra_reads(text: str, folder: Path) -> Any:
    """What webMUSHRA's own parser makes of ``text``."""
    checkout, node = os.environ.get("DIFFWAVE_WEBMUSHRA"), shutil.which("node")
    if not checkout or not node:
        pytest.skip("needs node, and a checkout of webMUSHRA named by DIFFWAVE_WEBMUSHRA")
    parser = Path(checkout) / "lib/external/yaml/yaml.min.js"
    (folder / "text.yaml").write_text(text, encoding="utf-8")
    program = """
        const fs = require("fs"), window = {};
        eval(fs.readFileSync(process.argv[1], "utf8"));
        process.stdout.write(JSON.stringify(window.YAML.parse(fs.readFileSync(process.argv[2], "utf8"))));
    """
    command = [node, "-e", program, str(parser), str(folder / "text.yaml")]
    done = subprocess.run(command, capture_output=True, check=True)
    return json.loads(done.stdout.decode())


@pytest.mark.parametrize("method", ["mushra", "acr"])
def test_golden_text(method: str) -> None:
    made = configurations(make_test(method))
    names = ["study-1.yaml", "study-1-bs1116.yaml"] if method == "mushra" else ["study-1.yaml"]
    assert list(made) == names
    for name, text in made.items():
        golden = GOLDEN / f"{method}-{name}"
        assert text == golden.read_text(encoding="utf-8"), f"{golden} differs; if that is meant, write it anew"


def test_structure_of_the_mushra_golden() -> None:
    document = yaml.safe_load((GOLDEN / "mushra-study-1.yaml").read_text(encoding="utf-8"))
    volume, training, trials, finish = document.pop("pages")
    assert document == {
        "testname": NASTY[0],
        "testId": "study-1",
        "bufferSize": 2048,
        "stopOnErrors": True,
        "showButtonPreviousPage": False,
        "remoteService": "service/write.php",
    }
    assert (volume["type"], volume["stimulus"]) == ("volume", "configs/study-1/audio/e4other.wav")
    assert training["id"] == "t2"
    assert trials[0] == "random"
    (page,) = trials[1:]
    assert page["reference"] == "configs/study-1/audio/a0open.wav"
    # webMUSHRA adds the hidden reference itself: with ours there would be two.
    assert page["stimuli"] == {name: f"configs/study-1/audio/{name}.wav" for name in ("c2ours", "d3low")}
    assert (page["createAnchor35"], page["createAnchor70"]) == (False, False)
    assert finish["questionnaire"][0]["name"] == "listener"


def test_structure_of_the_acr_golden() -> None:
    pages = yaml.safe_load((GOLDEN / "acr-study-1.yaml").read_text(encoding="utf-8"))["pages"]
    assert [page["id"] for page in pages[2][1:]] == ["t1", "t3"]
    page = pages[2][1]
    assert page["type"] == "likert_single_stimulus"
    assert page["stimuli"] == {"b1hidden": "configs/study-1/audio/b1hidden.wav"}
    assert [answer["value"] for answer in page["response"]] == [5, 4, 3, 2, 1]


def test_bs1116_has_the_systems_only() -> None:
    pages = yaml.safe_load(configurations(make_test("mushra"))["study-1-bs1116.yaml"])["pages"]
    assert list(pages[2][1]["stimuli"]) == ["c2ours"]


def test_every_file_that_is_named_is_among_the_used() -> None:
    for method in ("mushra", "acr"):
        test = make_test(method)
        named = set()
        for text in configurations(test).values():
            named |= {stimulus.stimulus for stimulus in test.stimuli if f"/{stimulus.stimulus}.wav" in text}
        assert sorted(named) == used_stimuli(test)


def test_pairs_have_no_configuration() -> None:
    assert configurations(make_test("ab")) == {}


@pytest.mark.parametrize("text", NASTY)
def test_texts_come_back_as_they_were(text: str) -> None:
    document = {"key": text, "list": ["random", text, [text, {"inner": text}], {"more": [text]}]}
    assert yaml.safe_load(emit(document)) == document


@pytest.mark.parametrize(
    "document",
    [{"0a": 1}, {"a b": 1}, {"a": "two\nlines"}, {"a": "\x07"}, {"a": None}, {"a": []}, {"a": "\u2028"}],
)
def test_what_the_parser_could_misread_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        emit(document)


@pytest.mark.peer
@pytest.mark.parametrize("method", ["mushra", "acr"])
def test_webmushra_reads_the_same(method: str, tmp_path: Path) -> None:
    for text in configurations(make_test(method)).values():
        assert webmushra_reads(text, tmp_path) == yaml.safe_load(text)


@pytest.mark.peer
def test_webmushra_reads_nasty_texts(tmp_path: Path) -> None:
    document = {f"key{i}": [text, ["random", {"inner": text}]] for i, text in enumerate(NASTY)}
    assert webmushra_reads(emit(document), tmp_path) == document
    # What other emitters write is read as something else: the parser at work is not one of YAML 1.2.
    assert webmushra_reads("- - random\n  - more\n", tmp_path) != [["random", "more"]]
