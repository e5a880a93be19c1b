from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from diffwave.audio.file import resample
from diffwave.listening.matching import Item
from diffwave.listening.stimuli import Prepared, Recipe, UnusableItemError, fade, loudness, prepare
from recordings import RATE, speech, write

RECIPE = Recipe(10.0, (), "per-stimulus")


def prepared(folder: Path, reference: np.ndarray, recipe: Recipe = RECIPE, **systems: np.ndarray) -> Prepared:
    write(folder / "reference.wav", reference)
    for name, wav in systems.items():
        write(folder / f"{name}.wav", wav)
    item = Item("item", folder / "reference.wav", {name: folder / f"{name}.wav" for name in systems})
    return prepare(item, recipe)


def measured(one: Prepared) -> list[float]:
    return [loudness(sound.samples / 32768, sound.sample_rate) for sound in one.sounds]


def test_loudness_of_the_calibration_tone() -> None:
    """EBU Tech 3341: a 1 kHz sine in one channel at -20 dBFS has -23 LUFS; pyloudnorm is within 0.1."""
    tone = 0.1 * np.sin(2 * np.pi * 997 * np.arange(3 * 48000) / 48000)
    assert loudness(tone, 48000) == pytest.approx(-23.0, abs=0.1)
    assert math.isnan(loudness(tone[:1000], 48000))
    assert math.isnan(loudness(np.zeros(48000), 48000))


def test_every_stimulus_gets_the_same_loudness(tmp_path: Path) -> None:
    wav = speech()[0]
    recipe = Recipe(10.0, ("anchor35", "griffin-lim"), "per-stimulus")
    one = prepared(tmp_path, wav, recipe, soft=0.05 * wav, loud=0.9 * wav / np.abs(wav).max())
    assert [sound.name for sound in one.sounds] == ["reference", "soft", "loud", "anchor35", "griffin-lim"]
    # One attenuation for all, if any: equal among themselves, and never louder than the target.
    assert max(measured(one)) - min(measured(one)) < 0.05
    assert max(measured(one)) < -22.9
    assert one.sounds[1].gain_db - one.sounds[0].gain_db == pytest.approx(26.02, abs=0.1)
    assert one.sounds[1].lufs_before == pytest.approx(one.sounds[0].lufs_before - 26.02, abs=0.1)


def test_one_gain_for_an_item_keeps_the_levels(tmp_path: Path) -> None:
    wav = speech()[0]
    one = prepared(tmp_path, wav, Recipe(10.0, (), "per-item"), soft=0.1 * wav, mute=0 * wav)
    assert measured(one)[0] == pytest.approx(-23, abs=0.05)
    assert measured(one)[1] == pytest.approx(-43, abs=0.1)
    assert len({sound.gain_db for sound in one.sounds}) == 1
    assert math.isnan(one.sounds[2].lufs_before)
    assert one.notes == ("mute is silent or nearly so",)


def test_a_peak_near_full_scale_softens_all_alike(tmp_path: Path) -> None:
    clicks = 0.001 * np.random.default_rng(0).standard_normal(RATE)
    clicks[4000::4000] = 0.9
    one = prepared(tmp_path, clicks, other=speech()[2])
    assert max(sound.peak_dbfs for sound in one.sounds) == pytest.approx(-1, abs=0.01)
    assert max(measured(one)) - min(measured(one)) < 0.05
    assert measured(one)[0] < -24
    # Not limited: still the same shape as what was read.
    faded = fade(clicks, RATE)
    assert np.corrcoef(one.sounds[0].samples, faded)[0, 1] > 0.99999


def test_rate_and_length_become_those_of_the_reference(tmp_path: Path) -> None:
    wav = speech()[0]
    write(tmp_path / "other.wav", resample(np.pad(wav, (0, 72)), RATE, 22050), 22050)
    write(tmp_path / "reference.wav", wav)
    one = prepare(Item("item", tmp_path / "reference.wav", {"other": tmp_path / "other.wav"}), RECIPE)
    assert [len(sound.samples) for sound in one.sounds] == [len(wav)] * 2
    assert [sound.sample_rate for sound in one.sounds] == [RATE] * 2
    assert one.notes == ("other was resampled from 22050 to 16000 Hz",)
    assert np.corrcoef(one.sounds[0].samples, one.sounds[1].samples)[0, 1] > 0.998


def test_long_utterances_are_cut_alike_and_faded(tmp_path: Path) -> None:
    wav = np.concatenate([speech()[2]] * 3)
    one = prepared(tmp_path, wav, Recipe(1.5, ("anchor35",), "per-stimulus"), same=wav)
    assert {len(sound.samples) for sound in one.sounds} == {24000}
    assert one.sounds[0].sha256 == one.sounds[1].sha256
    for sound in one.sounds:
        assert abs(int(sound.samples[0])) < 20
        assert abs(int(sound.samples[-1])) < 20
    # 8 ms of raised cosine at both ends, nothing in between.
    ones = fade(np.ones(RATE), RATE)
    assert (ones[128:-128] == 1).all()
    assert ones[63] == pytest.approx(0.5, abs=0.01)
    np.testing.assert_array_equal(ones, ones[::-1])


def test_differences_are_told_and_nothing_is_shifted(tmp_path: Path) -> None:
    wav = speech()[2]
    one = prepared(tmp_path, wav, late=np.pad(wav, (32, 0)), longer=np.pad(wav, (0, 1600)), fine=wav[:-100])
    assert one.notes == (
        "late seems 2.0 ms late; it was not shifted",
        "longer is 100 ms longer than the reference; cut or padded at the end",
    )
    samples = {sound.name: sound.samples.astype(float) for sound in one.sounds}
    assert np.corrcoef(samples["late"][500:-500], samples["reference"][468:-532])[0, 1] > 0.999


@pytest.mark.parametrize(
    ("reference", "system", "said"),
    [
        (np.zeros(RATE), speech()[0], "silent"),
        (speech()[0], np.zeros(RATE), "silent"),
        (speech()[0][:6000], speech()[0], r"expected at least 0\.4 s of audio; got 0\.38 s"),
    ],
)
def test_unusable_items_say_why(tmp_path: Path, reference: np.ndarray, system: np.ndarray, said: str) -> None:
    with pytest.raises(UnusableItemError, match=f"^item: .*{said}"):
        prepared(tmp_path, reference, one=system)


def test_unreadable_files_and_other_rates_are_unusable(tmp_path: Path) -> None:
    with pytest.raises(UnusableItemError, match="expected a reference at 8000 Hz"):
        prepared(tmp_path, speech()[0], Recipe(10.0, (), "per-stimulus", sample_rate=8000))
    (tmp_path / "reference.wav").write_bytes(b"no audio")
    with pytest.raises(UnusableItemError, match="libsndfile"):
        prepare(Item("item", tmp_path / "reference.wav", {}), RECIPE)
