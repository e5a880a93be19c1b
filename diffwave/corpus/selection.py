"""Which utterances a network learns from, and which it is validated on."""

from __future__ import annotations

import logging
import os
from collections import Counter
from pathlib import Path

from diffwave.config import ConfigError, DataConfig
from diffwave.corpus.folders import audio_paths, speaker_of, subset_of
from diffwave.corpus.manifest import Utterance, read_manifest
from diffwave.corpus.split import by_speaker, one_in_twenty

log = logging.getLogger(__name__)


def training_and_validation(config: DataConfig, sample_rate: int) -> tuple[list[Utterance], list[Utterance]]:
    """The utterances to train on and to validate on, from manifests or from a folder.

    Args:
        config: manifests, or root and subsets.
        sample_rate: what the model needs, in Hz.

    Raises:
        ConfigError: if there is nothing to train on, or audio of another rate.
    """
    if not config.manifest:
        utterances = find_utterances(config, sample_rate)
    else:
        utterances = _of_rate(read_manifest(Path(config.manifest).expanduser()), sample_rate, "data.manifest")
    if not config.validation_manifest:
        return hold_out(utterances, config.validation_speakers)
    path = Path(config.validation_manifest).expanduser()
    validation = _of_rate(read_manifest(path), sample_rate, "data.validation_manifest")
    held_out = {os.path.normpath(utterance.path) for utterance in validation}
    training = [utterance for utterance in utterances if os.path.normpath(utterance.path) not in held_out]
    if not training:
        raise ConfigError(f"data.validation_manifest={path}: expected somebody to train on; every utterance is in it")
    shared = {utterance.speaker for utterance in training} & {utterance.speaker for utterance in validation}
    if shared:
        log.warning("speakers in both training and validation, so that it looks too good: %d", len(shared))
    return training, validation


def find_utterances(config: DataConfig, sample_rate: int) -> list[Utterance]:
    """List the usable audio files below ``config.root``, sorted by path.

    Args:
        config: root and subsets.
        sample_rate: what the model needs, in Hz.

    Raises:
        ConfigError: if there is no such folder, no audio in it, or audio of another rate.
    """
    import soundfile

    root = Path(config.root).expanduser()
    if not root.is_dir():
        raise ConfigError(f"data.root: expected a folder of audio; {root} is not one")
    utterances, unreadable = [], 0
    for path in audio_paths(root, config.subsets):
        try:
            info = soundfile.info(path)
        except (soundfile.LibsndfileError, RuntimeError):
            unreadable += 1
            log.warning("skipped %s: not readable audio", path)
            continue
        if not info.frames:
            unreadable += 1
            log.warning("skipped %s: empty", path)
            continue
        utterances.append(Utterance(path, info.frames, info.samplerate, speaker_of(path, root), subset_of(path, root)))
    if not utterances:
        raise ConfigError(f"data.root: expected audio below {root}; found none ({unreadable} unreadable)")
    return _of_rate(utterances, sample_rate, "data.root")


def _of_rate(utterances: list[Utterance], sample_rate: int, setting: str) -> list[Utterance]:
    """The utterances, if all have the model's rate."""
    other = next((u for u in utterances if u.sample_rate != sample_rate), None)
    if other is not None:
        raise ConfigError(
            f"{setting}: expected {sample_rate} Hz, the rate of model.mel; {other.path} has {other.sample_rate} Hz"
        )
    return utterances


def spread(utterances: list[Utterance]) -> list[Utterance]:
    """The utterances in another order: first one of every speaker, then a second one of every speaker, and so on.

    So the first few of them are of as many speakers as possible.
    """
    seen: Counter[str] = Counter()
    turns: list[int] = []
    for utterance in utterances:
        turns.append(seen[utterance.speaker])
        seen[utterance.speaker] += 1
    return [utterances[place] for place in sorted(range(len(utterances)), key=turns.__getitem__)]


def hold_out(utterances: list[Utterance], validation_speakers: list[str]) -> tuple[list[Utterance], list[Utterance]]:
    """Divide into training and validation utterances, disjoint by speaker where speakers are named.

    Raises:
        ConfigError: if nothing is left to train on.
    """
    training, validation = by_speaker(utterances, set(validation_speakers))
    if utterances and not training:
        raise ConfigError("data.validation_speakers: expected somebody to train on; every speaker is held out")
    if validation:
        return training, validation
    if len(utterances) == 1:
        return utterances, utterances
    return one_in_twenty(utterances)
