"""Settings of a training run: data, optimisation, and what is written when."""

from __future__ import annotations

from dataclasses import dataclass, field

from diffwave.config.checks import one_of, require
from diffwave.config.model import ModelConfig

_HIGHEST_RATE = 100.0  # of learning
_HIGHEST_WEIGHT = 1000.0  # of a term of the loss


@dataclass(frozen=True)
class DataConfig:
    """Where the speech is and how it is cut.

    Args:
        manifest: utterances to train on, JSON lines as ``recipes/librispeech/prepare.py`` writes them; without one,
            ``root`` is searched.
        validation_manifest: utterances to validate on; without one, ``validation_speakers`` decides.
        root: a LibriSpeech root or any folder tree of audio.
        subsets: first-level folders of ``root`` to use; empty takes the ``train-*`` folders of a LibriSpeech
            root, and everything of any other tree.
        validation_speakers: speakers held out for validation; if none of them is found, one utterance in
            twenty is held out instead.
        crop_frames: length of a training crop in mel frames.
        workers: loader processes of each training process; 0 reads in the training process itself.
    """

    manifest: str = ""
    validation_manifest: str = ""
    root: str = "data/LibriSpeech"
    subsets: list[str] = field(default_factory=list)
    validation_speakers: list[str] = field(default_factory=list)
    crop_frames: int = 62
    workers: int = 0

    def __post_init__(self) -> None:
        require(self.crop_frames >= 1, f"data.crop_frames must be at least 1; got {self.crop_frames}")
        require(self.workers >= 0, f"data.workers cannot be negative; got {self.workers}")


