"""What a worker does: one utterance after the other, each read, synthesized, written, recorded and, on request, scored.

The bytes of an output may depend on nothing but its input and the settings. So there is one utterance to a call of the
network, and one thread to a worker: another number of threads adds in another order, and hundreds of iterations of mel
consistency make much of a rounding error.
"""

from __future__ import annotations

import hashlib
import os
import socket
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffwave.bulk.output_names import BulkError, output_name
from diffwave.bulk.recorded_settings import Request, differences, resolve, settings_digest
from diffwave.bulk.records import Record, ShardJournals, WorkerJournal, add, work_folder
from diffwave.bulk.utterances import CorpusJob

if TYPE_CHECKING:
    from torch import Tensor

    from diffwave.bulk.output_scores import Scorer
    from diffwave.vocoder import Vocoder

_MOST_ATTEMPTS = 3
PROBE = "probe"

# Reads an input: mel [M, F], samples of the output, and notes for the user; raises ValueError or OSError.
Reader = Callable[["Vocoder", Path], "tuple[Tensor, int, list[str]]"]


@dataclass(frozen=True)
class Setup:
    """What every worker is given.

    Args:
        request: how to speak.
        output: absolute path of the output folder.
        shard: name of the shard that is worked on.
        token: text of the probe file in the shard's work folder, which tells a worker that it sees the same storage.
        read: how inputs are read, a function that a process can import; as ``diffwave synthesize`` does if not given.
    """

    request: Request
    output: Path
    shard: str
    token: str
    read: Reader | None = None


class CorpusSpeaker:
    """A vocoder with all that it takes to turn jobs into files and records.

    Args:
        setup: what to do.
        expected: settings that outputs must be made with; those of this worker if not given.

    Raises:
        BulkError: if this machine does not see the output folder, or other settings come out on it.
        ValueError, ImportError, OSError: if the model cannot be used here.
    """

    def __init__(self, setup: Setup, expected: dict[str, Any] | None = None) -> None:
        import torch

        from diffwave.mel.spectrogram import MelWarning
        from diffwave.vocoder import Vocoder

        _check_storage(setup)
        torch.set_num_threads(1)
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        # Mels from files were refused if they looked strange; recordings may.
        warnings.simplefilter("ignore", MelWarning)
        request = setup.request
        # Without graphs: the first utterance of a length is computed otherwise than those after it.
        self.vocoder = Vocoder.from_pretrained(
            request.checkpoint, request.device, request.backend, request.precision, graphs=False, mel=request.mel
        )
        try:
            self.setup, self.settings = setup, resolve(self.vocoder, request)
        except ValueError as error:
            raise BulkError(str(error)) from None
        found = differences(expected, self.settings) if expected is not None else ""
        if found:
            raise BulkError(f"{socket.gethostname()}: expected the settings of the other workers; {found}")
        self.digest = settings_digest(self.settings)
        self.journal, self.journals = WorkerJournal(setup.output, setup.shard), ShardJournals(setup.output, setup.shard)
        self._done: dict[str, Record] = {}
        self._scorer: Scorer | None = None

    def __call__(self, job: CorpusJob, record: Record | None = None) -> Record:
        """Speak one utterance.

        Args:
            job: the utterance.
            record: of an output that is there and only lacks scores.

        Returns:
            Its record; one with ``error`` if it cannot be done. Its failure is its own, whatever it was.
        """
        mark = work_folder(self.setup.output, self.setup.shard) / "started" / _short(job.id)
        attempts = _begin(mark)
        try:
            if attempts > _MOST_ATTEMPTS:
                return self._failure(
                    job, f"the process that worked on it ended {_MOST_ATTEMPTS} times (out of memory?)"
                )
            return self._attempt(job, record, attempts)
        except (ValueError, OSError, MemoryError) as error:
            return self._failure(job, str(error) or type(error).__name__)
        except Exception as error:
            return self._failure(job, f"{type(error).__name__}: {error}")
        finally:
            mark.unlink(missing_ok=True)

    def close(self) -> None:
        """End the process that scores."""
        if self._scorer is not None:
            self._scorer.close()

    def _attempt(self, job: CorpusJob, record: Record | None, attempts: int) -> Record:
        path = self.setup.output / output_name(job.id, self.setup.request.file_format)
        record = record or self._made_before(job, path)
        if record is None:
            record = {**self._speak(job, path), "attempts": attempts}
            self.journal.add(record)
        if self.setup.request.metrics and "scores" not in record:
            record = {**record, **self._score(job, path)}
            self.journal.add(record)
        return record

    def _made_before(self, job: CorpusJob, path: Path) -> Record | None:
        """The record of an output that a worker of this run made, but that was lost on its way to the driver."""
        if not path.exists():
            return None
        add(self._done, self.journals.new(), self.digest)
        return self._done.get(job.id)

    def _speak(self, job: CorpusJob, path: Path) -> Record:
        from diffwave.audio.file import encode_audio
        from diffwave.files import write_bytes
        from diffwave.rendering.prepared_input import read_input

        begun, cpu, request = time.perf_counter(), time.process_time(), self.setup.request
        size = job.source.stat().st_size if job.source.is_file() else 0
        mel, samples, notes = (self.setup.read or read_input)(self.vocoder, job.source)
        wav = self.vocoder.with_options(request.options).synthesize(mel)[:samples]
        data, clipped = encode_audio(wav, self.vocoder.sample_rate, request.file_format)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, data)
        return {
            "id": job.id,
            "audio_filepath": output_name(job.id, request.file_format),
            "duration": samples / self.vocoder.sample_rate,
            "sample_rate": self.vocoder.sample_rate,
            "samples": samples,
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "speaker": job.speaker,
            "subset": job.subset,
            "source": str(job.source),
            "source_bytes": size,
            "seconds": round(time.perf_counter() - begun, 4),
            "cpu_seconds": round(time.process_time() - cpu, 4),
            "finished": round(time.time(), 3),
            "host": socket.gethostname(),
            "settings": self.digest,
            "notes": [*notes, *([f"{clipped} samples clipped"] if clipped else [])],
        }

    def _score(self, job: CorpusJob, path: Path) -> Record:
        if self._scorer is None:
            from diffwave.bulk.output_scores import Scorer

            self._scorer = Scorer(self.setup.request.metrics, self.setup.request.timeout)
        return self._scorer.score(job.id, job.reference, path)

    def _failure(self, job: CorpusJob, why: str) -> Record:
        # The first line: some libraries add pages.
        first = (why.splitlines() or [""])[0]
        about = {"id": job.id, "source": str(job.source), "error": first}
        return {**about, "finished": round(time.time(), 3), "settings": self.digest}


def _check_storage(setup: Setup) -> None:
    """Make sure that this process sees what the driver wrote."""
    try:
        text = (work_folder(setup.output, setup.shard) / PROBE).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        text = ""
    if text != setup.token:
        raise BulkError(
            f"--output {setup.output}: expected a folder on storage that all machines share; {socket.gethostname()} "
            "does not see what was written there"
        )


def _begin(mark: Path) -> int:
    """Count this attempt; the mark goes when it ends, unless the process does."""
    mark.parent.mkdir(parents=True, exist_ok=True)
    with mark.open("ab") as file:
        file.write(b".")
        file.flush()
        return os.fstat(file.fileno()).st_size


def _short(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()[:32]
