"""Ids: which name a file below the output folder, and which are refused."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffwave.bulk.output_names import BulkError, check_id, check_ids, output_name


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        ("", "empty"),
        ("/etc/passwd", "absolute"),
        ("..", "'..'"),
        ("a/../../b", "'..'"),
        ("a//b", "empty or begins with a dot"),
        ("a/", "empty or begins with a dot"),
        (".corpus/settings", "begins with a dot"),
        ("a/./b", "begins with a dot"),
        ("a\\..\\b", "backslash"),
        ("a\nb", "cannot be printed"),
        ("a\0b", "cannot be printed"),
        ("bad\udcff", "cannot be printed"),
        ("é" * 101, "202 bytes"),
    ],
)
def test_refused(identity: str, reason: str) -> None:
    assert reason in check_id(identity)
    with pytest.raises(BulkError, match="line 7: expected an id that names a file"):
        check_ids([("fine", "line 6"), (identity, "line 7")], "wav")


@pytest.mark.parametrize("identity", ["a", "103/1240/103-1240-0000", "two words", "ü/é", "a..b", "x.wav"])
def test_accepted(identity: str) -> None:
    assert check_id(identity) == ""


@given(st.text(alphabet="ab./\\~ \n\0é", max_size=12))
def test_what_is_accepted_lies_below_the_output_folder(identity: str) -> None:
    if not check_id(identity):
        path = os.path.normpath("/out/" + output_name(identity, "wav"))
        assert path == f"/out/{identity}.wav"


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("a/b", "a/b", "there twice"),
        ("a/b", "A/b", "where case does not count"),
        ("stra\N{LATIN SMALL LETTER SHARP S}e", "STRASSE", "where case does not count"),
        ("\N{LATIN SMALL LETTER E WITH ACUTE}", "e\N{COMBINING ACUTE ACCENT}", "where case does not count"),
        ("a", "a.wav/b", "needs a folder"),
        ("A.wav/b/c", "a", "needs a folder"),
    ],
)
def test_two_ids_of_one_file(first: str, second: str, reason: str) -> None:
    with pytest.raises(BulkError, match=reason):
        check_ids([(first, "one"), (second, "two")], "wav")
    check_ids([(first, "one"), ("other", "two")], "wav")
