"""Two closed forms carry the sampler: an oracle, and Gaussian data, for which everything is linear."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from diffwave.config import BASE, LARGE
from diffwave.config.sampling import SAMPLERS
from diffwave.diffusion import DiffusionProcess, NoiseSchedule, Sampler

TRAINED = NoiseSchedule.linear(1e-4, 0.05, 50)
FAST = BASE.sampling.fast_betas["6"]
SAMPLES = 32


def schedule_of(betas: list[float]) -> NoiseSchedule:
    return NoiseSchedule(torch.tensor(betas, dtype=torch.float64))


def sampler_of(betas: list[float], eta: float, clip: bool = False) -> Sampler:
    schedule = schedule_of(betas)
    return Sampler(schedule, torch.arange(len(schedule), dtype=torch.float64), eta, clip)


def draw(index: int, examples: int = 2, samples: int = SAMPLES) -> Tensor:
    """White noise that depends on the index alone."""
    generator = torch.Generator().manual_seed(index)
    return torch.randn(examples, samples, generator=generator, dtype=torch.float64)


def clean_signal() -> Tensor:
    return 0.9 * torch.sin(torch.arange(2 * SAMPLES, dtype=torch.float64) / 3).view(2, SAMPLES)


def oracle(trained: NoiseSchedule, clean: Tensor):
    """Predicts the noise that is really there, because it knows the clean signal."""

    def predict(noisy: Tensor, step: Tensor) -> Tensor:
        signal, sigma = (level.unsqueeze(-1) for level in trained.levels(step))
        return (noisy - signal * clean) / sigma

    return predict


def of_step(answer):
    """A network that is not told the step's index."""
    return lambda _index, noisy, step: answer(noisy, step)


# Betas up to .6 and at most 10 of them: signal levels down to .01, where rounding grows a hundredfold.
beta_lists = st.lists(st.floats(1e-3, 0.6), min_size=1, max_size=10)
etas = st.sampled_from([0.0, 0.3, 1.0, 2.5, math.inf])


