"""What README and guides promise: links lead somewhere, commands parse, names import, the floors are those enforced."""

from __future__ import annotations

import functools
import importlib
import re
import shlex
import sys
import warnings
from pathlib import Path

import pytest
import torch

from diffwave.cli.listen import COMMANDS as LISTEN
from diffwave.cli.main import COMMANDS
from diffwave.config import CONVENTIONS
from diffwave.config.composing import compose_config
from diffwave.config.sampling import SAMPLERS
from diffwave.mel.spectrogram import MelWarning

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("recipes/*/README.md"))
}
GENERATED = ("docs/conventions.md",)
# What looks like a module's name: a group of entry points, and a file of SpeechBrain's.
NO_MODULES = ("diffwave.metrics", "diffwave.ckpt")


def found(pattern: str) -> list[tuple[str, str]]:
    """Every page with what the pattern matches in it, each once."""
    return sorted({(name, match) for name, text in PAGES.items() for match in re.findall(pattern, text, re.MULTILINE)})


def anchors(path: Path) -> set[str]:
    """Of the headings of a page, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def commands() -> list[str]:
    """Every command line that begins with ``diffwave``, also under torchrun; continued lines in one."""
    joined = "\n".join(PAGES.values()).replace("\\\n", " ")
    return sorted(set(re.findall(r"^(?:torchrun [^#\n]* -m )?(diffwave [a-z].*)$", joined, re.MULTILINE)))


@pytest.mark.parametrize(("page", "target"), found(r"\]\(([^)\s]+)\)"))
def test_link_leads_to_a_file_and_a_heading(page: str, target: str) -> None:
    if target.startswith(("http:", "https:")):
        return
    name, _, anchor = target.partition("#")
    path = (ROOT / page).parent / name if name else ROOT / page
    assert path.exists()
    assert not anchor or anchor in anchors(path)


@pytest.mark.parametrize("line", commands())
def test_command_parses(line: str) -> None:
    _, command, *arguments = shlex.split(line, comments=True)
    if command == "train":
        compose_config([each for each in arguments if each != "--show"])
        return
    home = COMMANDS[command][0]
    if command == "listen":
        (home, _), arguments = LISTEN[arguments[0]], arguments[1:]
    options = importlib.import_module(home).parser().parse_args(arguments)
    if command == "train-refiner":
        compose_config(options.data)


@pytest.mark.parametrize(("page", "name"), found(r"\bdiffwave(?:\.\w+)+"))
def test_dotted_name_exists(page: str, name: str) -> None:
    if name not in NO_MODULES:
        resolve(name)


def test_names_in_docstrings_exist() -> None:
    """Roles and dotted names with the package in front; those without stand beside what they name."""
    pattern = r":(?:mod|class|func|meth|data):`~?(diffwave\.[\w.]+)`|``(diffwave\.[\w.]+)``"
    named = {
        name
        for path in (ROOT / "diffwave").rglob("*.py")
        for match in re.findall(pattern, path.read_text(encoding="utf-8"))
        for name in match
        if name and name not in NO_MODULES
    }
    assert len(named) > 10
    for name in named:
        resolve(name)


@pytest.mark.parametrize(("page", "path"), found(r"`((?:diffwave|configs|recipes|benchmarks|tests)/[\w./-]+)`"))
def test_path_exists(page: str, path: str) -> None:
    stands_for_any = {"NAME", "CORPUS"} & {part.split(".")[0] for part in path.split("/")}
    assert stands_for_any or (ROOT / path).exists()


def test_every_sampler_and_convention_is_named() -> None:
    named = {page: set(re.findall(r"`([^`\n]+)`", PAGES[page])) for page in ("docs/synthesize.md", "docs/tts.md")}
    assert named["docs/synthesize.md"] >= set(SAMPLERS)
    assert named["docs/tts.md"] >= set(CONVENTIONS)


def resolve(name: str) -> object:
    """The module, or what a module has, that is called so."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError as error:
            if error.name != ".".join(parts[:count]):
                pytest.skip(f"needs {error.name}")
            continue
        return functools.reduce(getattr, parts[count:], module)
    raise AssertionError(name)


def test_every_guide_says_in_its_first_sentence_for_whom_it_is() -> None:
    written = r"docs/[a-z0-9-]+\.md|recipes/.*|CONTRIBUTING.md"
    guides = [name for name in PAGES if re.fullmatch(written, name) and name not in GENERATED]
    assert len(guides) >= 9
    for name in guides:
        assert PAGES[name].split("\n\n")[1].startswith("For whoever "), name


def test_floors_on_the_page_are_those_that_are_enforced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    floors = importlib.import_module("floors")
    monkeypatch.delitem(sys.modules, "floors")
    stale = "run python docs/floors.py"
    assert floors.PAGE.read_text(encoding="utf-8") == floors.page(), stale
    assert floors.PICTURE.read_text(encoding="utf-8") == floors.picture(), stale
    rooms = {room.name for floor in floors.floors() for room in floor}
    there = {
        path.stem for path in (ROOT / "diffwave").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert rooms == there - {"__init__", "__main__", *floors.unfloored()}


def test_python_of_the_first_guide_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGES["docs/synthesize.md"], re.DOTALL)
    names: dict[str, torch.Tensor] = {}
    with warnings.catch_warnings(category=MelWarning, action="ignore"):  # noise is no speech
        exec(compile(code, "synthesize.md", "exec"), names)
    assert torch.equal(torch.cat(list(names["pieces"])), names["wav"])
