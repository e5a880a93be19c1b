"""What to export, and whether the wishes fit together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from diffwave.listening.anchors import ANCHOR70_NAME, MNRU_NAME
from diffwave.listening.design import ANCHOR35_NAME, GRIFFIN_LIM_NAME, METHODS, PAIR_METHODS, REFERENCE_NAME
from diffwave.listening.documents import KEY_FILE, PRIVATE, TEST_FILE, ListeningError
from diffwave.listening.matching import some
from diffwave.listening.stimuli import LONGEST_SECONDS, LOUDNESS, PER_STIMULUS
from diffwave.listening.trials import PAIRS, REFERENCE_PAIRS, SYSTEM_PAIRS

DEFAULT_ANCHORS = (ANCHOR35_NAME, GRIFFIN_LIM_NAME)
ANCHORS = (*DEFAULT_ANCHORS, ANCHOR70_NAME)
# What an export makes, in its folder and in the private one.
_MADE = {"": ("index.html", "README.md", PRIVATE, "webmushra", "p808"), PRIVATE: (TEST_FILE, KEY_FILE, "stimuli")}
_MOST_CONDITIONS = 12  # BS.1534-3, and what webMUSHRA lets through


@dataclass(frozen=True)
class ExportSettings:
    """What to export.

    Args:
        reference: folder of the reference.
        systems: folder of each system by its name, in the order of comparison.
        method: one of ``METHODS``.
        items: how many utterances.
        seed: of the choice of utterances and of all identifiers.
        output: folder to make.
        name: of the test, ``[a-z0-9-]``; "" for one made from the method and the seed.
        title: shown to listeners.
        max_seconds: longer utterances are cut.
        anchors: names of the anchors; None for the method's own.
        loudness: ``per-stimulus`` or ``per-item``.
        pairs: ``systems`` or ``reference``; "" for the method's own.
        base_url: where clips for P.808 will be.
        force: whether an earlier export may be replaced.
    """

    reference: Path
    systems: Mapping[str, Path]
    method: str
    items: int
    seed: int
    output: Path
    name: str = ""
    title: str = "Listening test"
    max_seconds: float = 10.0
    anchors: tuple[str, ...] | None = None
    loudness: str = PER_STIMULUS
    pairs: str = ""
    base_url: str = ""
    force: bool = False

    def with_anchor70(self) -> ExportSettings:
        """The same with the 7 kHz low-pass behind the anchors that there are."""
        anchors = own_anchors(self.method) if self.anchors is None else self.anchors
        return replace(self, anchors=(*anchors, ANCHOR70_NAME))


def own_anchors(method: str) -> tuple[str, ...]:
    """Anchors that a method has unless others are asked for."""
    return () if method in PAIR_METHODS else DEFAULT_ANCHORS


def check(settings: ExportSettings) -> tuple[tuple[str, ...], str]:
    """Look for contradictions before any work.

    Returns:
        Anchors and pairs with the method's own filled in.

    Raises:
        ListeningError: if the settings do not fit together.
    """
    is_pair = settings.method in PAIR_METHODS
    anchors = own_anchors(settings.method) if settings.anchors is None else settings.anchors
    _require(settings.method in METHODS, f"--method: expected {'|'.join(METHODS)}; got {settings.method!r}")
    _require(settings.loudness in LOUDNESS, f"--loudness: expected {'|'.join(LOUDNESS)}; got {settings.loudness!r}")
    _require(bool(settings.systems), "--system: expected at least one; got none")
    _require(settings.items > 0, f"--items: expected a positive number; got {settings.items}")
    _require(
        1 <= settings.max_seconds <= LONGEST_SECONDS,
        f"--max-seconds: expected 1 to {LONGEST_SECONDS:.0f} seconds; got {settings.max_seconds:g}",
    )
    unknown = [name for name in anchors if name not in ANCHORS]
    _require(not unknown, f"--anchors: expected some of {', '.join(ANCHORS)}; got {unknown[:1]}")
    _require(not (is_pair and anchors), f"--anchors: expected none with {settings.method}; got {', '.join(anchors)}")
    _require(settings.pairs in ("", *PAIRS), f"--pairs: expected {'|'.join(PAIRS)}; got {settings.pairs!r}")
    _require(is_pair or not settings.pairs, f"--pairs: expected ab, cmos or abx; got --method {settings.method}")
    _check_names(settings, anchors)
    conditions = 1 + len(settings.systems) + len(anchors)
    _require(
        settings.method != "mushra" or conditions <= _MOST_CONDITIONS,
        f"mushra: expected at most {_MOST_CONDITIONS} sounds on a page; got {conditions}: {len(settings.systems)} "
        f"systems, {len(anchors)} anchors and the hidden reference",
    )
    _check_inputs(settings)
    check_output(settings.output, settings.force)
    return anchors, _pairs(settings)


def _pairs(settings: ExportSettings) -> str:
    several = len(settings.systems) > 1
    if settings.pairs:
        _require(
            several or settings.pairs == REFERENCE_PAIRS,
            f"--pairs {settings.pairs}: expected at least two systems; got {len(settings.systems)}",
        )
        return settings.pairs
    return SYSTEM_PAIRS if several and settings.method != "abx" else REFERENCE_PAIRS


def _check_names(settings: ExportSettings, anchors: tuple[str, ...]) -> None:
    taken = {REFERENCE_NAME, MNRU_NAME, *anchors}
    for name in settings.systems:
        # It becomes the name of a folder.
        fits = re.fullmatch(r"[^\s./\\:][^/\\:]{0,63}", name) and name.isprintable()
        _require(bool(fits), f"--system: expected a name of up to 64 characters without / \\ :; got {name!r}")
        _require(name not in taken, f"--system {name}: expected another name; {name} is what the key calls its own")
    _require(
        bool(re.fullmatch("([a-z0-9][a-z0-9-]{0,63})?", settings.name)),
        f"--name: expected up to 64 of a-z, 0-9 and -; got {settings.name!r}",
    )
    _require(
        bool(settings.title.strip()) and settings.title.isprintable(),
        f"--title: expected one line of text; got {settings.title!r}",
    )
    for option, text in (("--title", settings.title), ("--name", settings.name)):
        shown = [name for name in settings.systems if name.lower() in re.findall(r"[\w-]+", text.lower())]
        _require(not shown, f"{option}: expected nothing that names a system, since listeners see it; got {text!r}")
    _require(
        bool(re.fullmatch(r"(https?://[^\s,\"']+)?", settings.base_url)),
        f"--base-url: expected an address beginning with https://; got {settings.base_url!r}",
    )


def _check_inputs(settings: ExportSettings) -> None:
    for folder in (settings.reference, *settings.systems.values()):
        # The next export would take the stimuli of this one for utterances.
        apart = not settings.output.resolve().is_relative_to(folder.resolve())
        _require(apart, f"--output {settings.output}: expected a folder outside the input; it is in {folder}")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ListeningError(message)


def check_output(output: Path, force: bool) -> None:
    """Refuse to replace what is no listening test, or holds more, or is one without being told so.

    Raises:
        ListeningError: saying which.
    """
    if not (output.exists() or output.is_symlink()):
        return
    is_empty = output.is_dir() and not any(output.iterdir())
    is_ours = (output / PRIVATE / TEST_FILE).is_file()
    _require(is_empty or is_ours, f"--output {output}: expected a new folder; it exists and is no listening test")
    _require(is_empty or force, f"--output {output}: expected a new folder; it exists, --force replaces it")
    others = [f"{part}/{name}".strip("/") for part in _MADE for name in _others(output / part, _MADE[part])]
    _require(not others, f"--output {output}: expected nothing but an earlier test; it also holds {some(others, 1)}")


def _others(folder: Path, made: tuple[str, ...]) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name not in made) if folder.is_dir() else []
