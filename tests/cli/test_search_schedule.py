"""``diffwave search-schedule``: what is stored where, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from diffwave.checkpoint.folder import Checkpoint, load_checkpoint, save_checkpoint
from diffwave.cli.main import main
from diffwave.cli.search_schedule import calls_argument
from diffwave.config import SynthesisOptions
from diffwave.evaluation.spectral import NAMES
from diffwave.search import sweep as search_run
from diffwave.search.found import Scores
from diffwave.search.objective import WEIGHTS, ScheduleObjective, read_clip
from diffwave.search.recordings import choose_recordings
from diffwave.vocoder import Vocoder

STORY = {"data": "made up", "iterations": 7, "outputs": {"pesq_wb": 1.5}}
FIELDS = ("schedules", "guided_schedules")


@pytest.fixture
def checkpoint(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint with a story."""
    folder = tmp_path / "model"
    save_checkpoint(folder, dataclasses.replace(load_checkpoint(tiny_checkpoint), training=STORY))
    return folder


def with_sampling(folder: Path, half: bool = False, **changes: Any) -> Checkpoint:
    """Change settings of sampling in a checkpoint folder."""
    old = load_checkpoint(folder)
    sampling = dataclasses.replace(old.config.sampling, **changes)
    new = dataclasses.replace(old, config=dataclasses.replace(old.config, sampling=sampling))
    save_checkpoint(folder, new, half)
    return new


@pytest.fixture
def recordings(inputs: Path, speech: np.ndarray) -> Path:
    """A folder with two short pieces of speech, one of them at another rate, and something else."""
    soundfile.write(inputs / "a.wav", speech[:8000], 16000)
    soundfile.write(inputs / "b.flac", speech[6000:12000], 8000)
    (inputs / "notes.txt").write_text("no audio")
    return inputs


@pytest.fixture
def unscored(monkeypatch: pytest.MonkeyPatch) -> None:
    """PESQ's process takes a second to start; one test is enough for it."""
    monkeypatch.setattr(search_run, "_scores", lambda _, trials: [Scores() for _ in trials])


def call(recordings: Path, checkpoint: Path, *arguments: object) -> int:
    always = ["--device", "cpu", "--evaluations", "6", "--seconds", "0.4", "--consistency", "0"]
    own = [str(recordings), "--checkpoint", str(checkpoint)]
    return main(["search-schedule", *own, *always, *(str(each) for each in arguments)])


def schedules(folder: Path, field: str = "schedules") -> dict[str, list[float]]:
    known: dict[str, list[float]] = getattr(load_checkpoint(folder).config.sampling, field)
    return known


