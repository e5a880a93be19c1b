"""An output's figures, and the files that it becomes."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffwave.training.outputs.output import Output, safe_names, summary, write_outputs


def output(name: str = "x", pesq: float | None = 2.0, mel: float = 0.5, synchrony: float | None = -0.25) -> Output:
    time = torch.arange(8000) / 16000
    return Output(name, 0.5 * torch.sin(3000 * time), 0.5 * torch.sin(2000 * time), pesq, mel, synchrony)


def test_means_are_over_the_utterances_that_have_a_figure() -> None:
    rows = [output(pesq=2.0, synchrony=None), output(pesq=None, mel=math.nan, synchrony=None), output(pesq=3.0, mel=1)]
    assert summary(rows) == {"pesq_wb": 2.5, "mel_distance": 0.75, "band_synchrony": -0.25}
    assert summary(rows[:2]) == {"pesq_wb": 2.0, "mel_distance": 0.5}
    assert summary([]) == {}


NAMES = ["../a", "$x^{", "x", "x.reference", "\udcff", "n" * 300, "N" * 300]


@pytest.mark.filterwarnings("error")
def test_files_are_whole_and_their_names_are_safe(tmp_path: Path) -> None:
    folder = tmp_path / "iteration" / "10"
    made = [output(name, pesq=float(number)) for number, name in enumerate(NAMES)]
    write_outputs(folder, made, 16000)
    document = json.loads((folder / "outputs.json").read_text())
    assert document["sample_rate"] == 16000
    assert document["means"] == {"pesq_wb": 3.0, "mel_distance": 0.5, "band_synchrony": -0.25}
    assert [row["name"] for row in document["outputs"]] == NAMES
    assert [row["pesq_wb"] for row in document["outputs"]] == list(range(len(NAMES)))
    files = [row[side] for row in document["outputs"] for side in ("output", "reference")]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*files, "outputs.json", "spectrograms.png"])
    assert (folder / "spectrograms.png").read_bytes().startswith(b"\x89PNG")
    for file, wav in ((files[0], made[0].wav), (files[1], made[0].reference)):
        assert soundfile.info(folder / file).subtype == "PCM_16"
        written = torch.from_numpy(soundfile.read(folder / file, dtype="float32")[0])
        assert (written - wav).abs().max() <= 2**-15


@given(st.lists(st.text(max_size=120), max_size=12))
def test_safe_names_are_safe_and_unique(names: list[str]) -> None:
    safe = safe_names(names)
    assert len({name.lower() for name in safe}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,110}", name) for name in safe)
