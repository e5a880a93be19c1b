"""Model cards: everything that is known, nothing that is not, and code that runs."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import diffwave
from diffwave.checkpoint.card import model_card
from diffwave.checkpoint.folder import Checkpoint, load_checkpoint, save_checkpoint
from diffwave.config import CONVENTIONS, MelConfig
from diffwave.network.diffwave import DiffWave
from tiny import TINY

STORY: dict[str, Any] = {
    "iterations": 200_000,
    "batch_size": 32,
    "accumulate": 2,
    "crop_seconds": 0.992,
    "learning_rate": 2e-4,
    "seed": 0,
    "precision": "bfloat16",
    "processes": 8,
    "seconds": 7200,
    "device": "cuda",
    "utterances": 28_000,
    "data_hours": 98.25,
    "speakers": 247,
    "data": "train-clean-100.jsonl",
    "validation_utterances": 16,
    "validation_loss": 0.0625,
    "validation_loss_by_noise": [0.5, 0.25, None, 0.125, 0.75],
    "best": True,
    "outputs": {
        "pesq_wb": 2.5,
        "mel_distance": 0.375,
        "band_synchrony": -0.0625,
        "utterances": 4,
        "iteration": 190_000,
    },
    "commit": "0123456789abcdef + changes",
    "version": "0.1.0",
    "torch": "2.14.1",
}


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    return load_checkpoint(tiny_checkpoint)


def card(checkpoint: Checkpoint, story: dict[str, Any], name: str = "my-model") -> str:
    return model_card(dataclasses.replace(checkpoint, training=story), name)


def rows(text: str) -> dict[str, str]:
    """Every line of every table."""
    return dict(re.findall(r"^\| (\S.*?) \| (.+) \|$", text, re.MULTILINE))


def headings(text: str) -> list[str]:
    return re.findall(r"^## (.+)$", text, re.MULTILINE)


def test_everything_that_is_known_is_told(checkpoint: Checkpoint) -> None:
    text = card(checkpoint, STORY)
    found = rows(text)
    expected = {
        "parameters": f"{sum(p.numel() for p in DiffWave(TINY).parameters()):,}",
        "corpus": "train-clean-100.jsonl",
        "utterances": "28,000",
        "length": "98.25 h",
        "speakers": "247",
        "utterances held out for validation": "16",
        "iterations": "200,000",
        "weights": "of the best validation of the run",
        "batch": "32 crops",
        "crop": "0.992 s",
        "learning rate": "0.0002",
        "precision": "bfloat16",
        "time": "2 h",
        "device": "cuda",
        "processes": "8",
        "seed": "0",
        "validation loss": "0.0625",
        "of noise with a standard deviation of 0.0 to 0.2": "0.5",
        "of noise with a standard deviation of 0.8 to 1.0": "0.75",
        "PESQ-WB (higher is better)": "2.5",
        "log-mel distance (lower is better)": "0.375 nat",
        "band synchrony above the recording's (zero is best)": "-0.0625",
        "diffwave-vocoder": "0.1.0",
        "commit": "0123456789abcdef + changes",
        "torch": "2.14.1",
    }
    assert {key: found.get(key) for key in expected} == expected
    assert "of noise with a standard deviation of 0.4 to 0.6" not in found
    assert "means over 4 held-out utterances, made at iteration 190,000" in text


@pytest.mark.parametrize("key", [*STORY, *(f"outputs.{name}" for name in STORY["outputs"])])
def test_a_card_without_one_of_the_figures_is_the_same_but_for_its_lines(checkpoint: Checkpoint, key: str) -> None:
    """What is missing leaves no trace, such as an empty cell."""
    first, _, second = key.partition(".")
    part = {name: value for name, value in STORY["outputs"].items() if name != second}
    story = {**STORY, "outputs": part} if second else {name: value for name, value in STORY.items() if name != first}
    full, less = card(checkpoint, STORY), card(checkpoint, story)
    assert less != full
    assert set(rows(less).items()) < set(rows(full).items()) or second in ("utterances", "iteration")
    assert not re.search(r"None|nan|\|\s*\|\s*$", less.replace("| | |\n", ""))


def test_the_packaged_checkpoint_has_a_card() -> None:
    packaged = load_checkpoint(Path(diffwave.__file__).parent / "assets" / "default")
    text = model_card(packaged, "default")
    assert rows(text)["parameters"] == "2,834,859"
    assert rows(text)["iterations"] == f"{packaged.training['iterations']:,}"
    assert rows(text)["validation loss"] == f"{packaged.training['validation_loss']:.4g}"
    assert (Path(diffwave.__file__).parent / "assets" / "default" / "README.md").read_text(encoding="utf-8") == text


def test_without_any_story(checkpoint: Checkpoint) -> None:
    text = card(checkpoint, {})
    assert headings(text) == ["Use", "Mel convention", "Network", "Diffusion and sampling", "Limitations"]


@pytest.mark.parametrize("value", [None, [], {}, float("nan"), float("inf"), True, -1, "x | y\n## z"])
def test_a_story_of_wrong_types_makes_a_card_all_the_same(checkpoint: Checkpoint, value: Any) -> None:
    text = card(checkpoint, dict.fromkeys([*STORY, "loss", "ema_decay"], value))
    assert "z" not in headings(text)
    assert not re.search("None|nan|inf|True", "".join(rows(text).values()))


def test_front_matter_is_yaml_and_claims_no_license(checkpoint: Checkpoint) -> None:
    start, matter, _ = card(checkpoint, STORY).split("---\n", 2)
    assert start == ""
    assert yaml.safe_load(matter) == {
        "library_name": "diffwave",
        "tags": ["vocoder", "diffusion", "speech", "text-to-speech"],
        "sample_rate": 16000,
    }


@pytest.mark.parametrize(("name", "known"), [("Apache-2.0", "apache-2.0"), ("no", "no"), ("as the data's | own", None)])
def test_a_license_that_was_stated_is_in_the_card(checkpoint: Checkpoint, name: str, known: str | None) -> None:
    text = card(checkpoint, {**STORY, "license": name})
    assert rows(text)["of the weights"].replace("\\", "") == name
    assert "whoever publishes them" not in text
    assert yaml.safe_load(text.split("---\n", 2)[1]).get("license") == known


def test_the_card_tells_what_the_loss_was_made_of(checkpoint: Checkpoint) -> None:
    weighted = {"noise_weighting": "logit_normal", "error_weighting": "none", "stft_weight": 0.0}
    shown = rows(card(checkpoint, {**STORY, **weighted}))
    assert shown["noise levels weighted"] == "logit\\_normal"
    assert not [label for label in shown if label.startswith(("errors weighted", "weight of the STFT"))]


@pytest.mark.parametrize("name", ["my-model", 'it\'s "mine" \\ now'])
def test_the_code_of_a_card_runs(
    checkpoint: Checkpoint, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path / name, checkpoint)
    text = card(checkpoint, {}, name)
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (command,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {"mel": torch.full((80, 3), -5.0)}
    exec(code, scope)
    assert scope["wav"].shape == (3 * 256,)
    assert name in shlex.split(command)


def test_two_mel_conventions_never_look_the_same(checkpoint: Checkpoint) -> None:
    changes = [{}, {"sample_rate": 22050}, {"n_fft": 2048}, {"win_length": 800}, {"n_mels": 64}, {"f_min": 20.0}]
    changes += [{"f_max": 7600.0}, {"mel_scale": "htk"}, {"mel_norm": "none"}, {"framing": "centre"}]
    changes += [{"magnitude_epsilon": 1e-9}, {"stft_normalized": True}, {"log": "log10"}, {"floor": 1e-10}]
    changes += [{"spectrum": "power"}, {"floor_added": True}, {"mean": (-5.0,)}, {"scale": (2.0,)}, {"scale": (3.0,)}]
    mels = {convention.mel for convention in CONVENTIONS.values()}
    mels |= {dataclasses.replace(MelConfig(), **change) for change in changes}
    network = dataclasses.replace(TINY.network, squeeze=4)
    free = dataclasses.replace(TINY, network=network, diffusion=dataclasses.replace(TINY.diffusion, prior="standard"))
    cards = {model_card(Checkpoint(dataclasses.replace(free, mel=mel), {}), "x") for mel in mels}
    assert len(cards) == len(mels)
    with_hop = {dataclasses.replace(MelConfig(), hop_length=hop) for hop in (128, 256)}
    assert len({model_card(Checkpoint(dataclasses.replace(free, mel=mel), {}), "x") for mel in with_hop}) == 2
