"""Reading a pair, and what becomes of it when something is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from diffwave.evaluation.metrics import Metric, choose
from diffwave.evaluation.perceptual import MetricError
from diffwave.evaluation.scoring import Loading, MismatchError, load_pair, score

FILTERS = np.zeros((80, 513), np.float32)


def made(function) -> Metric:
    return Metric("made", "made", "higher", 1, "plugin", function, "")


def test_a_pair_is_cut_to_the_shorter(clips, write, tmp_path):
    reference = write(tmp_path / "a.wav", clips[0])
    estimate = write(tmp_path / "b.wav", np.concatenate([clips[0], np.zeros(256, np.float32)]))
    wavs = load_pair(reference, estimate, Loading())
    assert np.array_equal(wavs[0], clips[0])
    assert np.array_equal(wavs[1], clips[0])
    assert wavs[2] == len(clips[0]) / 16000


@pytest.mark.parametrize(("difference", "refused"), [(-810, True), (-790, False), (790, False), (810, True)])
def test_lengths_may_differ_by_50_ms(difference, refused, clips, write, tmp_path):
    reference = write(tmp_path / "a.wav", clips[0][:20000])
    estimate = write(tmp_path / "b.wav", clips[0][: 20000 + difference])
    if refused:
        with pytest.raises(MismatchError, match=r"1\.250 s"):
            load_pair(reference, estimate, Loading())
    else:
        assert len(load_pair(reference, estimate, Loading())[0]) == min(20000, 20000 + difference)


def test_equal_rates_need_no_permission(clips, write, tmp_path):
    paths = [write(tmp_path / f"{name}.wav", clips[0], 24000) for name in "ab"]
    wavs = load_pair(*paths, Loading())
    assert len(wavs[0]) == len(wavs[1]) == pytest.approx(len(clips[0]) * 2 / 3, abs=1)
    other = write(tmp_path / "c.wav", clips[0], 48000)
    with pytest.raises(MismatchError, match="--resample"):
        load_pair(paths[0], other, Loading())


def test_findings_come_one_by_one_so_that_a_crash_loses_only_what_follows(clips, write, tmp_path):
    path = write(tmp_path / "a.wav", clips[0])
    calls = []
    findings = score(path, path, [*choose(["level"]), made(lambda s: calls.append(1) or 2.0)], FILTERS, Loading())
    assert next(findings) == {"seconds": len(clips[0]) / 16000}
    assert next(findings) == {"metric": "level", "value": 0.0}
    assert calls == []
    assert next(findings) == {"metric": "made", "value": 2.0}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_an_error(value, clips, write, tmp_path):
    path = write(tmp_path / "a.wav", clips[0])
    assert "error" in list(score(path, path, [made(lambda s: value)], FILTERS, Loading()))[-1]


@pytest.mark.parametrize("error", [MetricError("why"), ValueError("why\nand more"), MemoryError(), KeyError()])
def test_what_a_metric_raises_is_one_line(error, clips, write, tmp_path):
    def fail(signals):
        raise error

    path = write(tmp_path / "a.wav", clips[0])
    finding = list(score(path, path, [made(fail)], FILTERS, Loading()))[-1]
    assert "\n" not in finding["error"]
    assert ("why" in finding["error"]) == bool(str(error))


def test_a_missing_file_is_unreadable(tmp_path):
    (finding,) = score(tmp_path / "a.wav", tmp_path / "b.wav", [], FILTERS, Loading())
    assert finding["status"] == "unreadable"
    assert str(tmp_path / "a.wav") in finding["error"]
