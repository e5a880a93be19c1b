"""Model cards: what a checkpoint is, in Markdown, as the Hugging Face hub shows a ``README.md``.

A card says what the checkpoint says of itself. What is not recorded there is left out: above all the license, which
depends on the data and is its publisher's to state (``diffwave export --license``).
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Sequence
from typing import Any

from diffwave.checkpoint.folder import Checkpoint
from diffwave.config import ModelConfig, SamplingConfig

_HUB = "---\nlibrary_name: diffwave\ntags: [vocoder, diffusion, speech, text-to-speech]\nsample_rate: {}{}\n---"
_LOG = {
    "ln": "natural logarithm",
    "log10": "logarithm to base 10",
    "db01": "20 log10, shifted and clipped to 0..1",
    "log2": "logarithm to base 2",
    "db": "20 log10",
    "linear": "none",
}
_FRAMING = {"hop": "frame i is centred at (i + 1/2) hop", "centre": "frame i is centred at i hop"}
# Label, key of the checkpoint's story, unit.
_LICENSE = (("of the weights", "license", ""),)
_DATA = (
    ("corpus", "data", ""),
    ("utterances", "utterances", ""),
    ("length", "data_hours", " h"),
    ("speakers", "speakers", ""),
    ("utterances held out for validation", "validation_utterances", ""),
    ("their speakers are", "validation_speakers", ""),
)
_TRAINING = (
    ("imported from a checkpoint of", "imported_from", ""),
    ("SHA-256 of its file", "sha256", ""),
    ("started from", "started_from", ""),
    ("iterations", "iterations", ""),
    ("weights", "weights", ""),
    ("batch", "batch_size", " crops"),
    ("crop", "crop_seconds", " s"),
    ("micro-batches of an iteration and process", "accumulate", ""),
    ("learning rate", "learning_rate", ""),
    ("loss", "loss", ""),
    ("noise levels weighted", "noise_weighting", ""),
    ("errors weighted", "error_weighting", ""),
    ("weight of the STFT distance in the loss", "stft_weight", ""),
    ("moving average of the weights", "ema_decay", ""),
    ("precision", "precision", ""),
    ("time", "hours", " h"),
    ("device", "device", ""),
    ("processes", "processes", ""),
    ("seed", "seed", ""),
)
_TERMS = ("noise_weighting", "error_weighting", "stft_weight")  # of the loss, each of them optional
_REFINER = (
    ("iterations of the refiner", "iterations", ""),
    ("outputs that it learned from", "crops", ""),
    ("error of a held-out output's finer mel, weighted by loudness", "error_before", " nat"),
    ("the same of the refiner's answer", "error_after", " nat"),
)
_SCORES = (
    ("PESQ-WB (higher is better)", "pesq_wb", ""),
    ("log-mel distance (lower is better)", "mel_distance", " nat"),
    ("band synchrony above the recording's (zero is best)", "band_synchrony", ""),
)
_SOFTWARE = (("diffwave-vocoder", "version", ""), ("commit", "commit", ""), ("torch", "torch", ""))

Row = tuple[str, str]


_OTHER_MELS = (
    "This is the mel that the network knows. Any other that is named (`mel=`, `--mel`) reaches it through a waveform "
    "that is consistent with it, at its own rate."
)


def model_card(checkpoint: Checkpoint, name: str) -> str:
    """Describe a checkpoint.

    Args:
        checkpoint: configuration, weights and the story of their training.
        name: of the checkpoint, such as its folder's.

    Returns:
        Markdown behind the YAML front matter of the Hugging Face hub.
    """
    config, story = checkpoint.config, checkpoint.training
    name = " ".join(name.split()) or "model"
    parameters = sum(weight.numel() for weight in checkpoint.weights.values())
    sections = [
        _HUB.format(config.mel.sample_rate, _hub_license(story)),
        f"# {_escape(name)}",
        "A [DiffWave](https://arxiv.org/abs/2009.09761) vocoder: a diffusion model that turns log-mel spectrograms of "
        f"speech into audio at {config.mel.sample_rate} Hz, one channel.",
        _usage(config, name),
        _spoken(checkpoint),
        _section("Mel convention", _mel_rows(config), _OTHER_MELS),
        _section("Network", _network_rows(config, parameters)),
        _section("Diffusion and sampling", _sampling_rows(config)),
        _section("Data", _known(story, _DATA)),
        _training(story),
        _figures(story),
        _limitations(story),
        _section("License", _known(story, _LICENSE)),
        _section("Made with", _known(story, _SOFTWARE)),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _spoken(checkpoint: Checkpoint) -> str:
    if checkpoint.speaks is None:
        return ""
    return f"Unless another is asked for, it speaks {checkpoint.speaks.name} mels: {checkpoint.speaks.mel.describe()}."


def _usage(config: ModelConfig, name: str) -> str:
    return f"""## Use

