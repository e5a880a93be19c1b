from __future__ import annotations

import dataclasses
import math
import warnings
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch

from diffwave.checkpoint.folder import Checkpoint, CheckpointError
from diffwave.config import (
    DiffusionConfig,
    MelConfig,
    ModelConfig,
    NetworkConfig,
    SamplingConfig,
    SynthesisOptions,
    mel_preset,
)
from diffwave.dsp.noise import white_noise
from diffwave.kernels import compiled, dispatch
from diffwave.kernels.dispatch import BackendError
from diffwave.kernels.reference import Reference
from diffwave.mel.spectrogram import MelSpectrogram, MelWarning
from diffwave.network.diffwave import DiffWave
from diffwave.synthesis.blockwise import Synthesis
from diffwave.vocoder import Vocoder
from tiny import TINY, random_weights

SPEECH = Path(__file__).parent / "data" / "403-126855-0000.flac"
FAST = [1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5]
# The paper's network instead of the packaged one's: linear schedule, noise prediction, white prior, DDPM.
PAPER = ModelConfig(
    network=NetworkConfig(residual_channels=8, residual_layers=3, dilation_cycle=3),
    sampling=SamplingConfig(fast_betas={"6": FAST}),
)


def build(config: ModelConfig) -> Vocoder:
    network = DiffWave(config)
    random_weights(network)
    return Vocoder(Checkpoint(config, network.state_dict()), "cpu")


@pytest.fixture(scope="module")
def speech() -> torch.Tensor:
    wav, _ = soundfile.read(SPEECH, dtype="float32")
    return torch.from_numpy(wav)


@pytest.fixture(scope="module", params=["packaged", "paper"])
def vocoder(request: pytest.FixtureRequest, tiny_checkpoint: Path) -> Vocoder:
    return Vocoder.from_pretrained(tiny_checkpoint, "cpu") if request.param == "packaged" else build(PAPER)


@pytest.fixture
def mel(vocoder: Vocoder, speech: torch.Tensor) -> torch.Tensor:
    return vocoder.mel(speech[: 256 * 24])


@pytest.mark.parametrize("frames", [1, 2, 5, 40])
def test_an_output_has_a_hop_of_samples_for_each_frame(vocoder: Vocoder, speech: torch.Tensor, frames: int) -> None:
    mel = vocoder.mel(speech[: frames * 256])
    wav = vocoder.synthesize(mel)
    assert mel.shape == (80, frames)
    assert wav.shape == (frames * 256,)
    assert wav.dtype == torch.float32
    assert bool(torch.isfinite(wav).all())
    assert float(wav.std()) > 0


@pytest.mark.parametrize("config", [
    MelConfig(sample_rate=24000, n_fft=1200, win_length=1200, hop_length=300, f_max=12000),
    MelConfig(n_fft=800, win_length=800, hop_length=200),
    mel_preset("hifigan-22k"),
    mel_preset("speecht5-16k"),
], ids=["24k/300", "16k/200", "hifigan", "speecht5"])  # fmt: skip
def test_other_mels_keep_their_geometry(config: MelConfig, speech: torch.Tensor) -> None:
    network = dataclasses.replace(TINY.network, squeeze=4)
    other = build(dataclasses.replace(TINY, mel=config, network=network))
    mel = other.mel(speech[: 10 * config.hop_length + 1])
    assert mel.shape == (80, 11)
    assert other.synthesize(mel).shape == (11 * config.hop_length,)
    assert (other.sample_rate, other.hop_length) == (config.sample_rate, config.hop_length)


def test_the_seed_alone_decides_the_output(vocoder: Vocoder, mel: torch.Tensor) -> None:
    first = vocoder.synthesize(mel, seed=3)
    torch.manual_seed(99)
    assert torch.equal(vocoder.synthesize(mel, seed=3), first)
    other = vocoder.synthesize(mel, seed=4)
    assert float((other - first).std()) > 0.01 * float(first.std())


def test_the_mel_matters(vocoder: Vocoder, mel: torch.Tensor) -> None:
    louder = vocoder.synthesize(mel + 1)
    assert float((louder - vocoder.synthesize(mel)).abs().max()) > 1e-4


@pytest.mark.parametrize("steps", [1, 2, 6, 50])
def test_as_many_network_calls_as_steps(vocoder: Vocoder, mel: torch.Tensor, steps: int, monkeypatch) -> None:
    calls: list[float] = []
    forward = vocoder.network.forward

    def counted(noisy: torch.Tensor, step: torch.Tensor, *rest: object) -> torch.Tensor:
        calls.append(float(step[0]))
        return forward(noisy, step, *rest)

    monkeypatch.setattr(vocoder.network, "forward", counted)
    vocoder.synthesize(mel[:, :2], steps=steps)
    assert len(calls) == steps
    assert calls == sorted(calls, reverse=True)


