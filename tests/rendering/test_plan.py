"""Which file becomes which output, and what is refused before any work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from diffwave.rendering.plan import FileJob, plan_jobs


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, so that paths in the tests can be short."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x")


def plan(*inputs: str, output: str = "out", force: bool = False) -> tuple[dict[str, str], list[str]]:
    """Source -> output of the jobs, and the refusals."""
    jobs, refused = plan_jobs([Path(name) for name in inputs], Path(output), force)
    pairs = {str(job.source): str(job.output) for job in jobs}
    assert len(pairs) == len(jobs)
    return pairs, refused


def test_suffix_decides_what_a_file_is():
    assert [FileJob(Path(name), Path("o")).is_mel for name in ("a.npy", "a.PT", "a.wav", "npy")] == [
        True,
        True,
        False,
        False,
    ]


def test_files_and_folders(here):
    make("a.WAV", "d/b.flac", "d/e/c.ogg", "d/e/f.v2.npy", "d/notes.txt", "d/e/none")
    assert plan("a.WAV", "d") == (
        {
            "a.WAV": "out/a.wav",
            "d/b.flac": "out/b.wav",
            "d/e/c.ogg": "out/e/c.wav",
            "d/e/f.v2.npy": "out/e/f.v2.wav",
        },
        [],
    )


def test_the_order_is_fixed(here):
    make("d/c.wav", "d/a.wav", "d/z/b.wav", "d/m/b.wav")
    assert list(plan("d")[0]) == ["d/a.wav", "d/c.wav", "d/m/b.wav", "d/z/b.wav"]


def test_a_folder_named_like_a_recording_is_a_folder(here):
    make("x.wav/a.flac")
    assert plan("x.wav") == ({"x.wav/a.flac": "out/a.wav"}, [])
    make("d/x.wav/a.flac")
    assert plan("d") == ({"d/x.wav/a.flac": "out/x.wav/a.wav"}, [])


def test_hidden_files_are_left_out_of_folders_but_can_be_named(here):
    make("d/a.wav", "d/.a.wav.tmp.wav", "d/.git/b.wav")
    assert plan("d")[0] == {"d/a.wav": "out/a.wav"}
    assert plan("d/.git/b.wav")[0] == {"d/.git/b.wav": "out/b.wav"}
    assert plan("d/.git")[0] == {"d/.git/b.wav": "out/b.wav"}


@pytest.mark.parametrize("output", ["d/out", "d/sub/../out", "link/out"])
def test_our_own_outputs_are_no_inputs(here, output):
    make("d/a.wav", "d/sub/b.wav", "d/out/old.wav", "d/out/sub/old.wav")
    Path("link").symlink_to("d")
    jobs, refused = plan("d", output=output)
    assert (set(jobs), refused) == ({"d/a.wav", "d/sub/b.wav"}, [])


@pytest.mark.parametrize(
    ("links", "more"),
    [
        ({"d/e/up": ".."}, set()),
        ({"d/self": "self"}, set()),
        ({"d/f": "../f", "f/d": "../d"}, {"d/f/c.wav"}),
    ],
)
def test_links_in_a_circle_end(here, links, more):
    make("d/a.wav", "d/e/b.wav", "f/c.wav")
    for link, target in links.items():
        Path(link).symlink_to(target)
    jobs, refused = plan("d")
    assert (set(jobs), refused) == ({"d/a.wav", "d/e/b.wav", *more}, [])


def test_links_to_files_and_folders_are_followed(here):
    make("store/1.wav", "store/more/2.wav", "d/other.flac")
    Path("d/one.wav").symlink_to("../store/1.wav")
    Path("d/more").symlink_to("../store/more")
    assert set(plan("d")[0]) == {"d/one.wav", "d/more/2.wav", "d/other.flac"}


def test_the_same_input_is_done_once(here):
    make("d/a.wav", "d/b.wav")
    jobs, refused = plan("d/a.wav", "./d/a.wav", "d", "d/../d/a.wav", str(here / "d" / "a.wav"))
    assert (set(jobs), refused) == ({"d/a.wav", "d/b.wav"}, [])


def test_two_inputs_for_one_output_are_both_refused(here):
    make("d/a.wav", "d/a.flac", "d/b.wav", "e/b.npy", "e/c.npy")
    jobs, refused = plan("d", "e")
    assert jobs == {"e/c.npy": "out/c.wav"}
    assert refused == [
        "d/a.flac and d/a.wav: expected one input for each output; both would write out/a.wav",
        "d/b.wav and e/b.npy: expected one input for each output; both would write out/b.wav",
    ]


def test_an_output_that_exists_needs_force(here):
    make("a.wav", "out/a.wav")
    assert plan("a.wav") == ({}, ["a.wav: output out/a.wav exists; --force replaces it"])
    assert plan("a.wav", force=True) == ({"a.wav": "out/a.wav"}, [])


def test_a_dangling_link_counts_as_an_output(here):
    make("a.wav", "out/b")
    Path("out/a.wav").symlink_to("nowhere")
    assert "--force replaces it" in plan("a.wav")[1][0]


def test_a_folder_where_the_output_belongs_is_refused_even_with_force(here):
    make("a.wav", "out/a.wav/b.wav")
    jobs, refused = plan("a.wav", force=True)
    assert (jobs, refused) == ({}, ["a.wav: expected to write out/a.wav; it is a folder"])


@pytest.mark.parametrize("force", [False, True])
def test_an_input_is_never_replaced(here, force):
    make("d/a.wav", "d/b.npy")
    Path("link").symlink_to("d")
    for output in ("d", "link", "./d/../d"):
        jobs, refused = plan("d", output=output, force=force)
        assert set(jobs) == {"d/b.npy"}
        assert refused == ["d/a.wav: the output would replace the input; choose another --output"]


def test_nor_the_input_of_another(here):
    make("d/a/a/x.wav", "d/a/x.wav")
    # d/a is the input, d the output: a/a/x.wav would become d/a/x.wav.
    jobs, refused = plan("d/a", output="d", force=True)
    assert jobs == {"d/a/x.wav": "d/x.wav"}
    assert refused == ["d/a/a/x.wav: the output would replace the input d/a/x.wav; choose another --output"]


def test_a_link_to_an_input_is_not_written_through(here):
    make("a.wav", "out/b")
    Path("out/a.wav").symlink_to("../a.wav")
    assert "would replace the input" in plan("a.wav", force=True)[1][0]


def test_what_cannot_be_listed_is_told(here, monkeypatch):
    make("d/a.wav", "d/locked/b.wav")
    original = os.scandir

    def scandir(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert plan("d") == (
        {"d/a.wav": "out/a.wav"},
        ["d/locked: expected a folder that can be listed; Permission denied"],
    )


def test_an_output_that_cannot_be_looked_at_is_told(here):
    make("a.wav")
    jobs, refused = plan("a.wav", output="n" * 300)
    assert (jobs, len(refused)) == ({}, 1)
    assert "File name too long" in refused[0]
