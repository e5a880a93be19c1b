"""The commit in a checkpoint is that of our own code, or nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from diffwave.checkpoint.provenance import commit, commit_of

PROJECT = '[project]\nname = "diffwave-vocoder"\n'


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    call = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(call, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if shutil.which("git") is None:
        pytest.skip("needs git")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):  # inside a hook
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "checkout"
    (folder / "diffwave").mkdir(parents=True)
    (folder / "diffwave" / "__init__.py").write_text("")
    (folder / "notes.md").write_text("")
    (folder / "pyproject.toml").write_text(PROJECT)
    git(folder, "init")
    git(folder, "add", "-A")
    git(folder, "commit", "-m", "First")
    return folder


def test_the_commit_of_a_checkout(checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    assert commit_of(checkout) == head
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "another" / ".git"))
    assert commit_of(checkout) == head


def test_changes_of_code_count_and_those_of_notes_do_not(checkout: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    (checkout / "notes.md").write_text("more")
    (checkout / "run.log").write_text("new")
    assert commit_of(checkout) == head
    (checkout / "diffwave" / "new.py").write_text("")
    assert commit_of(checkout) == f"{head} + changes"


def test_a_worktree_is_a_checkout_too(checkout: Path, tmp_path: Path) -> None:
    git(checkout, "worktree", "add", str(tmp_path / "tree"))
    assert commit_of(tmp_path / "tree") == git(checkout, "rev-parse", "HEAD")


def test_other_repositories_are_not_ours(checkout: Path) -> None:
    # An environment inside a repository, even inside a checkout of ours.
    packages = checkout / "venv" / "site-packages"
    (packages / "diffwave").mkdir(parents=True)
    assert commit_of(packages) == ""
    # Our package copied into another project.
    (checkout / "pyproject.toml").write_text('[project]\nname = "other"\n')
    assert commit_of(checkout) == ""


def test_without_git_or_commits_there_is_none(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        assert commit_of(checkout) == ""
    shutil.rmtree(checkout / ".git")
    git(checkout, "init")
    assert commit_of(checkout) == ""


def test_of_this_package_it_is_a_hash_or_nothing() -> None:
    found = commit().removesuffix(" + changes")
    assert found == "" or len(found) == 40
