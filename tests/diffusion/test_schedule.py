from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from diffwave.config import BASE, LARGE, DiffusionConfig
from diffwave.diffusion import NoiseSchedule

TRAINED = {"base": NoiseSchedule.linear(1e-4, 0.05, 50), "large": NoiseSchedule.linear(1e-4, 0.02, 200)}
PRIORGRAD_12 = [1e-4, 5e-4, 8e-4, 1e-3, 5e-3, 8e-3, 0.01, 0.05, 0.08, 0.1, 0.2, 0.5]
# (trained schedule, fast betas, aligned steps of lmnt-com/diffwave's inference code)
ALIGNED = [
    ("base", BASE.sampling.fast_betas["6"], [0, 0.8941, 4.0867, 10.4518, 22.9925, 42.9186]),
    ("large", LARGE.sampling.fast_betas["6"], [0, 3.2007, 13.4303, 33.8203, 73.9825, 170.6051]),
    (
        "base",
        PRIORGRAD_12,
        [0, 0.447, 1.0849, 1.5527, 3.2143, 4.9117, 6.4637, 11.6546, 17.087, 22.1506, 30.2191, 47.1851],
    ),
]

beta_lists = st.lists(st.floats(1e-4, 0.7), min_size=1, max_size=12)


def betas(values: list[float]) -> NoiseSchedule:
    return NoiseSchedule(torch.tensor(values, dtype=torch.float64))


@pytest.mark.parametrize(
    ("name", "end", "steps"),
    [("base", 0.05, 50), ("large", 0.02, 200)],
)
def test_alpha_bars_are_the_running_product_in_exact_arithmetic(name: str, end: float, steps: int) -> None:
    from fractions import Fraction

    expected, product = [], Fraction(1)
    for beta in np.linspace(1e-4, end, steps):
        product *= 1 - Fraction(float(beta))
        expected.append(float(product))

    alpha_bars = TRAINED[name].alpha_bars

    assert alpha_bars.dtype == torch.float64
    np.testing.assert_allclose(alpha_bars.numpy(), expected, rtol=1e-14)
    # In float32 the first one would be wrong by 2e-4 of itself.
    assert 1 - float(alpha_bars[0]) == pytest.approx(1e-4, rel=1e-11)


def test_paper_schedules_follow_from_the_configurations() -> None:
    for config, name in ((BASE, "base"), (LARGE, "large")):
        schedule = NoiseSchedule.from_config(config.diffusion)
        assert torch.equal(schedule.betas, TRAINED[name].betas)
    # The signal that is left at the end of BASE: sqrt(.2797) = .53, so pure noise is not its last marginal.
    assert float(TRAINED["base"].alpha_bars[-1]) ** 0.5 == pytest.approx(0.5289, abs=1e-4)


def test_float32_betas_are_widened_and_listed_betas_are_kept() -> None:
    assert NoiseSchedule(torch.tensor([0.25, 0.5])).alpha_bars.tolist() == [0.75, 0.375]
    config = DiffusionConfig(schedule="list", steps=3, betas=[0.5, 0.25, 0.125])
    assert NoiseSchedule.from_config(config).betas.tolist() == [0.5, 0.25, 0.125]


def test_cosine_schedule_has_equally_spaced_angles() -> None:
    schedule = NoiseSchedule.cosine(0.1, 0.9, 5)
    angles = torch.acos(schedule.alpha_bars.sqrt()) / (math.pi / 2)
    assert angles.tolist() == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9], abs=1e-12)
    from_config = NoiseSchedule.from_config(DiffusionConfig(schedule="cosine", steps=5, angle_start=0.1, angle_end=0.9))
    assert torch.equal(from_config.betas, schedule.betas)


@pytest.mark.parametrize(("name", "fast", "expected"), ALIGNED)
def test_alignment_equals_published_steps(name: str, fast: list[float], expected: list[float]) -> None:
    assert TRAINED[name].align(betas(fast)).tolist() == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(("name", "fast", "expected"), ALIGNED)
def test_alignment_equals_a_search_by_hand(name: str, fast: list[float], expected: list[float]) -> None:
    roots = np.sqrt(np.cumprod(1 - np.linspace(1e-4, {"base": 0.05, "large": 0.02}[name], len(TRAINED[name]))))
    by_hand = [
        float(np.interp(-wanted, -roots, np.arange(len(roots)))) for wanted in np.sqrt(np.cumprod(1 - np.array(fast)))
    ]
    assert TRAINED[name].align(betas(fast)).tolist() == pytest.approx(by_hand, abs=1e-9)


@given(st.lists(st.floats(0, 49), min_size=1, max_size=6, unique=True))
@settings(max_examples=50, deadline=None)
def test_alignment_inverts_the_levels(steps: list[float]) -> None:
    steps = sorted(steps)
    trained = TRAINED["base"]
    wanted, _ = trained.levels(torch.tensor(steps, dtype=torch.float64))
    alpha_bars = wanted.square()
    previous = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bars[:-1]])
    ratio = 1 - alpha_bars / previous
    assume(bool((ratio > 1e-9).all()))  # two steps nearly equal: no schedule has them
    assert trained.align(NoiseSchedule(ratio)).tolist() == pytest.approx(steps, abs=1e-7)


