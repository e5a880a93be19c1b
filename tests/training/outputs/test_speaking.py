"""Outputs in the middle of a run: what they are, what their figures are, and that the training does not notice."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import diffwave
from diffwave.audio.file import write_wav
from diffwave.checkpoint.folder import Checkpoint, load_checkpoint
from diffwave.corpus.manifest import Utterance
from diffwave.corpus.segments import DataError
from diffwave.evaluation import scored_apart
from diffwave.evaluation.perceptual import pesq_wb
from diffwave.evaluation.run import mel_filters
from diffwave.evaluation.spectral import spectral_scores
from diffwave.evaluation.synchrony import synchrony_difference
from diffwave.mel.spectrogram import MelSpectrogram
from diffwave.training.outputs import speaking
from diffwave.training.outputs.output import summary, write_outputs
from diffwave.training.outputs.speaking import OutputMaker
from diffwave.vocoder import Vocoder
from runs import Configure, equal, state, train
from tiny import TINY

CPU = torch.device("cpu")
DATA = Path(__file__).parents[2] / "data"


def utterance(path: Path) -> Utterance:
    info = soundfile.info(path)
    return Utterance(path, info.frames, info.samplerate, "somebody")


UTTERANCES = [utterance(path) for path in sorted(DATA.glob("*.flac"))]


@pytest.fixture
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    return load_checkpoint(tiny_checkpoint)


@pytest.fixture
def unscored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs without the seconds that a worker process takes to start."""
    monkeypatch.setattr(speaking, "score", lambda heard, sample_rate: [{} for _ in heard])


def test_an_output_is_what_the_vocoder_makes_and_its_figures_are_those_of_evaluate(
    tmp_path: Path,
) -> None:
    # The packaged one: PESQ finds no speech in what random weights say.
    vocoder = Vocoder.from_pretrained("default", "cpu")
    assert vocoder.config.sampling.consistency_iterations > 0
    checkpoint = load_checkpoint(Path(diffwave.__file__).parent / "assets" / "default")
    made = OutputMaker(UTTERANCES[1:], seconds=2.5).make(checkpoint, CPU)
    for output, source in zip(made, UTTERANCES[1:], strict=True):
        whole = soundfile.read(source.path, dtype="float32")[0]
        start, length = (len(whole) - 40000) // 2, 40000 // 256 * 256
        assert output.name == source.path.stem
        assert np.array_equal(output.reference.numpy(), whole[start : start + length])
        expected = vocoder.synthesize(vocoder.mel(output.reference), seed=0, consistency=0)
        assert torch.equal(output.wav, expected)
        assert not output.wav.is_inference()
        # Scores are of what can be heard: 16 bits.
        sides = []
        for wav in (output.reference, output.wav):
            write_wav(tmp_path / "heard.wav", wav, 16000)
            sides.append(soundfile.read(tmp_path / "heard.wav", dtype="float32")[0])
        assert output.pesq_wb == pytest.approx(pesq_wb(*sides), abs=1e-6)
        assert output.band_synchrony == pytest.approx(synchrony_difference(*sides, 16000), abs=1e-6)
        mel = spectral_scores([output.reference.numpy()], [output.wav.numpy()], mel_filters())["log_mel"][0]
        assert output.mel_distance == pytest.approx(float(mel), rel=1e-4)


def everything_global() -> list[Any]:
    return [
        torch.get_rng_state().tolist(),
        random.getstate(),
        [part if isinstance(part, int | str | float) else part.tolist() for part in np.random.get_state()],  # noqa: NPY002
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_num_threads(),
        torch.get_default_device(),
        torch.get_default_dtype(),
        torch.is_autocast_enabled("cpu"),
        torch.are_deterministic_algorithms_enabled(),
    ]


@pytest.mark.usefixtures("unscored")
def test_nothing_global_changes(checkpoint: Checkpoint, tmp_path: Path) -> None:
    before = everything_global()
    maker = OutputMaker(UTTERANCES, 0.2)
    write_outputs(tmp_path, maker.make(checkpoint, CPU), 16000)
    assert everything_global() == before


@pytest.mark.usefixtures("unscored")
def test_training_with_outputs_equals_training_without(configure: Configure) -> None:
    runs = [
        train(configure("train.iterations=4", "train.validate_every=4", *overrides, run=run))
        for run, overrides in (("with", ["train.outputs_every=2"]), ("without", []))
    ]
    assert len(list((runs[0] / "outputs").glob("*/outputs.json"))) == 2
    first, second = (state(run / "training-00000004.pt") for run in runs)
    assert all(equal(first[part], second[part]) for part in ("network", "average", "optimizer"))


