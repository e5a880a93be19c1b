"""The states of an utterance on the way to noise and back, and the picture of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from diffwave.rendering.diffusion_picture import draw_story
from diffwave.rendering.diffusion_states import DiffusionStory, tell_story
from diffwave.vocoder import Vocoder


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Half a second of speech at 16 kHz, a whole number of frames."""
    path = Path(__file__).parents[1] / "data" / "403-126855-0000.flac"
    return soundfile.read(path, dtype="float32", start=8000, frames=8192)[0]


@pytest.fixture(scope="module")
def vocoder(tiny_checkpoint: Path) -> Vocoder:
    return Vocoder.from_pretrained(tiny_checkpoint, "cpu")


@pytest.fixture(scope="module")
def story(vocoder: Vocoder, speech: np.ndarray) -> DiffusionStory:
    return tell_story(vocoder, torch.from_numpy(speech), 5, seed=1)


def test_both_ways_meet_the_same_levels(story):
    assert len(story.forward) == len(story.backward) == len(story.alpha_bars) == len(story.steps) == 6
    assert all(state.shape == (8192,) for state in [*story.forward, *story.backward])
    assert story.alpha_bars[0] == 1
    assert story.alpha_bars == sorted(story.alpha_bars, reverse=True)
    assert len(set(story.alpha_bars)) == 6
    assert story.steps[1:] == [0, 12, 24, 37, 49]


def test_forward_starts_clean_and_ends_as_the_noise_that_backward_starts_from(story, speech):
    assert torch.equal(story.forward[0], torch.from_numpy(speech))
    # At the last level of the cosine schedule the signal's share is 0.04 %.
    assert torch.corrcoef(torch.stack([story.forward[-1], story.backward[-1]]))[0, 1] > 0.99
    correlations = [float(torch.corrcoef(torch.stack([story.forward[0], x]))[0, 1]) for x in story.forward]
    assert correlations == sorted(correlations, reverse=True)


@pytest.mark.parametrize("consistency", [0, 3])
def test_backward_ends_with_what_the_vocoder_gives(vocoder, speech, monkeypatch, consistency):
    sampling = replace(vocoder.config.sampling, consistency_iterations=consistency)
    monkeypatch.setattr(vocoder, "config", replace(vocoder.config, sampling=sampling))
    wav = torch.from_numpy(speech)
    expected = vocoder.synthesize(vocoder.mel(wav), 5, seed=1)
    assert torch.equal(tell_story(vocoder, wav, 5, seed=1).backward[0], expected)


def test_titles_name_the_ends(story, tmp_path, monkeypatch):
    titles = []
    from matplotlib.axes import Axes

    original = Axes.set_title
    monkeypatch.setattr(
        Axes, "set_title", lambda self, text, **rest: titles.append(text) or original(self, text, **rest)
    )
    draw_story(story, tmp_path / "a.png")
    assert (titles[0], titles[6]) == ("clean", "output")
    assert titles[1:6] == titles[7:]
    assert titles[5].startswith("step 49\nsignal ")
