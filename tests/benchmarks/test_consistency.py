"""The benchmark of mel consistency: what is timed, and what its page says."""

from __future__ import annotations

import pytest
import torch

from benchmarks.kernels import consistency
from diffwave.config import MelConfig
from diffwave.kernels import native_consistency
from diffwave.mel.consistency import MelConsistency
from diffwave.mel.spectrogram import MelSpectrogram

needs_kernel = pytest.mark.skipif(
    native_consistency.unavailable(MelSpectrogram(MelConfig()).geometry) is not None, reason="no kernel here"
)


@needs_kernel
def test_the_two_ways_are_two(monkeypatch: pytest.MonkeyPatch) -> None:
    push = MelConsistency(MelSpectrogram(MelConfig()))
    wav, target = consistency.cases(push, 0.3)
    calls: list[int] = []
    kernel = native_consistency.push
    monkeypatch.setattr(native_consistency, "push", lambda *args, **named: calls.append(1) or kernel(*args, **named))
    plain = consistency.in_pytorch(push, wav, target, 1)
    assert not calls
    torch.testing.assert_close(push(wav, target, 1), plain, rtol=1e-4, atol=1e-6)
    assert calls


@needs_kernel
def test_figures_make_a_page() -> None:
    threads = torch.get_num_threads()
    try:
        found = consistency.measure(0.3, 1, iterations=5, rounds=3)
    finally:
        torch.set_num_threads(threads)
    for name in ("pytorch", "kernel", "ratio"):
        assert 0 < found[name]["low"] <= found[name]["median"] <= found[name]["high"]
        assert len(found[name]["values"]) == 3
    pairs = zip(found["pytorch"]["values"], found["kernel"]["values"], strict=True)
    assert found["ratio"]["values"] == [slow / fast for slow, fast in pairs]
    assert found["distances"]["kernel"] == pytest.approx(found["distances"]["pytorch"], rel=0.01)

    case = {"seconds": 1, "threads": 2, "distances": {"pytorch": 0.02, "kernel": 0.021}}
    case |= {"pytorch": _spread(4e-4), "kernel": _spread(1e-4), "ratio": _spread(4.0)}
    where = {"processor": "p", "cores": 2, "system": "s", "python": "3", "torch": "2"}
    results = {"command": "c", "cases": [case], "environment": where, "iterations": 60, "rounds": 3}
    text = consistency.page(results | {"load": 1.26})
    assert "| 1 | 2 | 0.400 (0.200 to 0.800) | 0.100 (0.050 to 0.200) | 4.0 (2.0 to 8.0) | 100 |" in text
    assert "differ by 5.0% at most" in text
    assert "Load average before: 1.3;" in text


def _spread(median: float) -> dict[str, float]:
    return {"median": median, "low": median / 2, "high": median * 2}
