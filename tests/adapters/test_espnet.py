"""ESPnet's Text2Speech with random weights speaks through us, by its own code.

ESPnet pins what it needs so tightly that it goes into a folder of its own: ``test_peers.py`` makes one and runs this
file there.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("espnet2.bin.tts_inference", reason="tests/adapters/test_peers.py installs espnet apart")
yaml = pytest.importorskip("yaml")

from espnet2.bin.tts_inference import Text2Speech
from espnet2.tasks.tts import TTSTask

from diffwave.adapters import EspnetVocoder, espnet_convention, mel_convention, read_statistics
from diffwave.config import ConfigError, MelConfig
from diffwave.mel.spectrogram import MelSpectrogram
from tiny import tiny_vocoder

HOP = 256
TOKENS = ["<blank>", "<unk>", *"abcdefghijklmnopqrstuvwxyz ", "<sos/eos>"]
MEAN, SCALE = np.linspace(-1.5, -3.5, 80), np.linspace(0.5, 1.2, 80)


@pytest.fixture(scope="module")
def text2speech(tmp_path_factory: pytest.TempPathFactory) -> Text2Speech:
    folder = tmp_path_factory.mktemp("espnet")
    count = 100
    stats = folder / "feats_stats.npz"
    np.savez(
        stats, count=count, sum=(MEAN * count).astype("f4"), sum_square=((SCALE**2 + MEAN**2) * count).astype("f4")
    )
    settings: dict[str, Any] = TTSTask.get_default_config()
    small = {
        "adim": 16, "aheads": 2, "elayers": 1, "eunits": 16, "dlayers": 1, "dunits": 16, "postnet_layers": 0,
        "duration_predictor_layers": 1, "duration_predictor_chans": 16,
    }  # fmt: skip
    settings |= {
        "token_list": TOKENS, "token_type": "char", "cleaner": None, "g2p": None, "feats_extract": "fbank",
        "feats_extract_conf": {"fs": 16000}, "normalize": "global_mvn", "normalize_conf": {"stats_file": str(stats)},
        "tts": "fastspeech", "tts_conf": small, "odim": None,
        "pitch_extract": None, "energy_extract": None, "pitch_normalize": None, "energy_normalize": None,
    }  # fmt: skip
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(settings))
    torch.manual_seed(0)
    result = Text2Speech(config)
    with torch.no_grad():
        # Some frames for every letter.
        result.tts.duration_predictor.linear.bias.fill_(math.log(4.0))
    return result


@pytest.fixture(scope="module")
def statistics(text2speech: Text2Speech) -> Path:
    return Path(text2speech.normalize.stats_file)


OWN = mel_convention("espnet-16k").mel


def test_text2speech_speaks_through_a_model_of_its_own_convention(text2speech: Text2Speech) -> None:
    own = tiny_vocoder(OWN)
    text2speech.vocoder = EspnetVocoder(own, espnet_convention(text2speech.feats_extract))
    text2speech.prefer_normalized_feats = False
    out = text2speech("hello world")
    assert text2speech.fs == 16000
    mel = out["feat_gen_denorm"]  # [F, M]
    assert mel.shape[1] == 80
    assert out["wav"].shape == (mel.shape[0] * HOP,)
    # GlobalMVN's inverse is in float32, ours is to the bit.
    torch.testing.assert_close(out["wav"], own.synthesize(mel.t()), rtol=0, atol=0)


def test_text2speech_speaks_through_a_network_of_other_mels(text2speech: Text2Speech) -> None:
    other = tiny_vocoder(MelConfig())
    text2speech.vocoder = EspnetVocoder(other)
    text2speech.prefer_normalized_feats = False
    out = text2speech("hello world")
    expected = other.with_mel("espnet-16k").synthesize(out["feat_gen_denorm"].t())
    torch.testing.assert_close(out["wav"], expected, rtol=1e-4, atol=1e-5)


def test_normalised_features_are_undone(text2speech: Text2Speech, statistics: Path) -> None:
    own = tiny_vocoder(OWN)
    text2speech.prefer_normalized_feats = True
    waves = []
    for convention in (
        espnet_convention(text2speech.feats_extract, text2speech.normalize),
        mel_convention("espnet-16k").with_statistics(*read_statistics(statistics)),
    ):
        text2speech.vocoder = EspnetVocoder(own, convention)
        out = text2speech("hello world")
        assert not torch.allclose(out["feat_gen"], out["feat_gen_denorm"])
        torch.testing.assert_close(out["wav"], own.synthesize(out["feat_gen_denorm"].t()), rtol=1e-4, atol=1e-4)
        waves.append(out["wav"])
    torch.testing.assert_close(waves[0], waves[1], rtol=1e-4, atol=1e-4)


def test_parallel_wavegans_inference(text2speech: Text2Speech) -> None:
    own = tiny_vocoder(OWN)
    vocoder = EspnetVocoder(own)
    mel = torch.randn(20, 80, generator=torch.Generator().manual_seed(0)) * 0.6 - 2.5
    expected = own.synthesize(mel.t()).unsqueeze(1)
    for given in (mel, mel.numpy()):
        torch.testing.assert_close(vocoder.inference(given, normalize_before=True), expected, rtol=0, atol=0)
    standardised = EspnetVocoder(own, mel_convention("espnet-16k").with_statistics(MEAN, SCALE))
    given = (mel - torch.tensor(MEAN)) / torch.tensor(SCALE)
    torch.testing.assert_close(standardised.inference(given), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="normalize_before: expected mels that are standardised"):
        standardised.inference(mel, normalize_before=True)


def test_the_preset_is_what_the_extractor_makes(text2speech: Text2Speech) -> None:
    assert espnet_convention(text2speech.feats_extract).mel == OWN
    wav = 0.1 * torch.randn(1, HOP * 30, generator=torch.Generator().manual_seed(0))
    theirs = text2speech.feats_extract(wav)[0][0]  # [F, M], with librosa's extra frame
    torch.testing.assert_close(theirs[:30].t(), MelSpectrogram(OWN)(wav)[0], rtol=0, atol=1e-3)


def test_an_extractor_of_something_else_is_refused(text2speech: Text2Speech) -> None:
    with pytest.raises(ConfigError, match="expected ESPnet's LogMelFbank; got GlobalMVN"):
        espnet_convention(text2speech.normalize)
