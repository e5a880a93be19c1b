"""The benchmark of precisions: the simulated int8, and what its page says."""

from __future__ import annotations

import pytest
import torch

import precision
from diffwave.config import ModelConfig, NetworkConfig
from diffwave.kernels.reference import Reference
from diffwave.network.diffwave import DiffWave


def test_numbers_are_rounded_to_255_levels() -> None:
    values = torch.linspace(-3, 3, 10001)
    rounded = precision.in_int8(values)
    assert len(rounded.unique()) == 255
    assert float((rounded - values).abs().max()) <= 3 / 127 / 2 * 1.0001
    rows = precision.in_int8(torch.tensor([[1.0, 0.3], [100.0, 30.0]]), (1,))
    assert torch.allclose(rows[1], 100 * rows[0])
    assert torch.equal(precision.in_int8(torch.zeros(3)), torch.zeros(3))


def test_the_simulation_is_the_reference_with_rounded_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    network = NetworkConfig(residual_channels=8, residual_layers=3, squeeze=4)
    layers = DiffWave(ModelConfig(network=network)).layers()
    x, shifts, mel = torch.randn(1, 8, 70), torch.randn(1, 3, 8), torch.randn(1, 80, 70)
    with torch.no_grad():
        exact = Reference().stack(layers, mel, None, 2)(x, shifts)
        rounded = precision.SimulatedInt8().stack(layers, mel, None, 2)(x, shifts)
        assert 1e-3 < float((rounded - exact).norm() / exact.norm()) < 0.1
        monkeypatch.setattr(precision, "in_int8", lambda values, dims=None: values)
        plain = precision.SimulatedInt8().stack(layers, mel, None, 2)(x, shifts)
    torch.testing.assert_close(plain, exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("loss", "said"), [(0.01, "would hold"), (0.2, "would not hold")])
def test_the_page_says_whether_int8_would_hold(loss: float, said: str) -> None:
    exact = [2.0 + i / 10 for i in range(10)]
    scores = {
        name: {
            column: [value - (loss if name.startswith("int8") else 0) for value in exact]
            for column in ("alone", "default")
        }
        for name in precision.SYSTEMS
    }
    changed = {
        name: {column: precision.differences(scores, name, column) for column in ("alone", "default")}
        for name in list(scores)[1:]
    }
    results = {"command": "x", "environment": {"processor": "p", "python": "3", "torch": "2"}, "utterances": 10}
    text = precision.page(results | {"scores": scores, "differences": changed})
    assert f"Its quality {said}" in text
    assert f"-{loss:.3f}" in text
