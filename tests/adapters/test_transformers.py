"""transformers' SpeechT5 with random weights speaks through us, by its own code."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("transformers", reason="pip install 'diffwave-vocoder[tts]'")
sentencepiece = pytest.importorskip("sentencepiece", reason="SpeechT5's tokenizer needs it")

from transformers import (
    FastSpeech2ConformerConfig,
    FastSpeech2ConformerHifiGanConfig,
    FastSpeech2ConformerWithHifiGan,
    FastSpeech2ConformerWithHifiGanConfig,
    SpeechT5Config,
    SpeechT5FeatureExtractor,
    SpeechT5ForTextToSpeech,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
    SpeechT5Tokenizer,
    pipeline,
)

from diffwave.adapters import MelConvention, TransformersVocoder, mel_convention, speecht5_convention
from diffwave.config import MelConfig, mel_preset
from diffwave.mel.spectrogram import MelSpectrogram
from diffwave.vocoder import Vocoder
from tiny import tiny_vocoder

HOP = 256
TEXT = "the cat sat"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> SpeechT5Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    text = folder / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 20)
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(folder / "spm"), model_type="char", vocab_size=32, bos_id=0, pad_id=1,
        eos_id=2, unk_id=3, minloglevel=2,
    )  # fmt: skip
    return SpeechT5Tokenizer(str(folder / "spm.model"))


@pytest.fixture(scope="module")
def model(tokenizer: SpeechT5Tokenizer) -> SpeechT5ForTextToSpeech:
    torch.manual_seed(0)
    config = SpeechT5Config(
        vocab_size=len(tokenizer), hidden_size=32, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=32,
        decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=32, speaker_embedding_dim=8,
        speech_decoder_prenet_units=16, speech_decoder_postnet_units=16, speech_decoder_postnet_layers=2,
        speech_decoder_prenet_dropout=0.0, max_speech_positions=200, max_text_positions=200,
    )  # fmt: skip
    model = SpeechT5ForTextToSpeech(config).eval()
    # Random weights around the level of speech, in log10.
    with torch.no_grad():
        model.speech_decoder_postnet.feat_out.bias.copy_(torch.linspace(-1.5, -3.5, 160))
    return model


@pytest.fixture(scope="module")
def own() -> Vocoder:
    """A vocoder whose own mels are SpeechT5's."""
    return tiny_vocoder(mel_preset("speecht5-16k"))


@pytest.fixture(scope="module")
def other() -> Vocoder:
    """One for the packaged mels."""
    return tiny_vocoder(MelConfig())


SPEAKER = torch.linspace(-1, 1, 8).unsqueeze(0)


def spoken(model: SpeechT5ForTextToSpeech, ids: torch.Tensor, vocoder: object = None) -> torch.Tensor:
    return model.generate_speech(ids, SPEAKER, minlenratio=3.0, maxlenratio=4.0, vocoder=vocoder)


def test_speecht5_speaks_through_a_model_of_its_own_convention(model, tokenizer, own: Vocoder) -> None:
    ids = tokenizer(TEXT, return_tensors="pt").input_ids
    mel = spoken(model, ids)  # [F, M]
    assert mel.shape[1] == 80
    assert mel.shape[0] > 30
    wav = spoken(model, ids, TransformersVocoder(own))
    assert wav.shape == (mel.shape[0] * HOP,)
    torch.testing.assert_close(wav, own.synthesize(mel.t()), rtol=0, atol=0)


def test_speecht5_speaks_through_a_network_of_other_mels(model, tokenizer, other: Vocoder) -> None:
    ids = tokenizer(TEXT, return_tensors="pt").input_ids
    wav = spoken(model, ids, TransformersVocoder(other))
    mel = spoken(model, ids).t()
    torch.testing.assert_close(wav, other.with_mel("speecht5-16k").synthesize(mel), rtol=0, atol=0)
    # What a wrong base would give is something else.
    assert float((wav - other.with_mel("speecht5-16k").synthesize(mel / 2)).abs().max()) > 1e-3


def test_a_batch_is_silent_behind_each_end(model, tokenizer, own: Vocoder) -> None:
    batch = tokenizer([TEXT, "cat"], padding=True, return_tensors="pt")
    speakers = SPEAKER.expand(2, -1)
    arguments = {"attention_mask": batch.attention_mask, "minlenratio": 2.0, "maxlenratio": 3.0, "threshold": 0.4}
    mels, frames = model.generate_speech(batch.input_ids, speakers, return_output_lengths=True, **arguments)
    # Random weights stop where they like; another end is made for the second.
    vocoder = TransformersVocoder(own)
    wavs, samples = model.generate_speech(
        batch.input_ids, speakers, vocoder=vocoder, return_output_lengths=True, **arguments
    )
    assert samples == [count * HOP for count in frames]
    mels[1, 5:] = 0  # as pad_sequence leaves it
    wavs = vocoder(mels)
    assert wavs.shape == (2, mels.shape[1] * HOP)
    torch.testing.assert_close(wavs[1, : 5 * HOP], own.synthesize(mels[1, :5].t()), rtol=1e-4, atol=1e-5)
    assert bool((wavs[1, 5 * HOP :] == 0).all())


