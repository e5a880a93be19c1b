"""Packages of other projects: which, in what version, and how they come into a folder of their own."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

# A package of each other project and what it needs besides what is here; huggingface_hub 1 needs more still.
PACKAGES = {
    "lmnt": ("diffwave==0.1.7",),
    "vocos": ("vocos==0.1.0", "encodec==0.1.1", "einops==0.8.2", "huggingface_hub==0.36.0"),
    "hifigan": ("hifi-gan==0.0.2",),
}
# As published: Vocos mel-24khz (Siuzdak 2024, 13.5 M), HiFi-GAN V1 (Kong et al. 2020, 13.92 M).
PARAMETERS = {"lmnt": 2_619_971, "ours": 2_619_971, "vocos": 13_531_650, "hifigan": 13_926_017}


class PeerUnavailableError(RuntimeError):
    """Another project's package could not be installed."""


def install(role: str, folder: Path) -> Path:
    """The folder ``folder/role`` with a package of another project; installed unless it is there already.

    Raises:
        PeerUnavailableError: if pip fails, with the last line of what it said, or another version is there.
    """
    target = folder.resolve() / role
    if not target.is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--retries", "1", "--timeout", "10", "--target", str(target), *PACKAGES[role]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise PeerUnavailableError(f"cannot install {PACKAGES[role][0]}: {said}")
    check_version(role, target)
    return target


def check_version(role: str, folder: Path) -> None:
    """Refuse a folder with another version of the package, or without it.

    Raises:
        PeerUnavailableError: with what was expected and what is there.
    """
    name, version = PACKAGES[role][0].split("==")
    found = [each.version for each in importlib.metadata.distributions(name=name, path=[str(folder)])]
    if found != [version]:
        raise PeerUnavailableError(f"{folder}: expected {name} {version}; got {', '.join(found) or 'none'}")
