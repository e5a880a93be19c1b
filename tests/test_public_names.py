"""The public names: all there, and loaded no earlier than need be."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest


@pytest.mark.parametrize("package", ["diffwave", "diffwave.adapters"])
def test_every_public_name_is_there(package: str) -> None:
    module = importlib.import_module(package)
    assert all(getattr(module, name).__class__ for name in module.__all__)
    with pytest.raises(AttributeError, match=f"module {package!r} has no attribute 'nothing'"):
        _ = module.nothing


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import diffwave", ["torch", "numpy", "diffwave.config"]),
        ("from diffwave import ModelConfig", ["torch", "diffwave.diffusion"]),
        ("from diffwave import NoiseSchedule", ["diffwave.mel", "diffwave.vocoder"]),
        ("from diffwave.adapters import VocosVocoder", ["torchaudio", "transformers", "speechbrain"]),
    ],
)
def test_nothing_is_loaded_that_is_not_needed(statement: str, unwanted: list[str]) -> None:
    program = f"{statement}\nimport sys; print([name for name in {unwanted} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
