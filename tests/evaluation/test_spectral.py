"""Spectral distances against closed forms, other implementations, and themselves on other paths."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffwave.evaluation import spectral
from diffwave.evaluation.spectral import MEL, NAMES, spectral_scores
from diffwave.mel.spectrogram import MelSpectrogram, mel_filterbank


@pytest.fixture(scope="module")
def filters() -> np.ndarray:
    return mel_filterbank(MEL).numpy()


@pytest.fixture(scope="module")
def pair(clips, noisy) -> tuple[np.ndarray, np.ndarray]:
    return clips[1], 0.7 * noisy(clips[1])


def scores(reference: np.ndarray, estimate: np.ndarray, filters: np.ndarray) -> dict[str, float]:
    return {name: float(value[0]) for name, value in spectral_scores([reference], [estimate], filters).items()}


def test_identical_signals_have_distance_zero_in_every_score(clips, filters):
    found = scores(clips[0], clips[0], filters)
    assert set(found) == set(NAMES)
    assert all(abs(value) < 1e-6 for value in found.values())


def test_mr_stft_equals_auraloss_in_double_precision(pair, filters):
    auraloss = pytest.importorskip("auraloss")
    loss = auraloss.freq.MultiResolutionSTFTLoss()
    for resolution in loss.stft_losses:
        resolution.window = torch.hann_window(resolution.win_length, dtype=torch.float64)
    reference, estimate = (torch.from_numpy(wav).double()[None, None] for wav in pair)
    expected = float(loss(estimate, reference))
    assert scores(*pair, filters)["mr_stft"] == pytest.approx(expected, rel=1e-5)
    assert expected > 0.5


def test_log_mel_is_the_distance_of_the_vocoders_own_mels(pair, filters):
    whole = len(pair[0]) // 256 * 256
    mels = [MelSpectrogram(MEL)(torch.from_numpy(wav[:whole])[None])[0] for wav in pair]
    expected = float((mels[0] - mels[1]).abs().mean())
    assert scores(*pair, filters)["log_mel"] == pytest.approx(expected, rel=1e-5)


def test_mcd_is_the_formula_with_scipys_cosine_transform(pair, filters):
    from scipy.fft import dct

    whole = len(pair[0]) // 256 * 256
    mels = [MelSpectrogram(MEL)(torch.from_numpy(wav[:whole])[None])[0].double().numpy() for wav in pair]
    cepstra = [dct(mel, type=2, norm="ortho", axis=0)[1:14] for mel in mels]
    distance = 10 / np.log(10) * np.sqrt(2 * np.sum((cepstra[0] - cepstra[1]) ** 2, axis=0))
    assert scores(*pair, filters)["mcd_mel13"] == pytest.approx(distance.mean(), rel=1e-5)


@pytest.mark.parametrize("gain", [-20.0, -3.0, 6.0])
def test_a_gain_is_the_log_spectral_distance_in_decibel(gain, filters):
    noise = 0.1 * np.random.default_rng(1).standard_normal(16000).astype(np.float32)
    found = scores(noise, (noise * 10 ** (gain / 20)).astype(np.float32), filters)
    assert found["lsd"] == pytest.approx(abs(gain), rel=1e-4)
    assert found["log_mel"] == pytest.approx(abs(gain) * np.log(10) / 20, rel=1e-3)
    assert found["mcd_mel13"] < 0.02  # a gain moves coefficient 0 alone


@pytest.mark.parametrize("gain", [0.05, -1.0, 3.0])
def test_the_aligned_distance_does_not_see_gain_or_polarity(pair, gain, filters):
    found = scores(pair[0], pair[1] * np.float32(gain), filters)
    assert found["mr_stft_aligned"] == pytest.approx(scores(*pair, filters)["mr_stft_aligned"], rel=1e-4)
    if gain != -1.0:
        assert found["mr_stft"] != pytest.approx(scores(*pair, filters)["mr_stft"], rel=1e-2)


def test_torch_and_numpy_agree_in_a_batch_of_different_lengths(clips, noisy, filters):
    references = [clips[0], clips[1], clips[0][:5000], clips[1][3000:20001], clips[0][:700]]
    estimates = [noisy(wav, 0.01, seed) for seed, wav in enumerate(references)]
    alone = [scores(*both, filters) for both in zip(references, estimates, strict=True)]
    tensors = [[torch.from_numpy(wav) for wav in side] for side in (references, estimates)]
    for name, values in spectral_scores(*tensors, torch.from_numpy(filters)).items():
        assert values.tolist() == pytest.approx([row[name] for row in alone], rel=2e-5), name
    for name, values in spectral_scores(references, estimates, filters).items():
        assert values.tolist() == pytest.approx([row[name] for row in alone], rel=2e-5), name


def test_blocks_do_not_change_the_scores_of_long_audio(pair, filters, monkeypatch):
    expected = scores(*pair, filters)
    for block in (1, 17, 100):
        monkeypatch.setattr(spectral, "_BLOCK", block)
        assert scores(*pair, filters) == pytest.approx(expected, rel=1e-5)


def test_scores_move_with_the_amount_of_noise(clips, noisy, filters):
    rows = [scores(clips[0], noisy(clips[0], level), filters) for level in (0.001, 0.01, 0.1)]
    for name in NAMES:
        assert rows[0][name] < rows[1][name] < rows[2][name], name


def test_silence_has_finite_distances(clips, filters):
    silence = np.zeros_like(clips[0])
    for reference, estimate in ((silence, clips[0]), (clips[0], silence), (silence, silence)):
        assert all(np.isfinite(value) for value in scores(reference, estimate, filters).values())


def test_less_than_a_frame_is_refused(filters):
    with pytest.raises(ValueError, match="256 samples"):
        spectral_scores([np.ones(255, np.float32)], [np.ones(255, np.float32)], filters)