With the Python package `diffwave-vocoder`, beside the folder of this file:

```python
from diffwave import Vocoder

vocoder = Vocoder.from_pretrained({json.dumps(name, ensure_ascii=False)})
wav = vocoder.synthesize(mel)  # [{config.mel.n_mels}, F] to [F * {config.mel.hop_length}]
```

```sh
diffwave synthesize speech.wav --checkpoint {shlex.quote(name)} --output out
```"""


def _mel_rows(config: ModelConfig) -> list[Row]:
    mel = config.mel
    epsilon = f", {mel.magnitude_epsilon:g} added to the power" if mel.magnitude_epsilon else ""
    normalized = ", divided by the root of the window's energy" if mel.stft_normalized else ""
    return [
        ("sample rate", f"{mel.sample_rate} Hz"),
        ("FFT / window / hop", f"{mel.n_fft} / {mel.win_length} / {mel.hop_length} samples, Hann"),
        ("frames", f"{_FRAMING[mel.framing]}; F = N / {mel.hop_length}"),
        ("bands", f"{mel.n_mels}, {mel.f_min:g} to {mel.f_max:g} Hz, {mel.mel_scale} scale, norm {mel.mel_norm}"),
        ("of", f"{mel.spectrum}s{epsilon}{normalized}"),
        ("logarithm", f"{_LOG[mel.log]}, floor {mel.floor:g}{' added' * mel.floor_added}"),
        *([("standardised", f"mean {_numbers(mel.mean)}, scale {_numbers(mel.scale)}")] if mel.standardised else []),
    ]


def _numbers(statistics: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in statistics) or "none"


def _network_rows(config: ModelConfig, parameters: int) -> list[Row]:
    network = config.network
    squeeze = [("squeeze", f"{network.squeeze} samples per position, overlap {network.squeeze_overlap}")]
    return [
        ("parameters", f"{parameters:,}"),
        ("residual channels / layers", f"{network.residual_channels} / {network.residual_layers}"),
        ("dilation cycle", str(network.dilation_cycle)),
        *(squeeze if network.squeeze > 1 else []),
        ("predicts", network.parameterization),
    ]


def _sampling_rows(config: ModelConfig) -> list[Row]:
    diffusion, sampling = config.diffusion, config.sampling
    pushes, kind = sampling.consistency_iterations, sampling.sampler
    between = "no"
    if sampling.guided:
        kind = sampling.guided_sampler
        between = f"{sampling.step_iterations} iterations on the estimate of each call"
        if sampling.consistency_at == "warm":
            between += f", {sampling.warm_iterations} before the first"
    return [
        ("trained on", f"{diffusion.steps} diffusion steps, {diffusion.schedule} schedule, {diffusion.prior} prior"),
        ("sampled by default with", f"{sampling.steps} network calls, {kind}"),
        ("mel consistency between the calls", between),
        ("then", f"{pushes} mel-consistency iterations" if pushes else "nothing: the network alone"),
        *_refinement_rows(sampling),
    ]


def _refinement_rows(sampling: SamplingConfig) -> list[Row]:
    if not sampling.consistency_iterations or not sampling.refinements:
        return []
    each = f"{sampling.refinement_iterations} iterations towards the mel and the finer mel that the refiner finds"
    return [("in the end", f"{sampling.refinements} times {each}")]


def _training(story: dict[str, Any]) -> str:
    seconds = story.get("seconds")
    hours = seconds / 3600 if isinstance(seconds, int | float) else None
    weights = "of the best validation of the run" if story.get("best") is True else None
    refiner = story.get("refiner")
    rows = _known(refiner, _REFINER) if isinstance(refiner, dict) else []
    # Nothing is said of the terms that the loss is without.
    used = {name: value for name, value in story.items() if name not in _TERMS or value not in ("none", 0)}
    return _section("Training", _known({**used, "hours": hours, "weights": weights}, _TRAINING) + rows)


def _figures(story: dict[str, Any]) -> str:
    """Losses and scores of the run's own validation."""
    by_noise = story.get("validation_loss_by_noise")
    by_noise = by_noise if isinstance(by_noise, list) else []
    outputs = story.get("outputs")
    outputs = outputs if isinstance(outputs, dict) else {}
    losses = [("validation loss", _value(story.get("validation_loss")))]
    for index, value in enumerate(by_noise):
        low, high = index / len(by_noise), (index + 1) / len(by_noise)
        losses.append((f"of noise with a standard deviation of {low:.1f} to {high:.1f}", _value(value)))
    scores = _known(outputs, _SCORES)
    of, at = _value(outputs.get("utterances")), _value(outputs.get("iteration"))
    of = f", means over {of} held-out utterance{'s' * (of != '1')}" if of else ""
    at = f", made at iteration {at}" if at else ""
    note = f"Scores are of the network alone, without mel consistency{of}{at}."
    return _section("Figures", [row for row in losses if row[1]] + scores, note if scores else "")


