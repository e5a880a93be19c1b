"""Mels of other conventions: whatever holds for the network's own holds for them, at their own rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import librosa
import pytest
import soundfile
import torch
from torch import Tensor

from diffwave.checkpoint.folder import Checkpoint, load_checkpoint, save_checkpoint
from diffwave.config import (
    AS_TRAINED,
    CONVENTIONS,
    ConfigError,
    MelConfig,
    SamplingConfig,
    check_speakable,
    mel_preset,
)
from diffwave.network.diffwave import DiffWave
from diffwave.synthesis.domains import Window
from diffwave.vocoder import Vocoder
from tiny import TINY, random_weights

RECORDING = Path(__file__).parents[1] / "data" / "403-126855-0000.flac"
FEW = SamplingConfig(
    steps=2, sampler="ddim", consistency_iterations=3, step_iterations=2, warm_iterations=4, consistency_at="warm",
    block_frames=24, first_block_frames=8, context_frames=4,
)  # fmt: skip
FOREIGN = {
    "hifigan-22k": mel_preset("hifigan-22k"),
    "vocos-24k, HTK, centred": mel_preset("vocos-24k"),
    "speecht5-16k, 80-7600 Hz": mel_preset("speecht5-16k"),
    "44.1 kHz": mel_preset("bigvgan-44k"),
    "gpt-sovits-32k, scaled": mel_preset("gpt-sovits-32k"),
    "cosyvoice2-24k": mel_preset("cosyvoice2-24k"),
    "db01": mel_preset("lmnt-22k"),
    "an odd size": MelConfig(n_fft=743, win_length=743, hop_length=200),
    "11.025 kHz": MelConfig(sample_rate=11025, n_fft=512, win_length=512, hop_length=128, f_max=5512.5, n_mels=64),
    "power": MelConfig(spectrum="power", floor=1e-10),
    "linear": MelConfig(sample_rate=22050, log="linear"),
}
WRITTEN = {
    "log10": {"log": "log10"},
    "standardised": {"mean": (-5.5,), "scale": (2.1,)},
    "other heights": {"mel_norm": "none"},
    "dB, of a normalised STFT": {"log": "db", "stft_normalized": True, "floor": 1e-8},
    "each band its own": {"mean": tuple(-6 + i / 80 for i in range(80)), "scale": tuple(1 + i / 80 for i in range(80))},
}
foreign = pytest.mark.parametrize("config", FOREIGN.values(), ids=FOREIGN)


@pytest.fixture(scope="module")
def vocoder() -> Vocoder:
    config = replace(TINY, sampling=FEW)
    network = DiffWave(config)
    random_weights(network)
    return Vocoder(Checkpoint(config, network.state_dict()), "cpu", backend="reference")


@pytest.fixture(scope="module")
def packaged() -> Vocoder:
    return Vocoder.from_pretrained(device="cpu")


@pytest.fixture(scope="module")
def speech() -> Callable[[int], Tensor]:
    wav, rate = soundfile.read(RECORDING, dtype="float32")
    return lambda target: torch.from_numpy(librosa.resample(wav, orig_sr=rate, target_sr=target))


def taught(
    vocoder: Vocoder, config: MelConfig, speech: Callable[[int], Tensor], frames: int = 60
) -> tuple[Vocoder, Tensor]:
    other = vocoder.with_mel(config)
    return other, other.mel(speech(config.sample_rate)[: frames * config.hop_length])


def distance(vocoder: Vocoder, wav: Tensor, mel: Tensor) -> float:
    """Mean difference in nepers, where there is anything."""
    there = mel > mel.min() + 0.1 * (mel.max() - mel.min())
    return float((vocoder.front_end.nepers(vocoder.mel(wav)) - vocoder.front_end.nepers(mel))[there].abs().mean())


@foreign
def test_a_mel_becomes_a_waveform_of_its_rate_that_has_it(config: MelConfig, vocoder: Vocoder, speech) -> None:
    other, mel = taught(vocoder, config, speech)
    assert (other.sample_rate, other.hop_length) == (config.sample_rate, config.hop_length)
    wav = other.synthesize(mel, consistency=30)
    assert wav.shape == (60 * config.hop_length,)
    assert distance(other, wav, mel) < 0.15
    assert distance(other, wav, mel) < 0.5 * distance(other, other.synthesize(mel, consistency=0), mel)


@foreign
@pytest.mark.parametrize("at", ["warm", "steps", "end"])
def test_a_stream_is_the_whole_bit_by_bit(config: MelConfig, at: str, vocoder: Vocoder, speech) -> None:
    other, mel = taught(vocoder, config, speech, 90)
    whole = other.synthesize(mel, consistency_at=at)
    assert len(list(other.stream([mel], consistency_at=at))) > 2
    for frames in (1, 7, 90):
        parts = list(mel.split(frames, dim=1))
        assert torch.equal(torch.cat(list(other.stream(parts, consistency_at=at))), whole)


@foreign
def test_without_iterations_at_the_end_it_streams_as_well(config: MelConfig, vocoder: Vocoder, speech) -> None:
    other, mel = taught(vocoder, config, speech, 90)
    whole = other.synthesize(mel, consistency=0)
    assert whole.shape == (90 * config.hop_length,)
    assert torch.equal(torch.cat(list(other.stream(list(mel.split(7, dim=1)), consistency=0))), whole)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_few_frames_are_a_mel_and_silence_is_silent(name: str, vocoder: Vocoder) -> None:
    other = vocoder.with_mel(name)
    wav = 0.05 * torch.randn(3 * other.hop_length, generator=torch.Generator().manual_seed(0))
    for frames in (1, 2, 3):
        made = other.synthesize(other.mel(wav[: frames * other.hop_length]))
        assert made.shape == (frames * other.hop_length,)
        assert bool(made.isfinite().all())
    silent = other.synthesize(other.mel(torch.zeros(20 * other.hop_length)), consistency=30)
    assert float(silent.abs().max()) < 1e-3


@foreign
def test_the_seed_alone_decides(config: MelConfig, vocoder: Vocoder, speech) -> None:
    other, mel = taught(vocoder, config, speech)
    assert torch.equal(other.synthesize(mel, seed=3), other.synthesize(mel, seed=3))
    assert not torch.equal(other.synthesize(mel, seed=3), other.synthesize(mel, seed=4))


@foreign
def test_a_callback_sees_waveforms_of_the_rate(config: MelConfig, vocoder: Vocoder, speech) -> None:
    other, mel = taught(vocoder, config, speech, 23)
    seen: list[tuple[int, torch.Size, torch.Size]] = []
    other.synthesize(torch.stack([mel, mel]), callback=lambda i, x, clean: seen.append((i, x.shape, clean.shape)))
    shape = (2, 23 * config.hop_length)
    assert seen == [(1, shape, shape), (0, shape, shape)]


@pytest.mark.parametrize("name", ["hifigan-22k", "speecht5-16k", "vocos-24k"])
def test_a_batch_is_one_by_one_bit_by_bit(name: str, packaged: Vocoder, speech) -> None:
    few = {"steps": 2, "consistency": 10}
    other, mel = taught(packaged, mel_preset(name), speech)
    mels = [mel, mel[:, :23], mel[:, 5:6], mel.flip(1)]
    alone = [other.synthesize(each, **few) for each in mels]
    together = other.synthesize_batch(mels, **few)
    stacked = other.synthesize(torch.stack([mel, mel.flip(1)]), **few)
    for ours, theirs in [*zip(together, alone, strict=True), (stacked[0], alone[0]), (stacked[1], alone[3])]:
        # On other kernels than the packaged ones batches round otherwise.
        exact = packaged.backend == "native"
        assert torch.equal(ours, theirs) if exact else ours.shape == theirs.shape


def test_the_packaged_network_streams_other_mels_bit_by_bit(packaged: Vocoder, speech) -> None:
    other, mel = taught(packaged, mel_preset("vocos-24k"), speech, 140)
    few = {"steps": 2, "consistency": 10}
    whole = other.synthesize(mel, **few)
    assert len(list(other.stream([mel], **few))) > 1
    assert torch.equal(torch.cat(list(other.stream(list(mel.split(13, dim=1)), **few))), whole)
    assert distance(other, whole, mel) < 0.15


@pytest.mark.parametrize("own", ["default", MelConfig(), CONVENTIONS["default"]], ids=["name", "config", "convention"])
def test_the_own_convention_by_any_name_changes_no_bit(own: Any, packaged: Vocoder, speech) -> None:
    mel = packaged.mel(speech(16000))[:, :60]
    named = Vocoder.from_pretrained(device="cpu", mel=own)
    assert torch.equal(named.mel(speech(16000))[:, :60], mel)
    assert torch.equal(named.synthesize(mel, steps=2), packaged.synthesize(mel, steps=2))
    assert torch.equal(packaged.with_mel(own).synthesize(mel, steps=2), packaged.synthesize(mel, steps=2))


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
def test_what_is_only_written_otherwise_sounds_the_same(written: dict, vocoder: Vocoder, speech) -> None:
    other, mel = taught(vocoder, replace(TINY.mel, **written), speech)
    expected = vocoder.synthesize(vocoder.mel(speech(16000)[: 60 * 256]))
    found = other.synthesize(mel)
    assert float((found - expected).abs().max()) < 5e-3 * float(expected.abs().max())
    streamed = torch.cat(list(other.stream(list(mel.split(7, dim=1)))))
    assert torch.equal(streamed, found)


def test_other_mels_leave_the_vocoder_as_it_was(vocoder: Vocoder, speech) -> None:
    mel = vocoder.mel(speech(16000)[: 60 * 256])
    before = vocoder.synthesize(mel)
    other = vocoder.with_mel("vocos-24k")
    assert other.network is vocoder.network
    assert vocoder.front_end.config == TINY.mel
    assert other.config.mel == TINY.mel
    assert other.front_end.config == mel_preset("vocos-24k")
    assert torch.equal(vocoder.synthesize(mel), before)
    assert torch.equal(other.with_mel(TINY.mel).synthesize(mel), before)


def test_what_the_network_cannot_hear_is_the_mels(vocoder: Vocoder, speech) -> None:
    other, mel = taught(vocoder, mel_preset("bigvgan-44k"), speech)
    hiss = mel.clone()
    hiss[100:] += 3  # above 8 kHz
    wavs = [other.synthesize(each, consistency=0) for each in (mel, hiss)]
    high, low = ([float(other.mel(wav)[rows].mean()) for wav in wavs] for rows in (slice(105, 128), slice(5, 80)))
    assert high[1] > high[0] + 1
    assert abs(low[1] - low[0]) < 0.3
    assert any("8000 Hz" in note for note in other.notes)
    assert vocoder.notes == []


@pytest.mark.parametrize("rates", [(22050, 256), (24000, 480), (11025, 128), (16000, 200)])
def test_a_window_down_and_up_again_is_as_it_was(rates: tuple[int, int]) -> None:
    rate, hop = rates
    theirs = MelConfig(sample_rate=rate, hop_length=hop, f_max=rate / 2)
    window = Window(theirs, TINY.mel, 7 * hop, 107 * hop)
    time = (torch.arange(7 * hop, 107 * hop) / rate).double()
    wav = (torch.sin(2000 * time) + torch.sin(15000 * time)).float().unsqueeze(0)
    narrow = window.down(wav)
    assert narrow.shape[1] == (window.last_frame - window.first_frame) * 256
    assert window.first_frame * 256 / 16000 <= 7 * hop / rate
    assert window.last_frame * 256 / 16000 >= 107 * hop / rate
    again = window.up(narrow)
    assert again.shape == wav.shape
    assert float((again - wav)[:, 500:-500].abs().max()) < 5e-3


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (MelConfig(sample_rate=7999, f_max=3999), "expected 8000 to 192000 Hz; got 7999"),
        (MelConfig(hop_length=513), "expected a hop of at most half the window; got 513 and 1024 samples"),
    ],
    ids=["rate", "hop"],
)
def test_what_cannot_be_spoken_is_refused(config: MelConfig, said: str, vocoder: Vocoder) -> None:
    with pytest.raises(ConfigError, match=said):
        vocoder.with_mel(config)
    check_speakable(CONVENTIONS["bigvgan-44k"])


@pytest.mark.parametrize(
    ("mel", "said"),
    [
        (torch.zeros(80, 20), r"expected a mel \[100 bands, frames\] of vocos-24k: 24000 Hz"),
        (torch.zeros(20, 100), r"transposed\?"),
        (torch.full((100, 20), torch.nan), "NaN"),
        (torch.full((100, 20), 80.0), "another logarithm"),
    ],
)
def test_mels_are_checked_as_the_convention_has_them(mel: Tensor, said: str, vocoder: Vocoder) -> None:
    other = vocoder.with_mel("vocos-24k")
    for speak in (
        other.synthesize,
        lambda given: other.synthesize_batch([given, given]),
        lambda m: list(other.stream([m])),
    ):
        with pytest.raises(ValueError, match=said):
            speak(mel)


def test_a_network_of_standardised_mels_survives_its_checkpoint(tmp_path: Path, speech) -> None:
    mel = replace(TINY.mel, mean=WRITTEN["each band its own"]["mean"], scale=(2.0,), log="log2", floor_added=True)
    config = replace(TINY, mel=mel)
    network = DiffWave(config)
    random_weights(network)
    checkpoint = Checkpoint(config, network.state_dict())
    save_checkpoint(tmp_path / "mine", checkpoint)
    again = load_checkpoint(tmp_path / "mine")
    assert again.config == config
    one, two = (Vocoder(each, "cpu", backend="reference") for each in (checkpoint, again))
    mel_of = one.mel(speech(16000)[: 30 * 256])
    assert torch.equal(one.synthesize(mel_of), two.synthesize(mel_of))


def test_memory_of_a_stream_does_not_depend_on_its_length(vocoder: Vocoder, speech) -> None:
    """What is kept between blocks: a tail, as long after many blocks as after two."""
    other, mel = taught(vocoder, mel_preset("hifigan-22k"), speech)
    synthesis = other._synthesis(AS_TRAINED)
    held: list[int] = []
    original = type(synthesis)._extend

    def watched(self: Any, waveforms: Any, blocks: Any, windows: Any) -> None:
        original(self, waveforms, blocks, windows)
        held.append(sum(w.tail.numel() + sum(p.numel() for p in w.pieces) for w in waveforms))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(synthesis), "_extend", watched)
        for _ in other.stream([mel] * 6):
            pass
    assert len(held) > 6
    assert max(held[2:-1]) == min(held[2:-1])