def test_a_search_from_beginning_to_end(
    checkpoint: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "searched"
    before = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    assert call(recordings, checkpoint, "--steps", "1-2", "--output", target, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert {path.name: path.read_bytes() for path in checkpoint.iterdir()} == before
    old, new = load_checkpoint(checkpoint), load_checkpoint(target)
    assert new.training == STORY
    assert all(torch.equal(new.weights[name], weight) for name, weight in old.weights.items())
    found = new.config.sampling.schedules
    assert new.config == dataclasses.replace(
        old.config, sampling=dataclasses.replace(old.config.sampling, schedules=found)
    )
    assert [row["calls"] for row in result["searches"]] == [1, 2]
    assert {str(row["calls"]): row["steps"] for row in result["searches"]} == found
    for row in result["searches"]:
        assert row["distance"] <= row["distance_before"]
        assert 1 <= row["scores"]["pesq_wb"] <= 4.65
        assert -1 <= row["scores"]["synchrony"] <= 1
    assert result["searches"][1]["distance_one_call_fewer"] == result["searches"][0]["distance"]
    assert result["utterances"] == ["a", "b"]
    vocoder = Vocoder.from_pretrained(target, "cpu")
    assert [vocoder.resolve(SynthesisOptions(count)).sampler.steps.tolist() for count in (1, 2)] == [
        found["1"],
        found["2"],
    ]


@pytest.mark.usefixtures("unscored")
def test_synthesis_uses_what_was_found(
    checkpoint: Path, recordings: Path, tmp_path: Path, speech: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    vocoder = Vocoder.from_pretrained(checkpoint, "cpu")
    mel = vocoder.mel(torch.from_numpy(speech))
    # The tiny network is random: which schedule is best for it means nothing, so one is made to be.
    monkeypatch.setattr(ScheduleObjective, "__call__", lambda _, steps: abs(steps[0] - 5) + abs(steps[-1] - 30))
    assert call(recordings, checkpoint, "--steps", 3, "--evaluations", 300) == 0
    found = schedules(checkpoint)
    assert list(found) == ["3"]
    assert (found["3"][0], found["3"][-1]) == (5, 30)
    searched = Vocoder.from_pretrained(checkpoint, "cpu")
    assert searched.resolve(SynthesisOptions(3)).sampler.steps.tolist() == found["3"]
    assert torch.equal(
        searched.resolve(SynthesisOptions(2)).sampler.steps, vocoder.resolve(SynthesisOptions(2)).sampler.steps
    )
    assert not torch.equal(searched.synthesize(mel, 3), vocoder.synthesize(mel, 3))
    out = tmp_path / "spoken"
    arguments = [str(recordings / "a.wav"), "-o", str(out), "--checkpoint", str(checkpoint), "--device", "cpu"]
    assert main(["synthesize", *arguments, "--steps", "3"]) == 0
    (row,) = json.loads((out / "synthesis.json").read_text())["outputs"]
    assert row["schedule"] == found["3"]


@pytest.mark.usefixtures("unscored")
@pytest.mark.parametrize(
    ("place", "arguments", "field"),
    [
        ("end", ["--consistency", "1"], "schedules"),
        ("steps", ["--consistency", "1"], "guided_schedules"),
        ("warm", ["--consistency", "1"], "guided_schedules"),
        ("warm", ["--consistency", "0"], "schedules"),
    ],
)
def test_guided_schedules_are_kept_apart(
    checkpoint: Path, recordings: Path, place: str, arguments: list[str], field: str
) -> None:
    (other,) = set(FIELDS) - {field}
    kept = {other: {"2": [3.0, 33.0]}, field: {"3": [1.0, 2.0, 3.0]}}
    with_sampling(
        checkpoint, consistency_iterations=2, consistency_at=place, step_iterations=1, warm_iterations=1, **kept
    )
    assert call(recordings, checkpoint, "--steps", "2", "--evaluations", "3", *arguments) == 0
    assert schedules(checkpoint, other) == kept[other]
    found = schedules(checkpoint, field)
    assert list(found) == ["2", "3"]
    assert found["3"] == [1.0, 2.0, 3.0]
    used = (
        Vocoder.from_pretrained(checkpoint, "cpu").resolve(SynthesisOptions(2, consistency=int(arguments[1]))).sampler
    )
    assert used.steps.tolist() == found["2"]


@pytest.mark.usefixtures("unscored")
@pytest.mark.parametrize(("arguments", "rounds"), [([], 1), (["--consistency", "0"], 0)])
def test_the_record_tells_whether_a_refiner_spoke(
    recordings: Path, tmp_path: Path, arguments: list[str], rounds: int
) -> None:
    found = tmp_path / "found"
    how = ["--checkpoint", "default", "--output", str(found), "--device", "cpu", "--steps", "1", "--evaluations", "1"]
    assert main(["search-schedule", str(recordings), *how, "--utterances", "1", "--seconds", ".4", *arguments]) == 0
    (search,) = json.loads((found / "schedule-search.json").read_text(encoding="utf-8"))["searches"]
    assert search["refinements"] == rounds


def test_the_objective_hears_the_whole_sampler_and_leaves_the_vocoder_alone(
    checkpoint: Path, recordings: Path, speech: np.ndarray
) -> None:
    with_sampling(checkpoint, consistency_iterations=2, consistency_at="warm", step_iterations=1, warm_iterations=2)
    vocoder = Vocoder.from_pretrained(checkpoint, "cpu")
    clips = [read_clip(vocoder, path, 0.4) for path in (recordings / "a.wav", recordings / "b.flac")]
    config = vocoder.config
    objective = ScheduleObjective(vocoder, clips, SynthesisOptions(seed=3))
    assert objective.in_use(2) == (0.0, 49.0)
    wavs = objective.speak((4.0, 30.0))
    assert vocoder.config is config
    guided = dataclasses.replace(config.sampling, guided_schedules={"2": [4.0, 30.0]})
    vocoder.config = dataclasses.replace(config, sampling=guided)
    for wav, clip in zip(wavs, clips, strict=True):
        assert torch.equal(torch.from_numpy(wav), vocoder.synthesize(clip.mel, 2, seed=3)[: clip.samples])
    vocoder.config = config
    np.testing.assert_array_equal(clips[0].reference, speech[:8000].astype(np.float32)[800:7200])
    assert objective((4.0, 30.0)) == objective((4.0, 30.0)) != objective((4.0, 31.0))


def test_the_objective_is_zero_for_the_recording_itself(
    checkpoint: Path, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vocoder = Vocoder.from_pretrained(checkpoint, "cpu")
    clip = read_clip(vocoder, recordings / "a.wav", 0.4)
    objective = ScheduleObjective(vocoder, [clip])
    assert set(WEIGHTS) <= {*NAMES, "synchrony"}

    def speaks(wav: np.ndarray) -> float:
        monkeypatch.setattr(objective, "speak", lambda _: [wav])
        return objective((1.0,))

    assert speaks(clip.reference) == pytest.approx(0, abs=1e-6)
    # Level counts, by the mel distance alone: e times as loud is 1 nat, less where the floor is.
    assert 0.8 < speaks(clip.reference * np.float32(np.e)) < 1.001
    noise = np.random.default_rng(0).standard_normal(len(clip.reference)).astype(np.float32)
    assert speaks(clip.reference + 0.01 * noise) < speaks(clip.reference + 0.1 * noise)
    assert speaks(clip.reference * np.nan) == np.inf


@pytest.mark.usefixtures("unscored")
def test_in_place_again_and_twice_the_same(checkpoint: Path, recordings: Path, tmp_path: Path) -> None:
    with_sampling(checkpoint, half=True)
    size = (checkpoint / "model.safetensors").stat().st_size
    twin = tmp_path / "twin"
    shutil.copytree(checkpoint, twin)
    for folder in (checkpoint, twin):
        assert call(recordings, folder, "--steps", "2") == 0
    assert (checkpoint / "config.json").read_bytes() == (twin / "config.json").read_bytes()
    assert (checkpoint / "model.safetensors").stat().st_size == size
    assert load_checkpoint(checkpoint).training == STORY
    first = schedules(checkpoint)
    assert call(recordings, checkpoint, "--steps", "3") == 0
    assert list(schedules(checkpoint)) == ["2", "3"]
    assert schedules(checkpoint)["2"] == first["2"]
    searches = json.loads((checkpoint / "schedule-search.json").read_text())["searches"]
    assert [(row["calls"], row["field"], len(row["trials"])) for row in searches] == [
        (2, "schedules", 6),
        (3, "schedules", 6),
    ]
    # What was found for 2 calls was stored by an earlier command, and is still what 3 calls are compared with.
    assert searches[1]["distance_one_call_fewer"] == pytest.approx(searches[0]["distance"])
    assert "inserted" in {trial["origin"] for trial in searches[1]["trials"]}


@pytest.mark.usefixtures("unscored")
def test_the_table_says_where_a_call_more_did_not_help(
    checkpoint: Path, recordings: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ScheduleObjective, "__call__", lambda _, steps: 1.0 if len(steps) == 3 else 2.0)
    assert call(recordings, checkpoint, "--steps", "1", "2", "3", "4") == 0
    captured = capsys.readouterr()
    rows = captured.out.splitlines()[2:]
    assert ["no better" in row for row in rows] == [False, True, False, True]
    assert "no better than 3" in rows[3]
    assert captured.err == ""


@pytest.mark.usefixtures("unscored")
def test_ctrl_c_leaves_what_was_found(
    checkpoint: Path, recordings: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[float, ...]] = []

    def objective(_: ScheduleObjective, steps: tuple[float, ...]) -> float:
        if len(asked) == 9:
            raise KeyboardInterrupt
        asked.append(steps)
        return 100.0 - len(asked)

    monkeypatch.setattr(ScheduleObjective, "__call__", objective)
    assert call(recordings, checkpoint, "--steps", "1-4") == 130
    captured = capsys.readouterr()
    assert captured.err.splitlines() == ["diffwave search-schedule: interrupted"]
    assert schedules(checkpoint) == {"1": list(asked[5]), "2": list(asked[8])}
    assert [row.split()[0] for row in captured.out.splitlines()[2:]] == ["1", "2"]
    assert load_checkpoint(checkpoint).training == STORY


@pytest.mark.usefixtures("unscored")
def test_recordings_are_spread_over_all_there_are(tmp_path: Path, inputs: Path, speech: np.ndarray) -> None:
    for name in "edcba":
        soundfile.write(inputs / f"{name}.wav", speech[:4000], 16000)

    def chosen(count: int, *more: Path) -> list[str]:
        return [path.stem for path in choose_recordings([inputs, *more], count)]

    assert chosen(2) == ["a", "c"]
    assert chosen(8, inputs / "b.wav") == ["a", "b", "c", "d", "e"]


# arguments, what the line must say; {} is the checkpoint
REFUSED = [
    (["--steps", "0"], "--steps: expected 1 to 50, the steps it was trained on; got 0"),
    (["--steps", "2-51"], "--steps: expected 1 to 50, the steps it was trained on; got 51"),
    (["--output", "{}"], "holds model.safetensors, config.json; --force replaces it"),
    (["--output", "{}/config.json"], "expected a folder that can be written"),
    (["--checkpoint", "default"], "a packaged one is not changed; expected an --output"),
    (["--checkpoint", "nowhere"], "expected a checkpoint folder or 'default'"),
]


@pytest.mark.parametrize(("arguments", "line"), REFUSED)
def test_what_cannot_be_is_one_line_and_changes_nothing(
    checkpoint: Path, recordings: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    before = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    assert call(recordings, checkpoint, *(each.format(checkpoint) for each in arguments)) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert line in said
    assert {path.name: path.read_bytes() for path in checkpoint.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("nothing.wav", "no such file or folder"),
        ("mel.npy", "expected audio (.wav"),
        ("empty", "expected audio files (.wav"),
        ("damaged.wav", "expected audio that libsndfile can read"),
        ("short.wav", "expected at least one frame, 1024 samples at 16000 Hz; got 100"),
    ],
)
def test_what_is_no_recording(
    checkpoint: Path, inputs: Path, capsys: pytest.CaptureFixture[str], name: str, line: str
) -> None:
    (inputs / "empty").mkdir()
    np.save(inputs / "mel.npy", np.zeros((80, 10)))
    (inputs / "damaged.wav").write_bytes(b"RIFF" * 100)
    soundfile.write(inputs / "short.wav", np.zeros(100), 16000)
    assert call(inputs / name, checkpoint) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert line in said


@pytest.mark.parametrize("flag", ["--evaluations", "--utterances"])
def test_of_nothing_there_is_no_best(
    checkpoint: Path, recordings: Path, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        call(recordings, checkpoint, flag, "0")
    assert stop.value.code == 2
    assert "expected a positive whole number; got '0'" in capsys.readouterr().err


def test_a_network_that_is_broken(
    checkpoint: Path, recordings: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ScheduleObjective, "__call__", lambda *_: np.inf)
    before = (checkpoint / "config.json").read_bytes()
    assert call(recordings, checkpoint, "--steps", "2") == 2
    assert "6 schedules of 2 calls gave NaN or infinity" in capsys.readouterr().err
    assert (checkpoint / "config.json").read_bytes() == before


@pytest.mark.usefixtures("unscored")
def test_force_replaces_a_checkpoint(checkpoint: Path, recordings: Path, tmp_path: Path) -> None:
    target = tmp_path / "other"
    shutil.copytree(checkpoint, target)
    (target / "config.json").write_text("{}")
    assert call(recordings, checkpoint, "--steps", "1", "--output", target, "--force") == 0
    assert load_checkpoint(target).training == STORY


@pytest.mark.parametrize(("text", "calls"), [("6", [6]), ("1-3", [1, 2, 3]), ("4-4", [4])])
def test_numbers_of_calls(text: str, calls: list[int]) -> None:
    assert list(calls_argument(text)) == calls


@pytest.mark.parametrize("text", ["", "-", "3-", "-3", "3-1", "x", "1-2-3", "1.5"])
def test_no_numbers_of_calls(checkpoint: Path, recordings: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    with pytest.raises(SystemExit) as stop:
        call(recordings, checkpoint, f"--steps={text}")
    assert stop.value.code == 2
    assert "expected a number of network calls, or two as in 1-12" in capsys.readouterr().err


def test_the_help_names_the_objective(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["search-schedule", "--help"])
    assert "multi-resolution STFT distance" in " ".join(capsys.readouterr().out.split())
