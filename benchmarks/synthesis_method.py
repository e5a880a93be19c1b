"""How ``benchmarks/synthesis.py`` measures, in words, for its page."""

from __future__ import annotations

from typing import Any

from synthesis_systems import PACKAGES, PARAMETERS


def method(results: dict[str, Any]) -> list[str]:
    """Paragraphs."""
    return [
        "*Turns.* Each package has a process of its own, with the same number of threads; they take turns, and all "
        "but one sleep. A round is one synthesis of each, after a round to warm up, in which `torch.compile` builds "
        "what it builds. Seconds are medians of "
        f"{_repeats(results)} rounds. *Speed* is the time of the table's first row over the row's, for each second of "
        "audio, within each round: median, and the extremes of the rounds. Other work on the machine reaches every "
        "system of a round, so ratios say more than seconds.",
        "",
        "*Other projects*, as their packages run them, in evaluation mode and without gradients:",
        "",
        f"- lmnt-com's {_version('lmnt')} through `predict` with its fast schedule of 6 steps. Weights and mel are the "
        "same as ours, BASE at 22,050 Hz. A second row gives it bfloat16 autocast and `torch.compile`, which it does "
        "not use itself.",
        f"- HiFi-GAN V1 ({PARAMETERS['hifigan'] / 1e6:.2f} M parameters, 22,050 Hz): the authors' generator from "
        f"{_version('hifigan')}, weight normalisation removed.",
        f"- Vocos mel-24khz ({PARAMETERS['vocos'] / 1e6:.2f} M parameters, 24,000 Hz): {_version('vocos')}, through "
        "`decode`.",
        "",
        "The last two have random weights: time does not depend on them, and nothing is said of how they sound. All "
        "four make the same length of audio, to a frame, at their own sample rates. Ours goes through "
        "`Vocoder.synthesize`, with noise, checks of the mel and all else that a user gets.",
        "",
        "*Other sizes* are the network of the default checkpoint with other `network.squeeze` and "
        "`network.residual_channels`, random weights, 6 steps, without mel consistency: times, not models.",
        "",
        "*Memory* is how far that of the process rises during one synthesis, beyond its weights: resident memory on a "
        "CPU, what PyTorch allocates on a GPU.",
        "",
        "*The limit* is the roofline of the network: its convolutions and matrix products over the rate of a large "
        "matrix product, or its compulsory traffic (activations in and out of every layer, weights once in a call) "
        "over the rate of a large copy, whichever takes longer. Both rates are measured after the rounds in the same "
        "process, in the same precision and with the same threads. Gates, noise and Fourier transforms are not in it, "
        "and a kernel that saves multiplications (Winograd) or keeps layers in a cache can beat it.",
        "",
        "*The same output* is compared with TF32 off; timings leave PyTorch's defaults alone.",
    ]


def _version(role: str) -> str:
    name, version = PACKAGES[role][0].split("==")
    return f"`{name}` {version}"


def _repeats(results: dict[str, Any]) -> str:
    found = {each["setting"]["repeats"] for name in ("peers", "ours") for each in results.get(name, {}).values()}
    return " or ".join(str(number) for number in sorted(found)) or "the"
