"""Mel consistency in C against its definition in PyTorch, in float64."""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from diffwave.config import MelConfig, mel_preset
from diffwave.dsp.stft import FrameGeometry, FrameTransform
from diffwave.kernels import native_consistency, native_library
from diffwave.mel import consistency as mel_consistency
from diffwave.mel.consistency import MelConsistency
from diffwave.mel.coverage import Coverage, cover
from diffwave.mel.spectrogram import MelSpectrogram, spreading

_REASON = native_consistency.unavailable(FrameGeometry(1024, 256, 1024))
needs_kernel = pytest.mark.skipif(_REASON is not None, reason=f"native consistency: {_REASON}")
of_two_sizes = pytest.mark.parametrize(
    "config", [MelConfig(), MelConfig(n_fft=882, win_length=882, hop_length=220)], ids=MelConfig.describe
)


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """More than one, or nothing would be shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def make(config: MelConfig | None = None, **settings: float) -> MelConsistency:
    return MelConsistency(MelSpectrogram(config or MelConfig()), **settings)


def noise(config: MelConfig, frames: int, examples: int = 1, seed: int = 0, level: float = 0.1) -> Tensor:
    """Pinkish noise whose loudness changes."""
    samples = frames * config.hop_length
    white = torch.randn(examples, samples, generator=torch.Generator().manual_seed(seed))
    loudness = 1.1 + torch.sin(torch.arange(samples) / 1000 + seed)
    return level * loudness * (white + 2 * white.cumsum(-1) / math.sqrt(samples))


def goal_of(consistency: MelConsistency, wav: Tensor) -> Tensor:
    """Log of the sums of bands, with those beyond the outermost ones, float64 ``[B, F, M']``."""
    front_end = consistency.mel
    goal = front_end.expand(front_end(wav.double())).clamp_min(front_end.config.floor).log().transpose(1, 2)
    return cover(front_end.config).complete(goal)


def errors(
    consistency: MelConsistency, wav: Tensor, goal: Tensor, iterations: int, hold: Tensor | None = None
) -> tuple[float, float]:
    """Largest difference from float64 beside the signal's level, of the kernel and of PyTorch in float32."""
    frames = goal.shape[1]
    with torch.inference_mode():
        truth = consistency._push(wav.double(), goal, frames, iterations, hold)
        plain = consistency._push(wav, goal.float(), frames, iterations, hold)
        ours = consistency._push_natively(wav, goal.float(), iterations, hold)
    assert ours.shape == truth.shape
    level = truth.square().mean().sqrt()
    assert float((truth - wav).abs().max() / level) > 0.1  # something has happened
    return float((ours - truth).abs().max() / level), float((plain - truth).abs().max() / level)


@needs_kernel
@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.99])
@pytest.mark.parametrize("framing", ["hop", "centre"])
@pytest.mark.parametrize("frames", [1, 2, 3, 15, 16, 17, 33, 70])
def test_it_is_what_pytorch_computes(frames: int, framing: str, momentum: float) -> None:
    config = MelConfig(framing=framing)
    consistency = make(config, momentum=momentum)
    goal = goal_of(consistency, noise(config, frames, 2, seed=1, level=0.03))
    wav = noise(config, frames, 2)
    assert errors(consistency, wav, goal, 1)[0] < 1e-5
    ours, plain = errors(consistency, wav, goal, 3)
    assert ours < 1e-5 + 4 * plain


@needs_kernel
@pytest.mark.parametrize("count", [1, 5000, 4096, 33 * 256])
def test_what_is_held_is_held_as_in_pytorch(count: int) -> None:
    consistency = make()
    goal = goal_of(consistency, noise(MelConfig(), 33, 2, seed=1, level=0.03))
    wav = noise(MelConfig(), 33, 2)
    ours, plain = errors(consistency, wav, goal, 3, torch.linspace(1, 0, count))
    assert ours < 1e-5 + 4 * plain
    pushed = consistency._push_natively(wav, goal.float(), 3, torch.ones(count))
    assert torch.equal(pushed[:, :count], wav[:, :count])


