"""The refiner: what it sees, that it is used, and that nobody else is touched by it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import soundfile
import torch
from torch import Tensor

from diffwave.checkpoint.card import model_card
from diffwave.checkpoint.folder import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint
from diffwave.config import ConfigError, MelConfig, ModelConfig, RefinerConfig, SamplingConfig
from diffwave.mel.consistency import MelConsistency, push_together
from diffwave.mel.spectrogram import MelSpectrogram
from diffwave.network.diffwave import DiffWave
from diffwave.network.refiner import Refiner, finer, refine
from diffwave.vocoder import Vocoder
from tiny import TINY, random_weights

SPEECH = sorted((Path(__file__).parents[1] / "data").glob("*.flac"))[0]
SHAPE = RefinerConfig(channels=8, hidden=12, dilations=[1, 2])
MODEL = dataclasses.replace(
    TINY,
    refiner=SHAPE,
    sampling=SamplingConfig(steps=2, sampler="ddim", consistency_iterations=3, refinements=2, refinement_iterations=4),
)


@pytest.fixture(scope="module")
def speech() -> Tensor:
    return torch.from_numpy(soundfile.read(SPEECH, dtype="float32")[0])[None, 8000 : 8000 + 256 * 40]


def refiner_with_weights(config: ModelConfig = MODEL) -> Refiner:
    refiner = Refiner(config)
    random_weights(refiner)
    return refiner.eval()


def checkpoint() -> Checkpoint:
    network = DiffWave(MODEL)
    random_weights(network)
    return Checkpoint(MODEL, network.state_dict()).with_refiner(refiner_with_weights(), MODEL)


def test_finer_frames_lie_within_the_mels_own(speech: Tensor) -> None:
    """A click at the end of a frame is seen by the second of its finer frames, not by the first."""
    fine = MelSpectrogram(finer(MelConfig()))
    click = torch.zeros(1, 256 * 20)
    click[0, 256 * 10 + 250] = 1.0
    loudness = fine(click).exp().sum(dim=1)[0]
    assert len(loudness) == 40
    assert loudness.argmax() == 21 or loudness[21] > 0.9 * loudness.max()
    assert loudness[21] > loudness[20]


@pytest.mark.parametrize(
    "mel", [MelConfig(), MelConfig(log="log10", floor=1e-10, framing="centre"), MelConfig(stft_normalized=True)]
)
def test_the_guess_is_right_for_steady_noise(mel: MelConfig) -> None:
    refiner = Refiner(dataclasses.replace(MODEL, mel=mel))
    noise = 0.1 * torch.randn(1, 256 * 400, generator=torch.Generator().manual_seed(0))
    difference = refiner.guess(refiner.coarse(noise)) - refiner.fine(noise)
    assert difference[..., 8:-8].mean().abs() < 0.1


def test_an_untrained_refiner_halves_the_deviation_from_its_guess(speech: Tensor) -> None:
    refiner = Refiner(MODEL)
    mel, fine = refiner.coarse(speech), refiner.fine(speech)
    guess = refiner.guess(mel)
    torch.testing.assert_close(refiner(mel, fine), guess + 0.5 * (fine - guess))


def test_frames_and_bands_keep_their_places() -> None:
    """Each pair of finer frames follows from its own frame of the mel, its neighbours', and its own bands."""
    refiner = refiner_with_weights(dataclasses.replace(MODEL, refiner=RefinerConfig(8, 12, [1])))
    torch.nn.init.zeros_(refiner.enter.weight)  # nothing but the way past the network is left
    deviation = torch.zeros(1, 80, 24)
    deviation[0, 17, 9] = 1.0
    mel = torch.zeros(1, 80, 12)
    with torch.inference_mode():
        changed = refiner.deviation(mel, deviation) - refiner.deviation(mel, torch.zeros(1, 80, 24))
    assert changed.nonzero().tolist() == [[0, 17, 9]]
    assert float(changed[0, 17, 9]) == pytest.approx(0.5)


def test_pushing_together_meets_both_mels(speech: Tensor) -> None:
    coarse, fine = MelSpectrogram(MelConfig()), MelSpectrogram(finer(MelConfig()))
    goals = coarse(speech), fine(speech)
    start = 0.01 * torch.randn(speech.shape, generator=torch.Generator().manual_seed(0))

    def distances(wav: Tensor) -> tuple[float, float]:
        return float((coarse(wav) - goals[0]).abs().mean()), float((fine(wav) - goals[1]).abs().mean())

    alone = distances(MelConsistency(coarse)(start, goals[0], 60))
    pushes = [(MelConsistency(fine), goals[1]), (MelConsistency(coarse), goals[0])]
    both = distances(push_together(start, pushes, 60))
    assert both[1] < 0.5 * alone[1]
    assert both[0] < 0.1
    assert torch.equal(push_together(start, pushes, 0), start)


