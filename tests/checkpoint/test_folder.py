from __future__ import annotations

import json
import os
import pickle
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from diffwave.checkpoint.folder import (
    CONFIG_NAME,
    WEIGHTS_NAME,
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)
from diffwave.config import BASE, ModelConfig
from diffwave.files import atomic_path, write_text
from diffwave.network.diffwave import DiffWave
from tiny import TINY, random_weights


@pytest.fixture
def network() -> DiffWave:
    network = DiffWave(TINY)
    random_weights(network, seed=3)
    return network


@pytest.fixture
def folder(tmp_path: Path, network: DiffWave) -> Path:
    save_checkpoint(tmp_path / "model", Checkpoint(TINY, network.state_dict(), {"iterations": 7, "data": "train"}))
    return tmp_path / "model"


def edit(folder: Path, **changes: object) -> None:
    path = folder / CONFIG_NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def outputs(network: DiffWave) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    mel, noisy = torch.randn(1, 80, 4, generator=generator), torch.randn(1, 1024, generator=generator)
    with torch.no_grad():
        return network(noisy, torch.tensor([12.5]), network.condition(mel))


def test_what_is_written_is_what_is_read(folder: Path, network: DiffWave) -> None:
    checkpoint = load_checkpoint(folder)
    assert checkpoint.config == TINY
    assert checkpoint.training == {"iterations": 7, "data": "train"}
    assert list(checkpoint.weights) == list(load_file(folder / WEIGHTS_NAME))
    for name, value in network.state_dict().items():
        assert torch.equal(checkpoint.weights[name], value)
    built = checkpoint.build()
    assert not built.training
    assert torch.equal(outputs(built), outputs(network))
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG_NAME, WEIGHTS_NAME]


def test_half_precision_halves_the_file_and_computes_in_float32(tmp_path: Path, network: DiffWave) -> None:
    save_checkpoint(tmp_path / "full", Checkpoint(TINY, network.state_dict()))
    save_checkpoint(tmp_path / "half", Checkpoint(TINY, network.state_dict()), half=True)
    full, half = ((tmp_path / name / WEIGHTS_NAME).stat().st_size for name in ("full", "half"))
    numbers = sum(value.numel() for value in network.state_dict().values())
    assert full - half == pytest.approx(2 * numbers, abs=64)
    built = load_checkpoint(tmp_path / "half").build()
    assert {parameter.dtype for parameter in built.parameters()} == {torch.float32}
    for name, value in built.state_dict().items():
        assert torch.equal(value, network.state_dict()[name].half().float())
    torch.testing.assert_close(outputs(built), outputs(network), rtol=0.01, atol=0.01)


def test_saving_again_replaces_both_files(folder: Path, network: DiffWave) -> None:
    random_weights(network, seed=4)
    save_checkpoint(folder, Checkpoint(TINY, network.state_dict(), {"iterations": 8}))
    checkpoint = load_checkpoint(folder)
    assert checkpoint.training == {"iterations": 8}
    assert torch.equal(outputs(checkpoint.build()), outputs(network))


def test_nothing_is_shared_with_the_live_network(network: DiffWave, tmp_path: Path) -> None:
    # Weights that do not require contiguity or a CPU: slices and parameters with gradients are stored too.
    weights = {name: value[::1].t() if value.ndim == 2 else value for name, value in network.named_parameters()}
    save_checkpoint(tmp_path, Checkpoint(TINY, weights))
    stored = load_file(tmp_path / WEIGHTS_NAME)
    assert all(torch.equal(stored[name], value.detach()) for name, value in weights.items())


def test_a_folder_that_is_no_checkpoint(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(CheckpointError, match=f"{tmp_path}.*there is no config.json"):
        load_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match=r"there is no config\.json"):
        load_checkpoint(tmp_path / "nowhere")
    (folder / WEIGHTS_NAME).unlink()
    with pytest.raises(CheckpointError, match=r"expected a checkpoint with model\.safetensors; there is none"):
        load_checkpoint(folder)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.2, 0.99])
