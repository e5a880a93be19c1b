"""The experimenter's documents: ``private/key.csv`` and ``private/test.json``, written and read strictly."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import typing
from pathlib import Path
from typing import Any, TypeVar

from diffwave.errors import UserError
from diffwave.files import write_text
from diffwave.listening.design import KEY_COLUMNS, METHODS, PAIR_METHODS, ListeningTest, Stimulus, Trial

PRIVATE, TEST_FILE, KEY_FILE = "private", "test.json", "key.csv"
T = TypeVar("T")


class ListeningError(UserError, ValueError):
    """A listening test that cannot be made, or a document of one that cannot be used; the message says why."""


def write_documents(folder: Path, test: ListeningTest) -> None:
    """Write ``test.json`` and ``key.csv`` into ``folder``, which exists."""
    document = _without_nan(dataclasses.asdict(test))
    write_text(folder / TEST_FILE, json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    write_text(folder / KEY_FILE, key_text(test.stimuli))


def key_text(stimuli: tuple[Stimulus, ...]) -> str:
    """The key as CSV: one row per stimulus, floats as Python writes them, so that reading gives them back."""
    text = io.StringIO()
    writer = csv.DictWriter(text, KEY_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(dataclasses.asdict(stimulus) for stimulus in stimuli)
    return text.getvalue()


def load_test(path: Path) -> ListeningTest:
    """Read a test.

    Args:
        path: ``test.json``, the ``private`` folder that holds it, or the folder of the export.

    Raises:
        ListeningError: if there is none, or it does not fit together.
    """
    file = _find(path, TEST_FILE)
    try:
        document = json.loads(_text(file), parse_constant=_refuse_constant)
    except ValueError as error:
        raise ListeningError(f"{file}: expected a listening test as JSON; {error}") from None
    test = _build(ListeningTest, document, f"{file}")
    _check(test, file)
    return test


def load_key(path: Path) -> list[Stimulus]:
    """Read a key.

    Args:
        path: ``key.csv``, the ``private`` folder that holds it, or the folder of the export.

    Raises:
        ListeningError: if there is none, a column is missing, or a row cannot be read.
    """
    file = _find(path, KEY_FILE)
    # utf-8-sig: spreadsheets put a mark in front of what they save.
    reader = csv.DictReader(io.StringIO(_text(file).removeprefix("\ufeff"), newline=""))
    missing = [name for name in KEY_COLUMNS if name not in (reader.fieldnames or [])]
    if missing:
        raise ListeningError(f"{file}: expected the columns {', '.join(KEY_COLUMNS)}; {', '.join(missing)} missing")
    stimuli = [_key_row(row, f"{file}, line {reader.line_num}") for row in reader]
    if len({stimulus.stimulus for stimulus in stimuli}) < len(stimuli):
        raise ListeningError(f"{file}: expected each stimulus once; one comes twice")
    return stimuli


def _find(path: Path, name: str) -> Path:
    if not path.is_dir():
        return path
    found = [file for file in (path / name, path / PRIVATE / name) if file.is_file()]
    if not found:
        raise ListeningError(f"{path}: expected {name} in this folder or in its {PRIVATE} folder; found none")
    return found[0]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise ListeningError(f"{file}: cannot be read; {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ListeningError(f"{file}: expected UTF-8 text") from None


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _without_nan(value: Any) -> Any:
    """NaN as null: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _build(cls: type[T], values: Any, where: str) -> T:
    """Make dataclass ``cls`` from a dictionary with exactly its fields."""
    hints = typing.get_type_hints(cls)
    if not isinstance(values, dict):
        raise ListeningError(f"{where}: expected an object with {', '.join(hints)}; got {values!r:.60}")
    wrong = [*(f"{key} is missing" for key in hints if key not in values)]
    wrong += [f"{key!r} is unknown" for key in values if key not in hints]
    if wrong:
        raise ListeningError(f"{where}: expected the fields {', '.join(hints)}; {wrong[0]}")
    return cls(**{key: _convert(hint, values[key], f"{where}: {key}") for key, hint in hints.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise ListeningError(f"{where}: expected a list; got {value!r:.60}")
        inner = typing.get_args(hint)[0]
        return tuple(_convert(inner, item, f"{where}[{i}]") for i, item in enumerate(value))
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, where)
    if hint is float and value is None:
        return math.nan
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # bool is a subclass of int.
    if not isinstance(value, hint) or isinstance(value, bool):
        raise ListeningError(f"{where}: expected {hint.__name__}; got {value!r:.60}")
    return value


def _key_row(row: dict[str, Any], where: str) -> Stimulus:
    hints = typing.get_type_hints(Stimulus)
    values: dict[str, Any] = {}
    for name in KEY_COLUMNS:
        text = row[name]
        if text is None:
            raise ListeningError(f"{where}: expected {len(KEY_COLUMNS)} fields; {name} is missing")
        try:
            values[name] = hints[name](text)
        except ValueError:
            raise ListeningError(f"{where}: {name}: expected a number; got {text!r}") from None
    return Stimulus(**values)


def _check(test: ListeningTest, file: Path) -> None:
    """Whether methods, trials and stimuli of a test fit each other."""
    if test.method not in METHODS:
        raise ListeningError(f"{file}: expected one of the methods {', '.join(METHODS)}; got {test.method!r}")
    known = {stimulus.stimulus for stimulus in test.stimuli}
    for trial in (*test.trials, *test.training):
        _check_trial(trial, test.method, known, file)
    for kind, names in (("trial", [t.trial for t in test.trials]), ("stimulus", [s.stimulus for s in test.stimuli])):
        if len(set(names)) < len(names):
            raise ListeningError(f"{file}: expected each {kind} once; one comes twice")


def _check_trial(trial: Trial, method: str, known: set[str], file: Path) -> None:
    where = f"{file}: trial {trial.trial}"
    unknown = sorted({*trial.stimuli, *([trial.reference] if trial.reference else [])} - known)
    if unknown:
        raise ListeningError(f"{where}: expected stimuli of this test; got {unknown[0]!r}")
    wanted = {"acr": 1, **dict.fromkeys(PAIR_METHODS, 2)}.get(method)
    if not trial.stimuli or (wanted and len(trial.stimuli) != wanted):
        raise ListeningError(f"{where}: expected {wanted or 'some'} stimuli; got {len(trial.stimuli)}")
