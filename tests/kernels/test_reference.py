"""The definition of the residual layer, against loops and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from diffwave.config import ModelConfig, NetworkConfig
from diffwave.kernels.reference import Reference, mirrored, project, projection_bytes, residual_layer
from diffwave.network.diffwave import DiffWave

Arguments = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def arguments(batch: int = 2, channels: int = 3, positions: int = 11, kernel: int = 3) -> Arguments:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return (
        normal(batch, channels, positions),
        normal(batch, channels, 1),
        normal(batch, 2 * channels, positions),
        normal(2 * channels, channels, kernel),
        normal(2 * channels),
        normal(2 * channels, channels, 1),
        normal(2 * channels),
    )


def by_loops(
    x: np.ndarray, shift: np.ndarray, condition: np.ndarray, dilated: np.ndarray, dilated_bias: np.ndarray,
    output: np.ndarray, output_bias: np.ndarray, dilation: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """DiffWave, figure 2a, one number at a time."""
    batch, channels, positions = x.shape
    kernel = dilated.shape[-1]
    residual, skip = np.zeros_like(x), np.zeros_like(x)
    for b in range(batch):
        for p in range(positions):
            y = dilated_bias + condition[b, :, p]
            for k in range(kernel):
                source = p + (k - kernel // 2) * dilation
                if 0 <= source < positions:
                    y = y + dilated[:, :, k] @ (x[b, :, source] + shift[b, :, 0])
            gated = [np.tanh(y[channels + c]) / (1 + np.exp(-y[c])) for c in range(channels)]
            z = output_bias + output[:, :, 0] @ np.array(gated)
            residual[b, :, p] = (x[b, :, p] + z[:channels]) / math.sqrt(2)
            skip[b, :, p] = z[channels:]
    return residual, skip


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("dilation", [1, 2, 4, 16])
def test_it_equals_the_figure_of_the_paper_in_loops(dilation: int, kernel: int) -> None:
    given = arguments(kernel=kernel)
    expected = by_loops(*(value.numpy() for value in given), dilation)
    for ours, theirs in zip(residual_layer(*given, dilation), expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-12)


@pytest.mark.parametrize("masked", [False, True])
def test_gradients_equal_finite_differences(masked: bool) -> None:
    given = tuple(value.requires_grad_() for value in arguments(channels=2, positions=6))
    mask = torch.ones(2, 1, 6, dtype=torch.float64)
    mask[1, :, 4:] = 0
    chosen = mask if masked else None
    assert torch.autograd.gradcheck(lambda *inputs: residual_layer(*inputs, 2, chosen), given)


@pytest.mark.parametrize("length", [1, 4, 10])
def test_a_mask_equals_ending_there(length: int) -> None:
    x, shift, condition, *weights = arguments()
    mask = torch.zeros(2, 1, 11, dtype=torch.float64)
    mask[..., :length] = 1
    masked = residual_layer(x, shift, condition, *weights, 2, mask)
    ended = residual_layer(x[..., :length], shift, condition[..., :length], *weights, 2)
    for padded, short in zip(masked, ended, strict=True):
        torch.testing.assert_close(padded[..., :length], short, rtol=0, atol=1e-14)


def test_shift_and_condition_act_where_the_figure_has_them() -> None:
    x, shift, condition, dilated, *rest = arguments()
    # The shift enters before the dilated convolution but not the residual path...
    without, skip = residual_layer(x, torch.zeros_like(shift), condition, torch.zeros_like(dilated), *rest, 1)
    with_shift, same = residual_layer(x, shift, condition, torch.zeros_like(dilated), *rest, 1)
    assert torch.equal(with_shift, without)
    assert torch.equal(same, skip)
    # ...and a condition of -infinity closes the gate: only the bias of the output projection is left.
    closed = condition.clone()
    closed[:, :3] = -1e9
    _, skip = residual_layer(x, shift, closed, dilated, *rest, 1)
    torch.testing.assert_close(skip, rest[2][3:, None].expand(2, 3, 11))


def test_the_memory_of_kept_projections_is_what_they_take() -> None:
    layers = DiffWave(ModelConfig(network=NetworkConfig(residual_channels=4, residual_layers=3, squeeze=2))).layers()
    mel = torch.zeros(2, 80, 5)
    held = sum(value.nelement() * value.element_size() for value in (project(layer, mel) for layer in layers))
    assert projection_bytes(layers, mel) == held


def test_projections_are_kept_for_several_calls_where_they_fit() -> None:
    layers = DiffWave(ModelConfig(network=NetworkConfig(residual_channels=4, residual_layers=3))).layers()
    mel = torch.randn(1, 80, 64)
    x, shifts = torch.randn(1, 4, 64), torch.randn(1, 3, 4)
    needed = projection_bytes(layers, mel)
    runs = [
        Reference(limit).stack(layers, mel, None, calls) for limit, calls in ((needed, 2), (needed - 1, 2), (needed, 1))
    ]
    before = [run(x, shifts) for run in runs]
    with torch.no_grad():
        layers[1].condition_weight.add_(1)
    changed = [not torch.equal(run(x, shifts), output) for run, output in zip(runs, before, strict=True)]
    assert changed == [False, True, True]


@pytest.mark.parametrize("margin", [1, 3, 10])
def test_mirrored_ends_are_those_of_pytorch(margin: int) -> None:
    x = arguments()[0]
    assert torch.equal(mirrored(x, margin, None), F.pad(x, (margin, margin), mode="reflect"))


@pytest.mark.parametrize("dilation", [1, 4, 8])
def test_each_example_is_mirrored_at_its_own_end(dilation: int) -> None:
    x, shift, condition, *weights = arguments()
    ends = (11, 9)
    mask = torch.tensor([[[position < end for position in range(11)]] for end in ends], dtype=torch.float64)
    together = residual_layer(x, shift, condition, *weights, dilation, mask, "reflect")
    for row, end in enumerate(ends):
        one = slice(row, row + 1)
        alone = residual_layer(
            x[one, :, :end], shift[one], condition[one, :, :end], *weights, dilation, padding="reflect"
        )
        for ours, theirs in zip(together, alone, strict=True):
            torch.testing.assert_close(ours[one, :, :end], theirs)
    zeros = residual_layer(x, shift, condition, *weights, dilation)
    assert not torch.allclose(together[0][0, :, :dilation], zeros[0][0, :, :dilation])


def test_what_is_shorter_than_the_margin_is_mirrored_again_and_stays_its_own() -> None:
    x = torch.tensor([[[1.0, 2.0, 3.0]]])
    assert mirrored(x, 4, None).tolist() == [[[1, 2, 3, 2, 1, 2, 3, 2, 1, 1, 1]]]
