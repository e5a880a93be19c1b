"""``diffwave synthesize`` on inputs that are not fine: one line, exit code 2, and the others are done."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from diffwave.vocoder import Vocoder


class Bomb:
    """Unpickling this leaves a file: a test sees that it was loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.trace,)


def write_flac(path: Path, wav: np.ndarray) -> bytes:
    soundfile.write(path, wav, 16000, format="FLAC")
    return path.read_bytes()


def write_wav(path: Path, wav: np.ndarray, subtype: str = "PCM_16", rate: int = 16000) -> bytes:
    soundfile.write(path, wav, rate, subtype=subtype)
    return path.read_bytes()


def with_value(wav: np.ndarray, value: float) -> np.ndarray:
    wav = wav.copy()
    wav[1000] = value
    return wav


def claim_size(data: bytes, size: int) -> bytes:
    """A WAV whose data chunk says that it has ``size`` bytes."""
    return data[:40] + struct.pack("<I", size) + data[44:]


def claim_samples(data: bytes, samples: int) -> bytes:
    """A FLAC whose header says that it has so many samples (36 bits at the end of STREAMINFO)."""
    return data[:21] + bytes([data[21] & 0xF0]) + struct.pack(">I", samples) + data[26:]


# name -> (how to write it, what the line must say)
BAD_AUDIO = {
    "empty.wav": (lambda p, x: p.touch(), "0 bytes"),
    "text.wav": (lambda p, x: p.write_text("not audio\n" * 100), "expected audio"),
    "picture.flac": (lambda p, x: p.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(500)), "expected audio"),
    "cut.flac": (lambda p, x: p.write_bytes(write_flac(p, x)[:8000]), "damaged"),
    "cut_at_a_frame.flac": (lambda p, x: p.write_bytes(claim_samples(write_flac(p, x), 1 << 31)), "truncated"),
    "cut.wav": (lambda p, x: p.write_bytes(write_wav(p, x)[:9000]), "truncated"),
    "cut.aiff": (lambda p, x: (soundfile.write(p, x, 16000), p.write_bytes(p.read_bytes()[:9000])), "truncated"),
    "claims.wav": (lambda p, x: p.write_bytes(claim_size(write_wav(p, x), 1 << 31)), "truncated"),
    "header.wav": (lambda p, x: p.write_bytes(write_wav(p, x)[:30]), "expected audio"),
    "nan.wav": (lambda p, x: write_wav(p, with_value(x, np.nan), "FLOAT"), "NaN"),
    "infinite.wav": (lambda p, x: write_wav(p, with_value(x, -np.inf), "FLOAT"), "infinity"),
    "too_large_for_float32.wav": (lambda p, x: write_wav(p, with_value(x.astype("f8"), 1e300), "DOUBLE"), "infinity"),
    "no_samples.wav": (lambda p, x: write_wav(p, x[:0]), "no samples"),
    "below_a_frame.wav": (lambda p, x: write_wav(p, x[:1023]), "at least one frame, 1024 samples"),
    "integers_as_floats.wav": (lambda p, x: write_wav(p, x * 32768, "FLOAT"), "samples in [-1, 1]; got a peak of"),
    "huge.wav": (lambda p, x: write_wav(p, x * 1e35, "FLOAT"), "samples in [-1, 1]; got a peak of"),
    "one_hertz.wav": (lambda p, x: write_wav(p, x, rate=1), "sample rate"),
    "gigahertz.wav": (lambda p, x: write_wav(p, x, rate=2_000_000_000), "at least one frame"),
    "dangling.wav": (lambda p, x: p.symlink_to("nothing.wav"), "no such file"),
    "circle.wav": (lambda p, x: p.symlink_to(p.name), "no such file"),
    "pipe.wav": (lambda p, x: os.mkfifo(p), "no such file"),
}


def npy(values: np.ndarray) -> Callable[[Path, np.ndarray], object]:
    return lambda path, _: np.save(path, values)