def test_the_pipeline_speaks(model, tokenizer, own: Vocoder) -> None:
    speak = pipeline("text-to-audio", model=model, tokenizer=tokenizer, vocoder=TransformersVocoder(own))
    model.generation_config.max_length = 200
    out = speak(TEXT, forward_params={"speaker_embeddings": SPEAKER, "minlenratio": 3.0, "maxlenratio": 4.0})
    mel = spoken(model, tokenizer(TEXT, return_tensors="pt").input_ids)
    assert out["sampling_rate"] == 16000
    np.testing.assert_array_equal(out["audio"], own.synthesize(mel.t()).numpy())


def test_shapes_are_those_of_speecht5_hifigan(own: Vocoder) -> None:
    config = SpeechT5HifiGanConfig(upsample_initial_channel=32, normalize_before=False)
    theirs, ours = SpeechT5HifiGan(config), TransformersVocoder(own)
    for mel in (torch.full((20, 80), -3.0), torch.full((2, 20, 80), -3.0)):
        assert theirs(mel).shape == ours(mel).shape
    assert theirs.config.sampling_rate == ours.config.sampling_rate
    assert theirs.config.model_in_dim == ours.config.model_in_dim


def test_the_preset_is_what_the_feature_extractor_makes() -> None:
    extractor = SpeechT5FeatureExtractor()
    assert speecht5_convention(extractor).mel == mel_convention("speecht5-16k").mel
    wav = torch.randn(HOP * 40, generator=torch.Generator().manual_seed(0)) * 0.1
    theirs = torch.tensor(
        extractor(audio_target=wav.numpy(), sampling_rate=16000, return_tensors="np").input_values[0]
    )  # [F, M], with librosa's extra frame
    ours = MelSpectrogram(mel_preset("speecht5-16k"))(wav.unsqueeze(0))[0]
    assert theirs.shape == (41, 80)
    torch.testing.assert_close(theirs[:40].t(), ours, rtol=0, atol=1e-3)


def test_standardised_mels_are_undone_with_the_vocoders_statistics(own: Vocoder) -> None:
    hifigan = SpeechT5HifiGan(SpeechT5HifiGanConfig(upsample_initial_channel=32))
    hifigan.mean.copy_(torch.linspace(-1, -4, 80))
    hifigan.scale.copy_(torch.linspace(0.5, 1.5, 80))
    mel = torch.randn(20, 80, generator=torch.Generator().manual_seed(0)) - 3
    convention: MelConvention = mel_convention("speecht5-16k").with_statistics(hifigan.mean, hifigan.scale)
    ours = TransformersVocoder(own, convention, on_doubt="warn")
    wav = ours((mel - hifigan.mean) / hifigan.scale)
    torch.testing.assert_close(wav, own.synthesize(mel.t()), rtol=1e-4, atol=1e-4)


def test_fastspeech2_conformer_has_us_as_its_vocoder(other: Vocoder) -> None:
    torch.manual_seed(0)
    small = FastSpeech2ConformerConfig(
        vocab_size=20, hidden_size=32, encoder_layers=1, encoder_linear_units=32, encoder_num_attention_heads=2,
        decoder_layers=1, decoder_linear_units=32, decoder_num_attention_heads=2, speech_decoder_postnet_layers=1,
        speech_decoder_postnet_units=32, duration_predictor_channels=16, pitch_predictor_channels=16,
        energy_predictor_channels=16, pitch_predictor_layers=1, energy_predictor_layers=1,
    )  # fmt: skip
    hifigan = FastSpeech2ConformerHifiGanConfig(upsample_initial_channel=16)
    model = FastSpeech2ConformerWithHifiGan(
        FastSpeech2ConformerWithHifiGanConfig(model_config=small.to_dict(), vocoder_config=hifigan.to_dict())
    )
    with torch.no_grad():
        model.model.duration_predictor.linear.bias.fill_(1.5)  # some frames for every letter
    # Its mels are as standardised as ESPnet's are.
    convention = mel_convention("espnet-22k").with_statistics(torch.linspace(-1, -3, 80), 0.7)
    model.vocoder = TransformersVocoder(other, convention, on_doubt="warn")
    model = model.eval().to("cpu")
    with torch.no_grad():
        out = model(torch.arange(1, 9)[None], return_dict=True)
    assert out.spectrogram.shape[1] >= 8
    assert out.waveform.shape == (1, out.spectrogram.shape[1] * HOP)
    expected = other.with_mel(convention).synthesize(out.spectrogram.transpose(1, 2))
    torch.testing.assert_close(out.waveform, expected, rtol=0, atol=0)
