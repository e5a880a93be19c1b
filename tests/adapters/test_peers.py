"""Packages that cannot live beside ours are installed into a folder of their own, and their tests run there.

About a minute each: ``pytest -m "slow and peer" tests/adapters``. NeMo (``test_nemo.py``) is left out, for it brings
some forty packages along; to run it, install ``nemo_toolkit[tts]`` into a virtual environment that has this one too.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# Without their dependencies, which would change torch and numpy; only what the tests import.
PACKAGES = {
    "espnet": [
        "espnet==202511", "espnet_tts_frontend==0.0.4", "g2p_en==2.1.0", "h5py", "humanfriendly", "inflect", "jaconv",
        "jamo==0.4.1", "kaldiio", "more_itertools", "nltk", "pyworld", "pyyaml", "setuptools==80.9.0", "torch_complex",
        "typeguard", "unidecode", "jaraco.functools",
    ],
    "coqui": [
        "coqui-tts==0.28.0", "anyascii", "coqpit-config", "coqui-tts-trainer", "monotonic-alignment-search", "pysbd",
        "six", "torchcodec",
    ],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.peer
@pytest.mark.parametrize("name", PACKAGES)
def test_the_package_speaks_through_us(name: str, tmp_path: Path) -> None:
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path)]
    installed = subprocess.run([*install, *PACKAGES[name]], capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip(f"cannot be installed here: {installed.stderr.strip().splitlines()[-1]}")
    path = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "pytest", str(HERE / f"test_{name}.py"), "-p", "no:cacheprovider"]
    run = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-4000:]
    passed = re.search(r"(\d+) passed in", run.stdout)
    assert passed is not None, run.stdout[-4000:]
    assert int(passed[1]) >= 5
