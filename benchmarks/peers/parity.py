"""Outputs of other projects' DiffWave beside those of their checkpoints here: same weights, mel, noise and schedule.

Used by ``peers.interop`` and by the tests. The other project's own code computes the one side, after its own
code has written the checkpoint; the facade of this project, with the imported checkpoint, computes the other.
"""

from __future__ import annotations

import unittest.mock
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers.given import served, stir
from benchmarks.peers.processes import Process
from benchmarks.report import UTTERANCE
from diffwave.audio.file import read_audio
from diffwave.checkpoint.folder import save_checkpoint
from diffwave.interop.importing import import_checkpoint
from diffwave.vocoder import Vocoder

SMALL = {"residual_layers": 6, "residual_channels": 16, "dilation_cycle_length": 3}
FAST_BETAS = [1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5]
TRAINED_STEPS = 50
_STEPS = {"fast": len(FAST_BETAS), "full": TRAINED_STEPS}
Figures = dict[str, dict[str, float]]


def speech(rate: int, frames: int, hop: int = 256) -> Tensor:
    """``frames * hop`` samples of the packaged utterance, ``[N]``."""
    return read_audio(UTTERANCE, rate).wav[rate : rate + frames * hop]


def lmnt_answer(
    package: Path, work: Path, params: dict[str, Any], frames: int, kinds: Sequence[str] = ("fast", "full")
) -> dict[str, Tensor]:
    """What lmnt-com's code answers (``Lmnt.parity``), with what it was asked.

    Args:
        package: folder with its package.
        work: folder for the request, the checkpoint (``model/weights.pt``) and the answer.
        params: that replace its own.
        frames: of the mel.
        kinds: of sampling.
    """
    rate, hop = params.get("sample_rate", 22050), params.get("hop_samples", 256)
    wav = speech(rate, frames, hop)
    noise = torch.randn(TRAINED_STEPS, len(wav), generator=torch.Generator().manual_seed(1))
    torch.save({"params": params, "wav": wav, "noise": noise, "kinds": list(kinds)}, work / "request.pt")
    with Process("lmnt", package, threads=1) as process:
        process.ask("parity", work=str(work))
    return {"wav": wav, "noise": noise, **torch.load(work / "answer.pt", weights_only=True)}


def lmnt_figures(work: Path, answer: dict[str, Tensor]) -> Figures:
    """Differences of the imported checkpoint from what lmnt-com's code answered."""
    vocoder = imported(work / "model", "lmnt", work / "imported")
    figures = {"mel": compared(vocoder.mel(answer["wav"]), answer["mel"])}
    for kind, steps in _STEPS.items():
        for name, mel in (("one", answer["mel"]), ("two", answer["two"])):
            if f"{kind} {name}" in answer:
                theirs = answer[f"{kind} {name}"]
                ours = spoken(vocoder, mel, "full" if kind == "full" else steps, answer["noise"][:steps])
                figures[f"{kind} {name}"] = compared(ours.reshape(theirs.shape), theirs)
    return figures


_HYPERPARAMS = """# As SpeechBrain's recipe for LJSpeech has it
sample_rate: 22050
train_timesteps: 50
beta_start: 0.0001
beta_end: 0.05
fast_sampling_noise_schedule: [1e-4, 0.001, 0.01, 0.05, 0.2, 0.5]
residual_layers: {residual_layers}
residual_channels: {residual_channels}
dilation_cycle_length: {dilation_cycle_length}
unconditional :  False
hop: 256
spec_n_fft: 1024
spec_f_min: 0
spec_f_max: 8000
mel_normalized: null
spec_n_mels: 80
spec_power: 1
spec_hop_length: !ref <hop>
spec_win_length: 1024
spec_norm: "slaney"
spec_mel_scale: "slaney"
dynamic_range_compression: True
diffwave: !new:speechbrain.lobes.models.DiffWave.DiffWave
    input_channels: !ref <spec_n_mels>
    residual_layers: !ref <residual_layers>
    residual_channels: !ref <residual_channels>
    dilation_cycle_length: !ref <dilation_cycle_length>
    total_steps: !ref <train_timesteps>
    unconditional: !ref <unconditional>
diffusion: !new:speechbrain.lobes.models.DiffWave.DiffWaveDiffusion
    model: !ref <diffwave>
    beta_start: !ref <beta_start>
    beta_end: !ref <beta_end>
    timesteps: !ref <train_timesteps>
    noise: !name:speechbrain.nnet.diffusion.GaussianNoise
modules:
    diffwave: !ref <diffwave>
    diffusion: !ref <diffusion>
"""


