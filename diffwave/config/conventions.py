"""The mels of TTS systems and vocoders, by name: what ``mel=`` and ``--mel`` know, and the only list of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from diffwave.config.checks import ConfigError, one_of
from diffwave.config.document import from_dict
from diffwave.config.mel import MelConfig
from diffwave.errors import reason

_LARGEST_FILE = 1 << 20


@dataclass(frozen=True)
class MelConvention:
    """A mel as somebody hands it over.

    Args:
        mel: what it is.
        name: for messages.
        axes: ``bands-first``, ``[M, F]``, or ``frames-first``, ``[F, M]``, as its files and frameworks have it.
        of: whose mels these are.
    """

    mel: MelConfig
    name: str = "the given"
    axes: str = "bands-first"
    of: str = ""

    def __post_init__(self) -> None:
        one_of("convention.axes", self.axes, ("bands-first", "frames-first"))

    def with_statistics(self, mean: Any, scale: Any) -> MelConvention:
        """The same mels, standardised: ``(logarithm - mean) / scale``.

        Args:
            mean, scale: a number for each band, in lists or arrays of any shape, or one for all.

        Raises:
            ConfigError: for what is no such number, too many or too few, and for a scale of zero or less.
        """
        return replace(self, mel=replace(self.mel, mean=mean, scale=scale))


# jik876/hifi-gan: meldataset.py adds 1e-9 under the root.
_HIFIGAN = MelConfig(magnitude_epsilon=1e-9)
_22K = replace(_HIFIGAN, sample_rate=22050)
_24K = replace(_HIFIGAN, sample_rate=24000, n_mels=100, f_max=12000.0)
_CENTRE_22K = MelConfig(sample_rate=22050, framing="centre")
_SPEECHT5 = MelConfig(f_min=80.0, f_max=7600.0, framing="centre", log="log10", floor=1e-10)
_VOCOS = MelConfig(
    sample_rate=24000, n_mels=100, f_max=12000.0, mel_scale="htk", mel_norm="none", framing="centre", floor=1e-7
)
_TURNED = "frames-first"
_COSYVOICE = replace(_HIFIGAN, sample_rate=24000, n_fft=1920, win_length=1920, hop_length=480)
# mel_processing.py adds 1e-8 under the root; norm_spec writes -12 to 2 as -1 to 1.
_GPT_SOVITS = replace(_24K, magnitude_epsilon=1e-8, mean=(-5.0,), scale=(7.0,))

CONVENTIONS: dict[str, MelConvention] = {
    convention.name: convention
    for convention in (
        MelConvention(MelConfig(), "default", of="the packaged default"),
        # Frames about as short and bands as narrow as at 24 kHz (BigVGAN, Vocos: 43 ms every 11 ms, 100 bands).
        MelConvention(MelConfig(win_length=640, hop_length=160, n_mels=100), "10ms", of="the packaged 10ms"),
        MelConvention(_HIFIGAN, "hifigan-16k", of="HiFi-GAN's code at 16 kHz"),
        # config_v1.json.
        MelConvention(_22K, "hifigan-22k", of="HiFi-GAN, CosyVoice 1, NeMo's HiFi-GAN, Matcha-TTS once denormalised"),
        # configs/data/ljspeech.yaml.
        MelConvention(
            replace(_22K, mean=(-5.536622,), scale=(2.116101,)), "matcha-22k", of="Matcha-TTS's decoder, LJSpeech"
        ),
        MelConvention(_22K, "bigvgan-22k", of="BigVGAN at 22.05 kHz up to 8 kHz"),
        MelConvention(replace(_22K, f_max=11025.0), "bigvgan-22k-full", of="BigVGAN at 22.05 kHz up to 11 kHz"),
        MelConvention(_24K, "bigvgan-24k", of="BigVGAN at 24 kHz"),
        MelConvention(
            replace(_22K, sample_rate=44100, n_fft=2048, win_length=2048, hop_length=512, n_mels=128, f_max=22050.0),
            "bigvgan-44k",
            of="BigVGAN at 44.1 kHz",
        ),
        MelConvention(_24K, "univnet-24k", of="UnivNet"),
        # torchaudio.pipelines.TACOTRON2_*.
        MelConvention(_CENTRE_22K, "tacotron2-22k", of="Tacotron 2 of NVIDIA and torchaudio"),
        # lobes.models.HifiGAN.mel_spectrogram, torchaudio's center=True.
        MelConvention(_CENTRE_22K, "speechbrain-22k", of="SpeechBrain's LJSpeech recipes"),
        MelConvention(MelConfig(framing="centre"), "speechbrain-16k", of="SpeechBrain's LibriTTS recipes"),
        # fastpitch_align_v1.05.yaml: log(mel + 1e-5).
        MelConvention(replace(_CENTRE_22K, floor_added=True), "nemo-22k", of="NeMo's FastPitch and Tacotron 2"),
        # gemelo-ai/vocos, mel-24khz; the floor is 1e-5 in F5-TTS.
        MelConvention(_VOCOS, "vocos-24k", of="Vocos, ZipVoice"),
        MelConvention(replace(_VOCOS, floor=1e-5), "f5-tts-24k", of="F5-TTS"),
        # cosyvoice2.yaml; fmax is null in cosyvoice3.yaml.
        MelConvention(_COSYVOICE, "cosyvoice2-24k", of="CosyVoice 2, Chatterbox"),
        MelConvention(replace(_COSYVOICE, f_max=12000.0), "cosyvoice3-24k", of="CosyVoice 3"),
        MelConvention(_GPT_SOVITS, "gpt-sovits-24k", of="GPT-SoVITS v3"),
        MelConvention(
            replace(_GPT_SOVITS, sample_rate=32000, n_fft=1280, win_length=1280, hop_length=320, f_max=16000.0),
            "gpt-sovits-32k",
            of="GPT-SoVITS v4",
        ),
        # transformers SpeechT5FeatureExtractor.
        MelConvention(_SPEECHT5, "speecht5-16k", _TURNED, "SpeechT5"),
        # espnet2 LogMelFbank with the defaults of the recipes; ParallelWaveGAN's logmelfilterbank.
        MelConvention(_SPEECHT5, "espnet-16k", _TURNED, "ESPnet, ParallelWaveGAN at 16 kHz"),
        MelConvention(
            replace(_SPEECHT5, sample_rate=22050), "espnet-22k", _TURNED, "ESPnet, ParallelWaveGAN at 22.05 kHz"
        ),
        MelConvention(
            replace(_SPEECHT5, sample_rate=24000, n_fft=2048, win_length=1200, hop_length=300),
            "espnet-24k",
            _TURNED,
            "ESPnet, ParallelWaveGAN at 24 kHz",
        ),
        # preprocess.py: torchaudio MelSpectrogram(power=1, normalized=True).
        MelConvention(
            MelConfig(
                sample_rate=22050,
                f_min=20.0,
                f_max=11025.0,
                mel_scale="htk",
                mel_norm="none",
                framing="centre",
                stft_normalized=True,
                log="db01",
            ),
            "lmnt-22k",
            of="lmnt-com/diffwave",
        ),
    )
}


def mel_convention(given: MelConvention | MelConfig | str | Path) -> MelConvention:
    """A convention: by its name, from a JSON file, or as it is.

    Args:
        given: a name of :data:`CONVENTIONS`, the path of a JSON file that holds fields of
            :class:`~diffwave.config.MelConfig`, and perhaps ``axes``, or one of the two dataclasses.

    Raises:
        ConfigError: for a name that is neither, with the nearest one, and for a file that is no convention.
    """
    if isinstance(given, MelConvention):
        return given
    if isinstance(given, MelConfig):
        return MelConvention(given, convention_name(given) or "the given")
    if str(given) in CONVENTIONS:
        return CONVENTIONS[str(given)]
    path = Path(given)
    if path.suffix.lower() != ".json":
        near = get_close_matches(str(given), CONVENTIONS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ConfigError(
            f"mel: expected the name of a convention or a JSON file of one; got {str(given)!r}; {hint}"
            "`diffwave mels` lists them"
        )
    return _read(path)


def mel_preset(name: str) -> MelConfig:
    """The mel of the convention called ``name``; raises as :func:`mel_convention`."""
    return mel_convention(name).mel


def convention_name(mel: MelConfig) -> str:
    """The first named convention that a mel is; empty if it is none."""
    return next((name for name, convention in CONVENTIONS.items() if convention.mel == mel), "")


def _read(path: Path) -> MelConvention:
    expected = f"{path}: expected a mel convention, a JSON object with fields of MelConfig"
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_FILE + 1)
        if len(text) > _LARGEST_FILE:
            raise ConfigError(f"{expected}; got more than {_LARGEST_FILE} bytes")
        values = json.loads(text)
    except OSError as error:
        raise ConfigError(f"{expected}; {reason(error)}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{expected}; got no JSON ({str(error).splitlines()[0]})") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{expected}; got {type(values).__name__}")
    axes = values.pop("axes", "bands-first")
    try:
        return MelConvention(from_dict(MelConfig, values, "mel."), path.stem, str(axes))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
