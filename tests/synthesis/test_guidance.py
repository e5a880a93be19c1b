"""Mel consistency between the calls of the network: where it works, on what, and that nobody else is touched by it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from torch import Tensor

from diffwave.checkpoint.folder import Checkpoint
from diffwave.config import ModelConfig, SamplingConfig, SynthesisOptions
from diffwave.dsp.noise import white_noise
from diffwave.mel.prior import make_prior
from diffwave.mel.spectrogram import MelSpectrogram
from diffwave.network.diffwave import DiffWave
from diffwave.synthesis.domains import OwnDomain
from diffwave.synthesis.guidance import MelGuide
from diffwave.vocoder import Vocoder
from tiny import TINY, random_weights

SPEECH = sorted((Path(__file__).parents[1] / "data").glob("*.flac"))[0]
GUIDED: dict[str, Any] = {"consistency_iterations": 3, "step_iterations": 2, "warm_iterations": 4}


def build(**sampling: Any) -> Vocoder:
    """A small network with random weights."""
    settings = SamplingConfig(**{"steps": 3, "sampler": "ddim", **GUIDED, **sampling})
    config = dataclasses.replace(TINY, sampling=settings)
    network = DiffWave(config)
    random_weights(network)
    return Vocoder(Checkpoint(config, network.state_dict()), "cpu")


def guide(config: ModelConfig, *mels: Tensor, **settings: Any) -> MelGuide:
    front_end = MelSpectrogram(config.mel)
    targets = [(mel, OwnDomain(mel, make_prior(config.diffusion, front_end, mel), mel.shape[-1] * 256)) for mel in mels]
    return MelGuide(front_end, targets, SamplingConfig(**{**GUIDED, "consistency_at": "warm", **settings}))


def distance(wav: Tensor, mel: Tensor) -> float:
    """Mean distance of log-mels, in nat."""
    return float((MelSpectrogram(TINY.mel)(wav) - mel).abs().mean())


@pytest.fixture(scope="module")
def mel() -> Tensor:
    speech = torch.from_numpy(soundfile.read(SPEECH, dtype="float32")[0])
    return MelSpectrogram(TINY.mel)(speech[None, 8000 : 8000 + 256 * 40])


def test_a_start_is_nearer_to_the_mel_with_more_iterations_and_none_without_warmth(mel: Tensor) -> None:
    noise = white_noise(0, 1, 256 * 40).expand(1, -1)
    found = []
    for iterations in (1, 10, 40):
        warm = guide(TINY, mel, warm_iterations=iterations)
        start = warm.start(noise)
        assert start is not None
        found.append(distance(warm.targets[0][1].waveform(start), mel))
    assert found[0] > found[1] > found[2]
    assert guide(TINY, mel, consistency_at="steps").start(noise) is None


def test_estimates_are_pushed_but_for_the_last_which_is_finished_elsewhere(mel: Tensor) -> None:
    clean = white_noise(0, 1, 256 * 40).expand(1, -1)
    pushing = guide(TINY, mel, step_iterations=10)
    color = pushing.targets[0][1].waveform
    assert distance(color(pushing.correct(3, clean)), mel) < 0.5 * distance(color(clean), mel)
    assert pushing.correct(0, clean) is clean
    assert guide(TINY, mel, step_iterations=0).correct(3, clean) is clean


def test_examples_of_a_padded_batch_are_pushed_as_if_alone(mel: Tensor) -> None:
    short = mel[..., :13]
    clean = white_noise(0, 1, 256 * 40).repeat(2, 1)
    together = guide(TINY, mel, short).correct(1, clean)
    torch.testing.assert_close(together[:1], guide(TINY, mel).correct(1, clean[:1]))
    torch.testing.assert_close(together[1:, : 256 * 13], guide(TINY, short).correct(1, clean[1:, : 256 * 13]))
    assert torch.equal(together[1, 256 * 13 :], clean[1, 256 * 13 :])


@pytest.mark.parametrize("at", ["steps", "warm"])
def test_a_batch_of_unequal_lengths_equals_one_by_one(at: str, mel: Tensor) -> None:
    vocoder, mels = build(consistency_at=at), [mel[0], mel[0, :, 5:17], mel[0, :, :1]]
    together = vocoder.synthesize_batch(mels, seed=3)
    for wav, one in zip(together, mels, strict=True):
        alone = vocoder.synthesize(one, seed=3)
        torch.testing.assert_close(wav, alone, rtol=0, atol=2e-4 * float(alone.abs().max()))


def test_the_network_alone_is_the_same_wherever_consistency_would_work(mel: Tensor) -> None:
    expected = build().synthesize(mel, consistency=0)
    assert torch.equal(build(consistency_at="warm").synthesize(mel, consistency=0), expected)
    assert not torch.equal(build(consistency_at="warm").synthesize(mel, consistency=1), expected)


def test_a_caller_may_say_where(mel: Tensor) -> None:
    outputs = [build(consistency_at=at).synthesize(mel) for at in ("end", "steps", "warm")]
    asked = [build().synthesize(mel, consistency_at=at) for at in ("end", "steps", "warm")]
    assert all(torch.equal(a, b) for a, b in zip(outputs, asked, strict=True))
    assert not torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[1], outputs[2])


def test_it_ends_nearer_to_the_mel_than_with_consistency_at_the_end_alone(mel: Tensor) -> None:
    many = {"step_iterations": 10, "consistency_iterations": 10, "warm_iterations": 10}
    found = {at: distance(build(consistency_at=at, **many).synthesize(mel), mel) for at in ("end", "steps", "warm")}
    assert found["steps"] < found["end"]
    assert found["warm"] < found["end"]


def test_guided_sampling_has_a_sampler_and_schedules_of_its_own() -> None:
    known = {"schedules": {"2": [1.0, 9.0]}, "guided_schedules": {"2": [2.0, 6.5], "4": [1.0, 2.0, 3.0, 5.0]}}
    vocoder = build(consistency_at="warm", guided_sampler="renoise", **known)
    assert vocoder.resolve(SynthesisOptions(2)).sampler.steps.tolist() == [2.0, 6.5]
    assert vocoder.resolve(SynthesisOptions(2)).sampler.eta == float("inf")
    assert vocoder.resolve(SynthesisOptions(2, "ddim")).sampler.eta == 0
    assert vocoder.resolve(SynthesisOptions(2, consistency=0)).sampler.steps.tolist() == [1.0, 9.0]
    assert vocoder.resolve(SynthesisOptions(2, consistency=0)).sampler.eta == 0
    # Unknown numbers keep to the ends of the longest known schedule.
    assert vocoder.resolve(SynthesisOptions(3)).sampler.steps.tolist() == [1.0, 3.0, 5.0]
    assert vocoder.resolve(SynthesisOptions(1)).sampler.steps.tolist() == [5.0]
    assert len(vocoder.resolve(SynthesisOptions("full")).sampler) == len(vocoder.schedule)
    assert (
        vocoder.resolve(SynthesisOptions("full")).sampler.steps[0],
        vocoder.resolve(SynthesisOptions("full")).sampler.steps[-1],
    ) == (1.0, 5.0)
    # Another place is another problem: schedules found for this one are not used there.
    last = len(vocoder.schedule) - 1
    assert vocoder.resolve(SynthesisOptions(2, consistency_at="steps")).sampler.steps.tolist() == [0, last]
    for count in (0, last + 2):
        with pytest.raises(ValueError, match=f"got {count}"):
            vocoder.resolve(SynthesisOptions(count))


def test_impossible_wishes_are_refused() -> None:
    own = SamplingConfig()
    for wrong in (-1, 1.5, True):
        with pytest.raises(ValueError, match="0 or a positive whole number; got"):
            SynthesisOptions(consistency=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="end, steps, warm; got 'start'"):
        SynthesisOptions(consistency=1, consistency_at="start").applied_to(own)
    with pytest.raises(ValueError, match="got 2 with consistency 0"):
        SynthesisOptions(consistency=0, refinements=2).applied_to(own)
    # Rounds that are the checkpoint's own are left out with consistency, without a word.
    refined = dataclasses.replace(own, consistency_iterations=9, refinements=2)
    assert SynthesisOptions(consistency=0).applied_to(refined).consistency_iterations == 0