@dataclass(frozen=True)
class OptimizationConfig:
    """How long and how fast to learn.

    Args:
        start_from: a checkpoint folder, or a packaged checkpoint, whose network a new run begins with: of the same
            shape, for a mel of any rate, bands, frames and logarithm that can be undone; empty begins with random
            weights.
        iterations: optimiser steps in total; a resumed run goes on up to this number.
        batch_size: crops per iteration, over all processes and micro-batches together.
        accumulate: micro-batches that each process takes one after the other in an iteration, when its share of the
            batch does not fit into memory.
        learning_rate: of Adam.
        warmup: iterations of a rise from zero to ``learning_rate``; it rises no faster in a run that goes on either.
        decay_iterations: the learning rate falls linearly to zero over the last so many iterations.
        loss: ``l1`` or ``l2``.
        noise_weighting: of the loss in training: ``none`` (all noise levels alike), ``min_snr`` (Hang et al. 2023,
            gamma = 5) or ``logit_normal`` (the middle levels most; Esser et al. 2024). Validation is not weighted.
        error_weighting: of the loss in training: ``none`` (all of the spectrum alike), or ``loudness`` (as differences
            of loudness; Zwicker & Fastl 1999), with ``loss=l2``. Validation is not weighted.
        stft_weight: of a multi-resolution STFT distance (Yamamoto et al. 2020) between the estimate of the clean
            waveform and the waveform, times the step's share of signal ``alpha_bar``; 0 turns it off.
        gradient_clip: largest norm of the gradient.
        ema_decay: of the exponential moving average of the weights, which is what a checkpoint exports.
        precision: ``float32`` or ``bfloat16`` (autocast, and the kernels where they can run).
        backend: of the residual layers: ``reference`` (plain PyTorch), ``native`` (the C kernel, CPU, bfloat16),
            ``triton`` (GPU, bfloat16), or ``auto``: the C kernel in bfloat16 on a CPU that can run it, else the
            reference.
        compile: run the network through ``torch.compile``.
        deterministic: only use algorithms that give the same bits every time; on a CPU they do anyway.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: CPU threads of each process; 0 leaves torch's choice.
        seed: of weights, crops, noise and diffusion steps.
        checkpoint_every, validate_every, outputs_every, log_every: in iterations; ``outputs_every=0`` turns outputs
            (audio, PESQ, pictures in the middle of a run) off.
        keep_checkpoints: how many ``training-*.pt`` stay; the weights of the best validation stay beside them.
        validation_utterances: how many utterances of the validation split are used.
        output_utterances: how many of them are synthesized.
        tensorboard: write event files for TensorBoard.
    """

    start_from: str = ""
    iterations: int = 1_000_000
    batch_size: int = 16
    accumulate: int = 1
    learning_rate: float = 2e-4
    warmup: int = 0
    decay_iterations: int = 0
    loss: str = "l1"
    noise_weighting: str = "none"
    error_weighting: str = "none"
    stft_weight: float = 0.0
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    precision: str = "float32"
    backend: str = "auto"
    compile: bool = False
    deterministic: bool = False
    device: str = "auto"
    threads: int = 0
    seed: int = 0
    checkpoint_every: int = 1000
    validate_every: int = 1000
    outputs_every: int = 10_000
    log_every: int = 50
    keep_checkpoints: int = 2
    validation_utterances: int = 16
    output_utterances: int = 4
    tensorboard: bool = True

    def __post_init__(self) -> None:
        one_of("train.loss", self.loss, ("l1", "l2"))
        one_of("train.noise_weighting", self.noise_weighting, ("none", "min_snr", "logit_normal"))
        one_of("train.error_weighting", self.error_weighting, ("none", "loudness"))
        require(
            self.error_weighting == "none" or self.loss == "l2",
            f"train.error_weighting=loudness weights squared errors; expected train.loss=l2; got {self.loss}",
        )
        require(
            0 <= self.stft_weight <= _HIGHEST_WEIGHT,
            f"train.stft_weight must be in [0, {_HIGHEST_WEIGHT:g}]; got {self.stft_weight}",
        )
        one_of("train.precision", self.precision, ("float32", "bfloat16"))
        one_of("train.backend", self.backend, ("auto", "reference", "native", "triton"))
        require(
            not self.compile or self.backend in ("auto", "reference"),
            f"train.compile=true compiles the reference; expected train.backend=auto or reference; got {self.backend}",
        )
        one_of("train.device", self.device, ("auto", "cpu", "cuda"))
        counts = ("iterations", "batch_size", "accumulate", "checkpoint_every", "validate_every", "log_every")
        for name in (*counts, "keep_checkpoints", "validation_utterances", "output_utterances"):
            value = getattr(self, name)
            require(value >= 1, f"train.{name} must be at least 1; got {value}")
        for name in ("seed", "threads", "warmup", "decay_iterations", "outputs_every"):
            value = getattr(self, name)
            require(value >= 0, f"train.{name} cannot be negative; got {value}")
        require(self.seed < 2**63, f"train.seed must be below 2 ** 63; got {self.seed}")
        require(self.threads <= 1024, f"train.threads must be at most 1024; got {self.threads}")
        require(0 <= self.ema_decay < 1, f"train.ema_decay must be in [0, 1); got {self.ema_decay}")
        require(
            0 < self.learning_rate <= _HIGHEST_RATE and self.gradient_clip > 0,
            f"train: expected a positive, finite learning_rate of at most {_HIGHEST_RATE:g} and a positive "
            "gradient_clip; got "
            f"{self.learning_rate} and {self.gradient_clip}",
        )


@dataclass(frozen=True)
class TrainingConfig:
    """One training run: the model, its data, its optimisation, and where it is written."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: OptimizationConfig = field(default_factory=OptimizationConfig)
    run_dir: str = "runs/diffwave"

    def __post_init__(self) -> None:
        require(bool(self.run_dir), "run_dir: expected the name of a folder; got nothing")
        require(
            not self.model.refiner.dilations,
            "model.refiner: expected no dilations, for a refiner is taught by diffwave train-refiner when the network "
            f"has learned; got {self.model.refiner.dilations}",
        )
        mel = self.model.mel
        crop = self.data.crop_frames * mel.hop_length
        require(
            crop >= mel.n_fft,
            f"data.crop_frames={self.data.crop_frames} is a crop of {crop} samples, shorter than one frame of "
            f"model.mel.n_fft={mel.n_fft}; expected at least {-(-mel.n_fft // mel.hop_length)} frames",
        )
        steps, trained = self.model.sampling.steps, self.model.diffusion.steps
        require(
            steps <= trained or str(steps) in self.model.sampling.fast_betas,
            f"model.sampling.steps={steps}: expected at most the model.diffusion.steps={trained} that it is trained on",
        )
