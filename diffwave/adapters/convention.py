"""How the mels of a TTS framework are made and written down, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from diffwave.config import MelConfig, mel_preset
from diffwave.config.checks import one_of, require
from diffwave.mel.logarithms import LOGARITHMS

VALUES = (*LOGARITHMS, "linear")


@dataclass(frozen=True)
class MelConvention:
    """A :class:`~diffwave.config.MelConfig`, and what it cannot say.

    Args:
        mel: rate, frames, filterbank, framing and floor.
        values: what the numbers are: ``ln``, ``log10``, ``log2``, ``db`` (``20 log10``) or ``db01`` of the mel
            magnitudes, or ``linear``, the magnitudes themselves; the logarithm of ``mel`` if empty.
        axes: ``bands-first``, ``[B, M, F]``, or ``frames-first``, ``[B, F, M]``.
        mean, scale: the numbers are ``(logarithm - mean) / scale``, with one entry for each band or one for all; none
            for mels that are not standardised.
        spectrum: the bands add up ``magnitude`` or ``power`` of the spectrum.
        name: for messages.
    """

    mel: MelConfig
    values: str = ""
    axes: str = "bands-first"
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    spectrum: str = "magnitude"
    name: str = "the given"

    def __post_init__(self) -> None:
        one_of("convention.values", self.values or self.mel.log, VALUES)
        one_of("convention.axes", self.axes, ("bands-first", "frames-first"))
        one_of("convention.spectrum", self.spectrum, ("magnitude", "power"))
        for name, statistics in (("mean", self.mean), ("scale", self.scale)):
            require(
                len(statistics) in (0, 1, self.mel.n_mels),
                f"convention.{name}: expected one value for each of {self.mel.n_mels} bands, or one for all; "
                f"got {len(statistics)}",
            )
        require(all(value > 0 for value in self.scale), "convention.scale: expected positive values")

    @property
    def kind(self) -> str:
        """What the numbers are, once statistics are undone."""
        return self.values or self.mel.log

    @property
    def standardised(self) -> bool:
        """Whether mean and scale have to be undone."""
        return bool(self.mean or self.scale)

    def with_statistics(self, mean: Sequence[float], scale: Sequence[float]) -> MelConvention:
        """The same mels, standardised: ``(logarithm - mean) / scale``; any sequence of numbers, arrays too."""
        return replace(self, mean=tuple(map(float, mean)), scale=tuple(map(float, scale)))


_CENTRE_22K = MelConfig(sample_rate=22050, framing="centre")
_HIFIGAN_22K = mel_preset("hifigan-22k")
_SPEECHT5 = mel_preset("speecht5-16k")

CONVENTIONS: dict[str, MelConvention] = {
    convention.name: convention
    for convention in (
        # jik876/hifi-gan config_v1.json and meldataset.py; BigVGAN 22k and Matcha-TTS have the same.
        MelConvention(_HIFIGAN_22K, name="hifigan-22k"),
        # The same at 16 kHz: what the packaged default was trained on.
        MelConvention(MelConfig(), name="hifigan-16k"),
        # What the packaged 10ms was trained on.
        MelConvention(mel_preset("10ms"), name="10ms"),
        # NeMo's fastpitch_align_v1.05.yaml: centred, log(mel + 1e-5) for the floor. Its HiFi-GAN has hop framing.
        MelConvention(_CENTRE_22K, name="nemo-22k"),
        # torchaudio.pipelines.TACOTRON2_*, NVIDIA/tacotron2.
        MelConvention(_CENTRE_22K, name="tacotron2-22k"),
        # speechbrain.lobes.models.HifiGAN.mel_spectrogram with the settings of the LJSpeech and LibriTTS recipes.
        MelConvention(_CENTRE_22K, name="speechbrain-22k"),
        MelConvention(MelConfig(framing="centre"), name="speechbrain-16k"),
        # transformers SpeechT5FeatureExtractor.
        MelConvention(_SPEECHT5, axes="frames-first", name="speecht5-16k"),
        # espnet2 LogMelFbank with the defaults of the recipes; ParallelWaveGAN's logmelfilterbank.
        MelConvention(_SPEECHT5, axes="frames-first", name="espnet-16k"),
        MelConvention(replace(_SPEECHT5, sample_rate=22050), axes="frames-first", name="espnet-22k"),
        MelConvention(
            replace(_SPEECHT5, sample_rate=24000, n_fft=2048, hop_length=300, win_length=1200),
            axes="frames-first",
            name="espnet-24k",
        ),
        # gemelo-ai/vocos, mel-24khz.
        MelConvention(
            MelConfig(
                sample_rate=24000, n_mels=100, f_max=12000.0, floor=1e-7,
                mel_scale="htk", mel_norm="none", framing="centre",
            ),
            name="vocos-24k",
        ),
        # lmnt-com/diffwave.
        MelConvention(mel_preset("lmnt-22k"), name="lmnt-22k"),
    )
}  # fmt: skip


def mel_convention(name: str) -> MelConvention:
    """Return the convention called ``name``.

    Raises:
        ConfigError: for an unknown name; the message lists the known ones.
    """
    one_of("mel convention", name, tuple(CONVENTIONS))
    return CONVENTIONS[name]
