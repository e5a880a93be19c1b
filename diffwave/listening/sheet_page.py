"""The page of a listening test: one HTML file with the sheet, the sounds and the program inside.

A person opens it from disk; it needs no network and may not use any. What is inside is picked field by field, so that
nothing of the key (names of systems and utterances, the seed, sources) can slip in.
"""

from __future__ import annotations

import base64
import hashlib
import html
import importlib.resources
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from diffwave.listening.design import RESULT_COLUMNS, ListeningTest, Trial

# In the order in which they are joined: each file uses what stands before it.
SCRIPTS = (
    "dom.js",
    "order.js",
    "decode.js",
    "player.js",
    "storage.js",
    "results.js",
    "sending.js",
    "keyboard.js",
    "transport.js",
    "mushra.js",
    "acr.js",
    "pairs.js",
    "methods.js",
    "trial.js",
    "pages.js",
    "main.js",
)
# What the server replaces by 'self': a page from disk talks to nobody.
NO_CONNECTION = "connect-src 'none'"
_SHEET_KEYS = ("test_id", "title", "method", "order_seed", "sample_rate", "volume", "training", "trials", "columns")
# It names files.
_TEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_IDENTIFIER = re.compile(r"[a-z][a-z0-9]*")
_SHEET = re.compile(r'<script type="application/json" id="sheet">(.*?)</script>', re.DOTALL)


class PageError(ValueError):
    """A test that cannot become a page, or a page that is none; the message says why."""


def build_page(test: ListeningTest, audio: Mapping[str, bytes]) -> str:
    """Build the self-contained page of a test.

    The same test and audio give the same page. Trials and their stimuli are sorted by identifier: the order in
    which the test lists them may tell which stimulus is which.

    Args:
        test: the test; only what listeners may know of it is used.
        audio: identifier of a stimulus -> FLAC file; only stimuli that the test plays are put in.

    Raises:
        PageError: if a sound is missing, or an identifier is not of the form that it should have.
    """
    sheet = sheet_of(test)
    _check_test_id(test.test_id)
    sounds = _stimuli(sheet)
    for stimulus in sounds:
        if not _IDENTIFIER.fullmatch(stimulus):
            raise PageError(f"expected stimulus identifiers like 'a1b2'; got {stimulus!r}")
        if stimulus not in audio:
            raise PageError(f"expected the sound of every stimulus; none for {stimulus!r}")
    style, script = read_style(), read_script()
    parts = {
        "policy": html.escape(_policy(style, script), quote=False),
        "title": html.escape(test.title),
        "style": style,
        "sheet": _json(sheet),
        "audio": "\n".join(_sound(stimulus, audio[stimulus]) for stimulus in sounds),
        "script": script,
    }
    # In one pass: what is put in is never looked at for placeholders.
    return re.sub(r"@(\w+)@", lambda match: parts[match[1]], _read("page.html"))


def sheet_of(test: ListeningTest) -> dict[str, Any]:
    """What listeners get of a test, ready for JSON."""
    return {
        "test_id": test.test_id,
        "title": test.title,
        "method": test.method,
        "order_seed": test.order_seed,
        "sample_rate": test.sample_rate,
        "volume": test.volume,
        "training": _trials(test.training),
        "trials": _trials(test.trials),
        "columns": list(RESULT_COLUMNS),
    }


def read_sheet(page: str) -> dict[str, Any]:
    """The sheet of a page that ``build_page`` made.

    Raises:
        PageError: if there is none.
    """
    found = _SHEET.search(page)
    try:
        sheet = json.loads(found[1]) if found else None
    except ValueError:
        sheet = None
    if not isinstance(sheet, dict) or NO_CONNECTION not in page or set(sheet) != set(_SHEET_KEYS):
        raise PageError("expected the page of a listening test made by this program; got another document")
    if sheet["columns"] != list(RESULT_COLUMNS):
        raise PageError("expected a page of this version of the program, which has other columns; export it again")
    _check_test_id(sheet["test_id"])
    return sheet


def read_script() -> str:
    """The whole program, as it stands in the page."""
    files = "\n".join(_read(name) for name in SCRIPTS)
    return f"(() => {{\n'use strict';\n{files}}})();\n"


def read_style() -> str:
    """The style sheet, as it stands in the page."""
    return _read("style.css")


def _read(name: str) -> str:
    return (importlib.resources.files("diffwave.listening") / "sheet" / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """A content security policy that lets exactly this program run, and nothing be fetched from anywhere."""

    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {source(script)}",
            f"style-src {source(style)}",
            "img-src data:",
            "media-src data: blob:",
            NO_CONNECTION,
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _check_test_id(test_id: object) -> None:
    if not (isinstance(test_id, str) and _TEST_ID.fullmatch(test_id)):
        raise PageError(f"expected a test_id of letters, digits and . _ -; got {test_id!r}")


def _trials(trials: Iterable[Trial]) -> list[dict[str, Any]]:
    picked = [
        {"trial": trial.trial, "reference": trial.reference, "stimuli": sorted(trial.stimuli)} for trial in trials
    ]
    return sorted(picked, key=lambda trial: trial["trial"])


def _stimuli(sheet: dict[str, Any]) -> list[str]:
    """Identifiers of all that the sheet plays, sorted."""
    trials = [*sheet["training"], *sheet["trials"]]
    played = {sheet["volume"], *(trial["reference"] for trial in trials)}
    return sorted(played.union(*(trial["stimuli"] for trial in trials)) - {""})


def _sound(stimulus: str, flac: bytes) -> str:
    # One element each: the page decodes sounds one by one and never parses all of them at once.
    return f'<script type="application/json" id="audio-{stimulus}">"{base64.b64encode(flac).decode()}"</script>'


def _json(value: object) -> str:
    # "<" escaped: no text can end the script element early.
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).replace("<", "\\u003c")