def npy_claiming(shape: str) -> Callable[[Path, np.ndarray], object]:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    data = b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text + bytes(1000)
    return lambda path, _: path.write_bytes(data)


def archive_claiming(path: Path, shape: str) -> None:
    npy_claiming(shape)(path, np.zeros(1))
    data = path.read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mel.npy", data)


def write_torchscript(path: Path, mel: np.ndarray) -> None:
    """What makes torch take an archive for TorchScript is a record of this name."""
    torch.save(torch.from_numpy(mel), path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{path.stem}/constants.pkl", b"")


BAD_MELS = {
    "empty.npy": (lambda p, m: p.touch(), "0 bytes"),
    "text.npy": (lambda p, m: p.write_text("no numbers"), "expected a numpy array"),
    "cut.npy": (lambda p, m: (np.save(p, m), p.write_bytes(p.read_bytes()[:5000])), "truncated"),
    "terabytes.npy": (npy_claiming("(80, 10000000000)"), "truncated"),
    "odd_header.npy": (npy_claiming("(80, "), "expected a numpy array"),
    "objects.npy": (lambda p, m: np.save(p, np.array([{}]), allow_pickle=True), "never loaded"),
    "bomb.npy": (lambda p, m: p.write_bytes(pickle.dumps(Bomb(p.parent / "trace"))), "never loaded"),
    "archive.npy": (lambda p, m: (np.savez(p.with_suffix(""), m), p.with_suffix(".npz").rename(p)), "NpzFile"),
    "complex.npy": (lambda p, m: np.save(p, m + 1j), "complex"),
    "words.npy": (npy(np.array(["a", "b"])), "real numbers"),
    "vector.npy": (lambda p, m: np.save(p, m[0]), "[bands, frames]; got shape [63]"),
    "two.npy": (lambda p, m: np.save(p, np.stack([m, m])), "got shape [2, 80, 63]"),
    "transposed.npy": (lambda p, m: np.save(p, m.T), "transposed?"),
    "bands.npy": (lambda p, m: np.save(p, m[:64]), "80 bands"),
    "no_frames.npy": (lambda p, m: np.save(p, m[:, :0]), "no frames"),
    "nan.npy": (lambda p, m: np.save(p, m * np.nan), "NaN"),
    "beyond_float32.npy": (lambda p, m: np.save(p, m.astype("f8") * 1e300), "infinite"),
    "log10.npy": (lambda p, m: np.save(p, m / np.log(10)), "log10"),
    "decibel.npy": (lambda p, m: np.save(p, 20 * m / np.log(10)), "another logarithm"),
    "linear.npy": (lambda p, m: np.save(p, np.exp(m)), "linear"),
    "unit_range.npy": (lambda p, m: np.save(p, (m - m.min()) / (m.max() - m.min())), "normalised"),
    "empty.pt": (lambda p, m: p.touch(), "0 bytes"),
    "text.pt": (lambda p, m: p.write_text("no tensor"), "expected a tensor"),
    "cut.pt": (lambda p, m: (torch.save(torch.from_numpy(m), p), p.write_bytes(p.read_bytes()[:9000])), "truncated"),
    "bomb.pt": (lambda p, m: torch.save(Bomb(p.parent / "trace"), p), "never loaded"),
    "raw_bomb.pt": (lambda p, m: p.write_bytes(pickle.dumps(Bomb(p.parent / "trace"))), "never loaded"),
    "dictionary.pt": (lambda p, m: torch.save({"mel": torch.from_numpy(m)}, p), "got dict"),
    "complex.pt": (lambda p, m: torch.save(torch.from_numpy(m + 1j), p), "real numbers"),
    "mask.pt": (lambda p, m: torch.save(torch.from_numpy(m) > -5, p), "torch.bool"),
    "sparse.pt": (lambda p, m: torch.save(torch.from_numpy(m).to_sparse(), p), "dense"),
    "program.pt": (write_torchscript, "TorchScript"),
    "nowhere.pt": (lambda p, m: torch.save(torch.empty(80, 9, device="meta"), p), "meta"),
    "empty.npz": (lambda p, m: p.touch(), "0 bytes"),
    "text.npz": (lambda p, m: p.write_text("no archive"), "expected numpy arrays"),
    "cut.npz": (lambda p, m: (np.savez(p, mel=m), p.write_bytes(p.read_bytes()[:9000])), "expected numpy arrays"),
    "objects.npz": (lambda p, m: np.savez(p, mel=np.array([{}])), "never loaded"),
    "bomb.npz": (lambda p, m: p.write_bytes(pickle.dumps(Bomb(p.parent / "trace"))), "expected numpy arrays"),
    "no_mel.npz": (lambda p, m: np.savez(p, a=m, b=m), "expected an array called mel; got 'a', 'b'"),
    "nothing.npz": (lambda p, m: np.savez(p), "expected an array called mel; got none"),
    "words.npz": (lambda p, m: np.savez(p, mel="words"), "real numbers"),
    "terabytes.npz": (lambda p, m: archive_claiming(p, "(80, 10000000000)"), "claims more than it holds"),
    "transposed.npz": (lambda p, m: np.savez(p, mel=m.T), "transposed?"),
    "bands.pt": (lambda p, m: torch.save(torch.from_numpy(m)[:64], p), "80 bands"),
    "pipe.npy": (lambda p, m: os.mkfifo(p), "no such file"),
}


@pytest.mark.parametrize("name", [*BAD_AUDIO, *BAD_MELS])
def test_one_line_names_the_file_and_the_others_are_done(synthesize, inputs, output, speech, speech_mel, name):
    write, said = {**BAD_AUDIO, **BAD_MELS}[name]
    write(inputs / name, speech if name in BAD_AUDIO else speech_mel)
    write_wav(inputs / "z_good.wav", speech[:2000])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a warning would be more lines on stderr
        outcome = synthesize(inputs, "--mel", "default")  # which needs not be said then
    assert outcome.code == 2
    assert len(outcome.errors) == 1, outcome.errors
    assert outcome.errors[0].startswith(f"diffwave synthesize: {inputs / name}: ")
    assert said in outcome.errors[0]
    assert sorted(path.name for path in output.iterdir()) == ["synthesis.json", "z_good.wav"]
    assert not (inputs / "trace").exists()  # nothing was unpickled


@pytest.mark.parametrize("claim", [0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_wav_from_a_pipe_has_no_length_and_is_fine(synthesize, inputs, output, speech, claim):
    path = inputs / "a.wav"
    path.write_bytes(claim_size(write_wav(path, speech), claim))
    assert synthesize(path).code == 0
    assert soundfile.info(output / "a.wav").frames == 16000


def test_a_flac_from_a_pipe_has_no_length_and_is_fine(synthesize, inputs, output, speech):
    path = inputs / "a.flac"
    path.write_bytes(claim_samples(write_flac(path, speech), 0))
    assert synthesize(path).code == 0
    assert soundfile.info(output / "a.wav").frames == 16000


def test_several_bad_files_get_a_line_each_also_in_batches(synthesize, inputs, output, speech):
    for name in ("a", "c", "e"):
        (inputs / f"{name}.wav").touch()
    for name in ("b", "d"):
        write_wav(inputs / f"{name}.wav", speech)
    outcome = synthesize(inputs, "--batch-seconds", "60")
    assert [line.split(":")[1].strip() for line in outcome.errors] == [str(inputs / f"{name}.wav") for name in "ace"]
    assert sorted(path.name for path in output.glob("*.wav")) == ["b.wav", "d.wav"]


@pytest.mark.parametrize(
    ("argument", "said"),
    [("missing.wav", "no such file"), ("notes.txt", "got .txt"), ("plain", "got no suffix"), ("nothing", "found none")],
)
def test_arguments_that_cannot_be_inputs(synthesize, inputs, output, argument, said):
    (inputs / "notes.txt").touch()
    (inputs / "plain").touch()
    (inputs / "nothing").mkdir()
    outcome = synthesize(inputs / argument)
    assert (outcome.code, outcome.stdout, len(outcome.errors)) == (2, "", 1)
    assert str(inputs / argument) in outcome.errors[0]
    assert said in outcome.errors[0]
    assert not output.exists()  # no empty folder is left


def test_line_breaks_in_a_bad_name_do_not_break_the_line(synthesize, inputs):
    (inputs / "two  spaces\nand a\x1b[31m break.wav").touch()
    (line,) = synthesize(inputs).errors
    assert r"two  spaces\nand a\x1b[31m break.wav" in line


def test_a_name_too_long_for_the_system(synthesize, inputs):
    outcome = synthesize(inputs / ("n" * 300 + ".wav"))
    assert (outcome.code, len(outcome.errors)) == (2, 1)
    assert "File name too long" in outcome.errors[0]


def test_a_file_that_may_not_be_read(synthesize, inputs, output, speech, monkeypatch):
    write_wav(inputs / "a.wav", speech)
    write_wav(inputs / "b.wav", speech)
    original = Path.open

    def forbidden(self, *arguments, **options):
        if self.name == "a.wav" and self.parent == inputs:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return original(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", forbidden)
    outcome = synthesize(inputs)
    assert (outcome.code, len(outcome.errors)) == (2, 1)
    assert f"{inputs / 'a.wav'}: expected audio that can be read; Permission denied" in outcome.errors[0]
    assert (output / "b.wav").is_file()


@pytest.mark.parametrize("below", ["", "/deeper/still"])
def test_an_output_folder_that_cannot_be(synthesize, inputs, speech, tmp_path, below):
    write_wav(inputs / "a.wav", speech)
    (tmp_path / "file").touch()
    outcome = synthesize(inputs, "--output", f"{tmp_path}/file{below}")
    assert (outcome.code, len(outcome.errors)) == (2, 1)
    assert f"--output {tmp_path}/file{below}: expected a folder that can be written" in outcome.errors[0]


def test_a_read_only_output_folder_is_found_before_the_work(synthesize, inputs, output, speech, monkeypatch):
    write_wav(inputs / "a.wav", speech)

    def read_only(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("diffwave.files.tempfile.TemporaryFile", read_only)
    monkeypatch.setattr(Vocoder, "synthesize_batch", lambda *_: pytest.fail("must not be reached"))
    outcome = synthesize(inputs)
    assert (outcome.code, len(outcome.errors)) == (2, 1)
    assert f"--output {output}: expected a folder that can be written; Read-only file system" in outcome.errors[0]


def test_a_full_disk_leaves_nothing_behind(synthesize, inputs, output, speech, monkeypatch):
    for name in ("a", "b"):
        write_wav(inputs / f"{name}.wav", speech)
    original = Path.write_bytes

    def full(self, data):
        if self.name.startswith(".a.wav"):
            original(self, bytes(data)[:100])
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    outcome = synthesize(inputs)
    assert (outcome.code, len(outcome.errors)) == (2, 1)
    assert f"{inputs / 'a.wav'}: {output / 'a.wav'} cannot be written; No space left on device" in outcome.errors[0]
    assert sorted(path.name for path in output.iterdir()) == ["b.wav", "synthesis.json"]


def test_a_full_disk_keeps_the_output_that_was_there(synthesize, inputs, output, speech, monkeypatch):
    write_wav(inputs / "a.wav", speech)
    output.mkdir()
    (output / "a.wav").write_bytes(b"precious")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert synthesize(inputs, "--force").code == 2
    assert (output / "a.wav").read_bytes() == b"precious"


def test_a_model_that_gives_nan_writes_nothing(synthesize, inputs, output, speech, monkeypatch):
    write_wav(inputs / "a.wav", speech)
    monkeypatch.setattr(Vocoder, "synthesize_batch", lambda *_: [torch.full((16128,), torch.nan)])
    outcome = synthesize(inputs)
    assert (outcome.code, len(outcome.errors)) == (2, 1)
    assert f"{inputs / 'a.wav'}: the model gave NaN" in outcome.errors[0]
    assert list(output.iterdir()) == []


def edit_config(folder: Path, change: Callable[[dict], object]) -> None:
    document = json.loads((folder / "config.json").read_text())
    change(document)
    (folder / "config.json").write_text(json.dumps(document))


BAD_CHECKPOINTS = {
    "no folder": (shutil.rmtree, "no such folder"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors"),
    "no config": (lambda f: (f / "config.json").unlink(), "config.json"),
    "cut weights": (lambda f: os.truncate(f / "model.safetensors", 3000), "truncated?"),
    "empty weights": (lambda f: os.truncate(f / "model.safetensors", 0), "model.safetensors"),
    "cut config": (lambda f: os.truncate(f / "config.json", 100), "config.json"),
    "newer format": (lambda f: edit_config(f, lambda d: d.update(format_version=3)), "upgrade"),
    "unknown setting": (lambda f: edit_config(f, lambda d: d["model"]["mel"].update(tempo=1)), "tempo"),
    "other shape": (lambda f: edit_config(f, lambda d: d["model"]["network"].update(residual_layers=4)), "do not fit"),
}


@pytest.mark.parametrize("case", BAD_CHECKPOINTS)
def test_checkpoints_that_cannot_be_used(synthesize, inputs, output, speech, tiny_checkpoint, tmp_path, case):
    write_wav(inputs / "a.wav", speech)
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint, folder)
    spoil, said = BAD_CHECKPOINTS[case]
    spoil(folder)
    outcome = synthesize(inputs, "--checkpoint", folder)
    assert (outcome.code, len(outcome.errors)) == (2, 1)
    assert said in outcome.errors[0]
    assert not output.exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model.safetensors", "model.safetensors; got a file"),
        ("weights.pt", "import); got a file"),
        ("training-00000500.pt", "the folder of the run"),
    ],
)
def test_a_file_is_no_checkpoint_folder(synthesize, inputs, output, speech, tmp_path, name, said):
    write_wav(inputs / "a.wav", speech)
    (tmp_path / name).touch()
    outcome = synthesize(inputs, "--checkpoint", tmp_path / name)
    assert (outcome.code, len(outcome.errors), output.exists()) == (2, 1, False)
    assert said in outcome.errors[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--steps", "51"], "1 to 50 steps; got 51"),
        (["--steps", "0"], "positive number or 'full'"),
        (["--steps", "²"], "positive number or 'full'"),
        (["--consistency", "-1"], "0 or a positive number"),
        (["--batch-seconds", "nan"], "positive number of seconds"),
        (["--batch-seconds", "-1"], "positive number of seconds"),
        (["--device", "gpu"], "cuda:NUMBER; got 'gpu'"),
        (["--sampler", "euler"], "euler"),
        (["--seed", "x"], "--seed"),
        (["--checkpoint", "~no_such_user/x"], "checkpoint folder"),
        (["--checkpoint", "n" * 300], "File name too long"),
        (["--checkpoint", ""], "empty argument"),
        (["--output", ""], "empty argument"),
        ([""], "empty argument"),
        (["--unknown\nflag"], "unknown"),
    ],
)
def test_options_that_cannot_work(synthesize, inputs, output, speech, capsys, arguments, said):
    write_wav(inputs / "a.wav", speech)
    try:
        outcome = synthesize(inputs, *arguments)
        code, lines = outcome.code, outcome.errors
    except SystemExit as stop:  # argparse leaves by itself
        code, lines = stop.code, capsys.readouterr().err.splitlines()
    assert (code, len(lines)) == (2, 1)
    assert lines[0].startswith("diffwave synthesize: ")
    assert said in lines[0]
    assert not output.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there(synthesize, inputs, speech):
    write_wav(inputs / "a.wav", speech)
    outcome = synthesize(inputs, "--device", "cuda")
    assert (outcome.code, len(outcome.errors)) == (2, 1)
    assert "expected a CUDA GPU" in outcome.errors[0]