@pytest.mark.parametrize(("name", "fast", "expected"), ALIGNED)
def test_levels_at_aligned_steps_are_those_of_the_fast_schedule(
    name: str, fast: list[float], expected: list[float]
) -> None:
    schedule = betas(fast)
    signal, sigma = TRAINED[name].levels(TRAINED[name].align(schedule))
    torch.testing.assert_close(signal, schedule.alpha_bars.sqrt(), rtol=0, atol=1e-12)
    torch.testing.assert_close(sigma, (1 - schedule.alpha_bars).sqrt(), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("fast", "outside"),
    [
        # LARGE's, noisier than BASE ever was: sqrt(.9999 * .999 * .99 * .95 * .8 * .3)
        ([1e-4, 1e-3, 0.01, 0.05, 0.2, 0.7], "0.474839"),
        # begins cleaner than BASE's first step: sqrt(1 - 5e-5)
        ([5e-5, 1e-3, 0.01, 0.05, 0.2, 0.5], "0.999975"),
    ],
)
def test_a_schedule_outside_the_trained_range_is_refused(fast: list[float], outside: str) -> None:
    with pytest.raises(ValueError, match=r"within the trained range \[0.5288, 0.999950\]; got") as caught:
        TRAINED["base"].align(betas(fast))
    assert f"got [{outside}]" in str(caught.value)


def test_one_trained_step_aligns_with_itself() -> None:
    assert betas([0.5]).align(betas([0.5])).tolist() == [0.0]
    with pytest.raises(ValueError, match="within the trained range"):
        betas([0.5]).align(betas([0.4]))


def test_levels_at_whole_steps_are_exact_and_lie_on_the_circle() -> None:
    trained = TRAINED["large"]
    signal, sigma = trained.levels(torch.arange(200))
    assert torch.equal(signal, trained.alpha_bars.sqrt())
    assert signal.dtype == torch.float64
    between, noise = trained.levels(torch.rand(100, generator=torch.Generator().manual_seed(0)) * 199)
    torch.testing.assert_close(between.square() + noise.square(), torch.ones(100, dtype=torch.float64))
    middle, _ = trained.levels(torch.tensor([7.25]))
    assert float(middle) == pytest.approx(0.75 * float(signal[7]) + 0.25 * float(signal[8]), rel=1e-14)
    assert sigma[0] == pytest.approx(0.01, rel=1e-11)


def test_add_noise_is_the_marginal_of_the_step_by_step_process() -> None:
    # x_t = sqrt(1 - beta) x_{t-1} + sqrt(beta) n: mean and variance by recursion, then against add_noise.
    trained = TRAINED["base"]
    mean, variance = 1.0, 0.0
    clean, one = torch.ones(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    zero = torch.zeros(1, 1, dtype=torch.float64)
    for index, beta in enumerate(trained.betas.tolist()):
        mean, variance = (1 - beta) ** 0.5 * mean, (1 - beta) * variance + beta
        step = torch.tensor([index])
        assert float(trained.add_noise(clean, zero, step)) == pytest.approx(mean, rel=1e-12)
        assert float(trained.add_noise(zero, one, step)) ** 2 == pytest.approx(variance, rel=1e-9)


def test_add_noise_keeps_the_dtype_and_takes_one_step_per_example() -> None:
    trained = TRAINED["base"]
    generator = torch.Generator().manual_seed(0)
    wav, noise = (torch.randn(3, 20_000, generator=generator) for _ in range(2))
    noisy = trained.add_noise(wav, noise, torch.tensor([0, 20, 49]))
    assert noisy.dtype == torch.float32
    for row, step in enumerate((0, 20, 49)):
        alpha_bar = float(trained.alpha_bars[step])
        expected = alpha_bar**0.5 * wav[row] + (1 - alpha_bar) ** 0.5 * noise[row]
        torch.testing.assert_close(noisy[row], expected)
    # Unit variance in, unit variance out, at every step.
    assert noisy.var(dim=1).tolist() == pytest.approx([1, 1, 1], abs=0.05)


@given(st.sets(st.integers(0, 49), min_size=1, max_size=20).map(sorted))
@settings(max_examples=50, deadline=None)
def test_a_subset_keeps_the_noise_levels(steps: list[int]) -> None:
    trained = TRAINED["base"]
    torch.testing.assert_close(trained.subset(steps).alpha_bars, trained.alpha_bars[steps], rtol=1e-12, atol=0)


@given(beta_lists)
@settings(max_examples=50, deadline=None)
def test_signal_falls_at_every_step(values: list[float]) -> None:
    alpha_bars = [1.0, *betas(values).alpha_bars.tolist()]
    assert all(after < before for before, after in itertools.pairwise(alpha_bars))


@pytest.mark.parametrize("values", [[], [0.0], [1.0], [-0.1], [0.5, 1.5], [math.nan], [[0.1]]])
def test_impossible_betas_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="noise schedule"):
        NoiseSchedule(torch.tensor(values, dtype=torch.float64))