def test_full_is_every_trained_step(vocoder: Vocoder, mel: torch.Tensor) -> None:
    assert vocoder.resolve(SynthesisOptions("full")).sampler.steps.tolist() == list(range(50))
    full, fifty = (vocoder.synthesize(mel[:, :4], steps=steps) for steps in ("full", 50))
    torch.testing.assert_close(full, fifty, rtol=1e-4, atol=1e-5)


def test_settings_come_from_the_checkpoint_unless_given() -> None:
    paper = build(PAPER)
    assert len(paper.resolve().sampler) == 6
    assert paper.resolve().sampler.schedule.betas.tolist() == FAST
    assert paper.resolve().sampler.eta == 1
    assert paper.resolve(SynthesisOptions(sampler="ddim")).sampler.eta == 0
    # Without a fast schedule of that size: trained steps at equal distances.
    assert paper.resolve(SynthesisOptions(2)).sampler.steps.tolist() == [0, 49]
    clipped = build(dataclasses.replace(PAPER, sampling=SamplingConfig(steps=3, sampler="ddim", clip=True)))
    assert (len(clipped.resolve().sampler), clipped.resolve().sampler.eta, clipped.resolve().sampler.clip) == (
        3,
        0,
        True,
    )


@pytest.mark.parametrize("steps", [0, -1, 51, "many", 2.5])
def test_impossible_steps_are_refused(vocoder: Vocoder, mel: torch.Tensor, steps: object) -> None:
    with pytest.raises(ValueError, match=r"expected (1 to 50 steps|a number or 'full').*" + str(steps)):
        vocoder.synthesize(mel, steps=steps)


def test_an_unknown_sampler_is_refused(vocoder: Vocoder, mel: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"expected one of ddpm, .*; got 'euler'"):
        vocoder.synthesize(mel, sampler="euler")


@pytest.mark.parametrize("consistency", [0, 2])
def test_a_batch_of_unequal_lengths_equals_one_by_one(vocoder: Vocoder, speech: torch.Tensor, consistency: int) -> None:
    mels = [vocoder.mel(speech[: 256 * frames]) for frames in (7, 30, 1, 18)]
    together = vocoder.synthesize_batch(mels, steps=3, seed=5, consistency=consistency)
    for mel, wav in zip(mels, together, strict=True):
        alone = vocoder.synthesize(mel, steps=3, seed=5, consistency=consistency)
        scale = float(alone.abs().max())
        torch.testing.assert_close(wav / scale, alone / scale, rtol=0, atol=1e-4)


def test_a_stacked_batch_equals_one_by_one(vocoder: Vocoder, speech: torch.Tensor) -> None:
    mels = torch.stack([vocoder.mel(speech[: 256 * 12]), vocoder.mel(speech[9000 : 9000 + 256 * 12])])
    together = vocoder.synthesize(mels)
    assert together.shape == (2, 12 * 256)
    for mel, wav in zip(mels, together, strict=True):
        torch.testing.assert_close(wav, vocoder.synthesize(mel), rtol=1e-4, atol=1e-4)
    (only,) = vocoder.synthesize_batch([mels[0]])
    assert torch.equal(only, vocoder.synthesize(mels[0]))


def test_the_beginning_does_not_depend_on_what_comes_much_later(vocoder: Vocoder, speech: torch.Tensor) -> None:
    # Beyond the receptive field of all steps, the prior's frames and the mel's upsampler nothing can matter.
    mel = vocoder.mel(speech[: 256 * 40])
    whole, part = vocoder.synthesize(mel, steps=2), vocoder.synthesize(mel[:, :30], steps=2)
    reach = 2 * vocoder.network.config.receptive_field + 4 * 256 + 2 * 1024
    samples = 30 * 256 - reach
    assert samples > 2000
    torch.testing.assert_close(whole[:samples], part[:samples], rtol=0, atol=1e-4 * float(whole.abs().max()))


