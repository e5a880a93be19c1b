"""``docs/tts.md``: its Python runs as it stands, its commands compose, its message and table are those of the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from diffwave import Vocoder
from diffwave.adapters import CONVENTIONS, HifiGanVocoder, MelConvention, MelValueError
from diffwave.config.composing import compose_config
from tiny import tiny_vocoder

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "tts.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
TEXTS = re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)
FRAMES = 24


def mel(bands: int = 80, mean: float = -5.0, std: float = 1.5) -> torch.Tensor:
    return torch.randn(1, bands, FRAMES, generator=torch.Generator().manual_seed(0)) * std + mean


def frames_first(mean: float, std: float) -> torch.Tensor:
    return mel(mean=mean, std=std)[0].t()


def clients() -> dict[str, Any]:
    """What the page does not show. Real clients are in the tests of their adapters; here are their mels and calls."""
    encoded = (mel(), torch.tensor([FRAMES]), None)
    fbank = SimpleNamespace(
        fs=16000,
        stft=SimpleNamespace(window="hann", center=True, normalized=False, n_fft=1024, win_length=1024, hop_length=256),
        logmel=SimpleNamespace(log_base=10.0, mel_options={"n_mels": 80, "fmin": 80, "fmax": 7600, "htk": False}),
    )
    processor = SimpleNamespace(
        preemphasis=0.0, do_amp_to_db_mel=True, log_func="np.log", spec_gain=1, signal_norm=False, sample_rate=22050,
        fft_size=1024, win_length=1024, hop_length=256, num_mels=80, mel_fmin=0, mel_fmax=8000.0,
    )  # fmt: skip
    synthesizer = SimpleNamespace(tts_model=SimpleNamespace(ap=processor))
    synthesizer.tts = lambda text: synthesizer.vocoder_model.inference(mel())[0, 0]
    return {
        "f5tts": SimpleNamespace(),
        "cosyvoice": SimpleNamespace(model=SimpleNamespace()),
        "chatterbox": SimpleNamespace(s3gen=SimpleNamespace()),
        "speecht5": SimpleNamespace(generate_speech=lambda ids, speaker, vocoder: vocoder(frames_first(-2.2, 0.65))),
        "ids": None,
        "speaker": None,
        "fastspeech2": SimpleNamespace(),
        "text2speech": SimpleNamespace(feats_extract=fbank),
        "dumped": frames_first(0.0, 0.65),
        "tokens": None,
        "lengths": None,
        "tacotron2": SimpleNamespace(infer=lambda tokens, lengths: encoded),
        "speechbrain_tacotron2": SimpleNamespace(encode_batch=lambda texts: encoded),
        "fastpitch": SimpleNamespace(parse=lambda text: None, generate_spectrogram=lambda tokens: mel()),
        "synthesizer": synthesizer,
    }


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All names of the page when it has run from top to bottom, and ``made``, its waveforms in their order."""
    names, made = clients(), []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("page"))
        np.save("stats.npy", np.stack([np.full(80, -2.2), np.ones(80)]))
        np.savez("feats_stats.npz", count=10, sum=np.full(80, -22.0), sum_square=np.full(80, 58.4))
        for code in BLOCKS:
            exec(compile(code, "tts.md", "exec"), names)
            made += [names.pop(name) for name in ("wav", "wavs", "speech", "audio") if name in names]
            if "generator" in names:
                made.append(names["generator"](mel(names["generator"].convention.mel.n_mels)))
                del names["generator"]
    return {**names, "made": made}


def test_all_that_the_page_makes_is_sound(spoken: dict[str, Any]) -> None:
    shapes = [list(wav.shape) for wav in spoken["made"]]
    one, samples = [1, 1, FRAMES * 256], FRAMES * 256
    assert shapes[:-1] == [
        [94 * 256], one, one, [samples], [FRAMES * 300, 1], [1, samples], one, [1, samples], [samples],
    ]  # fmt: skip
    assert all(bool(wav.isfinite().all()) for wav in spoken["made"])


def test_what_the_page_has_put_in_place_speaks_as_it_will_be_called(spoken: dict[str, Any]) -> None:
    assert spoken["f5tts"].vocoder.decode(mel(100)).shape == (1, FRAMES * 256)
    for hift in (spoken["cosyvoice"].model.hift, spoken["chatterbox"].s3gen.mel2wav):
        assert hift.inference(speech_feat=mel(), cache_source=torch.zeros(1, 1, 0))[0].shape == (1, FRAMES * 480)
    assert spoken["bigvgan_model"](mel(100)).shape == (1, 1, FRAMES * 256)
    standardised = frames_first(0.0, 0.65).unsqueeze(0)
    assert spoken["fastspeech2"].vocoder(standardised).shape == (1, FRAMES * 256)
    assert spoken["text2speech"].vocoder(frames_first(-2.2, 0.65)).shape == (FRAMES * 256,)


def test_the_complaint_about_values_is_what_is_printed() -> None:
    samples, _ = soundfile.read(ROOT / "tests" / "data" / "403-126855-0000.flac", dtype="float32")
    vocoder = Vocoder.from_pretrained(device="cpu")
    with pytest.raises(MelValueError) as caught:
        HifiGanVocoder(vocoder, "hifigan-16k")(vocoder.mel(torch.from_numpy(samples)).unsqueeze(0) / np.log(10))
    # Figures may differ in the last digit from machine to machine.
    assert re.sub(r"[\d.]+", "0", TEXTS[0]) == re.sub(r"[\d.]+", "0", f"{caught.value}\n")


def row(convention: MelConvention) -> str:
    mel = convention.mel
    bands = f"{mel.n_mels}{' HTK' * (mel.mel_scale == 'htk')}{', not normed' * (mel.mel_norm == 'none')}"
    values = f"{'dB in [0, 1]' if mel.log == 'db01' else mel.log}, {mel.floor:g}{' added' * mel.floor_added}"
    if mel.standardised:
        values += f", mean {mel.mean[0]:g}, scale {mel.scale[0]:g}"
    cells = [
        f"`{convention.name}`", mel.sample_rate, f"{mel.n_fft} / {mel.hop_length} / {mel.win_length}",
        f"{bands}, {mel.f_min:g}–{mel.f_max:g} Hz", values, mel.framing,
        "[F, M]" if convention.axes == "frames-first" else "[M, F]", convention.of,
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def test_the_table_is_the_list_of_conventions() -> None:
    table = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert table == [row(convention) for convention in CONVENTIONS.values()]


@pytest.mark.parametrize("line", re.findall(r"^diffwave train .*$", PAGE, flags=re.MULTILINE))
def test_a_training_command_makes_a_model_that_the_tts_can_speak_through(line: str) -> None:
    mel_config = compose_config(shlex.split(line)[2:]).model.mel
    usual = "speecht5-16k" if mel_config.sample_rate == 16000 else "hifigan-22k"
    adapter = HifiGanVocoder(tiny_vocoder(mel_config), usual)
    assert [note for note in adapter.notes if "axes" not in note] == []
