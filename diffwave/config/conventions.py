"""The mels of TTS systems and vocoders, by name: what ``mel=`` and ``--mel`` know, and the only list of them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from diffwave.config.checks import ConfigError, one_of, require
from diffwave.config.document import from_dict
from diffwave.config.mel import MelConfig
from diffwave.errors import reason

MEL_SUFFIXES = (".npy", ".npz", ".pt")
"""Of the files that mels come in."""
RATES = 8000, 192000  # from telephone speech on
_LARGEST_FRAME = 1 << 16
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

    def document(self) -> dict[str, Any]:
        """What a JSON file of it holds."""
        return {**asdict(self.mel), **({"axes": self.axes} if self.axes != "bands-first" else {})}

    def assumption(self) -> str:
        """What to say, once, of mels whose convention nobody named and that are taken for this one."""
        return f"mels read as {self.mel.brief()}; --mel names others"

    def record(self) -> dict[str, Any]:
        """What outputs depend on, ready for JSON: its name, and all of it where the name alone does not tell."""
        known = self.name in CONVENTIONS and CONVENTIONS[self.name].mel == self.mel
        return {"mel": self.name, **({} if known else {"mel_convention": self.document()})}

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
    if not isinstance(given, str | Path):
        got = type(given).__name__
        raise ConfigError(f"mel: expected the name of a convention, a JSON file of one, or a MelConfig; got {got}")
    path = Path(given)
    if str(given) in CONVENTIONS or path.suffix.lower() != ".json":
        return named_convention(str(given), "the name of a convention or a JSON file of one")
    return _read(path)


def named_convention(name: str, expected: str = "the name of a convention") -> MelConvention:
    """The convention called ``name``.

    Args:
        name: of :data:`CONVENTIONS`.
        expected: for the message.

    Raises:
        ConfigError: for any other, with the nearest one.
    """
    if name in CONVENTIONS:
        return CONVENTIONS[name]
    near = get_close_matches(name[:80], CONVENTIONS, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ConfigError(f"mel: expected {expected}; got {name[:80]!r}; {hint}`diffwave mels` lists them")


def check_speakable(convention: MelConvention) -> None:
    """Refuse a convention that no waveform can be found for.

    Raises:
        ConfigError: for a rate that is none of audio, a longer frame than any has, more bands than bins, or frames that
            hardly overlap.
    """
    mel, name = convention.mel, convention.name
    low, high = RATES
    require(low <= mel.sample_rate <= high, f"mel {name}: expected {low} to {high} Hz; got {mel.sample_rate}")
    require(mel.n_fft <= _LARGEST_FRAME, f"mel {name}: expected n_fft of at most {_LARGEST_FRAME}; got {mel.n_fft}")
    bins = mel.n_fft // 2 + 1
    require(mel.n_mels <= bins, f"mel {name}: expected at most {bins} bands, one for each bin; got {mel.n_mels}")
    require(
        2 * mel.hop_length <= mel.win_length,
        f"mel {name}: expected a hop of at most half the window; got {mel.hop_length} and {mel.win_length} samples",
    )


def mel_preset(name: str) -> MelConfig:
    """The mel of the convention called ``name``; raises as :func:`mel_convention`."""
    return mel_convention(name).mel


def convention_name(mel: MelConfig) -> str:
    """The first named convention that a mel is; empty if it is none."""
    return next((name for name, convention in CONVENTIONS.items() if convention.mel == mel), "")


def _read(path: Path) -> MelConvention:
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {_EXPECTED}; {reason(error)}") from None
    return convention_from_json(text, str(path), path.name)


_EXPECTED = "expected a mel convention, a JSON object with fields of MelConfig"


def convention_from_json(text: str | bytes, place: str, name: str) -> MelConvention:
    """A convention as :meth:`MelConvention.document` has it; settings left out take their defaults.

    Args:
        text: JSON.
        place: where it stands, for messages.
        name: for one that has none in :data:`CONVENTIONS`.

    Raises:
        ConfigError: for anything else.
    """
    if len(text) > _LARGEST_FILE:
        raise ConfigError(f"{place}: {_EXPECTED}; got more than {_LARGEST_FILE} bytes")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{place}: {_EXPECTED}; got no JSON ({str(error).splitlines()[0]})") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{place}: {_EXPECTED}; got {type(values).__name__}")
    axes = values.pop("axes", "bands-first")
    try:
        mel = from_dict(MelConfig, values, "mel.")
        return MelConvention(mel, convention_name(mel) or name, str(axes))
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None
