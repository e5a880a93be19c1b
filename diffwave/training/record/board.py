"""What TensorBoard shows of a run: curves, outputs to hear, their spectrograms.

Watching must not be able to end what is watched. ``SummaryWriter`` hands its records to a thread, which dies of a full
disk with a traceback of its own and makes some later call raise; what follows is lost until the run is started anew.
Here a record is on the disk when the call returns, a failure costs that record, and the log has one line about it.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import os
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from diffwave.training.outputs.output import Output, safe_names, summary

log = logging.getLogger(__name__)

_TAGS = {
    "loss": "train/loss",
    "loss_by_noise": "train_loss_by_noise",
    "learning_rate": "train/learning_rate",
    "gradient_norm": "train/gradient_norm",
    "validation_loss": "validation/loss",
    "validation_loss_by_noise": "validation_loss_by_noise",
    "samples_per_second": "speed/samples_per_second",
    "crops_per_second": "speed/crops_per_second",
    "data_wait": "speed/data_wait",
    "memory_mib": "speed/memory_mib",
}
# Where and when a row of the history is, not what it says.
_PLACES = ("iteration", "seconds")


class Board:
    """The event file of one process of a run.

    Args:
        folder: of the run's event files; is made with the first record.
        first_iteration: the first that this process writes about. What a process that was killed wrote of it and of
            later ones is hidden.
    """

    def __init__(self, folder: Path, first_iteration: int) -> None:
        # TensorBoard reads the files of a folder by name: a later process must have a later one.
        name = f"events.out.tfevents.{time.time():017.6f}.{socket.gethostname()}.{os.getpid()}"
        self._path = folder / name
        self._first_iteration = first_iteration
        self._has_references = False
        self._warned = False
        with self._one_warning():
            _import_tensorboard()

    def scalars(self, iteration: int, figures: Mapping[str, Any]) -> None:
        """Write a row of the run's history.

        Args:
            iteration: of the row.
            figures: numbers by name; a list of five is by the standard deviation of the noise, in bins of 0.2. None
                is left out.
        """
        with self._one_warning():
            self._write(iteration, [_scalar(tag, value) for tag, value in sorted(_curves(figures))])

    def outputs(self, iteration: int, outputs: Sequence[Output], sample_rate: int, picture: Path) -> None:
        """Write players, the picture and the mean figures of outputs.

        Args:
            iteration: at which they were made.
            outputs: of the same utterances each time; their references are written the first time.
            sample_rate: in Hz.
            picture: PNG file of their spectrograms.
        """
        with self._one_warning():
            names = safe_names([output.name for output in outputs])
            records = [_scalar(f"outputs/{name}", value) for name, value in summary(outputs).items()]
            for name, output in zip(names, outputs, strict=True):
                records.append(_audio(f"outputs/{name}/output", output.wav, sample_rate))
                if not self._has_references:
                    records.append(_audio(f"outputs/{name}/reference", output.reference, sample_rate))
            self._write(iteration, [*records, _picture("outputs/spectrograms", picture.read_bytes())])
            self._has_references = True

    def _write(self, iteration: int, summaries: Sequence[Any]) -> None:
        """Append records, all of them or none."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        events = [Event(step=iteration, summary=each) for each in summaries]
        size = self._path.stat().st_size if self._path.exists() else 0
        if not size:
            start = Event(step=self._first_iteration, session_log=SessionLog(status=SessionLog.START))
            events = [Event(file_version="brain.Event:2"), start, *events]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._path.open("ab") as file:
                file.write(_encode(events))
        except OSError:
            # Half a record would hide all that come after it.
            with contextlib.suppress(OSError):
                os.truncate(self._path, size)
            raise

    @contextlib.contextmanager
    def _one_warning(self) -> Iterator[None]:
        """Whatever goes wrong becomes a line of the log, the first time that it does."""
        try:
            yield
        except Exception as error:  # a library that does not fit its protobuf raises anything
            if not self._warned:
                log.warning("TensorBoard gets no records of this run, or not all: %s", _reason(error))
            self._warned = True


def _reason(error: Exception) -> str:
    """In words, with what to do about it."""
    if isinstance(error, ImportError):
        return f"{error}; expected the package tensorboard (pip install tensorboard), or train.tensorboard=false"
    return " ".join(f"{type(error).__name__}: {error}".split())


def _import_tensorboard() -> None:
    """Import what writes, so that it is told at the beginning if it is missing."""
    import tensorboard.compat.proto.event_pb2
    import tensorboard.summary.writer.record_writer  # noqa: F401


def _curves(figures: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Tag and value of every number."""
    for name, value in figures.items():
        tag = _TAGS.get(name, f"other/{name}")
        if isinstance(value, list | tuple):
            edges = [index / len(value) for index in range(len(value) + 1)]
            bins = [f"{low:.1f}-{high:.1f}" for low, high in itertools.pairwise(edges)]
            yield from ((f"{tag}/{each}", float(x)) for each, x in zip(bins, value, strict=True) if _is_number(x))
        elif _is_number(value) and name not in _PLACES:
            yield tag, float(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _scalar(tag: str, value: float) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=tag, simple_value=value)])


def _audio(tag: str, wav: Tensor, sample_rate: int) -> Any:
    """A player of ``[N]``."""
    import soundfile
    from tensorboard.compat.proto.summary_pb2 import Summary

    buffer = io.BytesIO()
    soundfile.write(buffer, wav.clamp(-1, 1).numpy(), sample_rate, format="WAV", subtype="PCM_16")
    audio = Summary.Audio(
        sample_rate=sample_rate,
        num_channels=1,
        length_frames=len(wav),
        encoded_audio_string=buffer.getvalue(),
        content_type="audio/wav",
    )
    return Summary(value=[Summary.Value(tag=tag, audio=audio)])


def _picture(tag: str, png: bytes) -> Any:
    """An image from the bytes of a PNG file."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    width, height = struct.unpack(">II", png[16:24])  # of the IHDR chunk, which comes first
    image = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=png)
    return Summary(value=[Summary.Value(tag=tag, image=image)])


def _encode(events: Sequence[Any]) -> bytes:
    """Records as they stand in the file."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    buffer = io.BytesIO()
    writer, now = RecordWriter(buffer), time.time()
    for event in events:
        event.wall_time = now
        writer.write(event.SerializeToString())
    return buffer.getvalue()
