"""How the packaged checkpoint speaks every named convention of mels: beside no network, Griffin-Lim and the recording.

    pip install --no-deps distillmos xls-r-sqa
    python -m benchmarks.conventions --data data/LibriSpeech --other data/LJSpeech --work outputs/conventions

Each convention's scores are kept in ``--work`` as they come, and what is there is not made again; two runs with
different ``--only`` share the work. Writes ``docs/conventions.json`` and ``docs/conventions.md``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from benchmarks.report import ROOT, measured, split_names, spread, stamp, table, verdict, write
from diffwave.audio.file import read_audio, resample
from diffwave.config import CONVENTIONS, MelConfig
from diffwave.evaluation.perceptual import pesq_wb, stoi
from diffwave.evaluation.statistics import cluster_interval
from diffwave.evaluation.synchrony import synchrony_difference
from diffwave.files import write_text
from diffwave.mel.baseline import griffin_lim, mel_consistency
from diffwave.vocoder import Vocoder

OURS, FLOOR, GRIFFIN_LIM, RECORDING = "ours", "no network", "Griffin-Lim", "recording"
RATE = 16000  # of all metrics
_EXCERPT = 4.0  # seconds
METRICS = {"pesq": ("PESQ-WB", 2), "estoi": ("ESTOI", 3), "mos": ("DistillMOS", 2), "synchrony": ("synchrony", 3)}
# What was aimed at: PESQ-WB at least, predicted opinion below the recording's at most, band synchrony at least.
GOALS = {
    ("hifigan-22k", "matcha-22k", "tacotron2-22k"): (4.25, 0.12, -0.12),
    ("vocos-24k", "f5-tts-24k", "bigvgan-24k", "univnet-24k"): (4.42, 0.08, -0.12),
    ("speecht5-16k", "espnet-16k"): (3.75, 0.20, -0.12),
    ("espnet-22k",): (4.10, 0.15, -0.15),
    ("espnet-24k",): (4.00, 0.15, -0.15),
    ("cosyvoice2-24k",): (3.60, 0.25, -0.15),
}
# A convention that nobody named: another rate, size, scale and range than any of the list.
UNNAMED = {
    "32 kHz, 1600/400, 90 HTK bands, 40-14000 Hz": MelConfig(
        sample_rate=32000, n_fft=1600, win_length=1600, hop_length=400, n_mels=90, f_min=40.0, f_max=14000.0,
        mel_scale="htk", log="log10", framing="centre",
    ),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Utterance:
    """A recording.

    Args:
        wav: samples at ``rate``, shape ``[N]``.
        rate: its own.
        speaker: for intervals.
    """

    wav: np.ndarray
    rate: int
    speaker: str

    def at(self, rate: int) -> np.ndarray:
        """Samples at another rate."""
        return self.wav if rate == self.rate else resample(self.wav, self.rate, rate)


def groups() -> dict[str, list[str]]:
    """Named conventions that differ in how numbers are written alone, by the first of them."""
    found: dict[MelConfig, list[str]] = {}
    for name, convention in CONVENTIONS.items():
        plain = dataclasses.replace(convention.mel, mean=(), scale=(), floor_added=False, magnitude_epsilon=0.0)
        found.setdefault(dataclasses.replace(plain, floor=1e-5 if plain.log == "ln" else plain.floor), []).append(name)
    return {names[0]: names for names in found.values()}


def systems(vocoder: Vocoder) -> dict[str, Callable[[Tensor], Tensor]]:
    """From a mel ``[M, F]`` to a waveform; without a network, with as many iterations."""
    how = vocoder.resolve().sampling
    calls = len(vocoder.resolve().sampler)
    iterations = how.warm_iterations + (calls - 1) * how.step_iterations + how.consistency_iterations
    return {
        OURS: vocoder.synthesize,
        FLOOR: lambda mel: mel_consistency(vocoder.front_end, mel, iterations),
        GRIFFIN_LIM: lambda mel: griffin_lim(vocoder.front_end, mel),
    }


def judge(reference: np.ndarray, estimate: np.ndarray, opinion: Callable[[np.ndarray], float]) -> dict[str, float]:
    """All metrics of two waveforms of 16 kHz."""
    return {
        "pesq": pesq_wb(reference, estimate),
        "estoi": stoi(reference, estimate, extended=True),
        "mos": opinion(estimate),
        "synchrony": synchrony_difference(reference, estimate, RATE),
    }


def score(
    mel: MelConfig | str, utterances: Sequence[Utterance], heard: Sequence[str], opinion: Callable[[np.ndarray], float]
) -> Any:
    """Scores and seconds of each of these systems, utterance by utterance."""
    vocoder = Vocoder.from_pretrained(device="cpu", mel=mel)
    found: dict[str, list[dict[str, float]]] = {}
    for utterance in utterances:
        wav = torch.from_numpy(utterance.at(vocoder.sample_rate))
        reference = utterance.at(RATE)
        for name in heard:
            speak = systems(vocoder)[name]
            begun = time.process_time()
            made = speak(vocoder.mel(wav))[: len(wav)].numpy()
            seconds = time.process_time() - begun
            again = made if vocoder.sample_rate == RATE else resample(made, vocoder.sample_rate, RATE)
            again = np.pad(again, (0, max(0, len(reference) - len(again))))[: len(reference)]
            scores = judge(reference, again, opinion) | {"rtf": seconds * RATE / len(reference)}
            found.setdefault(name, []).append(scores)
    return found


def times(names: Sequence[str], rounds: int = 3) -> dict[str, Any]:
    """Seconds for mels of each convention over those for the network's own, in turns; one thread."""
    torch.set_num_threads(1)
    own = Vocoder.from_pretrained(device="cpu")
    samples = torch.from_numpy(next(iter(_read(ROOT / "tests" / "data", ["403-126855-0000.flac"], 6.0))).wav)

    def seconds(vocoder: Vocoder) -> float:
        wav = torch.from_numpy(resample(samples.numpy(), RATE, vocoder.sample_rate))
        mel = vocoder.mel(wav)
        begun = time.process_time()
        vocoder.synthesize(mel)
        return time.process_time() - begun

    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            base = seconds(own)
            found[name].append(seconds(own.with_mel(name)) / base)
    return {name: spread(ratios) for name, ratios in found.items()}


