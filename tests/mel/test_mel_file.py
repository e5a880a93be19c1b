"""Mel files of every kind that is fine (those that are not: ``test_bad_input.py``)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffwave.errors import InputError
from diffwave.mel.mel_file import read_mel


@pytest.fixture
def mel() -> np.ndarray:
    return np.linspace(-11, 1, 80 * 7).reshape(80, 7)


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", "float64"])
def test_numpy_of_any_precision_and_byte_order(tmp_path, mel, dtype):
    np.save(tmp_path / "a.npy", mel.astype(dtype))
    read = read_mel(tmp_path / "a.npy").mel
    assert (read.dtype, read.shape) == (torch.float32, (80, 7))
    np.testing.assert_array_equal(read.numpy(), mel.astype(dtype).astype("f4"))


def test_numpy_in_column_order(tmp_path, mel):
    np.save(tmp_path / "a.npy", np.asfortranarray(mel))
    np.testing.assert_array_equal(read_mel(tmp_path / "a.npy").mel.numpy(), mel.astype("f4"))


def test_what_is_read_does_not_depend_on_the_file_any_more(tmp_path, mel):
    np.save(tmp_path / "a.npy", mel.astype("f4"))
    read = read_mel(tmp_path / "a.npy").mel
    with (tmp_path / "a.npy").open("r+b") as file:  # in place: another file of that name would prove nothing
        file.seek(128)
        file.write(bytes(4))
    assert float(read[0, 0]) == -11
    read += 1  # and it may be written to


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_torch_of_any_precision(tmp_path, mel, dtype):
    torch.save(torch.from_numpy(mel).to(dtype), tmp_path / "a.pt")
    read = read_mel(tmp_path / "a.pt").mel
    assert read.dtype == torch.float32
    torch.testing.assert_close(read, torch.from_numpy(mel).to(dtype).float(), rtol=0, atol=0)


def test_torch_with_a_gradient_and_in_the_old_format(tmp_path, mel):
    tensor = torch.nn.Parameter(torch.from_numpy(mel).float())
    torch.save(tensor, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    read = read_mel(tmp_path / "a.pt").mel
    assert not read.requires_grad
    assert torch.equal(read, tensor.detach())


def test_a_leading_axis_of_one_is_dropped(tmp_path, mel):
    np.save(tmp_path / "a.npy", mel[None])
    torch.save(torch.from_numpy(mel)[None], tmp_path / "a.pt")
    assert read_mel(tmp_path / "a.npy").mel.shape == read_mel(tmp_path / "a.pt").mel.shape == (80, 7)


@pytest.mark.parametrize("suffix", ["npy", "pt"])
def test_damage_anywhere_is_refused_or_harmless(tmp_path, mel, suffix):
    """Bytes changed at random: an InputError or an array, never another exception."""
    path = tmp_path / f"a.{suffix}"
    if suffix == "npy":
        np.save(path, mel.astype("f4"))
    else:
        torch.save(torch.from_numpy(mel.astype("f4")), path)
    data, random = path.read_bytes(), np.random.default_rng(0)
    messages = []
    for _ in range(150):
        spoiled = bytearray(data)
        for position in random.integers(0, min(len(data), 1200), 3):
            spoiled[position] = random.integers(0, 256)
        path.write_bytes(spoiled[: random.integers(1, len(spoiled)) if random.random() < 0.2 else None])
        try:
            read_mel(path)
        except InputError as error:
            messages.append(str(error))
    assert len(messages) > 20
    assert all(text.startswith(f"{path}: expected ") and len(text.splitlines()) == 1 for text in messages)
