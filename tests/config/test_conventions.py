"""A convention by its name, from a file, or as it is; and what is none, in one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diffwave.config import CONVENTIONS, ConfigError, MelConfig, MelConvention, ModelConfig, mel_convention, mel_preset
from diffwave.config.conventions import convention_name
from diffwave.config.document import from_dict, to_dict

WITH_BANDS = replace(MelConfig(), mean=tuple(range(80)), scale=tuple(range(1, 81)))


def refusal(given: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        mel_convention(given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_name_is_a_convention_and_so_is_what_is_written_of_it(name: str, tmp_path: Path) -> None:
    convention = mel_convention(name)
    assert convention.name == name
    assert convention.of
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps({**to_dict(convention.mel), "axes": convention.axes}))
    for given in (path, str(path)):
        # Of several names for the same mel, the first.
        assert mel_convention(given) == replace(convention, of="", name=convention_name(convention.mel))
    assert mel_preset(convention_name(convention.mel)) == convention.mel


def test_what_is_one_already_stays_and_a_mel_gets_its_name() -> None:
    own = MelConvention(WITH_BANDS, "mine", "frames-first")
    assert mel_convention(own) is own
    assert mel_convention(CONVENTIONS["matcha-22k"].mel).name == "matcha-22k"
    assert mel_convention(WITH_BANDS) == MelConvention(WITH_BANDS, "the given")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("vocos", "vocos-24k"),
        ("hifigan22k", "hifigan-22k"),
        ("Matcha-22k", "matcha-22k"),
        ("cosyvoice-24k", "cosyvoice"),
    ],
)
def test_a_name_that_is_none_is_told_the_nearest(name: str, near: str) -> None:
    message = refusal(name)
    assert f"got '{name}'; did you mean {near}" in message
    assert "`diffwave mels` lists them" in message


def test_a_name_like_no_other_is_told_where_they_are() -> None:
    assert "did you mean" not in refusal("zzzz")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "got no JSON ("),
        ("", "got no JSON ("),
        ("\xff", "got no JSON ("),
        ("[" * 100_000, "got no JSON ("),
        ("[1]", "got list"),
        ("null", "got NoneType"),
        ('{"hop_lenght": 256}', "unknown setting mel.hop_lenght; did you mean mel.hop_length?"),
        ('{"zzz": 256}', "unknown setting mel.zzz; known: sample_rate, n_fft"),
        ('{"n_fft": "1024"}', "mel.n_fft: expected int; got '1024'"),
        ('{"mean": -5}', "mel.mean: expected a list; got -5"),
        ('{"mean": [1, 2]}', "mel.mean: expected one value for each of 80 bands, or one for all; got 2"),
        ('{"axes": "sideways"}', "bands-first, frames-first; got 'sideways'"),
        ('{"f_max": 9000}', "f_max=9000"),
        ('{"floor": NaN}', "mel.floor must be positive; got nan"),
        (" " * (1 << 20) + "{}", "got more than 1048576 bytes"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_name(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes(text.encode("latin-1"))
    message = refusal(path)
    assert message.startswith(str(path))
    assert said in message


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    assert "directory" in refusal(tmp_path / "folder.json").lower()
    assert "no such file" in refusal(tmp_path / "missing.json").lower()


def test_an_empty_object_is_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "plain.json").write_text("{}")
    assert mel_convention(tmp_path / "plain.json") == MelConvention(MelConfig(), "default")


def test_statistics_survive_a_models_json() -> None:
    config = ModelConfig(mel=WITH_BANDS)
    again = from_dict(ModelConfig, json.loads(json.dumps(to_dict(config))))
    assert again == config
    assert hash(again.mel) == hash(config.mel)