def test_an_untrained_velocity_network_leaves_the_closed_form_of_ddim() -> None:
    # v = bias of the last layer = 0: every step multiplies by cos(difference of angles), and the last by
    # cos(first angle), as for unit-variance Gaussian data; the prior is white.
    config = dataclasses.replace(TINY, diffusion=DiffusionConfig(schedule="cosine"))
    network = DiffWave(config)
    torch.nn.init.zeros_(network.output_projection.bias)
    vocoder = Vocoder(Checkpoint(config, network.state_dict()), "cpu")
    wav = vocoder.synthesize(torch.full((80, 4), -6.0), steps=50, seed=8)
    quarter = math.pi / 2
    gain = math.cos((0.988 - 0.012) / 49 * quarter) ** 49 * math.cos(0.012 * quarter)
    # The first division by the signal level (.019) magnifies rounding fiftyfold.
    torch.testing.assert_close(wav, gain * white_noise(8, 50, 1024), rtol=0, atol=1e-4)


def test_the_callback_sees_every_step_as_waveforms(vocoder: Vocoder, mel: torch.Tensor) -> None:
    seen: list[tuple[int, torch.Tensor, torch.Tensor]] = []
    wav = vocoder.synthesize(mel, steps=4, consistency=0, callback=lambda *args: seen.append(args))
    assert [index for index, _, _ in seen] == [3, 2, 1, 0]
    assert all(state.shape == clean.shape == (1, len(wav)) for _, state, clean in seen)
    assert torch.equal(seen[-1][1][0], wav)
    assert torch.equal(seen[-1][2][0], wav)
    assert torch.equal(vocoder.synthesize(mel, steps=4, consistency=0), wav)


def test_consistency_brings_the_output_closer_to_its_mel(vocoder: Vocoder, mel: torch.Tensor) -> None:
    def distance(iterations: int) -> float:
        return float((vocoder.mel(vocoder.synthesize(mel, consistency=iterations)) - mel).abs().mean())

    assert distance(8) < 0.7 * distance(0)


@pytest.mark.parametrize("samples", [1, 255, 256, 257, 6000])
def test_mel_pads_with_silence_to_whole_frames(vocoder: Vocoder, speech: torch.Tensor, samples: int) -> None:
    frames = -(-samples // 256)
    wav = speech[:samples]
    padded = torch.nn.functional.pad(wav, (0, frames * 256 - samples))
    assert vocoder.mel(wav).shape == (80, frames)
    assert torch.equal(vocoder.mel(wav), vocoder.front_end(padded.unsqueeze(0))[0])
    # Another number of columns is another order of summation in the matrix product.
    torch.testing.assert_close(vocoder.mel(torch.stack([wav, wav]))[1], vocoder.mel(wav), rtol=0, atol=1e-3)
    torch.testing.assert_close(vocoder.mel(wav.double()), vocoder.mel(wav))


@pytest.mark.parametrize("shape", [(0,), (1, 0), (1, 2, 300)])
def test_mel_refuses_what_is_no_waveform(vocoder: Vocoder, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected a waveform \[N\] or \[B, N\]; got shape"):
        vocoder.mel(torch.zeros(shape))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda mel: mel[:40], "got shape"),
        (lambda mel: mel.t(), "transposed"),
        (lambda mel: mel[:, :0], "no frames"),
        (lambda mel: mel * float("nan"), "NaN"),
    ],
)
def test_a_mel_that_cannot_be_is_refused_alone_and_in_a_batch(vocoder, mel, spoil, reason: str) -> None:
    bad = spoil(mel)
    with pytest.raises(ValueError, match=reason):
        vocoder.synthesize(bad)
    with pytest.raises(ValueError, match=reason):
        vocoder.synthesize_batch([mel, bad])


def test_outputs_carry_no_graph(vocoder: Vocoder, mel: torch.Tensor) -> None:
    assert not vocoder.synthesize(mel.clone().requires_grad_()).requires_grad


def test_outputs_may_be_changed_in_place(vocoder: Vocoder, mel: torch.Tensor) -> None:
    wavs = [vocoder.synthesize(mel), *vocoder.synthesize_batch([mel, mel[:, :9]]), *vocoder.stream([mel])]
    for wav in wavs:
        wav *= 0.5


def test_a_name_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere: expected a checkpoint folder or 'default'"):
        Vocoder.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"config.json"):
        Vocoder.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("strange", "reason"), [(lambda mel: mel.exp(), "linear"), (lambda mel: mel / math.log(10), "log10")]
)
def test_a_mel_that_looks_strange_is_synthesized_with_a_warning(vocoder, speech, strange, reason: str) -> None:
    """It may be a strange recording; a mel from a file, of unknown origin, is refused by the command line."""
    with pytest.warns(MelWarning, match=reason):
        vocoder.synthesize(strange(vocoder.mel(speech)), steps=1)


