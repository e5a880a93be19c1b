"""A run from its first row to its last, without the command around it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from diffwave.evaluation.metrics import choose
from diffwave.evaluation.pairs import match
from diffwave.evaluation.row_journal import RowJournal
from diffwave.evaluation.run import RunSettings, mel_filters, run, worker_metrics
from diffwave.evaluation.spectral_batches import SpectralBatches


@pytest.fixture
def systems(clips, noisy, write, tmp_path):
    for index in range(5):
        wav = clips[1][index * 8000 : index * 8000 + 8000]
        write(tmp_path / "r" / f"{index}.wav", wav)
        write(tmp_path / "s" / f"{index}.wav", noisy(wav))
    write(tmp_path / "r" / "5.wav", clips[0][:200])  # less than a frame
    write(tmp_path / "s" / "5.wav", clips[0][:200])
    (tmp_path / "s" / "2.wav").unlink()
    return match(tmp_path / "r", {"s": tmp_path / "s"})


def rows(systems, tmp_path, resume=False, calls=None, **settings):
    tmp_path.mkdir(exist_ok=True)
    journal = RowJournal(tmp_path, {})
    journal.resume() if resume else journal.begin()
    run(
        systems,
        RunSettings(**{"workers": 0, **settings}),
        journal,
        lambda: calls.append(1) if calls is not None else None,
    )
    journal.close()
    return dict(journal.rows())


def test_progress_is_told_after_every_row(systems, tmp_path):
    calls: list[int] = []
    assert len(rows(systems, tmp_path, metrics=tuple(choose(["level"])), calls=calls)) == len(calls) == 6


def test_pesq_comes_last_and_what_is_looked_up_not_at_all(plugins):
    chosen = tuple(choose(["pesq_wb", "slow", "steps", "lsd", "level"]))
    assert worker_metrics(chosen, without_spectral=False) == ("level", "lsd", "slow", "pesq_wb")
    assert worker_metrics(chosen, without_spectral=True) == ("level", "slow", "pesq_wb")


def test_nothing_is_scored_twice(systems, tmp_path, plugins):
    metrics = tuple(choose(["slow"]))
    half = [replace(systems[0], pairs=systems[0].pairs[:2])]
    first = rows(half, tmp_path / "j", metrics=metrics)
    both = rows(systems, tmp_path / "j", metrics=metrics, resume=True)
    assert {key: both[key] for key in first} == first
    assert len(plugins.read_text().splitlines()) == 5  # one file is missing


def test_batches_give_the_scores_of_the_workers(systems, tmp_path, monkeypatch):
    """What a GPU does, on a CPU."""
    expected = rows(systems, tmp_path / "a", metrics=tuple(choose(["lsd", "mr_stft", "level"])))
    monkeypatch.setattr(
        "diffwave.evaluation.run.SpectralBatches", lambda p, f, _, loading: SpectralBatches(p, f, "cpu", loading)
    )
    found = rows(systems, tmp_path / "b", metrics=tuple(choose(["lsd", "mr_stft", "level"])), device="made up")
    assert {key: row.status for key, row in found.items()} == {key: row.status for key, row in expected.items()}
    assert expected["s", "2"].status == "unreadable"
    assert expected["s", "5"].status == "metric_error"
    for key, row in found.items():
        assert row.scores == pytest.approx(expected[key].scores, rel=1e-4)
        assert set(row.errors) == set(expected[key].errors)


def test_the_mel_filters_are_the_vocoders():
    filters = mel_filters()
    assert filters.shape == (80, 513)
    assert filters.dtype == np.float32
