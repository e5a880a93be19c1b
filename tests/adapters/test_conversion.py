"""Mels of one convention as those of another: against closed forms and librosa; what cannot be is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch

from diffwave.adapters import (
    CONVENTIONS,
    Adapter,
    ConventionError,
    EspnetVocoder,
    HifiGanVocoder,
    MelConvention,
    MelValueError,
    SpeechBrainVocoder,
    mel_convention,
    read_statistics,
)
from diffwave.adapters.conversion import MelConversion
from diffwave.config import ConfigError, MelConfig
from diffwave.mel.spectrogram import MelSpectrogram
from tiny import tiny_vocoder

HOP = 256
SPEECH = Path(__file__).parent.parent / "data" / "403-126855-0000.flac"
OURS = MelConfig()


@pytest.fixture(scope="module")
def wav() -> torch.Tensor:
    samples, _ = soundfile.read(SPEECH, dtype="float32")
    return torch.from_numpy(samples[: len(samples) // HOP * HOP]).unsqueeze(0)


def magnitudes(wav: torch.Tensor) -> np.ndarray:
    """Mel magnitudes of the packaged convention, by librosa, ``[M, F]``."""
    padded = np.pad(wav[0].double().numpy(), (1024 - HOP) // 2, mode="reflect")
    spectrum = np.abs(librosa.stft(padded, n_fft=1024, hop_length=HOP, center=False))
    bank = librosa.filters.mel(sr=16000, n_fft=1024, n_mels=80, fmin=0, fmax=8000, dtype=np.float64)
    return np.asarray(bank @ spectrum)


STATISTICS = {"mean": tuple(np.linspace(-1, -3, 80)), "scale": tuple(np.linspace(0.5, 2, 80))}
KINDS = {
    "ln": lambda m: np.log(np.maximum(m, 1e-5)),
    "log10": lambda m: np.log10(np.maximum(m, 1e-10)),
    "log2": lambda m: np.log2(np.maximum(m, 1e-10)),
    "db": lambda m: 20 * np.log10(np.maximum(m, 1e-10)),
    "linear": lambda m: m,
}


@pytest.mark.parametrize("axes", ["bands-first", "frames-first"])
@pytest.mark.parametrize("standardised", [False, True], ids=["plain", "standardised"])
@pytest.mark.parametrize("kind", KINDS)
def test_speech_of_any_logarithm_axes_and_statistics_becomes_ours(
    wav: torch.Tensor, kind: str, standardised: bool, axes: str
) -> None:
    values = KINDS[kind](magnitudes(wav))
    floor = 1e-5 if kind == "ln" else 1e-10
    statistics = STATISTICS if standardised else {}
    convention = MelConvention(replace(OURS, floor=floor), kind, axes, **statistics)
    if standardised:
        values = (values - np.array(STATISTICS["mean"])[:, None]) / np.array(STATISTICS["scale"])[:, None]
    given = torch.from_numpy(values if axes == "bands-first" else values.T)
    conversion = MelConversion(convention, OURS)
    nepers = conversion.read(given)
    assert conversion.doubt(nepers) == ""
    torch.testing.assert_close(conversion.write(nepers), MelSpectrogram(OURS)(wav), rtol=0, atol=2e-3)


def test_mels_of_the_models_own_convention_are_the_same_to_the_bit(wav: torch.Tensor) -> None:
    for name, convention in CONVENTIONS.items():
        mel = MelSpectrogram(convention.mel)(
            wav[:, : wav.shape[1] // convention.mel.hop_length * convention.mel.hop_length]
        )
        conversion = MelConversion(convention, convention.mel)
        given = mel.transpose(1, 2) if convention.axes == "frames-first" else mel
        assert torch.equal(conversion.write(conversion.read(given)), mel), name
        assert conversion.notes == (["axes: turned"] if convention.axes == "frames-first" else [])


def test_height_of_bands_and_energy_of_the_window_are_levelled(wav: torch.Tensor) -> None:
    theirs = replace(OURS, mel_norm="none", stft_normalized=True, floor=1e-9)
    given = MelSpectrogram(theirs)(wav)
    conversion = MelConversion(MelConvention(theirs), OURS)
    torch.testing.assert_close(conversion.write(conversion.read(given)), MelSpectrogram(OURS)(wav), rtol=0, atol=2e-3)
    back = MelConversion(MelConvention(replace(OURS, floor=1e-9)), theirs)
    given = MelSpectrogram(replace(OURS, floor=1e-9))(wav)
    above = MelSpectrogram(theirs)(wav)
    apart = (back.write(back.read(given)) - above).abs()
    assert float(apart[above > math.log(1e-7)].max()) < 2e-3


def test_a_coarser_floor_is_left_and_said(wav: torch.Tensor) -> None:
    coarse = replace(OURS, floor=1e-3)
    conversion = MelConversion(MelConvention(coarse), OURS)
    assert conversion.notes == ["floor: left as it is: what lies below is lost"]
    given = MelSpectrogram(coarse)(wav)
    assert torch.equal(conversion.write(conversion.read(given)), given)


def test_a_frame_centred_early_is_a_waveform_half_a_hop_early(wav: torch.Tensor) -> None:
    """What the shift rests on: centred frames of a signal are HiFi-GAN's frames of the same signal, later."""
    centre = MelSpectrogram(replace(OURS, framing="centre"))(wav)
    later = torch.cat([torch.zeros(1, HOP // 2), wav, torch.zeros(1, HOP // 2)], dim=1)
    hop = MelSpectrogram(OURS)(later)
    torch.testing.assert_close(hop[..., 2:-4], centre[..., 2 : hop.shape[2] - 4], rtol=0, atol=2e-3)


@pytest.mark.parametrize(("theirs", "ours"), [("centre", "hop"), ("hop", "centre")])
def test_framing_is_shifted_by_half_a_hop(theirs: str, ours: str) -> None:
    vocoder = tiny_vocoder(replace(OURS, framing=ours))
    adapter = HifiGanVocoder(vocoder, MelConvention(replace(OURS, framing=theirs)))
    mel = torch.randn(2, 80, 10, generator=torch.Generator().manual_seed(0)) * 1.5 - 5
    edge = [mel, mel[..., -1:]] if theirs == "centre" else [mel[..., :1], mel]
    expected = vocoder.synthesize(torch.cat(edge, dim=-1))[:, 128 : 128 + 10 * HOP]
    torch.testing.assert_close(adapter(mel), expected.unsqueeze(1), rtol=1e-4, atol=1e-5)


REFUSALS = {
    "sample rate 22050 Hz (the model's: 16000 Hz)": {"sample_rate": 22050},
    "FFT length 2048 (the model's: 1024)": {"n_fft": 2048},
    "window length 800 (the model's: 1024)": {"win_length": 800},
    "hop length 200 (the model's: 256)": {"hop_length": 200},
    "bands 100 (the model's: 80)": {"n_mels": 100},
    "lowest frequency 80 Hz (the model's: 0 Hz)": {"f_min": 80.0},
    "highest frequency 7600 Hz (the model's: 8000 Hz)": {"f_max": 7600.0},
    "mel scale htk (the model's: slaney)": {"mel_scale": "htk"},
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_what_cannot_be_converted_is_refused_by_name(reason: str) -> None:
    convention = MelConvention(replace(OURS, **REFUSALS[reason]), name="their")
    with pytest.raises(ConventionError) as caught:
        Adapter(tiny_vocoder(OURS), convention)
    first, head, *rows = str(caught.value).splitlines()
    assert (
        first
        == f"their mels cannot be converted to this model's: {reason}; use a checkpoint whose own mels are like these"
    )
    assert [row for row in rows if row.endswith("cannot be converted")] == [
        row for row in rows if row.lstrip().startswith(reason.split(" (")[0].rsplit(" ", 2 if "Hz" in reason else 1)[0])
    ]
    assert head.split() == ["setting", "their", "mel", "this", "model's", "mel"]
    assert len(rows) == 15


def test_a_power_mel_is_refused() -> None:
    with pytest.raises(ConventionError, match=r"spectrum power \(the model's: magnitude\)"):
        MelConversion(MelConvention(OURS, spectrum="power"), OURS)


def test_a_convention_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"mel convention must be one of .*hifigan-22k.*; got 'hifigan'"):
        mel_convention("hifigan")
    with pytest.raises(ConfigError, match="mel convention must be one of"):
        Adapter(tiny_vocoder(OURS))
    with pytest.raises(ConfigError, match="expected one value for each of 80 bands, or one for all; got 79"):
        mel_convention("hifigan-16k").with_statistics([0.0] * 79, [1.0] * 80)
    with pytest.raises(ConfigError, match="positive"):
        mel_convention("hifigan-16k").with_statistics([0.0] * 80, [0.0] * 80)
    with pytest.raises(ConfigError, match=r"convention\.values must be one of ln, .*linear; got 'bel'"):
        MelConvention(OURS, "bel")


def test_statistics_are_read_from_files(tmp_path: Path) -> None:
    mean, scale = np.linspace(-1, -3, 80), np.linspace(0.5, 2, 80)
    np.save(tmp_path / "stats.npy", np.stack([mean, scale]).astype(np.float32))
    count = 1000
    np.savez(tmp_path / "stats.npz", count=count, sum=mean * count, sum_square=(scale**2 + mean**2) * count)
    for name in ("stats.npy", "stats.npz"):
        read = read_statistics(tmp_path / name)
        np.testing.assert_allclose(read, [mean, scale], rtol=1e-6)


def test_files_that_hold_no_statistics_are_refused(tmp_path: Path) -> None:
    (tmp_path / "torn.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "empty.npz").write_bytes(b"")
    np.save(tmp_path / "pickled.npy", np.array([{"mean": 1}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "negative.npy", np.stack([np.zeros(80), -np.ones(80)]))
    np.save(tmp_path / "three.npy", np.zeros((3, 80)))
    np.savez(tmp_path / "other.npz", mean=np.zeros(80))
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(ConfigError, match=f"{path.name}: expected"):
            read_statistics(path)
    for name in ("missing.npy", "stats.txt"):
        with pytest.raises(ConfigError, match=r"ends in \.h5, \.npy, \.npz"):
            read_statistics(tmp_path / name)


def test_a_batch_is_refused_where_one_mel_is_expected() -> None:
    vocoder = tiny_vocoder(OURS)
    batch = torch.full((2, 80, 4), -5.0)
    with pytest.raises(MelValueError, match=r"got shape \[1, 2, 80, 4\]"):
        SpeechBrainVocoder(vocoder, OURS).decode_spectrogram(batch)
    with pytest.raises(MelValueError, match=r"got shape \[1, 2, 4, 80\]"):
        EspnetVocoder(vocoder, MelConvention(OURS, axes="frames-first"))(batch.transpose(1, 2))


def test_impossible_settings_are_refused_at_once() -> None:
    vocoder = tiny_vocoder(OURS)
    with pytest.raises(ValueError, match="steps"):
        HifiGanVocoder(vocoder, "hifigan-16k", steps=0)
    with pytest.raises(ValueError, match="consistency"):
        HifiGanVocoder(vocoder, "hifigan-16k", consistency=-1)
    with pytest.raises(ConfigError, match="on_doubt must be one of refuse, warn; got 'ignore'"):
        HifiGanVocoder(vocoder, "hifigan-16k", on_doubt="ignore")


def test_steps_seed_and_consistency_reach_the_vocoder() -> None:
    vocoder = tiny_vocoder(OURS)
    mel = torch.randn(1, 80, 10, generator=torch.Generator().manual_seed(0)) * 1.5 - 5
    adapter = HifiGanVocoder(vocoder, "hifigan-16k", steps=3, seed=7, consistency=2)
    expected = vocoder.synthesize(mel, steps=3, seed=7, consistency=2).unsqueeze(1)
    torch.testing.assert_close(adapter(mel), expected, rtol=0, atol=0)
    assert not torch.allclose(adapter(mel), HifiGanVocoder(vocoder, "hifigan-16k", steps=3, consistency=2)(mel))


def test_a_device_that_is_not_the_vocoders_is_refused() -> None:
    adapter = HifiGanVocoder(tiny_vocoder(OURS), "hifigan-16k")
    assert adapter.to("cpu").eval() is adapter
    assert next(adapter.parameters()).device == adapter.device
    with pytest.raises(ValueError, match="expected device cpu, where the vocoder was loaded; got cuda"):
        adapter.to("cuda")