@needs_kernel
@pytest.mark.parametrize(
    "config",
    [
        *(
            mel_preset(name)
            for name in ("hifigan-22k", "speecht5-16k", "vocos-24k", "lmnt-22k", "matcha-22k", "nemo-22k")
        ),
        MelConfig(spectrum="power", floor=1e-10),
        MelConfig(spectrum="power", floor=1e-10, f_min=80, f_max=7600, stft_normalized=True),
        MelConfig(log="linear", f_min=80),
        *(MelConfig(n_fft=size, win_length=size, hop_length=size // 4, n_mels=20) for size in (64, 128, 256, 512)),
        *(MelConfig(n_fft=size, win_length=size, hop_length=size // 8) for size in (2048, 4096)),
        *(MelConfig(n_fft=size, win_length=size, hop_length=size // 4) for size in (1920, 1280, 960, 800, 882, 1764)),
        MelConfig(n_fft=2048, win_length=1200, hop_length=300),
        MelConfig(n_fft=1050, win_length=999, hop_length=250, framing="centre"),
        *(MelConfig(n_fft=size, win_length=size, hop_length=size // 5, n_mels=12) for size in (90, 450)),
        MelConfig(win_length=800, hop_length=200, framing="centre", f_min=300, f_max=5000, stft_normalized=True),
        MelConfig(win_length=601, hop_length=150, mel_scale="htk", mel_norm="none"),
        MelConfig(hop_length=512),
        MelConfig(hop_length=512, framing="centre"),
        MelConfig(hop_length=30, n_mels=1),
        MelConfig(n_fft=64, win_length=60, hop_length=1, n_mels=3),
        MelConfig(n_mels=300),
    ],
    ids=MelConfig.describe,
)
def test_any_convention_will_do(config: MelConfig) -> None:
    consistency, frames = make(config), 37
    goal = goal_of(consistency, noise(config, frames, seed=1, level=0.03))
    ours, plain = errors(consistency, noise(config, frames), goal, 2)
    # Where a frame begins with a window of nearly zero, float32 is not good to more.
    assert ours < 2e-5 + 4 * plain
    assert plain < 0.05


@needs_kernel
def test_corrections_are_limited_from_both_sides() -> None:
    consistency = make(limit=0.5, momentum=0)
    wav = noise(consistency.mel.config, 20)
    own = goal_of(consistency, wav)
    for change in (9.0, -9.0):
        assert errors(consistency, wav, own + change, 1)[0] < 1e-5
        result = consistency._push_natively(wav, (own + change).float(), 1)
        torch.testing.assert_close(result, wav * math.exp(math.copysign(0.5, change)), rtol=1e-4, atol=1e-4)


@needs_kernel
def test_bands_below_the_floor_count_as_the_floor() -> None:
    consistency = make(momentum=0)
    wav = noise(consistency.mel.config, 20, level=1e-8)
    goal = torch.full((1, 20, 80), math.log(consistency.mel.config.floor) + 0.3, dtype=torch.float64)
    assert errors(consistency, wav, goal, 1)[0] < 1e-5
    torch.testing.assert_close(1e8 * consistency._push_natively(wav, goal.float(), 1), 1e8 * wav * math.exp(0.3))


@needs_kernel
@of_two_sizes
@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize("squared", [False, True])
def test_bands_may_be_of_power_and_have_a_ceiling(config: MelConfig, squared: bool, clipped: bool) -> None:
    mel, wav, limit, power = MelSpectrogram(config), noise(config, 37, 2), 0.7, 2 if squared else 1
    bands, bins = mel.filterbank, spreading(mel.filterbank)
    transform = FrameTransform(mel.geometry, 37, wav.device, torch.float64)
    spectra = transform.analyse(wav.double())
    unclipped = spectra.abs() ** power @ bands.double().t()
    floor, ceiling = unclipped.quantile(0.1).item(), unclipped.quantile(0.8).item() if clipped else math.inf
    own = unclipped.clamp(floor, ceiling).log()
    goal = own + torch.linspace(-2, 2, 80) * torch.linspace(-1, 1, 37)[:, None]
    change = (goal - own).clamp(-power * limit, power * limit)
    truth = transform.synthesise(spectra * (change @ bins.double() / power).exp())
    found = native_consistency.push(
        wav,
        goal.float(),
        mel.geometry,
        native_consistency.Filters.of(bands, bins),
        iterations=1,
        momentum=0.0,
        limit=limit,
        floor=floor,
        ceiling=ceiling,
        squared=squared,
    )
    assert float((found - truth).abs().max() / truth.square().mean().sqrt()) < 1e-5


@needs_kernel
def test_the_outermost_bins_count_if_a_band_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triangles end with zero there; the kernel does not rely on it."""
    consistency = make(momentum=0)
    wav = 0.01 * torch.ones(1, 20 * 256) + 0.02 * torch.tensor([1.0, -1.0]).repeat(20 * 128)
    weights = consistency.mel.filterbank
    weights[0, 0] = weights[-1, -1] = 0.02
    weights[1:, 0] = weights[:-1, -1] = 0
    monkeypatch.setattr(mel_consistency, "_coverage", lambda _: Coverage(weights, None, None))
    goal = goal_of(consistency, 1.5 * wav)
    filters = native_consistency.Filters.of(weights, spreading(weights))
    settings = {"iterations": 1, "momentum": 0.0, "limit": 2.0, "floor": consistency.mel.config.floor}
    found = native_consistency.push(wav, goal.float(), consistency.mel.geometry, filters, **settings)
    truth = consistency._push(wav.double(), goal, 20, 1)
    torch.testing.assert_close(found, truth.float(), rtol=1e-4, atol=1e-6)
    assert float((truth - wav).abs().max()) > 0.01


@needs_kernel
def test_many_iterations_come_as_close_to_the_mel() -> None:
    """The ways there part: differences grow from step to step, so distances are compared, not samples."""
    consistency = make(momentum=0.99)
    config = consistency.mel.config
    target = consistency.mel(noise(config, 40, seed=1) * torch.linspace(0.01, 1, 40 * 256))
    start, goal = noise(config, 40, level=0.01), consistency.mel.expand(target).log().transpose(1, 2)

    def distance(wav: Tensor) -> float:
        return float((consistency.mel(wav) - target).abs().mean())

    plain, ours = consistency._push(start, goal, 40, 150), consistency._push_natively(start, goal, 150)
    assert distance(start) > 0.5
    assert distance(plain) < 0.1
    assert distance(ours) == pytest.approx(distance(plain), rel=0.1)


@needs_kernel
@of_two_sizes
def test_neither_the_batch_nor_the_threads_change_a_bit(config: MelConfig) -> None:
    consistency = make(config)
    frames = 75
    wav = noise(config, frames, 3)
    goal = goal_of(consistency, noise(config, frames, 3, seed=1)).float()
    together = consistency._push_natively(wav, goal, 9)
    assert not torch.equal(together[0], together[1])
    for example in range(3):
        alone = consistency._push_natively(wav[example : example + 1], goal[example : example + 1], 9)
        assert torch.equal(alone[0], together[example])
    for threads in (1, 3, 8):
        torch.set_num_threads(threads)
        assert torch.equal(consistency._push_natively(wav, goal, 9), together)


@needs_kernel
def test_threads_of_its_own_do_the_same() -> None:
    consistency, library = make(), native_library.library()
    wav = noise(consistency.mel.config, 75)
    goal = goal_of(consistency, wav.flip(-1)).float()
    expected = consistency._push_natively(wav, goal, 5)
    library.diffwave_use_openmp(*[ctypes.c_void_p()] * 3)
    try:
        assert torch.equal(consistency._push_natively(wav, goal, 5), expected)
    finally:
        library.diffwave_use_openmp(*native_library._openmp())


@needs_kernel
def test_calls_from_several_threads_do_not_mix() -> None:
    consistency = make()
    wavs = [noise(consistency.mel.config, 40, seed=seed) for seed in range(4)]
    goal = goal_of(consistency, noise(consistency.mel.config, 40, seed=9)).float()
    expected = [consistency._push_natively(wav, goal, 20) for wav in wavs]
    found: dict[int, Tensor] = {}

    def call(index: int) -> None:
        found[index] = consistency._push_natively(wavs[index], goal, 20)

    threads = [threading.Thread(target=call, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[index], wav) for index, wav in enumerate(expected))


@needs_kernel
@of_two_sizes
def test_silence_stays_silence_and_what_is_not_a_number_stays_in_sight(config: MelConfig) -> None:
    consistency = make(config)
    wav = torch.zeros(1, 40 * config.hop_length)
    goal = goal_of(consistency, noise(config, 40)).float()
    assert torch.equal(consistency._push_natively(wav, goal, 30), wav)
    wav[0, config.hop_length :] = 1e-42  # denormal
    assert bool(consistency._push_natively(wav, goal, 30).isfinite().all())
    wav = noise(consistency.mel.config, 40)
    for spoilt in (wav, goal):
        spoilt[:] = spoilt.flatten().index_fill(0, torch.tensor([spoilt.numel() // 2]), math.nan).view_as(spoilt)
        found, plain = consistency._push_natively(wav, goal, 1), consistency._push(wav, goal, 40, 1)
        assert torch.equal(found.isnan(), plain.isnan())
        assert 0 < int(found.isnan().sum()) < wav.numel()
        wav = noise(consistency.mel.config, 40)


@needs_kernel
def test_the_input_is_left_alone_and_need_not_be_contiguous() -> None:
    consistency = make()
    wide = noise(consistency.mel.config, 20, 2).t().contiguous().t()
    goal, before = goal_of(consistency, noise(consistency.mel.config, 20, 2, seed=1)).float(), wide.clone()
    assert not wide.is_contiguous()
    found = consistency._push_natively(wide, goal, 2)
    assert torch.equal(found, consistency._push_natively(before.contiguous(), goal.clone(), 2))
    assert torch.equal(wide, before)


class Spy:
    """Notes which of the two ways was taken."""

    def __init__(self, consistency: MelConsistency, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken: list[str] = []
        for name in ("_push", "_push_natively"):
            monkeypatch.setattr(consistency, name, self._noting(name, getattr(consistency, name)))

    def _noting(self, name: str, method: Any) -> Any:
        def call(*arguments: Any) -> Any:
            self.taken.append(name)
            return method(*arguments)

        return call


@needs_kernel
def test_the_kernel_is_taken_where_it_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    consistency = make()
    wav = noise(consistency.mel.config, 10)
    target = consistency.mel(noise(consistency.mel.config, 10, seed=1))
    spy = Spy(consistency, monkeypatch)
    consistency(wav, target, 3)  # nothing asks for gradients
    with torch.no_grad():
        consistency(wav.clone().requires_grad_(True), target, 3)
    with torch.inference_mode():
        found = consistency(wav, target, 3)
    assert spy.taken == ["_push_natively"] * 3
    goal = goal_of(consistency, noise(consistency.mel.config, 10, seed=1)).float()
    torch.testing.assert_close(found, consistency._push(wav, goal, 10, 3), rtol=1e-4, atol=1e-5)


def test_pytorch_does_what_the_kernel_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    consistency = make()
    wav = noise(consistency.mel.config, 10)
    target = consistency.mel(noise(consistency.mel.config, 10, seed=1))
    spy = Spy(consistency, monkeypatch)
    for one, other in [
        (wav.double(), target.double()),
        (wav.double(), target),
        (wav.clone().requires_grad_(True), target),
        (wav, target.clone().requires_grad_(True)),
        (wav.expand(3, -1), target),  # broadcasts
    ]:
        assert consistency(one, other, 2).shape == one.shape
    assert consistency(wav, target, 0) is wav
    assert spy.taken == ["_push"] * 6
    with pytest.raises(RuntimeError):
        consistency(wav, target[..., :-1], 1)
    with pytest.raises(ValueError, match="multiple of hop_length"):
        consistency(wav[:, 1:], target, 1)


def test_other_devices_are_left_to_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    consistency = make().to("meta")
    spy = Spy(consistency, monkeypatch)
    found = consistency(torch.zeros(1, 2560, device="meta"), torch.zeros(1, 80, 10, device="meta"), 1)
    assert (found.device.type, found.shape) == ("meta", (1, 2560))
    assert spy.taken == ["_push"]


def test_gradients_flow() -> None:
    consistency = make()
    wav = noise(consistency.mel.config, 6).requires_grad_(True)
    target = consistency.mel(noise(consistency.mel.config, 6, seed=1)).requires_grad_(True)
    consistency(wav, target, 1).square().sum().backward()
    assert wav.grad is not None
    assert target.grad is not None
    assert bool(wav.grad.any())
    assert bool(target.grad.any())


def test_other_transforms_are_left_to_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    config = MelConfig(n_fft=1012, win_length=1012, hop_length=253)
    consistency = make(config)
    spy = Spy(consistency, monkeypatch)
    consistency(noise(config, 5), consistency.mel(noise(config, 5, seed=1)), 1)
    assert spy.taken == ["_push"]
    for size in (1012, 743, 105, 32, 0):
        reason = native_consistency.unavailable(FrameGeometry(size, 8, size))
        assert reason == f"expected n_fft to be even, 64 or more, with prime factors up to 7; got {size}"
    assert "padding of (512, -88)" in str(native_consistency.unavailable(FrameGeometry(1024, 600, 1024, "centre")))


def test_where_it_cannot_run_it_says_why_and_pytorch_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    consistency = make()
    geometry = consistency.mel.geometry
    wav = noise(consistency.mel.config, 5)
    spy = Spy(consistency, monkeypatch)
    monkeypatch.setattr(native_library, "_library", lambda: None)
    monkeypatch.setattr(native_library, "_processor_flags", lambda: frozenset(native_consistency._NEEDED))
    assert "C compiler" in str(native_consistency.unavailable(geometry))
    monkeypatch.setattr(native_library, "_processor_flags", lambda: frozenset({"avx512f"}))
    assert "AVX-512; this one has no avx512bw" in str(native_consistency.unavailable(geometry))
    consistency(wav, consistency.mel(wav), 1)
    assert spy.taken == ["_push"]


@needs_kernel
def test_bfloat16_in_the_processor_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = native_library._processor_flags() - {"avx512_bf16"}
    monkeypatch.setattr(native_library, "_processor_flags", lambda: flags)
    assert native_consistency.unavailable(FrameGeometry(1024, 256, 1024)) is None
    assert "avx512_bf16" in str(native_library.unavailable(torch.device("cpu"), 64))


def test_filters_with_other_shapes_are_refused() -> None:
    matrix = torch.zeros(3, 33)
    matrix[0, 5] = matrix[2, 5] = 1
    with pytest.raises(ValueError, match="two neighbouring bands"):
        native_consistency.Filters.of(matrix, matrix)


@pytest.mark.parametrize("size", [32, 64, 128, 256, 512, 1024, 2048, 4096, 960, 640, 400, 600, 441, 882, 45])
def test_passes_make_up_the_transform(size: int) -> None:
    radices = native_consistency.plan(size)
    assert math.prod(radices) == size
    assert set(radices) <= ({2, 3, 4, 5, 7, 8} if size & (size - 1) else {4, 8})
    assert sorted(native_consistency._places(size, radices).tolist()) == list(range(size))