def test_truncated_weights_are_refused(folder: Path, share: float) -> None:
    path = folder / WEIGHTS_NAME
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(CheckpointError, match=r"model.safetensors: expected safetensors weights;.*truncated\?"):
        load_checkpoint(folder)


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("make", [pickle.dump, lambda obj, file: torch.save(obj, file)], ids=["pickle", "torch"])
def test_nothing_is_ever_unpickled(folder: Path, tmp_path: Path, make) -> None:
    with (folder / WEIGHTS_NAME).open("wb") as file:
        make({"weights": Bomb(tmp_path / "boom")}, file)
    with pytest.raises(CheckpointError, match="expected safetensors weights"):
        load_checkpoint(folder)
    assert not (tmp_path / "boom").exists()


def test_a_header_that_promises_too_much_is_refused(folder: Path) -> None:
    (folder / WEIGHTS_NAME).write_bytes(struct.pack("<Q", 2**62) + b"{}")
    with pytest.raises(CheckpointError, match="expected safetensors weights"):
        load_checkpoint(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", "{}", '{"format_version": 1}', '{"model": {}}', "\xff"])
def test_a_configuration_that_is_not_one(folder: Path, text: str) -> None:
    (folder / CONFIG_NAME).write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"config.json: expected a diffwave configuration in JSON"):
        load_checkpoint(folder)


@pytest.mark.parametrize("version", [3, 99, "1", None])
def test_a_newer_format_is_refused(folder: Path, version: object) -> None:
    edit(folder, format_version=version)
    with pytest.raises(CheckpointError, match=f"format 2 or older; got {version!r}"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"network": {"residual_chanels": 8}}, "did you mean network.residual_channels"),
        ({"mel": {"n_fft": "1024"}}, "mel.n_fft: expected int"),
        ({"mel": {"hop_length": -1}}, "0 < hop_length"),
        ([], "expected settings in braces"),
        (None, "expected settings in braces"),
    ],
)
def test_settings_that_do_not_fit_the_schema(folder: Path, model: object, message: str) -> None:
    edit(folder, model=model)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(folder)
    assert CONFIG_NAME in str(caught.value)


def test_weights_of_another_architecture_are_refused(folder: Path, tmp_path: Path) -> None:
    weights = load_checkpoint(folder).weights
    with pytest.raises(CheckpointError, match=r"do not fit the configuration.*residual_layers"):
        Checkpoint(BASE, weights).build()
    missing = {name: value for name, value in weights.items() if name != "skip_projection.bias"}
    with pytest.raises(CheckpointError, match=r"skip_projection.bias"):
        Checkpoint(TINY, missing).build()
    with pytest.raises(CheckpointError, match=r"another_thing"):
        Checkpoint(TINY, {**weights, "another_thing": torch.zeros(1)}).build()


def test_an_empty_safetensors_file_is_refused_when_built(folder: Path) -> None:
    save_file({}, folder / WEIGHTS_NAME)
    with pytest.raises(CheckpointError, match="do not fit"):
        load_checkpoint(folder).build()


def test_defaults_of_a_configuration_may_be_left_out(folder: Path) -> None:
    edit(folder, model={}, training={})
    assert load_checkpoint(folder).config == ModelConfig()


def test_atomic_path_writes_whole_files_with_usual_permissions(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "Grüße")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "Grüße"
    (tmp_path / "b.txt").write_text("usual")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_atomic_path_leaves_nothing_behind_on_error(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "model.safetensors"
    target.write_text("old")

    def fail() -> None:
        with atomic_path(target) as temporary:
            assert temporary.suffix == target.suffix
            temporary.write_text("half of the n")
            raise error("stop")

    with pytest.raises(error, match="stop"):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_save_that_fails_keeps_the_old_checkpoint(folder: Path, network: DiffWave, monkeypatch) -> None:
    before = (folder / WEIGHTS_NAME).read_bytes()
    monkeypatch.setattr("safetensors.torch.save", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    random_weights(network, seed=9)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(folder, Checkpoint(TINY, network.state_dict()))
    assert (folder / WEIGHTS_NAME).read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG_NAME, WEIGHTS_NAME]
