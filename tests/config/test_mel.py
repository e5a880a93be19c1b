"""Settings of mels, above all mean and scale, which come from anywhere."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from diffwave.config import ConfigError, MelConfig, MelConvention, check_speakable, mel_convention

BANDS = np.linspace(-1, -3, 80)


@pytest.mark.parametrize(
    "given",
    [BANDS, BANDS[None], BANDS[:, None], BANDS.tolist(), [BANDS.tolist()], torch.from_numpy(BANDS)[None], [*BANDS]],
)
def test_statistics_may_be_arrays_of_any_shape(given: Any) -> None:
    mel = mel_convention("hifigan-22k").with_statistics(given, np.abs(BANDS)).mel
    assert mel.mean == tuple(BANDS)
    assert mel == MelConfig(sample_rate=22050, magnitude_epsilon=1e-9, mean=tuple(BANDS), scale=tuple(-BANDS))


@pytest.mark.parametrize("number", [-5.5, np.float32(-5.5), torch.tensor(-5.5), [-5.5], np.array([[-5.5]])])
def test_one_number_is_for_all_bands(number: Any) -> None:
    mel = mel_convention("hifigan-22k").with_statistics(number, 2).mel
    assert (mel.mean, mel.scale) == ((-5.5,), (2.0,))


@pytest.mark.parametrize(
    ("mean", "scale", "said"),
    [
        ([0.0] * 79, 1.0, "mel.mean: expected one value for each of 80 bands, or one for all; got 79"),
        (np.zeros((2, 80)), 1.0, "got 160"),
        (0.0, [0.0] * 80, "mel.scale must be positive; got 0.0"),
        (0.0, -2.0, "mel.scale must be positive; got -2.0"),
        (math.nan, 1.0, "mel.mean: expected finite numbers; got nan"),
        (0.0, math.inf, "mel.scale: expected finite numbers; got inf"),
        ("stats.npy", 1.0, "mel.mean: expected finite numbers; got 'stats.npy'"),
        (None, 1.0, "mel.mean: expected finite numbers; got None"),
        (np.array(["a"] * 80), 1.0, "mel.mean: expected finite numbers; got 'a'"),
    ],
)
def test_what_are_no_statistics_is_refused_in_one_line(mean: Any, scale: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        mel_convention("hifigan-22k").with_statistics(mean, scale)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_more_bands_than_bins_and_what_is_no_convention_at_all_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected at most 513 bands, one for each bin; got 100000000"):
        check_speakable(MelConvention(MelConfig(n_mels=100_000_000)))
    with pytest.raises(
        ConfigError, match="expected the name of a convention, a JSON file of one, or a MelConfig; got int"
    ):
        mel_convention(5)  # type: ignore[arg-type]
