from __future__ import annotations

import pytest
import torch

from diffwave.diffusion import DiffusionProcess, NoiseSchedule, Sampler

SCHEDULES = [NoiseSchedule.linear(1e-4, 0.05, 50), NoiseSchedule.cosine(0.012, 0.988, 50)]
STEPS = torch.tensor([0.0, 0.8941, 10.4518, 25.0, 42.9186, 49.0], dtype=torch.float64)


def signals(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    clean = 0.3 * torch.randn(len(STEPS), 64, generator=generator, dtype=dtype)
    return clean, torch.randn(len(STEPS), 64, generator=generator, dtype=dtype)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=["linear", "cosine"])
@pytest.mark.parametrize("parameterization", ["noise", "velocity", "clean"])
def test_a_perfect_answer_gives_noise_and_clean_signal_back(schedule: NoiseSchedule, parameterization: str) -> None:
    clean, noise = signals()
    process = DiffusionProcess(schedule, parameterization)
    noisy = schedule.add_noise(clean, noise, STEPS)
    answer = process.target(clean, noise, STEPS)
    torch.testing.assert_close(process.to_noise(answer, noisy, STEPS), noise, rtol=0, atol=1e-12)
    torch.testing.assert_close(process.to_clean(answer, noisy, STEPS), clean, rtol=0, atol=1e-12)


@pytest.mark.parametrize("parameterization", ["noise", "velocity", "clean"])
def test_any_answer_stands_for_noise_and_clean_signal_that_make_up_the_noisy_one(parameterization: str) -> None:
    schedule, process = SCHEDULES[1], DiffusionProcess(SCHEDULES[1], parameterization)
    answer, noisy = signals()
    estimates = process.to_clean(answer, noisy, STEPS), process.to_noise(answer, noisy, STEPS)
    torch.testing.assert_close(schedule.add_noise(*estimates, STEPS), noisy, rtol=0, atol=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=["linear", "cosine"])
@pytest.mark.parametrize("kind", ["ddim", "ddpm"])
def test_a_network_that_answers_with_the_clean_signal_is_sampled_to_it(schedule: NoiseSchedule, kind: str) -> None:
    clean, _ = signals()
    process, generator = DiffusionProcess(schedule, "clean"), torch.Generator().manual_seed(4)

    def predict(_index: int, noisy: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        return process.to_noise(clean, noisy, step)

    def draw(index: int) -> torch.Tensor:
        return torch.randn(clean.shape, generator=generator, dtype=torch.float64)

    found = Sampler.spaced(schedule, 6, kind).sample(predict, draw)
    torch.testing.assert_close(found, clean, rtol=0, atol=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=["linear", "cosine"])
def test_velocity_is_the_derivative_of_the_noisy_signal_by_the_angle(schedule: NoiseSchedule) -> None:
    # Salimans & Ho 2022, appendix D: with signal = cos(phi), sigma = sin(phi), v = d noisy / d phi.
    clean, noise = signals()
    signal, _ = schedule.levels(STEPS)
    phi = torch.acos(signal).unsqueeze(-1).requires_grad_()
    noisy = torch.cos(phi) * clean + torch.sin(phi) * noise
    columns = [torch.autograd.grad(noisy[:, n].sum(), phi, retain_graph=True)[0] for n in range(64)]
    velocity = DiffusionProcess(schedule, "velocity").target(clean, noise, STEPS)
    torch.testing.assert_close(velocity, torch.cat(columns, dim=1), rtol=0, atol=1e-10)


def test_velocity_answers_give_noise_and_clean_signal_that_make_up_the_noisy_one() -> None:
    # Also for a wrong answer: the noise it stands for and the clean signal signal * noisy - sigma * v agree.
    schedule = SCHEDULES[1]
    generator = torch.Generator().manual_seed(2)
    noisy, answer = (torch.randn(len(STEPS), 64, generator=generator, dtype=torch.float64) for _ in range(2))
    signal, sigma = (level.unsqueeze(-1) for level in schedule.levels(STEPS))
    noise = DiffusionProcess(schedule, "velocity").to_noise(answer, noisy, STEPS)
    torch.testing.assert_close(signal * (signal * noisy - sigma * answer) + sigma * noise, noisy, rtol=0, atol=1e-14)


def test_velocity_target_has_unit_variance_at_every_step() -> None:
    schedule = SCHEDULES[1]
    generator = torch.Generator().manual_seed(3)
    clean, noise = (torch.randn(50, 10_000, generator=generator) for _ in range(2))
    target = DiffusionProcess(schedule, "velocity").target(clean, noise, torch.arange(50))
    assert target.dtype == torch.float32
    torch.testing.assert_close(target.var(dim=1), torch.ones(50), rtol=0, atol=0.07)


def test_the_paper_predicts_the_noise_itself() -> None:
    clean, noise = signals()
    process = DiffusionProcess(SCHEDULES[0])
    assert torch.equal(process.target(clean, noise, STEPS), noise)
    assert torch.equal(process.to_noise(noise, clean, STEPS), noise)
