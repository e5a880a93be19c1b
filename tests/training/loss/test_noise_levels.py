from __future__ import annotations

import math

import pytest
import torch

from diffwave.diffusion import DiffusionProcess, NoiseSchedule
from diffwave.training.loss.noise_levels import logit_normal_density, min_snr, step_weights

# Betas whose SNR = alpha_bar / (1 - alpha_bar) is 20, 5, 1 and 1/4.
ALPHA_BARS = torch.tensor([20 / 21, 5 / 6, 1 / 2, 1 / 5], dtype=torch.float64)
KNOWN = NoiseSchedule(1 - ALPHA_BARS / torch.cat([torch.ones(1, dtype=torch.float64), ALPHA_BARS[:-1]]))
COSINE = NoiseSchedule.cosine(0.012, 0.988, 50)


@pytest.mark.parametrize(
    ("parameterization", "expected"),
    [
        ("clean", [5, 5, 1, 0.25]),
        ("noise", [5 / 20, 1, 1, 1]),
        ("velocity", [5 / 21, 5 / 6, 1 / 2, 1 / 5]),
    ],
)
def test_min_snr_at_known_levels(parameterization: str, expected: list[float]) -> None:
    weights = min_snr(DiffusionProcess(KNOWN, parameterization))
    torch.testing.assert_close(weights, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=0)


def test_min_snr_weighs_the_same_mistake_alike_in_every_parameterization() -> None:
    # The same wrong clean estimate, as an answer of each kind: weighted squared errors agree.
    generator = torch.Generator().manual_seed(0)
    steps = torch.arange(50, dtype=torch.float64)
    clean, noise, wrong = (torch.randn(50, 8, generator=generator, dtype=torch.float64) for _ in range(3))
    noisy = COSINE.add_noise(clean, noise, steps)
    signal, sigma = (level.unsqueeze(-1) for level in COSINE.levels(steps))
    wrong_noise = (noisy - signal * wrong) / sigma
    answers = {"clean": wrong, "noise": wrong_noise, "velocity": signal * wrong_noise - sigma * wrong}
    weighted = []
    for name, answer in answers.items():
        process = DiffusionProcess(COSINE, name)
        error = (answer - process.target(clean, noise, steps)).square().mean(dim=1)
        weighted.append(min_snr(process) * error)
    torch.testing.assert_close(weighted[0], weighted[1], rtol=1e-6, atol=0)
    torch.testing.assert_close(weighted[0], weighted[2], rtol=1e-6, atol=0)


def test_logit_normal_weights_are_the_share_of_draws_that_fall_on_each_step() -> None:
    density = logit_normal_density(DiffusionProcess(COSINE, "velocity"))
    # The schedule ends at +-3.97, so all but 1e-4 is inside; the rest is the sum of 50 parts in place of the integral.
    assert float(density.sum()) == pytest.approx(1, abs=1e-2)
    draws = torch.randn(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    signal, sigma = COSINE.levels(torch.arange(50))
    logit = (sigma / signal).log()
    edges = (logit[1:] + logit[:-1]) / 2
    share = torch.bincount(torch.bucketize(draws, edges), minlength=50) / len(draws)
    assert float((density - share).abs().max()) < 4e-3


@pytest.mark.parametrize("kind", ["none", "min_snr", "logit_normal"])
@pytest.mark.parametrize("loss", ["l1", "l2"])
def test_weights_are_one_on_average(kind: str, loss: str) -> None:
    weights = step_weights(kind, DiffusionProcess(COSINE, "velocity"), loss)
    assert weights.shape == (50,)
    assert float(weights.mean()) == pytest.approx(1)
    assert bool((weights > 0).all())
    assert (kind == "none") == bool((weights == 1).all())


def test_l1_takes_roots_of_weights_that_were_made_for_squares() -> None:
    process = DiffusionProcess(KNOWN, "noise")
    ratio = [float(w[0] / w[1]) for w in (step_weights("min_snr", process, kind) for kind in ("l2", "l1"))]
    assert ratio == pytest.approx([1 / 4, math.sqrt(1 / 4)])


def test_one_step_is_a_schedule_too() -> None:
    one = DiffusionProcess(NoiseSchedule(torch.tensor([0.5])))
    assert step_weights("logit_normal", one).tolist() == [1.0]
