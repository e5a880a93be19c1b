"""``diffwave synthesize`` on inputs that are fine: what is written, and what is said about it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from diffwave.synthesis.blockwise import Synthesis
from diffwave.vocoder import Vocoder


def samples(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="int16")[0]


def test_a_recording_becomes_a_wav_of_its_length(synthesize, inputs, output, speech):
    soundfile.write(inputs / "a.flac", speech, 16000)
    outcome = synthesize(inputs / "a.flac")
    assert (outcome.code, outcome.errors) == (0, [])
    info = soundfile.info(output / "a.wav")
    assert (info.frames, info.samplerate, info.channels, info.subtype) == (len(speech), 16000, 1, "PCM_16")
    assert np.abs(samples(output / "a.wav").astype(float)).max() > 100  # not silence


def test_the_samples_are_those_of_the_vocoder(synthesize, inputs, output, speech, tiny_checkpoint):
    soundfile.write(inputs / "a.wav", speech, 16000, subtype="FLOAT")
    synthesize(inputs / "a.wav", "--steps", "3", "--sampler", "ddpm", "--seed", "7", "--consistency", "2")
    vocoder = Vocoder.from_pretrained(tiny_checkpoint, "cpu")
    wav = vocoder.synthesize(vocoder.mel(torch.from_numpy(speech)), 3, "ddpm", 7, 2)[: len(speech)]
    expected = (wav.clamp(-1, 1) * 32768).clamp(-32768, 32767)
    assert np.abs(samples(output / "a.wav") - expected.numpy()).max() <= 1


@pytest.mark.parametrize("suffix", [".npy", ".pt"])
def test_a_mel_gives_what_its_recording_gives(synthesize, inputs, output, speech, speech_mel, suffix):
    soundfile.write(inputs / "a.wav", speech, 16000, subtype="FLOAT")
    if suffix == ".npy":
        np.save(inputs / "b.npy", speech_mel)
    else:
        torch.save(torch.from_numpy(speech_mel)[None], inputs / "b.pt")
    assert synthesize(inputs).code == 0
    b = samples(output / "b.wav")
    assert len(b) == speech_mel.shape[1] * 256  # whole frames; the recording is cut to its own length
    assert np.abs(b[: len(speech)].astype(int) - samples(output / "a.wav")).max() <= 1


@pytest.mark.parametrize(
    ("subtype", "rate", "channels"),
    [("PCM_U8", 16000, 1), ("PCM_24", 16000, 1), ("FLOAT", 16000, 1), ("DOUBLE", 48000, 2), ("PCM_16", 192000, 6)],
)
def test_formats_rates_and_channels(synthesize, inputs, output, speech, subtype, rate, channels):
    wav = np.repeat(speech, rate // 16000)  # crude, but speech-like enough
    soundfile.write(inputs / "a.wav", np.stack([wav] * channels, axis=1), rate, subtype=subtype)
    outcome = synthesize(inputs / "a.wav")
    assert (outcome.code, outcome.errors) == (0, [])
    assert soundfile.info(output / "a.wav").frames == 16000
    assert (f"resampled from {rate} to 16000 Hz" in outcome.stdout) == (rate != 16000)
    assert (f"mixed down from {channels} channels" in outcome.stdout) == (channels > 1)


def test_silence_gives_something_like_silence(synthesize, inputs, output):
    soundfile.write(inputs / "a.wav", np.zeros(16000), 16000)
    assert synthesize(inputs / "a.wav").code == 0
    assert np.abs(samples(output / "a.wav").astype(float)).max() < 0.02 * 32768


def test_a_constant_is_no_problem(synthesize, inputs, output):
    soundfile.write(inputs / "a.wav", np.full(16000, 0.5), 16000)
    assert (synthesize(inputs / "a.wav").code, (output / "a.wav").is_file()) == (0, True)


def test_one_frame_is_enough(synthesize, inputs, output, speech, speech_mel):
    soundfile.write(inputs / "a.wav", speech[:1024], 16000)
    np.save(inputs / "b.npy", speech_mel[:, :1])
    assert synthesize(inputs).code == 0
    assert (len(samples(output / "a.wav")), len(samples(output / "b.wav"))) == (1024, 256)


def test_same_seed_same_samples_and_another_seed_others(synthesize, inputs, tmp_path, speech):
    soundfile.write(inputs / "a.wav", speech, 16000)
    for name, seed in (("first", 3), ("second", 3), ("other", 4)):
        assert synthesize(inputs, "--output", tmp_path / name, "--seed", seed).code == 0
    first, second, other = ((tmp_path / name / "a.wav").read_bytes() for name in ("first", "second", "other"))
    assert first == second
    assert first != other


def test_an_output_does_not_depend_on_its_company(synthesize, inputs, tmp_path, speech):
    for name, length in (("a", 16000), ("b", 9000), ("c", 5000)):
        soundfile.write(inputs / f"{name}.wav", speech[:length], 16000)
    synthesize(inputs / "b.wav", "--output", tmp_path / "alone")
    synthesize(inputs, "--output", tmp_path / "folder")
    synthesize(inputs, "--output", tmp_path / "batch", "--batch-seconds", "60")
    alone, folder, batch = (tmp_path / name / "b.wav" for name in ("alone", "folder", "batch"))
    assert alone.read_bytes() == folder.read_bytes()
    # In a padded batch sums are taken in another order: one step of 16 bits at most.
    assert np.abs(samples(alone).astype(int) - samples(batch)).max() <= 1


def test_batches_hold_what_they_may(synthesize, inputs, speech, monkeypatch):
    for name in "abcd":
        soundfile.write(inputs / f"{name}.wav", speech, 16000)
    sizes = []
    original = Vocoder.synthesize_batch
    monkeypatch.setattr(
        Vocoder, "synthesize_batch", lambda self, mels, *rest: sizes.append(len(mels)) or original(self, mels, *rest)
    )
    synthesize(inputs, "--batch-seconds", "3.5")
    assert sizes == [3, 1]


def test_what_does_not_fit_into_memory_is_one_line_and_the_others_are_done(
    synthesize, inputs, output, speech, monkeypatch
):
    for name, repeats in (("a", 1), ("long", 2), ("z", 1)):
        soundfile.write(inputs / f"{name}.wav", np.tile(speech, repeats), 16000)
    original = Synthesis.speak

    def hungry(self, mels, *rest):
        if sum(map(len, mels)) * max(mel.shape[-1] for mel in mels) > 94:  # 1 s is 63 frames
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, mels, *rest)

    monkeypatch.setattr(Synthesis, "speak", hungry)
    outcome = synthesize(inputs, "--batch-seconds", "60")
    assert outcome.code == 2
    (line,) = [line for line in outcome.errors if line.startswith("diffwave")]
    assert "long.wav: expected what fits into the memory of cpu; got 2.0 s" in line
    assert [path.name for path in sorted(output.glob("*.wav"))] == ["a.wav", "z.wav"]


def test_a_recording_whose_mel_does_not_fit_into_memory_is_one_line(synthesize, inputs, output, speech, monkeypatch):
    for name, repeats in (("long", 2), ("short", 1)):
        soundfile.write(inputs / f"{name}.wav", np.tile(speech, repeats), 16000)
    original = Vocoder.mel

    def hungry(self, wav):
        if len(wav) > 16000:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return original(self, wav)

    monkeypatch.setattr(Vocoder, "mel", hungry)
    outcome = synthesize(inputs)
    assert outcome.code == 2
    (line,) = outcome.errors
    assert "long.wav: expected what fits into memory on cpu" in line
    assert [path.name for path in output.glob("*.wav")] == ["short.wav"]


def test_backend_and_precision_are_those_of_the_vocoder(synthesize, inputs, output, speech, tiny_checkpoint):
    soundfile.write(inputs / "a.wav", speech, 16000, subtype="FLOAT")
    written = {}
    for precision in ("float32", "bfloat16"):
        assert synthesize(inputs, "--backend", "reference", "--precision", precision, "--force").code == 0
        written[precision] = samples(output / "a.wav").astype(int)
        vocoder = Vocoder.from_pretrained(tiny_checkpoint, "cpu", "reference", precision)
        wav = vocoder.synthesize(vocoder.mel(torch.from_numpy(speech)))[: len(speech)]
        assert np.abs(written[precision] - (wav * 32768).clamp(-32768, 32767).numpy()).max() <= 1
    assert (written["float32"] != written["bfloat16"]).any()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--backend", "triton"], "backend triton cannot run here: "),
        (["--backend", "native", "--precision", "float32"], "expected precision bfloat16 or auto"),
        (["--backend", "fast"], "invalid choice: 'fast'"),
    ],
)
def test_a_backend_that_cannot_be_had_is_one_line(synthesize, inputs, output, speech, arguments, reason, capsys):
    soundfile.write(inputs / "a.wav", speech, 16000)
    if reason.startswith("invalid"):
        with pytest.raises(SystemExit):
            synthesize(inputs, *arguments)
        errors = capsys.readouterr().err.splitlines()
    else:
        outcome = synthesize(inputs, *arguments)
        errors = outcome.errors
        assert outcome.code == 2
    assert len(errors) == 1
    assert reason in errors[0]
    assert not output.exists()


def test_a_defect_keeps_its_traceback(synthesize, inputs, speech, monkeypatch):
    soundfile.write(inputs / "a.wav", speech, 16000)

    def broken(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(Vocoder, "synthesize_batch", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        synthesize(inputs)


def test_folder_structure_is_kept(synthesize, inputs, output, speech):
    for name in ("a.wav", "x/a.wav", "x/y.flac/b.ogg"):
        (inputs / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(inputs / name, speech, 16000)
    assert synthesize(inputs).code == 0
    written = sorted(path.relative_to(output).as_posix() for path in output.rglob("*.*") if path.is_file())
    assert written == ["a.wav", "synthesis.json", "x/a.wav", "x/y.flac/b.wav"]


def test_unusual_names(synthesize, inputs, output, speech):
    names = ["two  spaces.wav", "ünï 日本.wav", "line\nbreak.wav", "colour\x1b[31m.wav", "--force.wav", "%s{}.wav"]
    for name in names:
        soundfile.write(inputs / name, speech, 16000)
    latin = os.fsdecode(b"caf\xe9.wav")  # not valid UTF-8
    shutil.copy(inputs / names[0], inputs / latin)
    outcome = synthesize(inputs)
    assert (outcome.code, outcome.errors) == (0, [])
    assert {path.name for path in output.glob("*.wav")} == {*names, latin}
    assert "\x1b" not in outcome.stdout
    assert len(outcome.stdout.splitlines()) == 2 + len(names) + 2  # header, rule, outputs, total
    assert "two  spaces.wav" in outcome.stdout


def test_the_table_ends_with_the_totals(synthesize, inputs, speech):
    for name in "ab":
        soundfile.write(inputs / f"{name}.wav", speech, 16000)
    header, _, first, _, total = synthesize(inputs).stdout.splitlines()
    assert header.split("  ")[0] == "output"
    assert "real-time factor" in header
    assert first.split()[-3] == "1.00"
    assert total.split()[:3] == ["2", "files", "2.00"]


def test_loud_outputs_are_clipped_and_it_is_said(synthesize, inputs, speech, monkeypatch):
    soundfile.write(inputs / "a.wav", speech, 16000)
    monkeypatch.setattr(Vocoder, "synthesize_batch", lambda self, mels, *_: [torch.full((16128,), 2.0)])
    assert "16000 samples clipped" in synthesize(inputs).stdout


def test_json_is_the_only_thing_on_stdout(synthesize, inputs, output, speech):
    soundfile.write(inputs / "a.wav", speech, 8000)
    (inputs / "b.wav").touch()
    outcome = synthesize(inputs, "--json", "--steps", "full", "--seed", "5")
    document = json.loads(outcome.stdout)
    (row,) = document["outputs"]
    assert (row["input"], row["output"]) == (str(inputs / "a.wav"), str(output / "a.wav"))
    assert (row["sampler"], row["steps"], row["consistency"], row["seed"]) == ("ddim", 50, 0, 5)
    assert row["audio_seconds"] == document["audio_seconds"] == 2.0
    assert row["real_time_factor"] == pytest.approx(row["wall_seconds"] / 2.0)
    assert row["notes"] == ["resampled from 8000 to 16000 Hz"]
    assert len(document["errors"]) == len(outcome.errors) == 1


def test_json_without_any_output(synthesize, inputs):
    document = json.loads(synthesize(inputs / "missing.wav", "--json").stdout)
    assert (document["outputs"], document["real_time_factor"], len(document["errors"])) == ([], None, 1)


def test_the_record_beside_the_outputs(synthesize, inputs, output, speech, tiny_checkpoint, tmp_path):
    (inputs / "sub").mkdir()
    soundfile.write(inputs / "sub" / "a.wav", speech, 16000)
    synthesize(inputs, "--sampler", "ddpm", "--consistency", "1", "--backend", "reference")
    text = (output / "synthesis.json").read_text()
    (row,) = json.loads(text)["outputs"]
    assert (row["sampler"], row["steps"], row["consistency"], row["seed"]) == ("ddpm", 2, 1, 0)
    assert (row["output"], row["input"]) == ("sub/a.wav", "../in/sub/a.wav")
    assert (row["checkpoint"], row["device"]) == (tiny_checkpoint.name, "cpu")
    assert (row["backend"], row["precision"]) == ("reference", "float32")
    assert row["audio_seconds"] == 1.0
    assert row["real_time_factor"] == pytest.approx(row["wall_seconds"])
    assert str(tmp_path) not in text  # nothing about this machine


def test_the_record_is_kept_up_by_later_calls(synthesize, inputs, output, speech):
    for name in "abc":
        soundfile.write(inputs / f"{name}.wav", speech, 16000)
    synthesize(inputs / "a.wav", inputs / "b.wav")
    (output / "b.wav").unlink()
    synthesize(inputs / "c.wav", "--seed", "9")
    rows = json.loads((output / "synthesis.json").read_text())["outputs"]
    assert [(row["output"], row["seed"]) for row in rows] == [("a.wav", 0), ("c.wav", 9)]


@pytest.mark.parametrize("text", ["", "not json", "[]", '{"outputs": [1]}', '{"outputs": {"a": 1}}'])
def test_a_damaged_record_is_replaced(synthesize, inputs, output, speech, text):
    soundfile.write(inputs / "a.wav", speech, 16000)
    output.mkdir()
    (output / "synthesis.json").write_text(text)
    assert synthesize(inputs).code == 0
    assert len(json.loads((output / "synthesis.json").read_text())["outputs"]) == 1


def test_a_record_that_cannot_be_written_is_told_but_outputs_stay(synthesize, inputs, output, speech):
    soundfile.write(inputs / "a.wav", speech, 16000)
    (output / "synthesis.json").mkdir(parents=True)
    outcome = synthesize(inputs)
    assert (outcome.code, len(outcome.errors), (output / "a.wav").is_file()) == (2, 1, True)
    assert "synthesis.json" in outcome.errors[0]


def test_no_progress_bar_where_stderr_is_no_terminal(synthesize, inputs, speech):
    soundfile.write(inputs / "a.wav", speech, 16000)
    assert synthesize(inputs).errors == []


def test_a_progress_bar_on_a_terminal(synthesize, inputs, speech, monkeypatch):
    soundfile.write(inputs / "a.wav", speech, 16000)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert any("1/1" in line for line in synthesize(inputs).errors)


def test_ctrl_c_keeps_what_is_done_and_its_record(synthesize, inputs, output, speech, monkeypatch):
    for name in "ab":
        soundfile.write(inputs / f"{name}.wav", speech, 16000)
    original, calls = Vocoder.synthesize_batch, []

    def interrupted(self, *arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(Vocoder, "synthesize_batch", interrupted)
    outcome = synthesize(inputs)
    assert (outcome.code, outcome.errors) == (130, ["diffwave synthesize: interrupted"])
    assert sorted(path.name for path in output.iterdir()) == ["a.wav", "synthesis.json"]
    assert [row["output"] for row in json.loads((output / "synthesis.json").read_text())["outputs"]] == ["a.wav"]


KILLED_AT_THE_END_OF_THE_FIRST_WRITE = """
import os, signal, sys
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
from diffwave.cli.main import main
main(sys.argv[1:])
"""


def test_a_kill_leaves_no_half_output(inputs, output, speech, tiny_checkpoint, synthesize):
    soundfile.write(inputs / "a.wav", speech, 16000)
    command = ["synthesize", inputs, "--output", output, "--checkpoint", tiny_checkpoint, "--device", "cpu"]
    done = subprocess.run([sys.executable, "-c", KILLED_AT_THE_END_OF_THE_FIRST_WRITE, *map(str, command)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [path.name[:1] for path in output.iterdir()] == ["."]
    # What the kill left is neither in the way nor an input.
    assert synthesize(inputs).code == 0
    assert synthesize(output, "--output", output / "again").code == 0
    assert [path.name for path in (output / "again").glob("*.wav")] == ["a.wav"]


def test_as_a_program(inputs, output, speech, tiny_checkpoint):
    soundfile.write(inputs / "ünï.wav", speech, 16000)
    (inputs / "b.wav").write_text("no audio")
    program = [sys.executable, "-c", "import sys; from diffwave.cli.main import main; sys.exit(main())"]
    arguments = ["synthesize", inputs, "-o", output, "--checkpoint", tiny_checkpoint]
    # A terminal that knows no umlauts.
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [*program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert str(inputs / "b.wav") in done.stderr
    assert str(output / r"\xfcn\xef.wav") in done.stdout
    assert (output / "ünï.wav").is_file()