def test_one_target_alone_is_mel_consistency(speech: Tensor) -> None:
    mel = MelSpectrogram(MelConfig())
    start, goal = 0.5 * speech.flip(-1), mel(speech)
    expected = MelConsistency(mel, 0.7)(start, goal, 5)
    torch.testing.assert_close(push_together(start, [(MelConsistency(mel), goal)], 5, 0.7), expected, atol=1e-4, rtol=0)


def test_strength_is_a_share_of_the_correction_in_every_implementation(speech: Tensor) -> None:
    """A mel that is louder by half a nat everywhere is met by a quarter at half the strength; both ways."""
    for dtype, tolerance in ((torch.float64, 1e-4), (torch.float32, 1e-3)):
        mel, wav = MelSpectrogram(MelConfig()).to(dtype), speech.to(dtype)
        pushed = MelConsistency(mel, 0.0, strength=0.5)(wav, mel(wav) + 0.5, 1)
        torch.testing.assert_close(pushed, wav * math.exp(0.25), atol=tolerance, rtol=0)
    with pytest.raises(ValueError, match=r"strength must be in \(0, 1\]; got 0"):
        MelConsistency(mel, strength=0.0)


def test_refining_comes_nearer_to_what_the_refiner_finds(speech: Tensor) -> None:
    refiner = Refiner(MODEL)
    settings = dataclasses.replace(MODEL.sampling, refinements=1, refinement_iterations=30, refinement_strength=1.0)
    mel = refiner.coarse(speech)
    noise = 0.01 * torch.randn(speech.shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wav = MelConsistency(refiner.coarse, 0.99)(noise, mel, 60)
        goal = refiner(mel, refiner.fine(wav))
        refined = refine(refiner, settings, wav, mel)
    assert (refiner.fine(refined) - goal).abs().mean() < 0.6 * (refiner.fine(wav) - goal).abs().mean()
    assert (refiner.coarse(refined) - mel).abs().mean() < 0.1


def test_a_checkpoint_keeps_its_refiner_and_synthesis_uses_it(tmp_path: Path, speech: Tensor) -> None:
    save_checkpoint(tmp_path, checkpoint())
    vocoder = Vocoder(load_checkpoint(tmp_path), "cpu", "reference")
    assert vocoder.refiner is not None
    mel = vocoder.mel(speech)
    refined, plain = vocoder.synthesize(mel), vocoder.synthesize(mel, refinements=0)
    assert not torch.equal(refined, plain)
    with torch.inference_mode():
        torch.testing.assert_close(refine(vocoder.refiner, MODEL.sampling, plain, mel), refined)
    # The network alone is alone.
    alone = vocoder.synthesize(mel, consistency=0)
    torch.testing.assert_close(vocoder.synthesize(mel, consistency=0, refinements=0), alone)


def test_the_card_and_the_count_of_parameters_tell_of_the_refiner() -> None:
    story = {"refiner": {"iterations": 1234, "crops": 56, "error_before": 0.21, "error_after": 0.16}}
    text = model_card(dataclasses.replace(checkpoint(), training=story), "x")
    assert "| iterations of the refiner | 1,234 |" in text
    assert "| the same of the refiner's answer | 0.16 nat |" in text
    assert "2 times 4 iterations towards the mel and the finer mel" in text
    parameters = sum(p.numel() for module in (DiffWave(MODEL), Refiner(MODEL)) for p in module.parameters())
    assert f"| parameters | {parameters:,} |" in text


def test_a_batch_of_unequal_lengths_equals_one_by_one(speech: Tensor) -> None:
    vocoder = Vocoder(checkpoint(), "cpu", "reference")
    mels = [vocoder.mel(speech)[0], vocoder.mel(speech)[0, :, :25]]
    for mel, wav in zip(mels, vocoder.synthesize_batch(mels), strict=True):
        torch.testing.assert_close(wav, vocoder.synthesize(mel), atol=1e-4, rtol=0)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"sampling.refinements=1 needs a refiner; refiner.dilations is empty"):
        ModelConfig(sampling=SamplingConfig(refinements=1))
    with pytest.raises(ConfigError, match=r"frames can be halved; got n_fft=1024, win_length=1024, hop_length=255"):
        ModelConfig(mel=MelConfig(hop_length=255), refiner=SHAPE)
    with pytest.raises(ConfigError, match=r"refinement_strength must be in \(0, 1\]; got 0"):
        SamplingConfig(refinement_strength=0)
    with pytest.raises(ConfigError, match=r"refiner.dilations must be at least 1; got \[0\]"):
        RefinerConfig(dilations=[0])
    network = DiffWave(TINY)
    vocoder = Vocoder(Checkpoint(TINY, network.state_dict()), "cpu", "reference")
    with pytest.raises(ValueError, match=r"refinements: expected 0, for this model has no refiner; got 2"):
        vocoder.synthesize(torch.full((80, 4), -5.0), refinements=2)
    with pytest.raises(CheckpointError, match="do not fit the configuration"):
        Checkpoint(MODEL, network.state_dict()).build_refiner()
