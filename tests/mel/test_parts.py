from __future__ import annotations

import pytest
import torch

from diffwave.config import MelConfig, mel_preset
from diffwave.mel.parts import mel_parts
from diffwave.mel.spectrogram import MelSpectrogram


def waveform(samples: int, examples: int = 1) -> torch.Tensor:
    return 0.1 * torch.randn(examples, samples, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("preset", ["default", "hifigan-22k", "lmnt-22k", "speecht5-16k"])
def test_parts_are_the_mel_of_the_whole(preset: str) -> None:
    front_end = MelSpectrogram(mel_preset(preset))
    wav = waveform(256 * 3000, examples=2)
    parts = list(mel_parts(front_end, [wav]))
    assert [part.shape[-1] for part in parts] == [1024, 1024, 952]
    torch.testing.assert_close(torch.cat(parts, dim=-1), front_end(wav), rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [1, 255, 4096, 300000])
def test_it_does_not_matter_how_the_waveform_arrives(size: int) -> None:
    front_end = MelSpectrogram(MelConfig())
    # 1500 frames in single samples would take a minute.
    wav = waveform(1000 if size == 1 else 256 * 1500 + 77)
    whole = torch.cat(list(mel_parts(front_end, [wav])), dim=-1)
    assert torch.equal(torch.cat(list(mel_parts(front_end, wav.split(size, dim=1))), dim=-1), whole)


def test_zeros_fill_the_last_frame_and_nothing_gives_nothing() -> None:
    front_end = MelSpectrogram(MelConfig())
    wav = waveform(1000)
    (mel,) = mel_parts(front_end, [wav])
    assert torch.equal(mel, front_end(torch.nn.functional.pad(wav, (0, 24))))
    assert list(mel_parts(front_end, [])) == []