def speechbrain_model(work: Path, shape: dict[str, int] = SMALL, seed: int = 0) -> Any:
    """A ``DiffWaveDiffusion`` of SpeechBrain with random weights and an output layer that is not zero.

    It is made by HyperPyYAML of a ``hyperparams.yaml`` as the recipe's, which stays in ``work`` beside its
    ``diffwave.ckpt``.
    """
    from hyperpyyaml import load_hyperpyyaml

    text = _HYPERPARAMS.format(**shape)
    (work / "hyperparams.yaml").write_text(text, encoding="utf-8")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        diffusion = load_hyperpyyaml(text)["diffusion"]
        stir(diffusion.model)
    diffusion.eval()
    torch.save(diffusion.model.state_dict(), work / "diffwave.ckpt")
    return diffusion


def speechbrain_mel(wav: Tensor) -> Tensor:
    """The recipe's mel ``[M, F + 1]`` of a wav ``[N]``, by SpeechBrain's own function."""
    from speechbrain.lobes.models import HifiGAN

    # Its name was misspelt in versions before 1.1.
    function = getattr(HifiGAN, "mel_spectrogram", None) or HifiGAN.mel_spectogram
    mel: Tensor = function(22050, 256, 1024, 1024, 80, 0.0, 8000.0, 1, False, "slaney", "slaney", True, wav)
    return mel


def speechbrain_figures(work: Path, diffusion: Any, frames: int, seed: int = 1) -> Figures:
    """Differences of the imported checkpoint from SpeechBrain's inference.

    SpeechBrain's cannot take two mels at once (its network takes a batch of waveforms for channels of one), so its
    outputs for two are made one by one.
    """
    vocoder = imported(work, "speechbrain", work / "imported")
    wav = speech(22050, frames)
    mel = speechbrain_mel(wav)[:, :frames]
    noise = torch.randn(TRAINED_STEPS, len(wav), generator=torch.Generator().manual_seed(seed))
    figures = {"mel": compared(vocoder.mel(wav), mel)}
    for name, mels in (("one", mel.unsqueeze(0)), ("two", torch.stack([mel, mel.flip(-1)]))):
        for kind, steps in _STEPS.items():
            theirs = torch.cat([_infer(diffusion, one, noise[:steps], kind == "fast") for one in mels])
            ours = spoken(vocoder, mels, "full" if kind == "full" else steps, noise[:steps])
            figures[f"{kind} {name}"] = compared(ours, theirs)
    return figures


def _infer(diffusion: Any, mel: Tensor, noise: Tensor, fast: bool) -> Tensor:
    with served(noise.unsqueeze(1), "randn", "randn_like"):
        wav: Tensor = diffusion.inference(False, 256, mel.unsqueeze(0), fast, FAST_BETAS)
    return wav


def imported(path: Path, source: str, folder: Path) -> Vocoder:
    """The vocoder of a checkpoint of another project, by way of a checkpoint folder, in float32."""
    save_checkpoint(folder, import_checkpoint(path, source).checkpoint)
    return Vocoder.from_pretrained(folder, "cpu", precision="float32")


def spoken(vocoder: Vocoder, mel: Tensor, steps: int | str, noise: Tensor) -> Tensor:
    """``Vocoder.synthesize`` with noise ``[S, N]`` in the place of its own: the start, then as it is added."""
    with noise_of(noise):
        return vocoder.synthesize(mel, steps=steps)


@contextmanager
def noise_of(noise: Tensor) -> Iterator[None]:
    """Let the denoiser draw the rows of ``noise`` ``[S, N]``: index ``S`` is the first."""

    def draw(_seed: int, index: int, samples: int, *_place: Any) -> Tensor:
        return noise[len(noise) - index, :samples]

    with unittest.mock.patch("diffwave.synthesis.denoising.white_noise", draw):
        yield


def compared(ours: Tensor, theirs: Tensor) -> dict[str, float]:
    """Largest difference, and what shows that there is something to compare.

    That is the level, the share of samples at the clip, and how far the first and the last example (or band), which had
    the same noise, are apart: what the mel makes of it.
    """
    assert ours.shape == theirs.shape or ours.shape[-1] == theirs.shape[-1] - 1, (ours.shape, theirs.shape)
    theirs = theirs[..., : ours.shape[-1]]
    return {
        "difference": float((ours.double() - theirs.double()).abs().max()),
        "rms": float(theirs.double().square().mean().sqrt()),
        "clipped": float((theirs.abs() >= 1).double().mean()),
        "moved": float((theirs[0] - theirs[-1]).double().square().mean().sqrt()),
    }
