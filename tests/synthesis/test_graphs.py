"""Programs of fixed shape, replayed: everything of the CUDA graphs but the capture, which needs a GPU (test_gpu.py)."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from diffwave.checkpoint.folder import Checkpoint
from diffwave.config import DiffusionConfig, ModelConfig, NetworkConfig
from diffwave.diffusion import DiffusionProcess, NoiseSchedule, Sampler
from diffwave.kernels.dispatch import choose
from diffwave.kernels.reference import Reference
from diffwave.network.diffwave import DiffWave
from diffwave.synthesis.denoising import Denoiser
from diffwave.synthesis.graphs import CudaRecorder, Graphs, Program, Recording, bucket
from diffwave.vocoder import Vocoder
from tiny import TINY, random_weights

CPU = torch.device("cpu")
PAPER = ModelConfig(network=NetworkConfig(residual_channels=8, residual_layers=3, dilation_cycle=3))


class Tape(TorchDispatchMode):
    """Notes every operation on the buffers, or on what was made of them or made anew, as a CUDA graph does."""

    def __init__(self, buffers: tuple[Tensor, ...]) -> None:
        super().__init__()
        self.buffers = buffers
        self.noted = {id(buffer) for buffer in buffers}
        self.operations: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        inputs = [id(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        output = operation(*args, **(kwargs or {}))
        # Constants of the program, such as weights and the schedule, may be read by the processor.
        if not inputs or self.noted.intersection(inputs):
            if not isinstance(output, Tensor | tuple | list):
                raise RuntimeError(f"{operation} waits for the device")
            self.operations.append((operation, args, kwargs or {}, output))
            self.noted.update(id(leaf) for leaf in tree_leaves(output))
        return output

    def play(self) -> Tensor:
        """Do it all again; nothing of Python is run but the operations themselves."""
        now = {id(buffer): buffer for buffer in self.buffers}

        def known(leaf: Any) -> Any:
            return now.get(id(leaf), leaf) if isinstance(leaf, Tensor) else leaf

        for operation, args, kwargs, then in self.operations:
            args, kwargs = tree_map(known, (args, kwargs))
            output = operation(*args, **kwargs)
            now.update(zip((id(leaf) for leaf in tree_leaves(then)), tree_leaves(output), strict=True))
        return output


class Tracer:
    """A recorder that replays a tape."""

    def __init__(self, memory: int = 0) -> None:
        self.memory = memory
        self.records = 0
        self.replays = 0
        self.tape: Tape | None = None

    def record(self, function: Callable[[], Tensor]) -> Recording:
        self.records += 1
        program = function.__self__
        tape = self.tape = Tape((program.mel, program.mask, program.seed))
        with tape:
            shape = function().shape
        output = torch.full(shape, 99.0)

        def replay() -> None:
            self.replays += 1
            output.copy_(tape.play())

        return Recording(replay, output, self.memory)


class Failing:
    def __init__(self, error: Exception) -> None:
        self.error = error
        self.records = 0

    def record(self, function: Callable[[], Tensor]) -> Recording:
        self.records += 1
        raise self.error


def denoiser(config: ModelConfig = TINY, precision: str = "float32") -> Denoiser:
    network = DiffWave(config).eval()
    random_weights(network)
    process = DiffusionProcess(NoiseSchedule.from_config(config.diffusion), config.network.parameterization)
    return Denoiser.on(CPU, network.requires_grad_(False), process, choose("reference", precision, CPU, 8))


def mel(frames: int, seed: int = 0, examples: int = 1) -> Tensor:
    return torch.randn(examples, 80, frames, generator=torch.Generator().manual_seed(seed)) * 2 - 5.6


def graphs(recorder: object, ours: Denoiser, most: int = 4, most_bytes: int = 1 << 40) -> Graphs:
    return Graphs(ours, recorder, most, most_bytes)


@pytest.mark.parametrize("positions", [1, 2, 15, 16, 255, 256, 257, 2016, 20000, 160001, 10**7])
def test_buckets_are_few_and_close(positions: int) -> None:
    rounded = bucket(positions)
    assert positions <= rounded < positions + max(256, positions / 8 + 1)
    assert rounded % 256 == 0
    assert bucket(rounded) == rounded
    assert len({bucket(n) for n in range(4096, 8192)}) <= 9


@pytest.mark.parametrize("config", [TINY, PAPER], ids=["velocity", "paper"])
@pytest.mark.parametrize("kind", ["ddim", "ddpm"])
def test_first_recorded_and_replayed_calls_equal_the_denoiser(config: ModelConfig, kind: str) -> None:
    """With another mel, length and seed every time: a replay sees the buffers alone."""
    ours, tracer = denoiser(config), Tracer()
    replayed = graphs(tracer, ours)
    sampler = Sampler.spaced(ours.process.schedule, 4, kind)
    for call, frames in enumerate((7, 5, 8, 1, 6)):
        condition = ours.condition(mel(frames, call))
        expected = ours(condition, sampler, seed=call)
        got = replayed(condition, sampler, seed=call)
        assert got.shape == expected.shape == (1, frames * 256)
        torch.testing.assert_close(got, expected, rtol=0, atol=2e-5 * float(expected.abs().max()))
    # Frames of 32 positions: 8 of them are one bucket; of 256 positions with the paper's network: five.
    if config is TINY:
        assert (tracer.records, tracer.replays, len(replayed)) == (1, 4, 1)
    assert replayed(condition, sampler, seed=-1).shape == (1, frames * 256)


def test_a_batch_of_unequal_lengths_is_masked_as_without_a_graph() -> None:
    ours, tracer = denoiser(), Tracer()
    replayed = graphs(tracer, ours)
    sampler = Sampler.spaced(ours.process.schedule, 3, "ddim")
    for call in range(3):
        condition = ours.condition_batch([mel(frames, call)[0] for frames in (5, 7 - call, 2)])
        expected = ours(condition, sampler, seed=call)
        got = replayed(condition, sampler, seed=call)
        for example, frames in enumerate((5, 7 - call, 2)):
            ends = frames * 256
            torch.testing.assert_close(got[example, :ends], expected[example, :ends], rtol=0, atol=1e-4)
    assert tracer.records == 1


def test_nothing_inside_waits_for_the_device_or_copies_from_the_processor() -> None:
    """No value leaves the graph and none enters but by its buffers; numbers are written into the operations."""
    for config in (TINY, PAPER):
        ours, tracer = denoiser(config), Tracer()
        condition, sampler = ours.condition(mel(3)), Sampler.spaced(ours.process.schedule, 3, "ddpm")
        replayed = graphs(tracer, ours)
        replayed(condition, sampler, 0)
        replayed(condition, sampler, 0)
        assert (tracer.replays, len(tracer.tape.operations) > 100) == (1, True)
        assert "nonzero" not in " ".join(str(operation) for operation, *_ in tracer.tape.operations)


def test_the_check_above_can_fail() -> None:
    buffer = torch.zeros(2)
    with pytest.raises(RuntimeError, match="waits for the device"), Tape((buffer,)):
        (buffer + 1).sum().item()


def test_an_output_is_not_overwritten_by_the_next_call() -> None:
    ours = denoiser()
    replayed = graphs(Tracer(), ours)
    condition, sampler = ours.condition(mel(4)), Sampler.spaced(ours.process.schedule, 2, "ddim")
    outputs = [replayed(condition, sampler, seed) for seed in (1, 2, 3)]
    for seed, output in zip((1, 2, 3), outputs, strict=True):
        torch.testing.assert_close(output, ours(condition, sampler, seed), rtol=0, atol=1e-4)


def test_other_steps_sizes_and_backends_are_other_programs() -> None:
    ours, tracer = denoiser(), Tracer()
    replayed = graphs(tracer, ours, most=100)
    schedule = ours.process.schedule
    one, two = ours.condition(mel(4)), ours.condition(mel(4, examples=2))
    samplers = [
        Sampler.spaced(schedule, 2, "ddim"),
        Sampler.spaced(schedule, 2, "ddpm"),
        Sampler.spaced(schedule, 3, "ddim"),
    ]
    samplers.append(dataclasses.replace(samplers[0], clip=True))
    for condition in (one, two):
        for sampler in samplers:
            for _ in range(2):
                got = replayed(condition, sampler, 5)
            torch.testing.assert_close(got, ours(condition, sampler, 5), rtol=0, atol=1e-4)
    assert tracer.records == 8
    ours.network.backend = Reference(cache_bytes=0)
    for _ in range(2):
        replayed(one, samplers[0], 5)
    assert tracer.records == 9
    # The same sampler made anew is the same.
    replayed(one, Sampler.spaced(schedule, 2, "ddim"), 5)
    assert tracer.records == 9


def test_the_least_recently_used_program_is_dropped() -> None:
    ours, tracer = denoiser(), Tracer()
    replayed = graphs(tracer, ours, most=2)
    condition = ours.condition(mel(2))
    a, b, c = (Sampler.spaced(ours.process.schedule, steps, "ddim") for steps in (1, 2, 3))
    for sampler in (a, a, b, b, a, c, c):  # b was used longest ago
        replayed(condition, sampler, 0)
    assert (tracer.records, len(replayed)) == (3, 2)
    replayed(condition, a, 0)
    assert tracer.records == 3
    for _ in range(2):
        replayed(condition, b, 0)
    assert tracer.records == 4


def test_memory_is_bounded() -> None:
    ours, tracer = denoiser(), Tracer(memory=1000_000)
    replayed = graphs(tracer, ours, most_bytes=2_500_000)
    condition = ours.condition(mel(2))
    for steps in (1, 2, 3):
        for _ in range(2):
            replayed(condition, Sampler.spaced(ours.process.schedule, steps, "ddim"), 0)
    assert (tracer.records, len(replayed)) == (3, 2)


def test_what_is_too_large_to_keep_is_tried_once() -> None:
    ours, tracer = denoiser(), Tracer(memory=10**9)
    replayed = graphs(tracer, ours, most_bytes=10**8)
    condition, sampler = ours.condition(mel(2)), Sampler.spaced(ours.process.schedule, 2, "ddim")
    for _ in range(4):
        torch.testing.assert_close(replayed(condition, sampler, 0), ours(condition, sampler, 0), rtol=0, atol=1e-5)
    assert (tracer.records, tracer.replays, len(replayed)) == (1, 0, 0)


@pytest.mark.parametrize(
    ("error", "tries"), [(RuntimeError("operation not permitted\nmore"), 1), (torch.OutOfMemoryError("full"), 3)]
)
def test_a_recording_that_fails_is_one_line_and_no_loss(error: Exception, tries: int, caplog) -> None:
    """What cannot be recorded is not tried with other shapes; what only found no room is."""
    ours, failing = denoiser(), Failing(error)
    replayed = graphs(failing, ours)
    condition = ours.condition(mel(2))
    with caplog.at_level(logging.INFO):
        for steps in (1, 2, 3):
            sampler = Sampler.spaced(ours.process.schedule, steps, "ddim")
            for _ in range(3):
                got = replayed(condition, sampler, 0)
                torch.testing.assert_close(got, ours(condition, sampler, 0), rtol=0, atol=1e-5)
    (record,) = caplog.records
    assert "no CUDA graph" in record.getMessage()
    assert "\n" not in record.getMessage()
    assert (failing.records, len(replayed)) == (tries, 0)


def test_clear_says_whether_there_was_anything() -> None:
    ours = denoiser()
    replayed = graphs(Tracer(), ours)
    assert replayed.clear() is False
    replayed(ours.condition(mel(2)), Sampler.spaced(ours.process.schedule, 1, "ddim"), 0)
    assert replayed.clear() is True
    assert replayed.clear() is False


def test_bfloat16_is_the_same_inside_and_outside() -> None:
    ours = denoiser(precision="bfloat16")
    condition, sampler = ours.condition(mel(3)), Sampler.spaced(ours.process.schedule, 2, "ddim")
    program = Program(ours, sampler, condition, bucket(condition.mel.shape[-1]))
    program.fill(condition, 3)
    expected = ours(condition, sampler, 3)
    got = program.run()
    assert expected.dtype == got.dtype == torch.float32
    plain = denoiser()
    exact = plain(plain.condition(mel(3)), sampler, 3)
    difference = float((got[:, : 3 * 256] - expected).norm() / expected.norm())
    assert difference < 0.02
    assert 1e-5 < float((expected - exact).norm() / exact.norm()) < 0.1


def test_the_vocoder_speaks_through_graphs_where_it_has_them() -> None:
    config = dataclasses.replace(TINY, diffusion=DiffusionConfig(schedule="cosine", prior="spectral"))
    network = DiffWave(config)
    random_weights(network)
    plain = Vocoder(Checkpoint(config, network.state_dict()), "cpu", "reference")
    assert plain._graphs is None
    mels = [mel(frames, frames)[0].clamp(-11, 0) for frames in (7, 4)]
    recorder = Repeater()
    recorded = Vocoder(Checkpoint(config, network.state_dict()), "cpu", "reference")
    recorded._graphs = Graphs(recorded._denoiser, recorder, 4, 1 << 40)
    for _ in range(3):
        for mine, theirs in zip(recorded.synthesize_batch(mels), plain.synthesize_batch(mels), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-4)
        torch.testing.assert_close(recorded.synthesize(mels[0]), plain.synthesize(mels[0]), rtol=0, atol=1e-4)
    assert recorder.replays == 4
    seen: list[int] = []
    recorded.synthesize(mels[0], callback=lambda index, *_: seen.append(index))
    assert (seen, recorder.replays) == ([1, 0], 4)


class Repeater:
    """A recorder that calls the function again."""

    def __init__(self) -> None:
        self.replays = 0

    def record(self, function: Callable[[], Tensor]) -> Recording:
        output = function()

        def replay() -> None:
            self.replays += 1
            output.copy_(function())

        return Recording(replay, output, 0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_recorder_without_a_gpu_fails_as_any_recording_may(caplog) -> None:
    ours = denoiser()
    replayed = graphs(CudaRecorder(torch.device("cuda")), ours)
    condition, sampler = ours.condition(mel(2)), Sampler.spaced(ours.process.schedule, 1, "ddim")
    for _ in range(2):
        assert replayed(condition, sampler, 0).shape == (1, 512)
    assert len(caplog.records) == 1
