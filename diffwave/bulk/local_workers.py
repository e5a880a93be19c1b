"""Workers of this machine: in processes of their own, or in this one.

Who dies is replaced, and its utterance given to another; an utterance that ends every process that takes it up fails
alone in the end (:class:`~diffwave.bulk.worker.CorpusSpeaker` counts).
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from diffwave.bulk.output_names import BulkError
from diffwave.bulk.records import Record
from diffwave.bulk.utterances import CorpusJob
from diffwave.bulk.worker import CorpusSpeaker, Setup
from diffwave.processes.cores import usable_cores
from diffwave.processes.messages import Done, Lost, Refusal, Work
from diffwave.processes.pool import StartError, SupervisedPool

Task = tuple[CorpusJob, Record | None]
_SETTINGS = "settings"  # asked for as a task is


class Here:
    """The work is done in this process: for debugging, without protection."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._speaker: CorpusSpeaker | None = None

    def settings(self) -> dict[str, Any]:
        """Those that outputs will be made with."""
        self._speaker = CorpusSpeaker(self.setup)
        return self._speaker.settings

    def run(self, tasks: Iterable[Task]) -> Iterator[Record]:
        """Records as they are made."""
        assert self._speaker is not None
        for task in tasks:
            yield self._speaker(*task)

    def close(self) -> None:
        """End what was started."""
        if self._speaker is not None:
            self._speaker.close()


class LocalProcesses:
    """Processes of this machine.

    Args:
        setup: for all of them.
        count: how many; as many as there are GPUs, or cores without a GPU, if not given. More than there are GPUs share
            them.
    """

    def __init__(self, setup: Setup, count: int | None) -> None:
        self.setup, self.count, self.gpus = setup, count, 0
        self._expected: dict[str, Any] | None = None
        self._started = 0
        self._pool = SupervisedPool[Task | str](self._preparation)

    def settings(self) -> dict[str, Any]:
        """Those that outputs will be made with: the first worker's.

        Raises:
            BulkError: if it cannot work with what was asked for.
        """
        [(settings, self.gpus)] = self._results([_SETTINGS], 1)
        self._expected = settings
        return self._expected

    def run(self, tasks: Iterable[Task]) -> Iterator[Record]:
        """Records as they are made.

        Raises:
            BulkError: if workers cannot be started.
        """
        return self._results(list(tasks), self.count or self.gpus or usable_cores())

    def close(self) -> None:
        """End every process, whatever it does."""
        self._pool.close()

    def _results(self, jobs: Iterable[Task | str], count: int) -> Iterator[Any]:
        try:
            for job, event in self._pool.run(jobs, count):
                if isinstance(event, Done):
                    yield event.value
                elif isinstance(event, Lost):
                    self._pool.again(job)
        except Refusal as error:
            raise BulkError(str(error)) from None
        except StartError as error:
            raise BulkError(f"expected worker processes; they end with code {error.lost.code} at once") from None

    def _preparation(self) -> Callable[[], Work[Task | str]]:
        """Workers take turns with the GPUs, unless one is named."""
        number, request = self._started, self.setup.request
        self._started += 1
        if self.gpus < 2 or request.device not in ("auto", "cuda"):
            return partial(_begin, self.setup, self._expected)
        setup = replace(self.setup, request=replace(request, device=f"cuda:{number % self.gpus}"))
        return partial(_begin, setup, self._expected)


def _begin(setup: Setup, expected: dict[str, Any] | None) -> Work[Task | str]:
    try:
        speaker = CorpusSpeaker(setup, expected)
    except (ValueError, ImportError, OSError, MemoryError) as error:
        raise Refusal(str(error)) from None
    atexit.register(speaker.close)

    def work(task: Task | str, _: object) -> Any:
        return (speaker.settings, _gpus(speaker)) if isinstance(task, str) else speaker(*task)

    return work


def _gpus(speaker: CorpusSpeaker) -> int:
    import torch

    return torch.cuda.device_count() if speaker.vocoder.device.type == "cuda" else 0
