"""The entry point: help, versions, exit codes, and what gets imported."""

from __future__ import annotations

import os
import subprocess
import sys
import types

import pytest
import soundfile

import diffwave
from diffwave.cli import main as entry
from diffwave.cli.main import COMMANDS, main
from diffwave.errors import InputError

HEAVY = ["torch", "numpy", "hydra", "omegaconf", "pesq", "triton", "matplotlib", "soundfile", "librosa", "torchaudio"]
# Synthesis needs PyTorch, but neither its compilers nor what scores, draws, trains or reads settings.
UNNEEDED = [
    "torchaudio",
    "hydra",
    "omegaconf",
    "pesq",
    "pystoi",
    "matplotlib",
    "librosa",
    "numba",
    "scipy",
    "pyloudnorm",
    "triton",
]
UNNEEDED += ["tensorboard", "sympy", "torch._dynamo", "torch._inductor", "torch.distributed.fsdp", "diffwave.training"]


def imported(code: str, heavy: list[str] = HEAVY) -> list[str]:
    """Which of some packages a fresh interpreter has imported after running ``code``."""
    report = f"\nimport sys; print('@', *[name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()[1:]


@pytest.mark.parametrize(
    "code",
    [
        "import diffwave",
        "from diffwave.cli.main import main; main(['--help'])",
        "from diffwave.cli.main import main; main(['--version'])",
        "from diffwave.cli.main import main\ntry: main(['synthesize', '--help'])\nexcept SystemExit: pass",
        "from diffwave.cli.main import main\ntry: main(['synthesize', '--steps', '0'])\nexcept SystemExit: pass",
        "from diffwave.cli.main import main\ntry: main(['show-diffusion', '--help'])\nexcept SystemExit: pass",
        "from diffwave.cli.main import main\ntry: main(['synthesize-corpus', '--help'])\nexcept SystemExit: pass",
        "from diffwave.cli.main import main\ntry: main(['search-schedule', '--help'])\nexcept SystemExit: pass",
    ],
)
def test_nothing_heavy_is_imported_early(code):
    assert imported(code) == []


def test_the_check_above_can_fail():
    assert imported("import numpy") == ["numpy"]


def test_synthesis_imports_nothing_that_it_does_not_need(inputs, output, speech, tiny_checkpoint):
    soundfile.write(inputs / "a.wav", speech, 16000)
    arguments = [str(inputs), "--output", str(output), "--checkpoint", str(tiny_checkpoint), "--device", "cpu"]
    code = f"from diffwave.cli.main import main; assert main(['synthesize', *{arguments}]) == 0"
    assert imported(code, [*UNNEEDED, "torch"]) == ["torch"]
    assert (output / "a.wav").is_file()


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)
    assert main([]) == 2  # no command is a mistake, but one that is answered with the same text
    assert capsys.readouterr().out == text


@pytest.mark.parametrize("name", ["synthesize", "synthesize-corpus", "search-schedule", "show-diffusion", "demo"])
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    assert f"usage: diffwave {name}" in capsys.readouterr().out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"diffwave {diffwave.__version__}\n"


def test_an_unknown_command_is_one_line(capsys):
    assert main(["synthesise\n"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "synthesize" in line


@pytest.fixture
def command(monkeypatch):
    """Put a function in the place of ``diffwave demo``."""

    def replace(function):
        module = types.ModuleType("fake")
        module.main = function
        monkeypatch.setattr(entry.importlib, "import_module", lambda _: module)

    return replace


def raises(error):
    def function(_):
        raise error

    return function


def test_the_exit_code_is_the_commands(command):
    command(lambda arguments: len(arguments))
    assert main(["demo", "a", "b", "c"]) == 3


def test_a_users_mistake_is_one_line(command, capsys):
    command(raises(InputError("x: expected\nsomething else")))
    assert main(["demo"]) == 2
    assert capsys.readouterr().err == "diffwave demo: x: expected\\nsomething else\n"


def test_a_defect_keeps_its_traceback(command):
    command(raises(ValueError("a bug")))
    with pytest.raises(ValueError, match="a bug"):
        main(["demo"])


def test_ctrl_c_is_one_line_and_130(command, capsys):
    command(raises(KeyboardInterrupt()))
    assert main(["demo"]) == 130
    assert capsys.readouterr().err == "diffwave demo: interrupted\n"


@pytest.mark.parametrize("size", [10, 10**6])
def test_a_closed_pipe_is_no_traceback(size):
    # 10 bytes wait in a buffer until the command is over; 10**6 fail in the middle of it.
    code = (
        "import sys, types, importlib; from diffwave.cli.main import main; fake = types.ModuleType('fake');"
        f"fake.main = lambda _: print('x' * {size} * len(sys.stdin.read())) or 0;"
        "importlib.import_module = lambda _: fake; sys.exit(main(['demo']))"
    )
    pipe = subprocess.PIPE
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as process:
        process.stdout.close()
        process.stdin.write(b"1")
        process.stdin.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
