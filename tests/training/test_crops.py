from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from diffwave.config import ConfigError, DataConfig, MelConfig
from diffwave.corpus.manifest import Utterance
from diffwave.corpus.selection import find_utterances
from diffwave.training.crops import CropDataset, context_samples

MEL = MelConfig(n_fft=64, win_length=64, hop_length=16, n_mels=8)
RATE = 16000


def write(path: Path, samples: int) -> None:
    """A file whose sample ``i`` says ``i`` (as 16-bit numbers), so that every crop tells where it was cut."""
    soundfile.write(path, np.arange(1, samples + 1, dtype=np.int16), RATE, subtype="PCM_16")


@pytest.fixture
def dataset(tmp_path: Path) -> CropDataset:
    for i, samples in enumerate((400, 640, 70, 2000)):
        write(tmp_path / f"{i}.wav", samples)
    return CropDataset(find_utterances(DataConfig(root=str(tmp_path)), RATE), MEL, crop_frames=8, seed=4)


def test_a_crop_is_a_piece_of_its_file_with_zeros_beyond_the_ends(dataset: CropDataset) -> None:
    crop, context = 8 * 16, context_samples(MEL)
    assert context == 32
    edges = 0
    for number in range(60):
        piece = (dataset[number].wav.numpy() * 32768).round()
        assert piece.shape == (crop + 2 * context,)
        inside = piece[context : context + crop]
        assert inside[0] >= 1
        # A ramp: the number of a sample is its place, from 1.
        np.testing.assert_array_equal(np.diff(inside), 1)
        before = inside[0] - 1 - np.arange(context, 0, -1) + 1
        np.testing.assert_array_equal(piece[:context], np.clip(before, 0, None))
        ends = [u.samples for u in dataset.utterances]
        after = inside[-1] + np.arange(1, context + 1)
        possible = [np.where(after <= end, after, 0) for end in ends]
        assert any(np.array_equal(piece[context + crop :], tail) for tail in possible)
        edges += (piece == 0).any()
    assert edges > 0


def test_crops_are_a_function_of_seed_and_number(dataset: CropDataset) -> None:
    utterances = dataset.utterances
    again = CropDataset(utterances, MEL, 8, seed=4)
    other = CropDataset(utterances, MEL, 8, seed=5)
    backwards = {number: again[number].wav for number in reversed(range(40))}
    assert all(torch.equal(dataset[number].wav, backwards[number]) for number in range(40))
    assert sum(torch.equal(dataset[number].wav, other[number].wav) for number in range(40)) < 10


def test_every_epoch_visits_each_entry_once_and_in_a_new_order(dataset: CropDataset, monkeypatch) -> None:
    # 400, 640 and 2000 samples hold 3, 5 and 15 whole crops of 128; 70 samples hold none.
    visits = {"0.wav": 3, "1.wav": 5, "3.wav": 15}
    visited: list[str] = []

    def note(utterance: Utterance, start: int, length: int) -> torch.Tensor:
        visited.append(utterance.path.name)
        return torch.zeros(length)

    monkeypatch.setattr("diffwave.training.crops.read_segment", note)
    size = len(dataset)
    assert size == 23
    for number in range(3 * size):
        dataset[number]
    epochs = [visited[i * size : (i + 1) * size] for i in range(3)]
    assert [Counter(epoch) for epoch in epochs] == 3 * [visits]
    assert epochs[0] != epochs[1] != epochs[2]


def test_crops_start_anywhere_also_at_the_last_place(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", 131)
    dataset = CropDataset(find_utterances(DataConfig(root=str(tmp_path)), RATE), MEL, 8, seed=0)
    starts = {int((dataset[number].wav[32] * 32768).round()) - 1 for number in range(60)}
    assert starts == {0, 1, 2, 3}


def test_a_dataset_can_be_sent_to_a_loader_process(dataset: CropDataset) -> None:
    first = dataset[0]
    sent = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(sent[0].wav, first.wav)
    assert torch.equal(sent[30].wav, dataset[30].wav)


def test_utterances_that_are_all_too_short_are_refused_with_lengths(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", 127)
    utterances = find_utterances(DataConfig(root=str(tmp_path)), RATE)
    with pytest.raises(ConfigError, match="crop_frames=8 needs utterances of 128 samples; the longest has 127"):
        CropDataset(utterances, MEL, 8, seed=0)


@pytest.mark.parametrize(
    ("n_fft", "hop", "context"), [(1024, 256, 512), (1024, 300, 600), (800, 200, 400), (64, 64, 64), (100, 48, 96)]
)
def test_the_context_is_half_a_frame_in_whole_hops(n_fft: int, hop: int, context: int) -> None:
    assert context_samples(MelConfig(n_fft=n_fft, win_length=n_fft, hop_length=hop)) == context
