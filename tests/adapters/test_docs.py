"""``docs/tts.md``: its Python runs, its commands compose, its messages are those that are printed."""

from __future__ import annotations

import json
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
from diffwave.adapters import CONVENTIONS, HifiGanVocoder, MelValueError
from diffwave.checkpoint.folder import Checkpoint, save_checkpoint
from diffwave.config import MelConfig
from diffwave.config.composing import compose_config
from tiny import tiny_vocoder

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "tts.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
TEXTS = re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)


def mel(frames: int = 30, bands_first: bool = True, log10: bool = False) -> torch.Tensor:
    values = torch.randn(1, 80, frames, generator=torch.Generator().manual_seed(0)) * 1.5 - 5
    values = values / 2.3 if log10 else values
    return values if bands_first else values.transpose(1, 2)


def clients() -> dict[str, Any]:
    """What the page does not show. The real clients are in the tests of their adapters; here only their mels are."""
    features = mel(bands_first=False, log10=True)[0]
    model = SimpleNamespace(generate_speech=lambda ids, speaker, vocoder: vocoder(features))
    encoded = (mel(), torch.tensor([30]), None)
    return {
        "model": model,
        "ids": None,
        "speaker": None,
        "processor": lambda text: (None, None),
        "tacotron2": SimpleNamespace(infer=lambda tokens, lengths: encoded),
        "speechbrain_tacotron2": SimpleNamespace(encode_batch=lambda texts: encoded),
        "fastpitch": SimpleNamespace(parse=lambda text: None, generate_spectrogram=lambda tokens: mel()),
    }


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, config in (
        ("model-22k", MelConfig(sample_rate=22050)),
        ("model-80-7600", MelConfig(f_min=80.0, f_max=7600.0)),
    ):
        vocoder = tiny_vocoder(config)
        save_checkpoint(tmp_path / name, Checkpoint(vocoder.config, vocoder.network.state_dict()))
    np.save(tmp_path / "stats.npy", np.stack([np.full(80, -2.0), np.ones(80)]))
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("folders")
@pytest.mark.parametrize("code", BLOCKS, ids=[str(i) for i in range(len(BLOCKS))])
def test_python_runs(code: str, tmp_path: Path) -> None:
    names = clients()
    if "pipeline(" in code or "text2speech" in code or "synthesizer" in code:
        # These need the real client: test_transformers.py, test_espnet.py and test_coqui.py. Here the imports run.
        compile(code, "tts.md", "exec")
        exec("\n".join(re.findall(r"^from diffwave.*$", code, flags=re.MULTILINE)), names)
        return
    exec(compile(code, "tts.md", "exec"), names)
    if "hello.wav" in code:
        wav, rate = soundfile.read(tmp_path / "hello.wav")
        assert (len(wav), rate) == (30 * 256, 22050)


def test_there_is_a_block_for_each_framework() -> None:
    assert len(BLOCKS) == 13


def test_the_complaint_about_values_is_what_is_printed() -> None:
    samples, _ = soundfile.read(ROOT / "tests" / "data" / "403-126855-0000.flac", dtype="float32")
    vocoder = Vocoder.from_pretrained(device="cpu")
    with pytest.raises(MelValueError) as caught:
        HifiGanVocoder(vocoder, "hifigan-16k")(vocoder.mel(torch.from_numpy(samples)).unsqueeze(0) / np.log(10))
    # Figures may differ in the last digit from machine to machine.
    assert re.sub(r"[\d.]+", "0", TEXTS[1]) == re.sub(r"[\d.]+", "0", f"{caught.value}\n")


def test_every_convention_is_in_the_table() -> None:
    table = [line for line in PAGE.splitlines() if line.startswith("|")]
    rows = {name: line for line in table for name in re.findall(r"`([a-z0-9]+-\d\dk|10ms)`", line)}
    assert set(rows) == set(CONVENTIONS)
    for name, row in rows.items():
        convention = CONVENTIONS[name]
        config = convention.mel
        assert str(config.sample_rate) in row
        assert f"{config.n_fft} / {config.hop_length} / {config.win_length}" in row
        assert f"{config.f_min:g}–{config.f_max:g} Hz" in row
        assert f" {config.framing} |" in row
        assert ("[F, M]" if convention.axes == "frames-first" else "[M, F]") in row


@pytest.mark.parametrize("line", re.findall(r"^diffwave train .*$", PAGE, flags=re.MULTILINE))
def test_a_training_command_makes_a_model_that_the_tts_can_speak_through(line: str) -> None:
    mel_config = compose_config(shlex.split(line)[2:]).model.mel
    usual = "speecht5-16k" if mel_config.sample_rate == 16000 else "tacotron2-22k"
    HifiGanVocoder(tiny_vocoder(mel_config), usual)


def test_the_costs_on_the_page_are_those_that_were_measured() -> None:
    measured = json.loads((ROOT / "docs/benchmarks/conventions.json").read_text(encoding="utf-8"))["differences"]
    told = [float(cost) for cost in re.findall(r"costs (\.\d+) of PESQ", PAGE)]
    assert told == [
        pytest.approx(-measured[name]["mean"], abs=0.005)
        for name in (
            "framed like librosa's, through an adapter",
            "SpeechT5's, regridded by the pseudo-inverse of its filterbank",
        )
    ]
