"""Which source code this is: the commit of the checkout that the package is imported from."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

_TIMEOUT = 5.0  # s; a checkout on a slow network drive
_DISTRIBUTION = 'name = "diffwave-vocoder"'
# What a run depends on; results and notes beside it may change.
_SOURCES = ("diffwave", "configs")


@cache
def commit() -> str:
    """Git commit of this package's checkout, as it was when first asked for.

    Returns:
        The full hash, followed by ``+ changes`` if code or configurations differ from it; empty for an installed
        package, and where git is missing or does not answer.
    """
    return commit_of(Path(__file__).resolve().parents[2])


def commit_of(checkout: Path) -> str:
    """As :func:`commit`, for a folder that may be a checkout of this project."""
    if not _is_checkout(checkout):
        return ""
    revision = _git(checkout, "rev-parse", "HEAD")
    changes = _git(checkout, "status", "--porcelain", "--", *_SOURCES)
    if not revision or changes is None:
        return ""
    return f"{revision} + changes" if changes else revision


def _is_checkout(folder: Path) -> bool:
    """Whether it is the root of a checkout of this project.

    Folders above are not looked into: an environment may lie inside somebody's repository. Nor is a repository enough,
    for the package may have been copied into another project.
    """
    try:
        return (folder / ".git").exists() and _DISTRIBUTION in (folder / "pyproject.toml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def _git(checkout: Path, *arguments: str) -> str | None:
    """What git says, or None if it cannot."""
    # Inside a hook GIT_DIR names another repository; and asking must neither write an index nor start a daemon.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    # A container often runs as another user than the owner of the checkout; its code is being run already.
    trust = ["-c", f"safe.directory={checkout}", "-c", "core.fsmonitor=false"]
    try:
        answer = subprocess.run(
            ["git", "-C", str(checkout), *trust, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.decode(errors="replace").strip()