@pytest.mark.usefixtures("unscored")
def test_the_same_weights_always_give_the_same_output(checkpoint: Checkpoint) -> None:
    first = OutputMaker(UTTERANCES, 0.2).make(checkpoint, CPU)
    torch.rand(1)
    second = OutputMaker(UTTERANCES, 0.2).make(checkpoint, CPU)
    assert all(torch.equal(one.wav, two.wav) for one, two in zip(first, second, strict=True))


@pytest.mark.usefixtures("unscored")
def test_an_utterance_shorter_than_a_frame(checkpoint: Checkpoint, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", np.full(100, 0.25), 16000)
    (output,) = OutputMaker([utterance(tmp_path / "short.wav")]).make(checkpoint, CPU)
    assert output.reference.tolist() == [0.25] * 100
    assert output.wav.shape == (100,)


@pytest.mark.usefixtures("unscored")
@pytest.mark.parametrize(("log", "nat"), [("ln", 1.0), ("log10", math.log(10)), ("db01", 5 * math.log(10))])
def test_mel_distance_is_in_nat_whatever_the_logarithm_of_the_mel(checkpoint: Checkpoint, log: str, nat: float) -> None:
    mel = dataclasses.replace(TINY.mel, log=log, floor=1e-4)
    config = dataclasses.replace(TINY, mel=mel, diffusion=dataclasses.replace(TINY.diffusion, prior="standard"))
    (output,) = OutputMaker(UTTERANCES[:1], 0.5).make(dataclasses.replace(checkpoint, config=config), CPU)
    front_end = MelSpectrogram(mel)
    apart = (front_end(output.wav[None]) - front_end(output.reference[None])).abs().mean()
    assert output.mel_distance == pytest.approx(float(apart) * nat, rel=1e-4)


def test_a_pesq_that_ends_its_process_costs_its_figure(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "pesq.py").write_text("import os\ndef pesq(*_): os.abort()\n")
    monkeypatch.syspath_prepend(str(tmp_path))  # workers import what this process could
    (output,) = OutputMaker(UTTERANCES[:1], 1.0).make(checkpoint, CPU)
    assert output.pesq_wb is None
    assert output.band_synchrony is not None
    (record,) = caplog.records
    assert UTTERANCES[0].path.stem in record.message
    assert "SIGABRT" in record.message


def test_workers_that_cannot_be_started_cost_figures_only(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "no-python"))
    (output,) = OutputMaker(UTTERANCES[:1], 0.2).make(checkpoint, CPU)
    assert (output.pesq_wb, output.band_synchrony) == (None, None)
    assert "no-python" in caplog.records[0].message


def test_no_room_for_temporary_files_costs_figures_only(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scored_apart, "write_wav", full)
    (output,) = OutputMaker(UTTERANCES[:1], 0.2).make(checkpoint, CPU)
    assert (output.pesq_wb, output.band_synchrony) == (None, None)
    assert "No space left" in caplog.records[0].message


@pytest.mark.usefixtures("unscored")
def test_weights_that_are_no_numbers(checkpoint: Checkpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The trainer will notice by itself; the output must not be what ends it."""
    weights = {name: torch.full_like(weight, math.nan) for name, weight in checkpoint.weights.items()}
    made = OutputMaker(UTTERANCES, 0.2).make(dataclasses.replace(checkpoint, weights=weights), CPU)
    assert all(math.isnan(output.mel_distance) and not output.wav.any() for output in made)
    assert summary(made) == {}
    write_outputs(tmp_path, made, 16000)
    document = json.loads((tmp_path / "outputs.json").read_text(), parse_constant=pytest.fail)
    assert document["outputs"][0]["mel_distance"] is None
    assert "not finite" in caplog.text


@pytest.mark.usefixtures("unscored")
def test_a_full_gpu_leaves_it_to_the_cpu(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def build(given: Checkpoint, device: torch.device) -> Vocoder:
        if device.type == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return Vocoder(given, device)

    expected = OutputMaker(UTTERANCES, 0.2).make(checkpoint, CPU)
    monkeypatch.setattr(speaking, "Vocoder", build)
    made = OutputMaker(UTTERANCES, 0.2).make(checkpoint, torch.device("cuda"))
    assert all(torch.equal(one.wav, two.wav) for one, two in zip(made, expected, strict=True))
    assert "no memory left" in caplog.text


def test_a_missing_utterance_is_noticed_before_the_training() -> None:
    with pytest.raises(DataError, match=r"gone\.flac"):
        OutputMaker([Utterance(DATA / "gone.flac", 16000, 16000, "nobody")])


def test_another_rate_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "fast.wav", np.zeros(9000), 22050)
    with pytest.raises(ValueError, match="expected audio at the model's 16000 Hz; got 22050 Hz"):
        OutputMaker([utterance(tmp_path / "fast.wav")]).make(checkpoint, CPU)
