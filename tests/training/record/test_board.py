"""TensorBoard: what was written is read back, and nothing that goes wrong there reaches the training."""

from __future__ import annotations

import errno
import io
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from diffwave.training.outputs.output import Output, write_outputs
from diffwave.training.record.board import Board

RATE = 16000


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"audio": 0, "images": 0, "scalars": 0}).Reload()


def points(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read(folder).Scalars(tag)]


@pytest.fixture
def outputs() -> list[Output]:
    generator = torch.Generator().manual_seed(0)
    wavs = [(torch.rand(4096, generator=generator) * 2 - 1) / 2 for _ in range(4)]
    return [
        Output("103-1240-0000", wavs[0], wavs[1], 2.5, 0.25, None),
        Output("a b", wavs[2], wavs[3], None, 0.75, None),
    ]


@pytest.fixture
def picture(outputs: list[Output], tmp_path: Path) -> Path:
    write_outputs(tmp_path / "outputs", outputs, RATE)
    return tmp_path / "outputs" / "spectrograms.png"


def test_rows_of_the_history_become_curves(tmp_path: Path) -> None:
    board = Board(tmp_path, 1)
    row = {
        "iteration": 50,
        "seconds": 12.5,
        "loss": 0.5,
        "loss_by_noise": [0.5, 0.25, None, 0.125, 1.0],
        "learning_rate": 2.0**-10,
        "gradient_norm": 2,
        "data_wait": 0.125,
        "memory_mib": None,
        "validation_loss": 0.75,
        "validation_loss_by_noise": [1.0] * 5,
        "something_new": 3,
        "outputs": {"pesq_wb": 2.0},
    }
    board.scalars(50, row)
    board.scalars(100, {"loss": 0.25})
    assert points(tmp_path, "train/loss") == [(50, 0.5), (100, 0.25)]
    by_noise = {f"train_loss_by_noise/{name}": (50, value) for name, value in
                (("0.0-0.2", 0.5), ("0.2-0.4", 0.25), ("0.6-0.8", 0.125), ("0.8-1.0", 1.0))}  # fmt: skip
    validation = {f"validation_loss_by_noise/{i / 5:.1f}-{(i + 1) / 5:.1f}": (50, 1.0) for i in range(5)}
    others = {
        "train/learning_rate": (50, 2.0**-10),
        "train/gradient_norm": (50, 2.0),
        "speed/data_wait": (50, 0.125),
        "validation/loss": (50, 0.75),
        "other/something_new": (50, 3.0),
    }
    expected = {**by_noise, **validation, **others}
    assert set(read(tmp_path).Tags()["scalars"]) == {*expected, "train/loss"}
    assert {tag: points(tmp_path, tag)[0] for tag in expected} == expected


def test_a_record_is_on_the_disk_at_once(tmp_path: Path) -> None:
    """A process that is killed closes nothing."""
    board = Board(tmp_path, 1)
    board.scalars(1, {"loss": 0.5})
    assert points(tmp_path, "train/loss") == [(1, 0.5)]


def test_outputs_are_heard_and_seen(tmp_path: Path, outputs: list[Output], picture: Path) -> None:
    board = Board(tmp_path / "events", 1)
    for iteration in (10, 20):
        board.outputs(iteration, outputs, RATE, picture)
    events = read(tmp_path / "events")
    for name, output in zip(("103-1240-0000", "a_b"), outputs, strict=True):
        heard = events.Audio(f"outputs/{name}/output")
        assert [event.step for event in heard] == [10, 20]
        (reference,) = events.Audio(f"outputs/{name}/reference")
        assert reference.step == 10
        for event, wav in ((heard[1], output.wav), (reference, output.reference)):
            samples, rate = soundfile.read(io.BytesIO(event.encoded_audio_string), dtype="float32")
            assert (rate, event.sample_rate) == (RATE, RATE)
            assert (torch.from_numpy(samples) - wav).abs().max() <= 2**-15
    assert [event.step for event in events.Images("outputs/spectrograms")] == [10, 20]
    image = events.Images("outputs/spectrograms")[0]
    assert image.encoded_image_string == picture.read_bytes()
    from PIL import Image

    assert (image.width, image.height) == Image.open(picture).size
    assert points(tmp_path / "events", "outputs/pesq_wb") == [(10, 2.5), (20, 2.5)]
    assert points(tmp_path / "events", "outputs/mel_distance") == [(10, 0.5), (20, 0.5)]
    assert "outputs/band_synchrony" not in events.Tags()["scalars"]


def test_what_a_killed_run_wrote_after_its_last_state_is_hidden(
    tmp_path: Path, outputs: list[Output], picture: Path
) -> None:
    killed = Board(tmp_path / "events", 1)
    for iteration in range(1, 11):
        killed.scalars(iteration, {"loss": 1.0})
    killed.outputs(5, outputs, RATE, picture)
    killed.outputs(10, outputs, RATE, picture)
    (torn,) = (tmp_path / "events").iterdir()
    torn.write_bytes(torn.read_bytes()[:-7])  # killed while it wrote
    again = Board(tmp_path / "events", 6)  # its state was of iteration 5
    for iteration in (6, 7):
        again.scalars(iteration, {"loss": 2.0})
    assert points(tmp_path / "events", "train/loss") == [*((i, 1.0) for i in range(1, 6)), (6, 2.0), (7, 2.0)]
    assert [event.step for event in read(tmp_path / "events").Audio("outputs/a_b/output")] == [5]


class FullDisk:
    """A file that takes some bytes and no more."""

    def __init__(self, path: Path) -> None:
        self.file = io.FileIO(path, "ab")

    def __enter__(self) -> FullDisk:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, data: bytes) -> int:
        self.file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_costs_records_and_one_line_of_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    board = Board(tmp_path / "events", 1)
    board.scalars(1, {"loss": 1.0})
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, mode: FullDisk(path))
        board.scalars(2, {"loss": 2.0})
        board.scalars(3, {"loss": 3.0})
    board.scalars(4, {"loss": 4.0})
    assert points(tmp_path / "events", "train/loss") == [(1, 1.0), (4, 4.0)]
    assert len(caplog.records) == 1
    assert "No space left on device" in caplog.text


def test_a_disk_that_is_full_from_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board(tmp_path / "events", 1)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, mode: FullDisk(path))
        board.scalars(1, {"loss": 1.0})
    board.scalars(2, {"loss": 2.0})
    assert points(tmp_path / "events", "train/loss") == [(2, 2.0)]


def test_a_folder_that_cannot_be_written_and_a_picture_that_is_not_there(
    tmp_path: Path, outputs: list[Output], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "events").write_text("no folder")
    board = Board(tmp_path / "events", 1)
    board.scalars(1, {"loss": 1.0})
    board.outputs(1, outputs, RATE, tmp_path / "missing.png")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    other = Board(tmp_path / "other", 1)
    other.outputs(1, outputs, RATE, tmp_path / "missing.png")
    assert len(caplog.records) == 2
    assert "missing.png" in caplog.records[1].message


def test_without_tensorboard_there_is_one_line_that_says_what_to_install(
    tmp_path: Path,
    outputs: list[Output],
    picture: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in list(sys.modules):
        if name.split(".")[0] == "tensorboard":
            monkeypatch.setitem(sys.modules, name, None)
    board: Any = Board(tmp_path / "events", 1)
    board.scalars(1, {"loss": 1.0})
    board.outputs(1, outputs, RATE, picture)
    (record,) = caplog.records
    assert "pip install tensorboard" in record.message
    assert "\n" not in record.message