@given(beta_lists, etas)
@settings(max_examples=60, deadline=None)
def test_an_oracle_gives_the_clean_signal_back_on_any_schedule(betas: list[float], eta: float) -> None:
    clean = clean_signal()
    sampler = sampler_of(betas, eta)
    wav = sampler.sample(of_step(oracle(sampler.schedule, clean)), draw)
    torch.testing.assert_close(wav, clean, rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", SAMPLERS)
@pytest.mark.parametrize(
    "make",
    [
        lambda kind: Sampler.full(TRAINED, kind),
        lambda kind: Sampler.fast(TRAINED, FAST, kind),
        lambda kind: Sampler.spaced(TRAINED, 7, kind),
        lambda kind: Sampler.spaced(TRAINED, 1, kind),
        lambda kind: Sampler.through(TRAINED, [3, 7.5, 20, 31.25], kind),
    ],
    ids=["full", "fast", "spaced", "one", "through"],
)
@pytest.mark.parametrize("parameterization", ["noise", "velocity"])
def test_an_oracle_on_the_trained_schedule_needs_only_the_step(make, kind: str, parameterization: str) -> None:
    # The oracle sees only (noisy, step) and answers like a network of this parameterization.
    clean = clean_signal()
    process = DiffusionProcess(TRAINED, parameterization)
    answer = oracle(TRAINED, clean)

    def predict(noisy: Tensor, step: Tensor) -> Tensor:
        return process.to_noise(process.target(clean, answer(noisy, step), step), noisy, step)

    torch.testing.assert_close(make(kind).sample(of_step(predict), draw), clean, rtol=0, atol=1e-11)


def lmnt_ddpm(betas: list[float], steps: list[float], predict, noise, clip: bool) -> Tensor:
    """Algorithm 2 of DiffWave as lmnt-com/diffwave's inference.py writes it."""
    beta = np.array(betas)
    alpha = 1 - beta
    alpha_cum = np.cumprod(alpha)
    audio = noise(len(beta))
    for n in range(len(alpha) - 1, -1, -1):
        c1 = 1 / alpha[n] ** 0.5
        c2 = beta[n] / (1 - alpha_cum[n]) ** 0.5
        audio = c1 * (audio - c2 * predict(audio, torch.full((2,), steps[n], dtype=torch.float64)))
        if n > 0:
            sigma = ((1.0 - alpha_cum[n - 1]) / (1.0 - alpha_cum[n]) * beta[n]) ** 0.5
            audio = audio + sigma * noise(n)
        if clip:
            audio = torch.clamp(audio, -1.0, 1.0)
    return audio


def wobbly(noisy: Tensor, step: Tensor) -> Tensor:
    """A nonlinear stand-in for a network: each sample of the answer depends on state, neighbour and step."""
    return torch.tanh(noisy) + 0.1 * noisy.roll(1, dims=-1) * torch.cos(step).unsqueeze(-1)


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize(("trained", "betas"), [(TRAINED, FAST), (None, [0.3, 0.01, 0.6]), (TRAINED, None)])
def test_eta_one_is_the_ancestral_sampler_of_the_paper(
    trained: NoiseSchedule | None, betas: list[float] | None, clip: bool
) -> None:
    if betas is None:
        sampler = Sampler.full(trained, "ddpm", clip)
        betas = trained.betas.tolist()
    elif trained is None:
        sampler = sampler_of(betas, 1.0, clip)
    else:
        sampler = Sampler.fast(trained, betas, "ddpm", clip)
    expected = lmnt_ddpm(betas, sampler.steps.tolist(), wobbly, draw, clip)
    # The first step multiplies rounding errors by 1 / signal.
    torch.testing.assert_close(sampler.sample(of_step(wobbly), draw), expected, rtol=1e-9, atol=1e-10)


def test_eta_zero_is_the_deterministic_sampler_of_ddim() -> None:
    # Song et al. 2021, equation 12 with sigma = 0: predicted x_0, then straight to the level before.
    alpha_bars = np.cumprod(1 - np.array(FAST))
    steps = Sampler.fast(TRAINED, FAST).steps
    expected = draw(6)
    for n in range(5, -1, -1):
        noise = wobbly(expected, steps[n].expand(2))
        start = (expected - (1 - alpha_bars[n]) ** 0.5 * noise) / alpha_bars[n] ** 0.5
        before = alpha_bars[n - 1] if n else 1.0
        expected = before**0.5 * start + (1 - before) ** 0.5 * noise
    torch.testing.assert_close(Sampler.fast(TRAINED, FAST, "ddim").sample(of_step(wobbly), draw), expected)


@given(beta_lists)
@settings(max_examples=30, deadline=None)
def test_ddim_draws_noise_once_and_ddpm_at_every_step_but_the_last(betas: list[float]) -> None:
    every = list(range(len(betas), 0, -1))
    for eta, expected in ((0.0, [len(betas)]), (1.0, every), (math.inf, every)):
        drawn = []

        def noise(index: int, drawn: list[int] = drawn) -> Tensor:
            drawn.append(index)
            return draw(index)

        sampler_of(betas, eta).sample(of_step(wobbly), noise)
        assert drawn == expected


def coefficients(sampler: Sampler, deviation: float) -> Tensor:
    """The output for Gaussian data N(0, deviation ** 2), as a linear combination of the noises drawn.

    The best predictor of the noise is E[n | x] = sigma x / (signal^2 deviation^2 + sigma^2); sample index ``i``
    of the "waveform" carries nothing but noise ``i``, so the output's samples are the coefficients.
    """

    def predict(noisy: Tensor, step: Tensor) -> Tensor:
        alpha_bar = sampler.schedule.alpha_bars[int(sampler.steps.tolist().index(float(step[0])))]
        sigma = (1 - alpha_bar).sqrt()
        return sigma * noisy / (alpha_bar * deviation**2 + 1 - alpha_bar)

    def unit(index: int) -> Tensor:
        return torch.eye(len(sampler) + 1, dtype=torch.float64)[index : index + 1]

    return sampler.sample(of_step(predict), unit)[0]


@given(beta_lists, st.floats(0.01, 3))
@settings(max_examples=40, deadline=None)
def test_gaussian_data_follow_a_scalar_variance_recursion(betas: list[float], deviation: float) -> None:
    alpha_bar = np.cumprod(1 - np.array(betas))
    variance = 1.0
    for n in range(len(betas) - 1, -1, -1):
        # E[x_0 | x_n] = gain * x_n by Bayes; the ancestral step draws from q(x_{n-1} | x_n, x_0 = gain x_n),
        # whose mean is a x_0 + b x_n (Ho et al. 2020, equation 7).
        before = alpha_bar[n - 1] if n else 1.0
        power = alpha_bar[n] * deviation**2 + 1 - alpha_bar[n]
        gain = alpha_bar[n] ** 0.5 * deviation**2 / power
        a = before**0.5 * betas[n] / (1 - alpha_bar[n])
        b = (1 - betas[n]) ** 0.5 * (1 - before) / (1 - alpha_bar[n])
        variance = (a * gain + b) ** 2 * variance + (1 - before) / (1 - alpha_bar[n]) * betas[n]
    assert float(coefficients(sampler_of(betas, 1.0), deviation).square().sum()) == pytest.approx(variance, rel=1e-8)


@pytest.mark.parametrize("steps", [2, 10, 50])
def test_ddim_of_unit_variance_data_shrinks_by_the_cosines_of_its_angles(steps: int) -> None:
    # For N(0, 1) the step from angle p to q multiplies by cos(p - q): the product has a closed form.
    sampler = Sampler.full(NoiseSchedule.cosine(0.1, 0.9, steps), "ddim")
    turn = 0.8 / (steps - 1) * math.pi / 2
    output = coefficients(sampler, 1.0)
    assert float(output[-1]) == pytest.approx(math.cos(turn) ** (steps - 1) * math.cos(0.1 * math.pi / 2), rel=1e-11)
    assert output[:-1].abs().max() == 0


@pytest.mark.parametrize("kind", ["ddim", "ddpm", "dpm++", "midpoint"])
def test_many_steps_draw_from_the_distribution_of_the_data(kind: str) -> None:
    schedule = NoiseSchedule.cosine(0.002, 0.998, 400)
    for deviation in (0.1, 0.5, 1.0):
        output = coefficients(Sampler.full(schedule, kind), deviation)
        assert float(output.square().sum()) ** 0.5 == pytest.approx(deviation, rel=0.05)


def wobbly_clean(sampler: Sampler, index: int, state: Tensor) -> Tensor:
    """The clean estimate that ``wobbly`` stands for."""
    alpha_bar = sampler.schedule.alpha_bars[index]
    return (state - (1 - alpha_bar).sqrt() * wobbly(state, sampler.steps[index].expand(2))) / alpha_bar.sqrt()


def test_renoise_forgets_all_noise_but_the_fresh_one() -> None:
    sampler = Sampler.fast(TRAINED, FAST, "renoise")
    state = draw(6)
    for index in range(5, 0, -1):
        before = sampler.schedule.alpha_bars[index - 1]
        state = before.sqrt() * wobbly_clean(sampler, index, state) + (1 - before).sqrt() * draw(index)
    torch.testing.assert_close(
        sampler.sample(of_step(wobbly), draw), wobbly_clean(sampler, 0, state), rtol=1e-9, atol=1e-10
    )


def test_dpm_solver_multistep_is_algorithm_2_of_its_paper() -> None:
    # Lu et al. 2022b (DPM-Solver++), algorithm 2, in its own letters; the last step is of first order, to t = 0.
    sampler = Sampler.fast(TRAINED, FAST, "dpm++")
    alpha = sampler.schedule.alpha_bars.sqrt().flip(0)
    sigma = (1 - sampler.schedule.alpha_bars).sqrt().flip(0)
    lam = (alpha / sigma).log()
    x, q = draw(6), []
    for i in range(6):
        q.append(wobbly_clean(sampler, 5 - i, x))
        if i == 5:
            break
        h = lam[i + 1] - lam[i]
        r = (lam[i] - lam[i - 1]) / h if i else math.inf
        d = (1 + 1 / (2 * r)) * q[i] - 1 / (2 * r) * q[i - 1] if i else q[i]
        x = sigma[i + 1] / sigma[i] * x - alpha[i + 1] * (torch.exp(-h) - 1) * d
    torch.testing.assert_close(sampler.sample(of_step(wobbly), draw), q[-1], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("count", [4, 5])
def test_midpoint_takes_long_steps_with_the_estimate_of_their_middle(count: int) -> None:
    sampler = Sampler.spaced(TRAINED, count, "midpoint")
    levels = [(float(a) ** 0.5, float(1 - a) ** 0.5) for a in sampler.schedule.alpha_bars]
    state = draw(count)

    def along(state: Tensor, clean: Tensor, start: int, end: int) -> Tensor:
        """The noise that clean and state leave stays as it is (DDIM)."""
        noise = (state - levels[start][0] * clean) / levels[start][1]
        return levels[end][0] * clean + levels[end][1] * noise

    index = count - 1
    if count % 2:
        state, index = along(state, wobbly_clean(sampler, index, state), index, index - 1), index - 1
    while True:
        middle = along(state, wobbly_clean(sampler, index, state), index, index - 1)
        clean = wobbly_clean(sampler, index - 1, middle)
        if index == 1:
            break
        state, index = along(state, clean, index, index - 2), index - 2
    torch.testing.assert_close(sampler.sample(of_step(wobbly), draw), clean, rtol=1e-8, atol=1e-9)


def test_solvers_of_second_order_are_nearer_to_the_exact_flow() -> None:
    # For Gaussian data the exact flow multiplies by the ratio of the standard deviations of two levels; the last step
    # takes the best estimate of the clean signal.
    schedule, deviation = NoiseSchedule.cosine(0.1, 0.95, 65), 0.3
    power = schedule.alpha_bars * deviation**2 + 1 - schedule.alpha_bars
    gain = schedule.alpha_bars[0].sqrt() * deviation**2 / power[0]
    exact = float(gain * (power[0] / power[-1]).sqrt())
    error = {
        kind: abs(float(coefficients(Sampler.full(schedule, kind), deviation)[-1]) - exact)
        for kind in ("ddim", "dpm++", "midpoint")
    }
    assert error["dpm++"] < error["ddim"] / 10
    assert error["midpoint"] < error["ddim"] / 3


@pytest.mark.parametrize("kind", SAMPLERS)
def test_a_correction_that_knows_the_clean_signal_wins_over_any_network(kind: str) -> None:
    clean, asked = clean_signal(), []

    def correct(index: int, estimate: Tensor) -> Tensor:
        asked.append(index)
        return clean

    sampler = Sampler.fast(TRAINED, FAST, kind)
    assert torch.equal(sampler.sample(of_step(wobbly), draw, correct=correct), clean)
    assert asked == [5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("kind", SAMPLERS)
def test_a_correction_that_changes_nothing_changes_nothing(kind: str) -> None:
    sampler = Sampler.fast(TRAINED, FAST, kind)
    kept = sampler.sample(of_step(wobbly), draw, correct=lambda index, estimate: estimate)
    torch.testing.assert_close(kept, sampler.sample(of_step(wobbly), draw), rtol=1e-12, atol=1e-12)


def test_corrected_states_hold_the_corrected_estimate_at_their_level() -> None:
    # With the noise that is really there, the state must be signal * corrected + sigma * noise.
    clean, better, seen = clean_signal(), 0.5 * clean_signal(), []
    sampler = Sampler.fast(TRAINED, FAST, "ddim")

    def predict(noisy: Tensor, step: Tensor) -> Tensor:
        signal, sigma = (level.unsqueeze(-1) for level in TRAINED.levels(step))
        seen.append((noisy, signal, sigma))
        return draw(6)

    sampler.sample(of_step(predict), draw, correct=lambda index, estimate: better)
    for noisy, signal, sigma in seen[1:]:
        torch.testing.assert_close(noisy, signal * better + sigma * draw(6), rtol=1e-9, atol=1e-9)
    assert not torch.equal(better, clean)


def test_a_start_takes_the_place_of_the_noise() -> None:
    sampler = Sampler.through(TRAINED, [2, 10.5, 30], "ddim")
    signal, sigma = TRAINED.levels(torch.tensor(30.0))
    begun = sampler.begin(clean_signal(), draw(0))
    torch.testing.assert_close(begun, signal * clean_signal() + sigma * draw(0))
    states: list[Tensor] = []

    def predict(noisy: Tensor, step: Tensor) -> Tensor:
        states.append(noisy)
        return torch.zeros_like(noisy)

    sampler.sample(of_step(predict), lambda index: pytest.fail("noise was drawn"), start=begun)
    assert torch.equal(states[0], begun)


def test_the_callback_counts_down_and_sees_state_and_estimate() -> None:
    seen: list[tuple[int, Tensor, Tensor]] = []
    clean = clean_signal()
    sampler = Sampler.fast(TRAINED, FAST)
    wav = sampler.sample(of_step(oracle(TRAINED, clean)), draw, lambda *args: seen.append(args))
    assert [index for index, _, _ in seen] == [5, 4, 3, 2, 1, 0]
    for index, state, estimate in seen:
        torch.testing.assert_close(estimate, clean, rtol=0, atol=1e-11)
        # After the call with index i the state stands on level i - 1; only white noise is on top of the signal.
        level = sampler.schedule.alpha_bars[index - 1] if index else torch.ones((), dtype=torch.float64)
        assert float((state - level.sqrt() * clean).std()) == pytest.approx(float(1 - level) ** 0.5, rel=0.4)
    assert torch.equal(seen[-1][1], wav)


def test_clip_bounds_every_state() -> None:
    loud = 3 * clean_signal()
    states: list[float] = []
    Sampler.fast(TRAINED, FAST, clip=True).sample(
        of_step(oracle(TRAINED, loud)), draw, lambda _, state, clean: states.append(float(state.abs().max()))
    )
    assert max(states) <= 1
    free: list[float] = []
    Sampler.fast(TRAINED, FAST).sample(
        of_step(oracle(TRAINED, loud)), draw, lambda _, state, clean: free.append(float(state.abs().max()))
    )
    assert min(free) > 1


@pytest.mark.parametrize("kind", SAMPLERS)
@pytest.mark.parametrize("count", [1, 5, 6])
def test_the_network_is_told_which_step_it_answers(kind: str, count: int) -> None:
    sampler, asked = Sampler.spaced(TRAINED, count, kind), []

    def predict(index: int, noisy: Tensor, step: Tensor) -> Tensor:
        asked.append(index)
        assert torch.equal(step, sampler.steps[index].expand(len(noisy)))
        return wobbly(noisy, step)

    sampler.sample(predict, draw)
    assert asked == list(range(count))[::-1]


def test_steps_given_to_the_network_are_the_aligned_ones() -> None:
    asked: list[float] = []

    def predict(noisy: Tensor, step: Tensor) -> Tensor:
        assert step.shape == (2,)
        asked.append(float(step[0]))
        return torch.zeros_like(noisy)

    Sampler.fast(TRAINED, FAST).sample(of_step(predict), draw)
    assert asked == pytest.approx([42.9186, 22.9925, 10.4518, 4.0867, 0.8941, 0], abs=5e-5)


@pytest.mark.parametrize("count", [1, 2, 3, 6, 50])
def test_spaced_steps_run_from_the_first_to_the_last(count: int) -> None:
    sampler = Sampler.spaced(TRAINED, count)
    steps = sampler.steps.tolist()
    assert len(sampler) == len(set(steps)) == count
    assert steps[-1] == 49
    assert steps[0] == (0 if count > 1 else 49)
    gaps = np.diff(steps)
    assert count < 3 or gaps.max() - gaps.min() <= 1
    torch.testing.assert_close(sampler.schedule.alpha_bars, TRAINED.alpha_bars[sampler.steps.long()])


def test_all_spaced_steps_are_the_full_schedule() -> None:
    torch.testing.assert_close(Sampler.spaced(TRAINED, 50).schedule.betas, TRAINED.betas)


def test_impossible_samplers_are_refused() -> None:
    for count in (0, -1, 51):
        with pytest.raises(ValueError, match=f"1 to 50 steps; got {count}"):
            Sampler.spaced(TRAINED, count)
    for eta in (-0.1, math.nan):
        with pytest.raises(ValueError, match="eta"):
            sampler_of(FAST, eta)
    with pytest.raises(ValueError, match=re.escape(f"expected one of {', '.join(SAMPLERS)}; got 'euler'")):
        Sampler.full(TRAINED, "euler")
    with pytest.raises(ValueError, match="euler, multistep, midpoint; got 'heun'"):
        Sampler(TRAINED, torch.arange(50), solver="heun")
    with pytest.raises(ValueError, match="multistep adds no noise, so it expects eta=0; got 1"):
        Sampler(TRAINED, torch.arange(50), solver="multistep")
    for steps in ([], [3, 2], [2, 2], [-1, 2], [3, 49.5]):
        with pytest.raises(ValueError, match=r"expected rising steps in \[0, 49\]"):
            Sampler.through(TRAINED, steps)
    with pytest.raises(ValueError, match=r"expected 50 steps.*got 3"):
        Sampler(TRAINED, torch.arange(3))
    with pytest.raises(ValueError, match="within the trained range"):
        Sampler.fast(TRAINED, LARGE.sampling.fast_betas["6"])
