"""The whole sampler as one CUDA graph: thousands of small kernels that the processor launches with a single call.

A graph repeats what was recorded, on the same memory: so lengths are rounded up to a few *buckets*, an example ends
where its mask says, and mel, mask and seed are written into fixed buffers before every replay. Upsampling the mel is
left outside, since it looks across an example's end; everything else, projections of the mel included, is inside.

The first call with a shape runs as it is, which makes libraries and compilers ready; the second one records; others
replay. Shapes that come once cost nothing but the padding.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from diffwave.devices import out_of_memory
from diffwave.diffusion import Sampler
from diffwave.dsp.noise import seed_words
from diffwave.network.diffwave import Condition
from diffwave.synthesis.denoising import Denoiser

MOST_PROGRAMS = 16
_MOST_BYTES = 4 << 30
_MEMORY_SHARE = 8  # at most an eighth of the GPU's memory
_SMALLEST_STEP = 256
_log = logging.getLogger(__name__)


def bucket(positions: int) -> int:
    """Round a length up so that there are few, none more than an eighth (or 256) longer than it need be.

    >>> [bucket(positions) for positions in (1, 256, 257, 5000, 100000)]
    [256, 256, 512, 5120, 106496]
    """
    step = max(_SMALLEST_STEP, 1 << positions.bit_length() - 4 if positions >= 16 else 1)
    return -(-positions // step) * step


@dataclass(frozen=True, eq=False)
class Recording:
    """What a recorder has made of a function.

    Args:
        replay: does all of it again, from the same inputs' memory to the same output's.
        output: written by every replay.
        memory: bytes that it keeps.
    """

    replay: Callable[[], None]
    output: Tensor
    memory: int


class Recorder(Protocol):
    """Something that can repeat a function of fixed memory."""

    def record(self, function: Callable[[], Tensor]) -> Recording:
        """Record a function that has run before; its output is not valid before the first replay."""


@dataclass(frozen=True)
class CudaRecorder:
    """CUDA graphs (``torch.cuda.CUDAGraph``), each with memory of its own.

    Args:
        device: a GPU.
    """

    device: torch.device

    def record(self, function: Callable[[], Tensor]) -> Recording:
        """See :class:`Recorder`; raises RuntimeError where the function does what a graph cannot hold."""
        with torch.cuda.device(self.device):
            # What is cached and unused would be given back while recording, and be missed in the difference.
            torch.cuda.empty_cache()
            before = torch.cuda.memory_reserved()
            graph = torch.cuda.CUDAGraph()
            # Other threads may go on using the GPU meanwhile.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                output = function()
            memory = max(torch.cuda.memory_reserved() - before, 0)
        return Recording(graph.replay, output, memory)


class Program:
    """All steps of a sampler for one shape, on fixed buffers.

    Args:
        denoiser: does the work.
        sampler: the steps; what depends on them alone is a constant of the recording.
        condition: an example of the shape: batch, bands and device count.
        positions: of the buffers.
    """

    def __init__(self, denoiser: Denoiser, sampler: Sampler, condition: Condition, positions: int) -> None:
        examples, bands, _ = condition.mel.shape
        device = condition.mel.device
        self.denoiser = denoiser
        self.sampler = sampler
        self.backend = denoiser.network.backend  # kept, so that its id stays its own
        self.mel = torch.zeros(examples, bands, positions, device=device)
        self.mask = torch.zeros(examples, 1, positions, device=device)
        self.seed = torch.zeros(2, dtype=torch.int64, device=device)
        self.shifts = denoiser.shifts(sampler)  # they depend on the steps alone
        self.recording: Recording | None = None
        self.calls = 0

    @property
    def memory(self) -> int:
        """Bytes that are kept for it."""
        buffers = sum(buffer.numel() * buffer.element_size() for buffer in (self.mel, self.mask))
        return buffers + (0 if self.recording is None else self.recording.memory)

    def fill(self, condition: Condition, seed: int) -> None:
        """Write what this call is about into the buffers."""
        positions = condition.mel.shape[-1]
        self.mel[..., :positions] = condition.mel
        self.mel[..., positions:] = 0
        self.mask[..., :positions] = 1 if condition.mask is None else condition.mask
        self.mask[..., positions:] = 0
        for index, word in enumerate(seed_words(seed)):
            # The number travels with the kernel's launch; a copy from the processor's memory would wait.
            self.seed[index].fill_(word)

    def run(self) -> Tensor:
        """From the buffers to ``[B, N]``, with nothing that waits for the device."""
        return self.denoiser(Condition(self.mel, self.mask), self.sampler, self.seed, shifts=self.shifts)


class Graphs:
    """A denoiser's programs, recorded where they are used again; the least recently used ones are dropped.

    Args:
        denoiser: what they do.
        recorder: makes recordings.
        most: programs that are kept.
        most_bytes: memory that they may keep together.
    """

    def __init__(self, denoiser: Denoiser, recorder: Recorder, most: int, most_bytes: int) -> None:
        self.denoiser = denoiser
        self.most = most
        self.most_bytes = most_bytes
        self._recorder: Recorder | None = recorder
        self._told = False
        # None for a shape that is not worth or not able to be recorded. The last one was used last.
        self._programs: OrderedDict[Hashable, Program | None] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def on(cls, device: torch.device, denoiser: Denoiser) -> Graphs:
        """For a GPU, within a share of its memory."""
        memory = torch.cuda.get_device_properties(device).total_memory // _MEMORY_SHARE
        return cls(denoiser, CudaRecorder(device), MOST_PROGRAMS, min(memory, _MOST_BYTES))

    def __len__(self) -> int:
        """How many recordings are kept."""
        return sum(program is not None and program.recording is not None for program in self._programs.values())

    def __call__(self, condition: Condition, sampler: Sampler, seed: int) -> Tensor:
        """What the denoiser makes of it, ``[B, N]``, equal to float rounding.

        Calls from several threads take turns; they must use the same CUDA stream.
        """
        examples, _, positions = condition.mel.shape
        network = self.denoiser.network
        key = (examples, bucket(positions), id(network.backend), _identity(sampler))
        with self._lock:
            program = self._program(key, condition, sampler)
            output = None
            if program is not None:
                program.fill(condition, seed)
                output = self._run(key, program)
            if output is None:
                return self.denoiser(condition, sampler, seed)
            # A copy: the next replay writes into the same memory.
            return output[:, : positions * network.config.squeeze].clone()

    def clear(self) -> bool:
        """Drop every program; false if there was none."""
        with self._lock:
            any_kept = any(program is not None for program in self._programs.values())
            self._programs.clear()
        return any_kept

    def _program(self, key: tuple[int, int, int, Hashable], condition: Condition, sampler: Sampler) -> Program | None:
        """The program of a shape, if there is to be one, now the one used last."""
        if self._recorder is None:
            return None
        if key not in self._programs:
            self._programs[key] = Program(self.denoiser, sampler, condition, key[1])
        self._programs.move_to_end(key)
        self._trim()
        return self._programs[key]

    def _run(self, key: Hashable, program: Program) -> Tensor | None:
        """Run, record or replay; None if it can be no program."""
        program.calls += 1
        if program.calls == 1:
            return program.run()
        if program.recording is None:
            program.recording = self._record(program)
            if program.recording is None or program.memory > self.most_bytes:
                self._programs[key] = None
                return None
            self._trim()
        program.recording.replay()
        return program.recording.output

    def _record(self, program: Program) -> Recording | None:
        """Record a program; None if that fails."""
        assert self._recorder is not None
        try:
            return self._recorder.record(program.run)
        except Exception as error:  # whatever it is: without a recording, it is met again or does not matter
            reason = str(error).split("\n")[0] or type(error).__name__
            if not self._told:
                _log.warning("no CUDA graph of the sampler, which goes on without: %s", reason)
            self._told = True
            if not out_of_memory(error):
                # Another shape would fail in the same way.
                self._recorder = None
                self._programs.clear()
            return None

    def _trim(self) -> None:
        """Drop what was used longest ago, until the rest fits; never what was used last."""
        while len(self._programs) > 1 and (len(self._programs) > self.most or self._memory() > self.most_bytes):
            self._programs.popitem(last=False)

    def _memory(self) -> int:
        return sum(program.memory for program in self._programs.values() if program is not None)


def _identity(sampler: Sampler) -> Hashable:
    """What makes two samplers the same."""
    levels = tuple(sampler.steps.tolist()), tuple(sampler.schedule.betas.tolist())
    return *levels, sampler.eta, sampler.clip, sampler.solver
