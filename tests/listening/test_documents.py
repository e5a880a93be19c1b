from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from diffwave.listening.design import KEY_COLUMNS, ListeningTest, Stimulus, Trial
from diffwave.listening.documents import ListeningError, load_key, load_test, write_documents

STIMULI = (
    Stimulus("ab12", 'folder/item, "one"', "ours", "system", "/data/Größe.wav", "00ff", 1.5, -3.25, math.nan, -1.5),
    Stimulus("cd34", 'folder/item, "one"', "reference", "reference", "/data/b.wav", "11ee", 1.5, 0.1, -20.0, -2.0),
)
TEST = ListeningTest(
    test_id="t1",
    title="Größe",
    method="ab",
    seed=5,
    order_seed="beef",
    sample_rate=16000,
    trials=(Trial("tr1", 'folder/item, "one"', "", ("ab12", "cd34")),),
    training=(),
    volume="cd34",
    package_version="0.1.0",
    stimuli=STIMULI,
)


def edited(folder: Path, **changes: Any) -> Path:
    write_documents(folder, TEST)
    path = folder / "test.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")
    return path


@pytest.mark.parametrize("place", ["private", "private/test.json", "."])
def test_reading_gives_back_what_was_written(tmp_path: Path, place: str) -> None:
    (tmp_path / "private").mkdir()
    write_documents(tmp_path / "private", TEST)
    # repr: NaN equals NaN there.
    assert repr(load_test(tmp_path / place)) == repr(TEST)
    assert repr(load_key(tmp_path / place.replace("test.json", "key.csv"))) == repr(list(STIMULI))


def test_a_spreadsheet_may_have_saved_the_key(tmp_path: Path) -> None:
    write_documents(tmp_path, TEST)
    text = (tmp_path / "key.csv").read_text(encoding="utf-8")
    (tmp_path / "key.csv").write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    assert repr(load_key(tmp_path)) == repr(list(STIMULI))


def test_the_key_has_its_columns_in_order(tmp_path: Path) -> None:
    write_documents(tmp_path, TEST)
    assert (tmp_path / "key.csv").read_text(encoding="utf-8").splitlines()[0] == ",".join(KEY_COLUMNS)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "abc"}, "expected one of the methods mushra, acr, ab, cmos, abx; got 'abc'"),
        ({"seed": "5"}, "seed: expected int; got '5'"),
        ({"seed": True}, "seed: expected int; got True"),
        ({"colour": 1}, "'colour' is unknown"),
        ({"trials": {}}, "trials: expected a list"),
        ({"trials": [{"trial": "x"}]}, "item is missing"),
        ({"trials": [{"trial": "x", "item": "", "reference": "", "stimuli": ["ab12", "zz"]}]}, "got 'zz'"),
        ({"trials": [{"trial": "x", "item": "", "reference": "", "stimuli": ["ab12"]}]}, "expected 2 stimuli; got 1"),
        ({"stimuli": []}, "expected stimuli of this test"),
    ],
)
def test_a_document_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = edited(tmp_path, **changes)
    with pytest.raises(ListeningError) as caught:
        load_test(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("sha256", "hash", "sha256 missing"),
        ("1.5,-3.25", "long,-3.25", "line 2: seconds: expected a number; got 'long'"),
        ("\ncd34", "\nab12", "one comes twice"),
        (",0.1,-20.0,-2.0", "", "line 3: expected 10 fields; gain_db is missing"),
    ],
)
def test_a_key_that_does_not_fit_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    write_documents(tmp_path, TEST)
    text = (tmp_path / "key.csv").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "key.csv").write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ListeningError, match=said):
        load_key(tmp_path)


def test_what_is_missing_or_no_json_is_said(tmp_path: Path) -> None:
    with pytest.raises(ListeningError, match=r"expected test\.json in this folder"):
        load_test(tmp_path)
    with pytest.raises(ListeningError, match="No such file"):
        load_key(tmp_path / "nothing.csv")
    (tmp_path / "test.json").write_text('{"seed": NaN}', encoding="utf-8")
    with pytest.raises(ListeningError, match="as JSON; NaN is not JSON"):
        load_test(tmp_path)
    (tmp_path / "test.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ListeningError, match="UTF-8"):
        load_test(tmp_path)
