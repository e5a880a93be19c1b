"""Configurations for webMUSHRA (audiolabs/webMUSHRA), which labs know.

Its YAML parser is not one for YAML 1.2: it takes block style, every text in double quotes as in JSON but with
characters beyond ASCII as they are, nested lists on a line of their own, and keys that begin with a letter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from diffwave.listening.design import ANCHOR, SYSTEM, ListeningTest, Trial

CONFIGURABLE = ("mushra", "acr")
_INDENT = "  "
_ACR_SCALE = ((5, "Excellent"), (4, "Good"), (3, "Fair"), (2, "Poor"), (1, "Bad"))
_VOLUME = "Play the sound and set the volume so that you hear it well. Leave it as it is from then on."
_MUSHRA = (
    "Rate the overall quality of each sound compared with the reference. One of the sounds is the reference itself "
    "and should get 100."
)
_BS1116 = (
    "One of the two sounds is the reference itself. Find it, give it 5.0, and grade how much the other one differs: "
    "5.0 imperceptible, 4.0 perceptible but not annoying, 3.0 slightly annoying, 2.0 annoying, 1.0 very annoying."
)
_ACR = "Listen to the sound to its end and rate its overall quality."
_FINISH = "Please enter the name or number you were given (letters and digits only) and send your answers."
# Its results have no other sign of who answered, except on mushra pages. It sends & + % unescaped.
_LISTENER = "Listener (letters and digits)"
_TRAINING = "This is a training page: its answers do not count. "


def configurations(test: ListeningTest) -> dict[str, str]:
    """Make the configurations of a test.

    Returns:
        Text by file name; empty for the pair methods: webMUSHRA's pairs ask which of two is the reference.
    """
    if test.method not in CONFIGURABLE:
        return {}
    page = _mushra_page if test.method == "mushra" else _acr_page
    texts = {f"{test.test_id}.yaml": emit(_document(test, test.test_id, page))}
    if test.method == "mushra":
        name = f"{test.test_id}-bs1116"
        texts[f"{name}.yaml"] = emit(_document(test, name, _bs1116_page))
    return texts


def used_stimuli(test: ListeningTest) -> list[str]:
    """Stimuli that the configurations play, sorted."""
    opened = {trial.reference for trial in (*test.trials, *test.training)} - {""}
    rated = {stimulus for trial in (*test.trials, *test.training) for stimulus in _rated(test, trial)}
    return sorted({test.volume} | opened | rated)


def _rated(test: ListeningTest, trial: Trial, kinds: tuple[str, ...] = (SYSTEM, ANCHOR)) -> list[str]:
    """Stimuli of a page; webMUSHRA itself adds the hidden reference where there is an open one."""
    kind = {stimulus.stimulus: stimulus.kind for stimulus in test.stimuli}
    return [name for name in trial.stimuli if not trial.reference or kind[name] in kinds]


def _path(test: ListeningTest, stimulus: str) -> str:
    return f"configs/{test.test_id}/audio/{stimulus}.wav"


_Page = Callable[[ListeningTest, Trial, str], dict[str, Any]]


def _document(test: ListeningTest, name: str, page: _Page) -> dict[str, Any]:
    volume = {
        "type": "volume",
        "id": "volume",
        "name": "Volume",
        "content": _VOLUME,
        "stimulus": _path(test, test.volume),
        "defaultVolume": 0.5,
    }
    training = [page(test, trial, _TRAINING) for trial in test.training]
    return {
        "testname": test.title,
        "testId": name,
        "bufferSize": 2048,
        "stopOnErrors": True,
        "showButtonPreviousPage": False,
        "remoteService": "service/write.php",
        "pages": [volume, *training, ["random", *(page(test, trial, "") for trial in test.trials)], _finish_page()],
    }


def _finish_page() -> dict[str, Any]:
    return {
        "type": "finish",
        "name": "Thank you",
        "content": _FINISH,
        "popupContent": "Your answers were sent. Thank you.",
        "showResults": False,
        "writeResults": True,
        "questionnaire": [{"type": "text", "label": _LISTENER, "name": "listener"}],
    }


def _common(kind: str, trial: Trial, name: str, content: str) -> dict[str, Any]:
    return {"type": kind, "id": trial.trial, "name": name, "content": content, "showWaveform": True}


def _mushra_page(test: ListeningTest, trial: Trial, training: str) -> dict[str, Any]:
    return {
        **_common("mushra", trial, "Training" if training else "Quality", training + _MUSHRA),
        "enableLooping": True,
        "strict": True,
        "reference": _path(test, trial.reference),
        # webMUSHRA's own 3.5 kHz anchor misses BS.1534-3 by 3 to 5 dB; ours are among the stimuli.
        "createAnchor35": False,
        "createAnchor70": False,
        "randomize": True,
        "showConditionNames": False,
        "stimuli": {name: _path(test, name) for name in _rated(test, trial)},
    }


def _bs1116_page(test: ListeningTest, trial: Trial, training: str) -> dict[str, Any]:
    return {
        **_common("bs1116", trial, "Training" if training else "Impairment", training + _BS1116),
        "enableLooping": True,
        "reference": _path(test, trial.reference),
        "createAnchor35": False,
        "createAnchor70": False,
        # BS.1116 is for small impairments and has no anchors.
        "stimuli": {name: _path(test, name) for name in _rated(test, trial, (SYSTEM,))},
    }


def _acr_page(test: ListeningTest, trial: Trial, training: str) -> dict[str, Any]:
    return {
        **_common("likert_single_stimulus", trial, "Training" if training else "Quality", training + _ACR),
        "mustRate": True,
        "mustPlayback": "ended",
        "stimuli": {name: _path(test, name) for name in trial.stimuli},
        "response": [{"value": value, "label": label} for value, label in _ACR_SCALE],
    }


def emit(document: Mapping[str, Any]) -> str:
    """Write a document as YAML that webMUSHRA's parser reads as every other parser does.

    Args:
        document: dictionaries (keys of letters and digits, letter first), lists, texts without control characters,
            numbers and booleans.

    Raises:
        ValueError: for anything else.
    """
    return "\n".join(_lines(document)) + "\n"


def _lines(value: Mapping[str, Any] | list[Any]) -> Iterator[str]:
    """A block of lines without indent."""
    if isinstance(value, list):
        for item in value:
            if isinstance(item, dict | list):
                yield "-"
                yield from (_INDENT + line for line in _lines(item))
            else:
                yield f"- {_scalar(item)}"
        return
    for key, item in value.items():
        if not re.fullmatch("[A-Za-z][A-Za-z0-9]*", key):
            raise ValueError(f"expected a key of letters and digits, letter first; got {key!r}")
        if isinstance(item, dict | list):
            if not item:
                raise ValueError(f"{key}: expected at least one entry")
            yield f"{key}:"
            yield from (_INDENT + line for line in _lines(item))
        else:
            yield f"{key}: {_scalar(item)}"


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"expected a text without line breaks and control characters; got {value!r}")
    return json.dumps(value, ensure_ascii=False)