def predicted_opinion() -> Callable[[np.ndarray], float]:
    """DistillMOS of a waveform of 16 kHz (Stahl & Gamper 2025)."""
    import distillmos

    model = distillmos.ConvTransformerSQAModel().eval()

    def opinion(wav: np.ndarray) -> float:
        with torch.inference_mode():
            return float(model(torch.from_numpy(np.asarray(wav, dtype=np.float32)).unsqueeze(0)))

    return opinion


def _read(root: Path, names: Sequence[str], longest: float) -> Iterator[Utterance]:
    for name in names:
        rate = soundfile.info(root / name).samplerate
        wav = read_audio(root / name, rate).wav.numpy()
        yield Utterance(wav if longest == math.inf else wav[: int(longest * rate)], rate, Path(name).stem.split("-")[0])


def _mean(scores: Sequence[dict[str, float]], metric: str) -> float:
    return float(np.mean([row[metric] for row in scores]))


def page(results: dict[str, Any]) -> str:
    """The page, from what was measured."""
    judged = list(_judged(results["whole"]))
    met = sum("missed" not in row[-1] for row in judged)
    header = ["mels", "what", *(label for label, _ in METRICS.values()), "time"]
    ratios = [
        (f"`{name}`", *(f"{found[part]:.2f}" for part in ("median", "low", "high")))
        for name, found in results["times"].items()
    ]
    lines = [
        "# One checkpoint, every mel",
        "",
        f"Generated by `{results['command']}`; every score is in [conventions.json](conventions.json).",
        "",
        "`Vocoder.from_pretrained(mel=NAME)`: the packaged `default`, whose network knows 16 kHz and one mel, "
        "with mels of the conventions that `diffwave mels` names, at their own rate. Recordings are brought to "
        "each convention's rate, and outputs back to 16 kHz, where all metrics listen. *No network* has as many "
        "iterations of mel consistency. *Synchrony* is the difference from the recording: 0 is as in speech, "
        "below it the pulses of the voice are blurred. DistillMOS predicts listeners' opinions. *Time* is that of "
        "a core for a second of audio, beside other work. PESQ-WB and DistillMOS of *ours* have 95 % intervals "
        "over speakers.",
        "",
        "Above 8 kHz the network hears nothing: there the waveform is what the mel alone says, and these metrics do "
        "not hear it either.",
        "",
        "## What TTS systems have most",
        "",
        f"{results['whole']['utterances']} utterances of test-clean, one of each speaker:",
        "",
        *table(header, _rows(results["whole"]), words=2),
        "",
        "Beside what was aimed at:",
        "",
        *table(["mels", "PESQ-WB", "DistillMOS below the recording", "synchrony", ""], judged),
        "",
        f"{met} of {len(judged)} lines are met in every figure.",
        "",
        "## The others, and what nobody named",
        "",
        f"The first {_EXCERPT:g} s of the same utterances, which cost every system about .06 of PESQ:",
        "",
        *table(header, _rows(results["excerpts"]), words=2),
        "",
        "## Recordings of 22.05 kHz",
        "",
        f"{results['ljspeech']['utterances']} clips of LJSpeech:",
        "",
        *table(header, _rows(results["ljspeech"]), words=2),
        "",
        "## Time",
        "",
        "Processor time for the same six seconds over that of the network's own mels, in turns, one thread:",
        "",
        *table(["mels", "median", "least", "most"], ratios),
        "",
        measured(results),
        "",
    ]
    return "\n".join(lines)