def test_a_mel_of_another_convention_is_named_once_by_every_entrance(vocoder: Vocoder) -> None:
    """Shape and range of HiFi-GAN's 22.05 kHz mels are those of the default ones."""
    wav, rate = soundfile.read(SPEECH.with_name("839-130898-0000.flac"), dtype="float32")
    theirs = MelSpectrogram(mel_preset("hifigan-22k"))
    resampled = torch.from_numpy(librosa.resample(wav, orig_sr=rate, target_sr=22050))[None]
    mel = theirs(resampled[:, : resampled.shape[1] // 256 * 256])[0]
    for speak in (
        lambda: vocoder.synthesize(mel, steps=1),
        lambda: vocoder.synthesize_batch([mel, mel[:, :40]], steps=1),
        lambda: list(vocoder.stream(mel.split(50, dim=1), steps=1)),
        lambda: list(vocoder.stream([mel[:, :250]], steps=1)),
    ):
        with pytest.warns(MelWarning, match=r'looks like hifigan-22k rather than .*; mel="hifigan-22k"') as caught:
            speak()
        assert len(caught) == 1
    with warnings.catch_warnings(action="error"):
        vocoder.with_mel("hifigan-22k").synthesize(mel, steps=1)
        vocoder.synthesize(vocoder.mel(torch.from_numpy(wav)), steps=1)


@pytest.mark.parametrize("consistency", [-1, 1.5, True])
def test_a_wrong_number_of_iterations_is_refused_before_any_work(vocoder, speech, consistency, monkeypatch) -> None:
    monkeypatch.setattr(vocoder.network, "forward", None)
    mel = vocoder.mel(speech)
    for call in (
        lambda: vocoder.synthesize(mel, consistency=consistency),
        lambda: vocoder.synthesize_batch([mel, mel], consistency=consistency),
    ):
        with pytest.raises(ValueError, match="0 or a positive whole number"):
            call()


def test_a_batch_of_nothing_is_refused(vocoder) -> None:
    with pytest.raises(ValueError, match="at least one example"):
        vocoder.synthesize(torch.zeros(0, 80, 5))


def test_keeping_projections_between_steps_changes_nothing(vocoder, speech, monkeypatch) -> None:
    mel = vocoder.mel(speech)
    kept = vocoder.synthesize(mel, steps=3)
    monkeypatch.setattr(vocoder.network, "backend", Reference(cache_bytes=0))
    torch.testing.assert_close(vocoder.synthesize(mel, steps=3), kept, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("wav", "reason"),
    [
        (torch.zeros(16000, 2), "N, channels"),
        (torch.zeros(16000, dtype=torch.int16), "torch.int16"),
        ([0.0] * 16000, "list"),
    ],
)
def test_what_is_no_waveform_has_no_mel(vocoder, wav, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        vocoder.mel(wav)


def test_arguments_of_synthesize_are_checked(vocoder, speech) -> None:
    mel = vocoder.mel(speech)
    with pytest.raises(ValueError, match="expected a tensor"):
        vocoder.synthesize(mel.numpy())
    with pytest.raises(ValueError, match="expected 0 or a positive whole number; got -1"):
        vocoder.synthesize(mel, steps=1, consistency=-1)
    with pytest.raises(ValueError, match="got True"):
        vocoder.synthesize(mel, steps=True)
    assert len(vocoder.resolve(SynthesisOptions(np.int64(2))).sampler) == 2


class Cramped(Vocoder):
    """Without memory for more than ``most`` examples at once."""

    most = 2
    complaint: Exception = torch.OutOfMemoryError("CUDA out of memory")

    def _synthesis(self, *choices):
        synthesis = super()._synthesis(*choices)

        def speak(mels, *rest, **named):
            examples = sum(map(len, mels))
            self.__dict__.setdefault("tried", []).append(examples)
            if examples > self.most:
                raise self.complaint
            return Synthesis.speak(synthesis, mels, *rest, **named)

        object.__setattr__(synthesis, "speak", speak)
        return synthesis


@pytest.mark.parametrize(
    "complaint",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
        MemoryError(),
    ],
)
def test_a_batch_that_does_not_fit_is_split_and_the_same(tiny_checkpoint, speech, caplog, complaint) -> None:
    cramped = Cramped.from_pretrained(tiny_checkpoint, "cpu", "reference")
    cramped.complaint = complaint
    mels = [cramped.mel(speech[: 256 * frames]) for frames in (7, 30, 1, 18, 4)]
    together = cramped.synthesize_batch(mels, seed=5)
    assert cramped.tried == [5, 3, 2, 2, 1]
    (record,) = caplog.records
    assert "5 examples at once do not fit into memory" in record.getMessage()
    for mel, wav in zip(mels, together, strict=True):
        alone = cramped.synthesize(mel, seed=5)
        torch.testing.assert_close(wav, alone, rtol=0, atol=1e-4 * float(alone.abs().max()))


def test_a_stacked_batch_that_does_not_fit_is_split_and_the_same(tiny_checkpoint, speech, caplog) -> None:
    cramped = Cramped.from_pretrained(tiny_checkpoint, "cpu", "reference")
    plain = Vocoder.from_pretrained(tiny_checkpoint, "cpu", "reference")
    mels = torch.stack([plain.mel(speech[start : start + 256 * 9]) for start in (0, 5000, 9000)])
    expected = plain.synthesize(mels)
    torch.testing.assert_close(cramped.synthesize(mels), expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
    assert cramped.tried == [3, 2, 1]
    assert len(caplog.records) == 1
    # A callback is shown all of it or nothing.
    with pytest.raises(MemoryError, match=r"mel of shape \[3, 80, 9\]"):
        cramped.synthesize(mels, callback=lambda *_: None)


def test_an_example_that_does_not_fit_alone_is_one_line(tiny_checkpoint, speech) -> None:
    cramped = Cramped.from_pretrained(tiny_checkpoint, "cpu", "reference")
    cramped.most = 0
    mel = cramped.mel(speech[: 256 * 25])
    for call in (lambda: cramped.synthesize(mel), lambda: cramped.synthesize_batch([mel, mel])):
        with pytest.raises(MemoryError, match=r"memory of cpu; got 0.4 s, .*80, 25.*: cut it") as caught:
            call()
        assert "\n" not in str(caught.value)


def test_other_errors_are_not_taken_for_memory(tiny_checkpoint, speech) -> None:
    cramped = Cramped.from_pretrained(tiny_checkpoint, "cpu", "reference")
    cramped.most, cramped.complaint = 0, RuntimeError("sizes differ")
    with pytest.raises(RuntimeError, match="sizes differ"):
        cramped.synthesize(cramped.mel(speech[:2560]))
    assert cramped.tried == [1]


def test_it_tells_what_was_chosen(tiny_checkpoint, speech) -> None:
    plain = Vocoder.from_pretrained(tiny_checkpoint, "cpu", "reference")
    assert (plain.backend, plain.precision) == ("reference", "float32")
    half = Vocoder.from_pretrained(tiny_checkpoint, "cpu", "reference", "bfloat16")
    assert (half.backend, half.precision) == ("reference", "bfloat16")
    chosen = Vocoder.from_pretrained(tiny_checkpoint, "cpu")
    assert (chosen.backend, chosen.precision) in [("reference", "float32"), ("native", "bfloat16")]
    mel = plain.mel(speech)
    exact, rounded = plain.synthesize(mel, consistency=0), half.synthesize(mel, consistency=0)
    assert rounded.dtype == torch.float32
    # Eight bits of mantissa, through two steps of three layers.
    assert 1e-4 < float((rounded - exact).norm() / exact.norm()) < 0.05


def test_a_backend_that_cannot_run_is_refused_and_auto_says_it_once(tiny_checkpoint, speech, monkeypatch, caplog):
    monkeypatch.setattr(dispatch, "_kernel", lambda *_: "no such instructions")
    with pytest.raises(BackendError, match="backend native cannot run here: no such instructions"):
        Vocoder.from_pretrained(tiny_checkpoint, "cpu", "native")
    with caplog.at_level("INFO"):
        vocoder = Vocoder.from_pretrained(tiny_checkpoint, "cpu")
        for _ in range(3):
            vocoder.synthesize(vocoder.mel(speech[:2560]))
    assert (vocoder.backend, vocoder.precision, len(caplog.records)) == ("reference", "float32", 1)


@pytest.mark.skipif(compiled.unavailable(torch.device("cpu")) is not None, reason="needs a C++ compiler")
def test_compiled_equals_the_reference_at_every_length(tiny_checkpoint, speech) -> None:
    plain = Vocoder.from_pretrained(tiny_checkpoint, "cpu", "reference")
    quick = Vocoder.from_pretrained(tiny_checkpoint, "cpu", "compiled")
    assert (quick.backend, quick.precision) == ("compiled", "float32")
    for frames in (9, 30, 17):
        mel = plain.mel(speech[: 256 * frames])
        expected = plain.synthesize(mel, consistency=0)
        torch.testing.assert_close(quick.synthesize(mel, consistency=0), expected, rtol=1e-4, atol=1e-5)
