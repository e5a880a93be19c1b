"""The fused kernels in Triton's interpreter against float64, compiled without a GPU, and where they refuse."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from diffwave.kernels.triton_backend import Triton, missing_tools, unavailable
from diffwave.kernels.triton_tiles import LARGEST, resident_shared_bytes, tile_for
from triton_cases import Shape, random_case

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUDGET = 2.0  # times the error of eager bfloat16; far from what any mistake in a kernel makes, which is about 1
FORWARD = (
    "16 channels",
    "32 channels, dilations to 512",
    "48 channels",
    "64 channels, masked",
    "64 channels, all dilations beyond the ends",
    "96 channels",
    "128 channels, masked",
)
BACKWARD = ("32 channels, masked", "96 channels", "16 channels, dilation beyond the ends")

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton")


def run_program(*arguments: str, **environment: str) -> str:
    """Triton chooses at its first import whether to interpret, so nothing here may import it."""
    inherited = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    paths = os.pathsep.join([str(HERE.parent), str(HERE), os.environ.get("PYTHONPATH", "")])
    settings = {**inherited, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, **environment}
    result = subprocess.run([sys.executable, *arguments], env=settings, capture_output=True, text=True, timeout=250)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def interpreted() -> Any:
    return json.loads(run_program(str(HERE / "triton_interpreted.py"), TRITON_INTERPRET="1"))


@needs_triton
@pytest.mark.parametrize("projections", ["anew", "kept"])
@pytest.mark.parametrize("case", FORWARD)
def test_the_stack_is_within_the_error_budget(interpreted: Any, case: str, projections: str) -> None:
    errors = interpreted["forward"][case]
    assert errors[projections] <= BUDGET * errors["eager"]
    assert errors["eager"] < 0.01


@needs_triton
@pytest.mark.parametrize("case", BACKWARD)
def test_every_gradient_is_within_the_error_budget(interpreted: Any, case: str) -> None:
    for leaf, errors in interpreted["backward"][case].items():
        assert errors["fused"] <= BUDGET * errors["eager"], leaf


@needs_triton
def test_every_case_that_was_run_is_looked_at(interpreted: Any) -> None:
    assert set(interpreted["forward"]) == set(FORWARD)
    assert set(interpreted["backward"]) == set(BACKWARD)
    for leaves in interpreted["backward"].values():
        assert {"x", "shifts", "mel", "dilated_weight 0", "condition_bias 0", "output_weight 1"} <= set(leaves)


@needs_triton
def test_both_forward_kernels_agree(interpreted: Any) -> None:
    held = interpreted["forward"]["64 channels, masked"]["kept"]
    assert interpreted["streamed"] == pytest.approx(held, rel=0.05)


@needs_triton
def test_a_masked_example_equals_the_same_alone(interpreted: Any) -> None:
    assert interpreted["alone"] == 0


@needs_triton
def test_a_network_predicts_and_learns_through_the_kernels(interpreted: Any) -> None:
    errors = interpreted["network"]
    for figure in ("prediction", "gradient"):
        assert errors["fused"][figure] <= BUDGET * errors["eager"][figure]


@needs_triton
def test_autocast_changes_nothing(interpreted: Any) -> None:
    assert interpreted["autocast"] == 0


def test_the_package_does_not_import_triton() -> None:
    program = "import sys, diffwave.vocoder, diffwave.kernels.triton_backend; print('triton' in sys.modules)"
    assert run_program("-c", program).strip() == "False"


@needs_triton
def test_kernels_compile_for_hopper_within_the_shared_memory_that_is_asked_for(tmp_path: Path) -> None:
    program = (
        "import json; import triton_compiled as k;"
        "print(json.dumps([k.compile_forward(64, 96, False), k.compile_forward(32, 0, True),"
        " k.compile_resident(64), *k.compile_backward(32)]))"
    )
    streamed, saving, resident, *backward = json.loads(run_program("-c", program, TRITON_CACHE_DIR=str(tmp_path)))
    for row in (streamed, saving, resident, *backward):
        assert row["wgmma"] > 0, row  # the products run on Hopper's tensor cores, not as scalar arithmetic
        assert row["mma"] == 0
    # What `unavailable` and the choice between the two kernels reckon with.
    assert streamed["shared_bytes"] == tile_for(64).shared_bytes(64)
    assert saving["shared_bytes"] == tile_for(32).shared_bytes(32)
    assert resident["shared_bytes"] == resident_shared_bytes(64)


@pytest.fixture
def no_interpreter(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: SimpleNamespace(name=name))
    monkeypatch.setattr("diffwave.kernels.triton_backend.missing_tools", lambda: None)
    return monkeypatch


def on_gpu(monkeypatch: pytest.MonkeyPatch, major: int, shared: int) -> None:
    gpu = SimpleNamespace(major=major, minor=0, name="Test GPU", shared_memory_per_block_optin=shared)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: gpu)


def test_it_says_why_it_cannot_run(no_interpreter: pytest.MonkeyPatch) -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    on_gpu(no_interpreter, 9, 232448)
    assert unavailable(cuda, 64) is None
    assert unavailable(cuda, LARGEST) is None
    assert "expected a CUDA GPU, got cpu" in str(unavailable(cpu, 64))
    assert "got 40" in str(unavailable(cuda, 40))
    assert "got 256" in str(unavailable(cuda, 256))
    on_gpu(no_interpreter, 7, 232448)
    assert "compute capability 8.0" in str(unavailable(cuda, 64))
    on_gpu(no_interpreter, 8, 101376)
    assert unavailable(cuda, 64) is None
    assert "shared memory" in str(unavailable(cuda, 128))
    no_interpreter.setattr("importlib.util.find_spec", lambda name: None)
    assert unavailable(cuda, 64) == "Triton is not installed"


def test_tools_that_triton_would_miss_at_its_first_launch_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda name, scheme: str(tmp_path))
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.delenv("CC", raising=False)
    assert missing_tools() == "Triton needs a C compiler, gcc or clang; found none"
    monkeypatch.setenv("CC", "cc")
    assert "Python.h" in str(missing_tools())
    (tmp_path / "Python.h").touch()
    assert missing_tools() is None


def test_the_interpreter_makes_a_cpu_do(no_interpreter: pytest.MonkeyPatch) -> None:
    no_interpreter.setenv("TRITON_INTERPRET", "1")
    assert unavailable(torch.device("cpu"), 64) is None
    assert unavailable(torch.device("cuda"), 64) is not None


def test_a_stack_that_cannot_run_is_refused(no_interpreter: pytest.MonkeyPatch) -> None:
    case = random_case(Shape(16, 1, 1, 1, 5, bands=5))
    with pytest.raises(ValueError, match=r"backend triton: .*got cpu"):
        Triton().stack(case.layers, case.mel, None, 1)
