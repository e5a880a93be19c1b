from __future__ import annotations

import math

import pytest
import torch

from diffwave.training.loss.spectral_loss import multi_resolution_loss


def noise(samples: int = 8192, examples: int = 2, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(examples, samples, generator=torch.Generator().manual_seed(seed))


def test_a_perfect_estimate_costs_nothing_and_has_a_gradient_of_zero() -> None:
    estimate = noise().requires_grad_()
    losses = multi_resolution_loss(estimate, noise())
    assert losses.tolist() == [0.0, 0.0]
    losses.sum().backward()
    assert estimate.grad is not None
    assert not bool(estimate.grad.any())


@pytest.mark.parametrize("gain", [0.5, 0.9, 1.2])
def test_a_wrong_level_costs_its_share_and_its_logarithm(gain: float) -> None:
    expected = abs(1 - gain) + abs(math.log(gain))
    assert multi_resolution_loss(gain * noise(), noise()).tolist() == pytest.approx([expected] * 2, rel=1e-4)


def test_the_sign_is_not_heard_and_neither_is_it_here() -> None:
    assert float(multi_resolution_loss(-noise(), noise()).max()) < 1e-5


def test_the_gradient_leads_to_the_reference() -> None:
    estimate, reference = noise(seed=1).requires_grad_(), noise()
    optimizer = torch.optim.Adam([estimate], lr=1e-2)
    before = float(multi_resolution_loss(estimate, reference).mean())
    for _ in range(80):
        optimizer.zero_grad()
        loss = multi_resolution_loss(estimate, reference).mean()
        loss.backward()
        optimizer.step()
    assert float(loss) < 0.5 * before


@pytest.mark.parametrize("samples", [100, 300, 600, 8192])
def test_silence_and_short_crops_have_finite_losses_and_gradients(samples: int) -> None:
    estimate = noise(samples).requires_grad_()
    losses = multi_resolution_loss(estimate, torch.zeros(2, samples))
    losses.sum().backward()
    assert bool(torch.isfinite(losses).all())
    assert estimate.grad is not None
    assert bool(torch.isfinite(estimate.grad).all())


def test_examples_are_scored_apart() -> None:
    mixed = torch.cat([noise(examples=1), 0.5 * noise(examples=1)])
    losses = multi_resolution_loss(mixed, noise(examples=1).expand(2, -1))
    assert losses[0] == 0
    assert losses[1] > 1
