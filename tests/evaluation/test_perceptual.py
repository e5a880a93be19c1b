"""PESQ and STOI through the package: ceilings, agreement with their packages, and what they refuse."""

from __future__ import annotations

import warnings

import numpy as np
import pesq
import pystoi
import pytest

from diffwave.evaluation.perceptual import MetricError, pesq_wb, stoi


def test_identical_signals_have_the_highest_pesq(clips):
    for clip in clips:
        assert pesq_wb(clip, clip) == pytest.approx(4.6439, abs=1e-4)
        assert stoi(clip, clip) == pytest.approx(1.0, abs=1e-6)


def test_scores_are_those_of_the_packages_with_the_reference_first(clips, noisy):
    estimate = noisy(clips[1], 0.02)
    assert pesq_wb(clips[1], estimate) == pytest.approx(pesq.pesq(16000, clips[1], estimate, "wb"), abs=1e-6)
    assert pesq_wb(clips[1], estimate) != pytest.approx(pesq.pesq(16000, estimate, clips[1], "wb"), abs=1e-2)
    for extended in (False, True):
        expected = pystoi.stoi(clips[1], estimate, 16000, extended=extended)
        assert stoi(clips[1], estimate, extended) == pytest.approx(expected, abs=1e-9)


def test_the_same_signals_give_the_same_digits(clips, noisy):
    # pystoi adds a little of numpy's global noise to the extended form.
    estimate = noisy(clips[0], 0.02)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    assert len({stoi(clips[0], estimate, extended=True) for _ in range(5)}) == 1
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("score", [pesq_wb, stoi])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda wav: np.where(np.arange(len(wav)) == 99, np.nan, wav).astype(np.float32), "finite"),
        (lambda wav: np.where(np.arange(len(wav)) == 99, np.inf, wav).astype(np.float32), "finite"),
        (lambda wav: wav[:-1], "one length"),
        (lambda wav: np.stack([wav, wav]), "one length"),
    ],
)
def test_what_cannot_be_compared_is_refused(score, change, words, clips):
    with pytest.raises(MetricError, match=words):
        score(clips[0], change(clips[0]))


def test_pesq_refuses_silence_and_what_is_too_short(clips):
    silence = np.zeros_like(clips[0])
    for reference, estimate in ((silence, clips[0]), (clips[0], silence), (silence, silence)):
        with pytest.raises(MetricError, match="silence"):
            pesq_wb(reference, estimate)
    with pytest.raises(MetricError, match="1/4 of a second"):
        pesq_wb(clips[0][5000:6600], clips[0][5000:6600])


def test_stoi_refuses_what_pystoi_answers_with_a_made_up_number(clips):
    short = clips[0][8000:10000]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert pystoi.stoi(short, short, 16000) == pytest.approx(1e-5)
    with pytest.raises(MetricError, match="STOI"):
        stoi(short, short)


def test_a_warning_that_is_not_about_the_score_does_not_cost_it(clips, monkeypatch):
    def warns(*arguments, **options):
        warnings.warn("numpy.foo will go away", DeprecationWarning, stacklevel=2)
        return 0.5

    monkeypatch.setattr(pystoi, "stoi", warns)
    assert stoi(clips[0], clips[0]) == 0.5