def _limitations(story: dict[str, Any]) -> str:
    origin = "they tell how the run went, on few utterances of its own validation; `diffwave evaluate` compares models."
    unlicensed = "The license of the weights is not recorded in the checkpoint; whoever publishes them states it."
    lines = [
        "It does not turn text into mels, and above the band of its own sample rate it hears nothing.",
        f"Figures: {origin if _figures(story) else 'none are recorded; listen, or run `diffwave evaluate`, first.'}",
        "Voices, languages and recording conditions that are not in the training data may sound worse; music and "
        "several voices at once are not what it was made for.",
        "PESQ hardly hears phase, and no figure here is a listening test.",
        *([] if _license(story) else [unlicensed]),
    ]
    return "## Limitations\n\n" + "\n".join(f"- {line}" for line in lines)


def _license(story: dict[str, Any]) -> str:
    """License of the weights, if whoever exported them has stated it."""
    return _value(story.get("license"))


def _hub_license(story: dict[str, Any]) -> str:
    """The hub's line for it, which knows identifiers in small letters."""
    return f'\nlicense: "{_license(story).lower()}"' if re.fullmatch(r"[\w.+-]+", _license(story)) else ""


def _section(title: str, rows: Sequence[Row], note: str = "") -> str:
    """A heading, a table and a note; nothing if there are no rows."""
    if not rows:
        return ""
    lines = ["| | |", "|---|---|", *(f"| {_escape(key)} | {_escape(value)} |" for key, value in rows)]
    return "\n".join([f"## {title}", "", *lines, *(["", note] if note else [])])


def _known(story: dict[str, Any], fields: Sequence[tuple[str, str, str]]) -> list[Row]:
    """Label and text of the fields that the story has."""
    rows = [(label, _value(story.get(key), unit)) for label, key, unit in fields]
    return [row for row in rows if row[1]]


def _value(value: Any, unit: str = "") -> str:
    """A number with its unit, or a text, in one line; empty for anything else."""
    if isinstance(value, str):
        return " ".join(value.split())
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return ""
    return (f"{value:,}" if isinstance(value, int) else f"{value:.4g}") + unit


def _escape(text: str) -> str:
    """Plain text as Markdown inside a table."""
    return "".join("\\" + character if character in "\\|`*_<>[]#" else character for character in text)
