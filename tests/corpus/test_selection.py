from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from diffwave.config import ConfigError, DataConfig
from diffwave.corpus.manifest import Utterance, write_manifest
from diffwave.corpus.selection import find_utterances, hold_out, spread, training_and_validation
from diffwave.corpus.split import split

RATE = 16000


def write(path: Path, samples: int = 800, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.arange(1, samples + 1, dtype=np.int16), rate, subtype="PCM_16")


@pytest.fixture
def librispeech(tmp_path: Path) -> Path:
    """Two training subsets, one test subset; a transcript, a hidden file and a broken one in between."""
    for name, count in (("train-clean-100/19/198", 2), ("train-clean-100/26/495", 1), ("train-other-500/20/205", 1)):
        for i in range(count):
            parts = name.split("/")
            write(tmp_path / name / f"{parts[1]}-{parts[2]}-{i:04}.flac", 800 + 100 * i)
    write(tmp_path / "test-clean/61/70968/61-70968-0000.flac")
    (tmp_path / "train-clean-100/19/198/19-198.trans.txt").write_text("19-198-0000 WORDS")
    (tmp_path / "train-clean-100/19/198/broken.flac").write_bytes(b"fLaC and nothing more")
    (tmp_path / "SPEAKERS.TXT").write_text("; speakers")
    return tmp_path


def names(utterances: list[Utterance]) -> list[str]:
    return [u.path.name for u in utterances]


def test_of_a_librispeech_root_only_the_training_subsets_are_used(librispeech: Path) -> None:
    utterances = find_utterances(DataConfig(root=str(librispeech)), RATE)
    assert names(utterances) == ["19-198-0000.flac", "19-198-0001.flac", "26-495-0000.flac", "20-205-0000.flac"]
    assert [u.speaker for u in utterances] == ["19", "19", "26", "20"]
    assert [u.samples for u in utterances] == [800, 900, 800, 800]
    assert {u.sample_rate for u in utterances} == {RATE}


def test_named_subsets_are_used_and_no_others(librispeech: Path) -> None:
    config = DataConfig(root=str(librispeech), subsets=["test-clean", "train-other-500"])
    assert names(find_utterances(config, RATE)) == ["61-70968-0000.flac", "20-205-0000.flac"]
    with pytest.raises(ConfigError, match=r"data.subsets: expected folders of .*; missing: dev-clean, dev-other"):
        find_utterances(DataConfig(root=str(librispeech), subsets=["dev-clean", "test-clean", "dev-other"]), RATE)


def test_any_other_tree_is_used_whole(tmp_path: Path) -> None:
    write(tmp_path / "loose.wav")
    write(tmp_path / "anna" / "1.FLAC")
    write(tmp_path / "anna" / "deep" / "2.wav")
    utterances = find_utterances(DataConfig(root=str(tmp_path)), RATE)
    assert sorted((u.path.name, u.speaker) for u in utterances) == [
        ("1.FLAC", "anna"),
        ("2.wav", "deep"),
        ("loose.wav", "loose"),
    ]


def test_another_rate_is_refused_with_both(tmp_path: Path) -> None:
    write(tmp_path / "a.wav")
    write(tmp_path / "b.wav", rate=22050)
    with pytest.raises(ConfigError, match=r"expected 16000 Hz.*b.wav has 22050 Hz"):
        find_utterances(DataConfig(root=str(tmp_path)), RATE)


def test_a_root_without_audio_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a folder of audio"):
        find_utterances(DataConfig(root=str(tmp_path / "nowhere")), RATE)
    with pytest.raises(ConfigError, match=r"found none \(0 unreadable\)"):
        find_utterances(DataConfig(root=str(tmp_path)), RATE)
    (tmp_path / "a.wav").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"found none \(1 unreadable\)"):
        find_utterances(DataConfig(root=str(tmp_path)), RATE)


def corpus(count: int, speakers: int = 5) -> list[Utterance]:
    return [Utterance(Path(f"{i:03}.flac"), 1000, RATE, str(i % speakers)) for i in range(count)]


def test_named_speakers_are_held_out_completely() -> None:
    training, validation = hold_out(corpus(40), ["1", "3", "absent"])
    assert {u.speaker for u in validation} == {"1", "3"}
    assert {u.speaker for u in training} == {"0", "2", "4"}
    assert len(training) + len(validation) == 40


@pytest.mark.parametrize(("count", "held_out"), [(2, 1), (20, 1), (21, 2), (100, 5)])
def test_without_known_speakers_one_in_twenty_is_held_out(count: int, held_out: int) -> None:
    training, validation = hold_out(corpus(count), ["absent"])
    assert validation == corpus(count)[::20]
    assert len(validation) == held_out
    assert not {u.path for u in training} & {u.path for u in validation}
    assert len(training) + len(validation) == count


def test_a_repetition_of_what_is_held_out_is_not_learned_from() -> None:
    listed = [*corpus(21), *corpus(1), *corpus(1)]
    training, validation = hold_out(listed, [])
    assert validation == [listed[0], listed[20]]
    assert training == listed[1:20]


def test_a_single_speaker_is_divided_as_when_a_corpus_is_prepared() -> None:
    utterances = corpus(45, speakers=1)
    prepared = split(utterances, seed=0)
    assert hold_out(utterances, []) == (prepared.training, prepared.validation)


def test_a_single_utterance_serves_both() -> None:
    only = corpus(1)
    assert hold_out(only, []) == (only, only)


def test_a_manifest_stands_for_a_folder(librispeech: Path, tmp_path: Path) -> None:
    utterances = find_utterances(DataConfig(root=str(librispeech)), RATE)
    write_manifest(tmp_path / "train.jsonl", utterances[:3])
    write_manifest(tmp_path / "val.jsonl", utterances[2:])
    config = DataConfig(manifest=str(tmp_path / "train.jsonl"), validation_manifest=str(tmp_path / "val.jsonl"))
    # What is validated on is not learned from, even if both manifests have it.
    assert training_and_validation(config, RATE) == (utterances[:2], utterances[2:])
    with pytest.raises(ConfigError, match=r"data.manifest: expected 22050 Hz, the rate of model.mel; .* has 16000 Hz"):
        training_and_validation(config, 22050)
    both = DataConfig(manifest=config.manifest, validation_manifest=config.manifest)
    with pytest.raises(ConfigError, match="expected somebody to train on; every utterance is in it"):
        training_and_validation(both, RATE)


def test_speakers_on_both_sides_are_told(librispeech: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    utterances = find_utterances(DataConfig(root=str(librispeech)), RATE)
    write_manifest(tmp_path / "val.jsonl", utterances[:1])
    training_and_validation(DataConfig(root=str(librispeech), validation_manifest=str(tmp_path / "val.jsonl")), RATE)
    assert "speakers in both training and validation, so that it looks too good: 1" in caplog.text


def test_the_first_few_utterances_of_a_sorted_list_are_of_many_speakers() -> None:
    names = ("a-0", "a-1", "b-0", "b-1", "b-2", "c-0", "c-1")
    listed = [Utterance(Path(name), 1, RATE, name[0]) for name in names]
    assert [str(u.path) for u in spread(listed)] == ["a-0", "b-0", "c-0", "a-1", "b-1", "c-1", "b-2"]
