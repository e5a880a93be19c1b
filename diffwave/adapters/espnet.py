"""ESPnet and ParallelWaveGAN: the vocoder of ``Text2Speech``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffwave.adapters.adapter import Adapter
from diffwave.config import ConfigError, MelConfig, MelConvention

_LOGARITHMS = {10.0: "log10", 2.0: "log2", None: "ln"}


class EspnetVocoder(Adapter):
    """What ``espnet2.bin.tts_inference.Text2Speech`` has as its ``vocoder``, and ParallelWaveGAN's ``inference``.

    ``Text2Speech`` gives log-mels whose statistics are undone (``feat_gen_denorm``), unless
    ``prefer_normalized_feats`` is set; for that, and for mels that were dumped normalised, the convention needs
    ``with_statistics`` (:func:`~diffwave.adapters.statistics_file.read_statistics`).

    For arguments see :class:`~diffwave.adapters.adapter.Adapter`.
    """

    usual_convention = "espnet-16k"

    @property
    def fs(self) -> int:
        """Sample rate, under the name by which ``Text2Speech`` asks."""
        return self.sample_rate

    def forward(self, feats: Tensor) -> Tensor:
        """Mel ``[F, M]`` to waveform ``[N]``."""
        return self.waveform(feats)

    def inference(self, c: Any, normalize_before: bool = False) -> Tensor:
        """ParallelWaveGAN: mel ``[F, M]``, a tensor or an array, to waveform ``[N, 1]``.

        Args:
            c: the mel.
            normalize_before: that the mel is not standardised yet.

        Raises:
            ValueError: with ``normalize_before`` and a convention whose mels are standardised.
        """
        if normalize_before and self.convention.mel.standardised:
            raise ValueError(
                "normalize_before: expected mels that are standardised, as the convention says; state one without mean "
                "and scale"
            )
        return self.forward(torch.as_tensor(c)).unsqueeze(1)


def espnet_convention(feats_extract: Any, normalize: Any = None) -> MelConvention:
    """The convention of an ESPnet model's own extractor.

    Args:
        feats_extract: ``Text2Speech.feats_extract``, a ``LogMelFbank``.
        normalize: ``Text2Speech.normalize``, a ``GlobalMVN``, if the mels will come normalised.

    Raises:
        ConfigError: for an extractor of something else, or settings that a mel here cannot have.
    """
    if not hasattr(feats_extract, "logmel") or not hasattr(feats_extract, "stft"):
        raise ConfigError(f"expected ESPnet's LogMelFbank; got {type(feats_extract).__name__}")
    stft, logmel = feats_extract.stft, feats_extract.logmel
    options, rate = logmel.mel_options, int(feats_extract.fs)
    if stft.window != "hann" or not stft.center or stft.normalized or logmel.log_base not in _LOGARITHMS:
        raise ConfigError(
            "expected a centred STFT with a Hann window, not normalised, and logarithms of base 10, 2 or e; got "
            f"window {stft.window}, center={stft.center}, normalized={stft.normalized}, log_base={logmel.log_base}"
        )
    mel = MelConfig(
        sample_rate=rate,
        n_fft=stft.n_fft,
        win_length=stft.win_length,
        hop_length=stft.hop_length,
        n_mels=options["n_mels"],
        f_min=float(options["fmin"]),
        f_max=float(options["fmax"]),
        mel_scale="htk" if options["htk"] else "slaney",
        framing="centre",
        log=_LOGARITHMS[logmel.log_base],
        floor=1e-10,
    )
    convention = MelConvention(mel, "ESPnet", "frames-first")
    if normalize is None:
        return convention
    return convention.with_statistics(normalize.mean, normalize.std)