def _rows(found: dict[str, Any]) -> Iterator[list[str]]:
    alike = groups()
    for name, scores in found["systems"].items():
        names = ", ".join(f"`{each}`" for each in alike.get(name, [])) or name
        for system, rows in scores.items():
            cells = [f"{_mean(rows, metric):.{digits}f}" for metric, (_, digits) in METRICS.items()]
            if system == OURS:
                for column, metric in ((0, "pesq"), (2, "mos")):
                    interval = cluster_interval(np.array([row[metric] for row in rows]), found["speakers"])
                    half = (interval.high - interval.low) / 2  # NaN with a single speaker
                    cells[column] += f" ± {half:.2f}" if half == half else ""
                cells = [f"**{cell}**" for cell in cells]
            yield [names if system == OURS else "", system, *cells, f"{_mean(rows, 'rtf'):.2f}"]
    yield ["", RECORDING, "", "", f"{np.mean(found['recordings']):.2f}", "", ""]


def _judged(speech: dict[str, Any]) -> Iterator[list[str]]:
    top = float(np.mean(speech["recordings"]))
    alike = groups()
    for names, (pesq, below, synchrony) in GOALS.items():
        for first, same in alike.items():
            wanted = [name for name in same if name in names]
            if not wanted or first not in speech["systems"]:
                continue
            rows = speech["systems"][first][OURS]
            found = _mean(rows, "pesq"), top - _mean(rows, "mos"), _mean(rows, "synchrony")
            met = round(found[0], 2) >= pesq and round(found[1], 2) <= below and round(found[2], 3) >= synchrony
            cells = (
                f"{found[0]:.2f} (≥ {pesq:.2f})",
                f"{found[1]:.2f} (≤ {below:.2f})",
                f"{found[2]:.3f} (≥ {synchrony})",
            )
            yield [", ".join(f"`{name}`" for name in wanted), *cells, verdict(met)]


def _kept(work: Path, name: str, make: Callable[[], Any]) -> Any:
    """What a file of the work holds, made if it is not there."""
    path = work / f"{name.replace('/', '-').replace(' ', '_')}.json"
    if not path.exists():
        work.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(make()))
        print(f"{name}: done", flush=True)
    return json.loads(path.read_text(encoding="utf-8"))


def _measure(
    kind: str, options: argparse.Namespace, utterances: list[Utterance], mels: dict[str, Any], heard: Sequence[str]
) -> dict[str, Any]:
    opinion = predicted_opinion()
    found = {
        name: _kept(options.work, f"{kind}-{name}", lambda mel=mel: score(mel, utterances, heard, opinion))
        for name, mel in mels.items()
        if not options.only or name in options.only
    }
    recordings = _kept(options.work, f"{kind}-recordings", lambda: [opinion(each.at(RATE)) for each in utterances])
    speakers = [each.speaker for each in utterances]
    return {"systems": found, "recordings": recordings, "speakers": speakers, "utterances": len(utterances)}


def main() -> None:
    """Synthesize, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="LibriSpeech root")
    parser.add_argument("--other", type=Path, required=True, help="folder of LJSpeech's clips, 22.05 kHz")
    parser.add_argument("--work", type=Path, required=True, help="folder for scores as they come")
    parser.add_argument("--every", type=int, default=4, help="which utterances of `test`; it has four of each speaker")
    parser.add_argument("--only", nargs="+", default=(), help="conventions to measure; no page is written")
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = split_names("test")[:: options.every]
    aimed = {name: name for name in groups() if name == "default" or any(name in goal for goal in GOALS)}
    rest = {name: name for name in groups() if name not in aimed or name in ("default", "hifigan-22k")}
    clips = sorted(path.name for path in options.other.glob("*.wav"))
    at_22k = {name: name for name in groups() if CONVENTIONS[name].mel.sample_rate == 22050}
    both, all_three = (OURS, FLOOR), (OURS, FLOOR, GRIFFIN_LIM)
    whole = _measure("whole", options, list(_read(options.data, names, math.inf)), aimed, both)
    excerpts = list(_read(options.data, names, _EXCERPT))
    short = _measure("excerpts", options, excerpts, {**rest, **UNNAMED}, all_three)
    ljspeech = _measure("ljspeech", options, list(_read(options.other, clips, math.inf)), at_22k, all_three)
    if options.only:
        return
    command = (
        "python -m benchmarks.conventions --data data/LibriSpeech --other data/LJSpeech --work outputs/conventions"
    )
    results = {
        **stamp(command),
        "whole": whole,
        "excerpts": short,
        "ljspeech": ljspeech,
        "times": _kept(options.work, "times", lambda: times([*aimed, "bigvgan-44k"])),
    }
    write("conventions", results, page(results), ROOT / "docs")


if __name__ == "__main__":
    main()
