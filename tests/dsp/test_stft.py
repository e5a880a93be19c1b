from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffwave.dsp.stft import FrameGeometry, istft, stft

# (n_fft, hop, win)
SIZES = [(1024, 256, 1024), (512, 128, 512), (1024, 256, 800), (800, 200, 800), (1200, 300, 1200), (2048, 320, 1280)]
FRAMINGS = ["hop", "centre"]


def white(samples: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(2, samples, generator=torch.Generator().manual_seed(samples), dtype=dtype)


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("frames", [1, 2, 9, 40])
def test_there_is_one_frame_for_each_hop_and_the_inverse_is_exact(
    size: tuple[int, int, int], framing: str, frames: int
) -> None:
    geometry = FrameGeometry(*size, framing)
    wav = white(frames * geometry.hop_length)
    spectrum = stft(wav, geometry)
    assert spectrum.shape == (2, geometry.n_fft // 2 + 1, frames)
    assert sum(geometry.padding) == geometry.n_fft - geometry.hop_length
    back = istft(spectrum, geometry)
    assert back.shape == wav.shape
    torch.testing.assert_close(back, wav, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_hop_framing_equals_librosa_with_hifigan_padding(size: tuple[int, int, int]) -> None:
    geometry = FrameGeometry(*size, "hop")
    wav = white(20 * geometry.hop_length, torch.float64)
    padding = (geometry.n_fft - geometry.hop_length) // 2
    for row in range(2):
        padded = np.pad(wav[row].numpy(), padding, mode="reflect")
        expected = librosa.stft(padded, n_fft=size[0], hop_length=size[1], win_length=size[2], center=False)
        np.testing.assert_allclose(stft(wav, geometry)[row].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_centre_framing_equals_librosa_without_its_last_frame(size: tuple[int, int, int]) -> None:
    geometry = FrameGeometry(*size, "centre")
    wav = white(20 * geometry.hop_length, torch.float64)
    expected = librosa.stft(
        wav[0].numpy(), n_fft=size[0], hop_length=size[1], win_length=size[2], center=True, pad_mode="reflect"
    )
    ours = stft(wav, geometry)[0].numpy()
    np.testing.assert_allclose(ours, expected[:, : ours.shape[1]], atol=1e-6)
    assert expected.shape[1] == ours.shape[1] + 1


@pytest.mark.parametrize("framing", FRAMINGS)
def test_frames_are_centred_where_the_geometry_says(framing: str) -> None:
    geometry = FrameGeometry(1024, 256, 1024, framing)
    place = {"hop": 7 * 256 + 128, "centre": 7 * 256}[framing]
    wav = torch.zeros(1, 256 * 16)
    wav[0, place] = 1
    magnitude = stft(wav, geometry).abs()[0]
    # An impulse at the centre of the window has magnitude 1 at every frequency; the neighbours see less.
    torch.testing.assert_close(magnitude[:, 7], torch.ones(513), rtol=0, atol=1e-5)
    torch.testing.assert_close(magnitude[:, 6], magnitude[:, 8], rtol=0, atol=1e-5)
    assert float(magnitude[:, 6].max()) == pytest.approx(0.5, abs=1e-5)  # cos^2(pi / 4)


@given(st.integers(1, 3000), st.sampled_from(FRAMINGS))
@settings(max_examples=40, deadline=None)
def test_lengths_that_are_no_multiple_of_the_hop_are_refused(samples: int, framing: str) -> None:
    geometry = FrameGeometry(1024, 256, 1024, framing)
    wav = white(samples)
    if samples % 256 == 0:
        assert stft(wav, geometry).shape[-1] == samples // 256
        return
    with pytest.raises(ValueError, match=f"multiple of hop_length=256 samples; got {samples}"):
        stft(wav, geometry)


def test_an_empty_signal_is_refused() -> None:
    with pytest.raises(ValueError, match="got 0"):
        stft(torch.zeros(1, 0), FrameGeometry(1024, 256, 1024))


@pytest.mark.parametrize("framing", FRAMINGS)
def test_signals_shorter_than_the_padding_are_padded_with_zeros(framing: str) -> None:
    geometry = FrameGeometry(1024, 256, 1024, framing)
    wav = white(256, torch.float64)
    left, right = geometry.padding
    padded = np.pad(wav[0].numpy(), (left, right))
    window = np.hanning(1025)[:-1]
    expected = np.fft.rfft(padded * window)
    np.testing.assert_allclose(stft(wav, geometry)[0, :, 0].numpy(), expected, atol=1e-10)


def test_the_inverse_is_the_least_squares_one() -> None:
    # A random array is the STFT of no signal: istft must return the signal whose STFT is nearest (Griffin &
    # Lim 1984). With the analysis written as a matrix that is numpy's least-squares solution.
    geometry = FrameGeometry(16, 4, 16, "centre")
    samples, frames = 32, 8
    padding = geometry.padding
    analysis = np.zeros((frames * 16, sum(padding) + samples))
    window = np.hanning(17)[:-1]
    for frame in range(frames):
        for n in range(16):
            analysis[frame * 16 + n, frame * 4 + n] = window[n]
    generator = np.random.default_rng(0)
    pieces = generator.standard_normal((frames, 16))
    expected = np.linalg.lstsq(analysis, pieces.reshape(-1), rcond=None)[0]
    spectrum = torch.fft.rfft(torch.from_numpy(pieces), dim=1).t().unsqueeze(0)
    ours = istft(spectrum, geometry)[0].numpy()
    np.testing.assert_allclose(ours, expected[padding[0] : padding[0] + samples], atol=1e-9)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_both_directions_are_linear_and_differentiable(framing: str) -> None:
    geometry = FrameGeometry(32, 8, 32, framing)
    wav = white(48, torch.float64).requires_grad_()

    def there_and_back(x: torch.Tensor) -> torch.Tensor:
        return istft(stft(x, geometry), geometry)

    assert torch.autograd.gradcheck(there_and_back, wav)
    torch.testing.assert_close(stft(3 * wav, geometry), 3 * stft(wav, geometry))
