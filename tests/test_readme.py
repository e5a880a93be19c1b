"""What the README promises: its links exist, its commands parse, its Python runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import soundfile

from diffwave.cli import (
    baseline,
    bench,
    evaluate,
    export,
    import_checkpoint,
    listen_analyze,
    listen_export,
    listen_serve,
    search_schedule,
    serve,
    show_diffusion,
    synthesize,
    synthesize_corpus,
    train_refiner,
)
from diffwave.cli.main import COMMANDS
from diffwave.config.composing import compose_config

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = "".join((ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("corpus", "interop"))
COMMAND_LINES = re.findall(r"^diffwave .*$", README + PAGES, flags=re.MULTILINE)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_link_leads_to_a_file(target: str) -> None:
    assert (ROOT / target).is_file()


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_command_parses(line: str) -> None:
    _, command, *arguments = shlex.split(line, comments=True)
    assert command in COMMANDS
    if command == "train":
        compose_config(arguments)
        return
    if command == "listen":
        command, *arguments = arguments
        module = {"export": listen_export, "serve": listen_serve, "analyze": listen_analyze}[command]
    else:
        own = {
            "synthesize": synthesize,
            "synthesize-corpus": synthesize_corpus,
            "export": export,
            "import": import_checkpoint,
            "serve": serve,
            "show-diffusion": show_diffusion,
            "train-refiner": train_refiner,
        }
        own |= {"evaluate": evaluate, "baseline": baseline, "bench": bench, "search-schedule": search_schedule}
        module = own[command]
    options = module.parser().parse_args(arguments)
    if command == "train-refiner":
        compose_config(options.data)


def test_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    wav, rate = soundfile.read(ROOT / "tests" / "data" / "403-126855-0000.flac", dtype="float32")
    soundfile.write(tmp_path / "speech.wav", wav, rate)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(code, "README", "exec"), names)
    assert names["mel"].shape == (80, -(-len(wav) // 256))  # type: ignore[attr-defined]
    assert names["out"].shape == (-(-len(wav) // 256) * 256,)  # type: ignore[attr-defined]
