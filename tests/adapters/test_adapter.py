"""What all adapters share: any convention is spoken, at its own rate, and nothing is silently wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
import torch

from diffwave.adapters import (
    CONVENTIONS,
    EspnetVocoder,
    HifiGanVocoder,
    MelConvention,
    MelValueError,
    SpeechBrainVocoder,
    VocosVocoder,
    mel_convention,
)
from diffwave.config import ConfigError, MelConfig
from diffwave.mel.spectrogram import MelWarning
from diffwave.vocoder import Vocoder
from tiny import tiny_vocoder

OURS = MelConfig()
SPEECH = Path(__file__).parent.parent / "data" / "403-126855-0000.flac"


@pytest.fixture(scope="module")
def vocoder() -> Vocoder:
    return tiny_vocoder(OURS)


def some_mel(adapter: HifiGanVocoder, frames: int = 24) -> torch.Tensor:
    """Of swelling noise, with the axes of the convention, ``[1, ...]``."""
    wav = torch.randn(frames * adapter.hop_length, generator=torch.Generator().manual_seed(0))
    mel = adapter.vocoder.mel(wav * torch.linspace(0, 0.1, len(wav))).unsqueeze(0)
    return mel.transpose(1, 2) if adapter.convention.axes == "frames-first" else mel


@pytest.mark.parametrize("name", CONVENTIONS)
def test_every_named_convention_is_spoken_at_its_own_rate(vocoder: Vocoder, name: str) -> None:
    adapter = HifiGanVocoder(vocoder, name, steps=1)
    mel = some_mel(adapter)
    wav = adapter(mel)
    assert adapter.sample_rate == CONVENTIONS[name].mel.sample_rate
    assert wav.shape == (1, 1, 24 * adapter.hop_length)
    first = mel.transpose(1, 2) if CONVENTIONS[name].axes == "frames-first" else mel
    assert torch.equal(wav[0], vocoder.with_mel(name).synthesize(first, steps=1))


def test_the_networks_own_convention_is_synthesized_to_the_bit(vocoder: Vocoder) -> None:
    adapter = HifiGanVocoder(vocoder, "default")
    mel = some_mel(adapter)
    assert torch.equal(adapter(mel)[:, 0], vocoder.synthesize(mel))
    assert adapter.notes == []


@pytest.mark.parametrize("name", ["default", "hifigan-22k", "espnet-16k"])
def test_a_stream_is_the_whole(vocoder: Vocoder, name: str) -> None:
    adapter = HifiGanVocoder(vocoder, name, consistency=2)
    mel = some_mel(adapter, 60)
    axis = 1 if adapter.convention.axes == "frames-first" else 2
    parts = [part[0] if i % 2 else part for i, part in enumerate(torch.split(mel, 13, dim=axis))]
    torch.testing.assert_close(torch.cat(list(adapter.stream(parts))), adapter(mel)[0, 0], rtol=0, atol=0)
    with pytest.raises(MelValueError, match=f"expected one {name} mel; got a batch of 2"):
        list(adapter.stream([mel.expand(2, -1, -1)]))


@pytest.mark.parametrize("name", ["hifigan-16k", "hifigan-22k", "matcha-22k", "speecht5-16k"])
def test_a_mel_of_zeros_is_silence(name: str) -> None:
    """As the denoisers of WaveGlow and Matcha-TTS ask what a vocoder adds of its own."""
    adapter = HifiGanVocoder(Vocoder.from_pretrained(device="cpu"), name)
    shape = (1, 20, 80) if adapter.convention.axes == "frames-first" else (1, 80, 20)
    assert float(adapter(torch.zeros(shape)).abs().max()) < 1e-3


def test_beside_a_mel_of_zeros_others_are_as_they_were(vocoder: Vocoder) -> None:
    adapter = HifiGanVocoder(vocoder, "default")
    mel = some_mel(adapter)
    wavs = adapter(torch.cat([mel, torch.zeros_like(mel)]))
    torch.testing.assert_close(wavs[:1], adapter(mel), rtol=1e-4, atol=1e-5)


def test_it_is_a_module_that_stays_where_it_is(vocoder: Vocoder) -> None:
    adapter = HifiGanVocoder(vocoder, "default")
    whole = torch.nn.ModuleDict({"vocoder": adapter})
    assert next(whole.parameters()).device == adapter.device
    assert whole.eval().to("cpu").half()["vocoder"] is adapter
    assert next(adapter.parameters()).dtype == torch.float32
    for part in (adapter, whole):
        with pytest.raises(ValueError, match="expected device cpu, where the vocoder was loaded; got meta: load it"):
            part.to("meta")


def test_a_device_that_is_not_there_is_refused(vocoder: Vocoder) -> None:
    if torch.cuda.is_available():
        pytest.skip("it is there")
    with pytest.raises(ValueError, match="expected device cpu, where the vocoder was loaded; got one that is not"):
        HifiGanVocoder(vocoder, "default").to("cuda")


def test_a_batch_is_refused_where_one_mel_is_expected(vocoder: Vocoder) -> None:
    batch = torch.full((2, 80, 4), -5.0)
    with pytest.raises(MelValueError, match=r"expected default mels .*; got shape \[1, 2, 80, 4\]"):
        SpeechBrainVocoder(vocoder, OURS).decode_spectrogram(batch)
    with pytest.raises(MelValueError, match=r"got shape \[1, 2, 4, 80\]"):
        EspnetVocoder(vocoder, MelConvention(OURS, axes="frames-first"))(batch.transpose(1, 2))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda mel: (mel * 100).short(), r"\[80 bands, frames\], ln, a tensor of floats; got torch\.int16"),
        (lambda mel: mel.numpy(), "a tensor of floats; got ndarray"),
        (lambda mel: mel.transpose(1, 2), r"got shape \[1, 24, 80\] \(transposed\?\)"),
        (lambda mel: mel[0, 0], r"got shape \[24\]"),
        (lambda mel: mel[:0], r"got shape \[0, 80, 24\]"),
        (lambda mel: mel[..., :0], "got no frames"),
    ],
)
def test_what_is_no_mel_is_refused(vocoder: Vocoder, spoil, said: str) -> None:
    adapter = HifiGanVocoder(vocoder, "hifigan-22k")
    with pytest.raises(MelValueError, match=f"expected .*hifigan-22k.*{said}"):
        adapter(spoil(some_mel(adapter)))


def test_doubt_can_be_a_warning(vocoder: Vocoder) -> None:
    wav, _ = soundfile.read(SPEECH, dtype="float32")
    good = vocoder.mel(torch.from_numpy(wav[: 256 * 100])).unsqueeze(0)
    given = torch.cat([good, good / 2.3026])  # one bad example of a batch is caught
    said = "of hifigan-16k: .*they would be speech as log10"
    with pytest.raises(MelValueError, match=rf'{said} \(on_doubt="warn" lets it pass\)'):
        HifiGanVocoder(vocoder, "hifigan-16k")(given)
    with pytest.warns(MelWarning, match=said) as caught:
        wavs = HifiGanVocoder(vocoder, "hifigan-16k", on_doubt="warn")(given)
    assert len(caught) == 1
    assert wavs.shape == (2, 1, 256 * 100)


def test_a_stream_is_judged_alike(vocoder: Vocoder) -> None:
    wav, _ = soundfile.read(SPEECH, dtype="float32")
    mel = vocoder.mel(torch.from_numpy(wav[: 256 * 100])) / 2.3026
    parts = list(mel.split(30, dim=1))
    with pytest.raises(MelValueError, match=r'speech as log10 \(on_doubt="warn" lets it pass\)'):
        list(HifiGanVocoder(vocoder, "hifigan-16k").stream(parts))
    with pytest.warns(MelWarning, match="speech as log10"):
        pieces = list(HifiGanVocoder(vocoder, "hifigan-16k", on_doubt="warn").stream(parts))
    assert sum(map(len, pieces)) == 256 * 100
    for wrong in (parts[0].t(), parts[0] + 30):
        with pytest.raises(MelValueError, match="expected"):
            list(HifiGanVocoder(vocoder, "hifigan-16k").stream([wrong]))


def test_a_convention_that_cannot_be_is_refused(vocoder: Vocoder) -> None:
    with pytest.raises(ConfigError, match="got 'hifigan'; did you mean hifigan-"):
        HifiGanVocoder(vocoder, "hifigan")
    with pytest.raises(ConfigError, match="expected a hop of at most half the window"):
        VocosVocoder(vocoder, MelConfig(hop_length=1000))


def test_the_vocoders_own_choice_goes_before_the_usual_one(vocoder: Vocoder) -> None:
    assert VocosVocoder(vocoder).convention == mel_convention("vocos-24k")
    assert VocosVocoder(vocoder.with_mel("f5-tts-24k")).convention == mel_convention("f5-tts-24k")
    assert VocosVocoder(vocoder.with_mel("f5-tts-24k"), "10ms").convention == mel_convention("10ms")


def test_impossible_settings_are_refused_at_once(vocoder: Vocoder) -> None:
    with pytest.raises(ValueError, match="steps"):
        HifiGanVocoder(vocoder, "hifigan-16k", steps=0)
    with pytest.raises(ValueError, match="consistency"):
        HifiGanVocoder(vocoder, "hifigan-16k", consistency=-1)
    with pytest.raises(ConfigError, match="on_doubt must be one of refuse, warn; got 'ignore'"):
        HifiGanVocoder(vocoder, "hifigan-16k", on_doubt="ignore")


def test_steps_seed_and_consistency_reach_the_vocoder(vocoder: Vocoder) -> None:
    mel = torch.randn(1, 80, 10, generator=torch.Generator().manual_seed(0)) * 1.5 - 5
    adapter = HifiGanVocoder(vocoder, "hifigan-16k", steps=3, seed=7, consistency=2)
    expected = vocoder.synthesize(mel, steps=3, seed=7, consistency=2).unsqueeze(1)
    torch.testing.assert_close(adapter(mel), expected, rtol=0, atol=0)
    assert not torch.allclose(adapter(mel), HifiGanVocoder(vocoder, "hifigan-16k", steps=3, consistency=2)(mel))
