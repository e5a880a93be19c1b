"""What outputs depend on: asked for, filled in by a worker, and recorded, so that no folder ever mixes two kinds."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffwave.bulk.output_names import BulkError
from diffwave.config import AS_TRAINED, MelConvention, SynthesisOptions
from diffwave.files import write_text

if TYPE_CHECKING:
    from diffwave.vocoder import Vocoder

FORMATS = ("wav", "flac")
STATE = ".corpus"  # folder of what a run needs to know of the runs before
_NAME = "settings.json"
# Tell people where something was, and change no sample.
_DESCRIPTIVE = ("checkpoint",)


@dataclass(frozen=True)
class Request:
    """How a corpus is to be spoken; what is None there is the checkpoint's own.

    Args:
        checkpoint: ``default`` or an absolute path that every worker can read.
        options: of synthesis.
        device: ``auto``, ``cpu`` or ``cuda``.
        backend, precision: see :class:`Vocoder`.
        file_format: ``wav`` or ``flac``, both 16 bit.
        metrics: of the evaluation; none if there is none.
        timeout: seconds after which a metric is given up.
        mel: convention of the mels, and rate of the outputs.
    """

    checkpoint: str = "default"
    options: SynthesisOptions = AS_TRAINED
    device: str = "auto"
    backend: str = "auto"
    precision: str = "auto"
    file_format: str = "wav"
    metrics: tuple[str, ...] = ()
    timeout: float = 120.0
    mel: MelConvention | None = None


def resolve(vocoder: Vocoder, request: Request) -> dict[str, Any]:
    """Everything that the bytes of an output depend on beside its input, ready for JSON.

    Raises:
        ValueError: if the settings cannot work with this model.
    """
    import torch

    import diffwave
    from diffwave.checkpoint.folder import checkpoint_folder

    folder = checkpoint_folder(request.checkpoint)
    return {
        "checkpoint": folder.resolve().name,
        "checkpoint_sha256": checkpoint_digest(folder, vocoder),
        **vocoder.convention.record(),
        **vocoder.record(vocoder.resolve(request.options)),
        "device": vocoder.device.type,  # which GPU it was does not count
        "threads": torch.get_num_threads(),
        "format": request.file_format,
        "sample_rate": vocoder.sample_rate,
        "diffwave": diffwave.__version__,
        "torch": torch.__version__,
    }


def checkpoint_digest(folder: Path, vocoder: Vocoder) -> str:
    """SHA-256 of a checkpoint's weights and of the settings in it; what it tells of its training does not count."""
    from diffwave.checkpoint.folder import WEIGHTS_NAME
    from diffwave.config.document import to_dict

    digest = hashlib.sha256(json.dumps(to_dict(vocoder.config), sort_keys=True).encode())
    digest.update((folder / WEIGHTS_NAME).read_bytes())
    return digest.hexdigest()


def settings_digest(settings: dict[str, Any]) -> str:
    """A short name for settings: the first 16 digits of their SHA-256."""
    what = {key: value for key, value in settings.items() if key not in _DESCRIPTIVE}
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def differences(recorded: dict[str, Any], wanted: dict[str, Any]) -> str:
    """What differs between two settings, in words; empty if nothing does."""
    keys = [key for key in {**wanted, **recorded} if key not in _DESCRIPTIVE and recorded.get(key) != wanted.get(key)]
    shown = [f"{key} is {_short(recorded.get(key))} there and {_short(wanted.get(key))} now" for key in keys[:3]]
    return "; ".join([*shown, *([f"and {len(keys) - 3} more"] if len(keys) > 3 else [])])


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def claim(output: Path, settings: dict[str, Any], root: str, force: bool) -> bool:
    """Record the settings of an output folder, or make sure that they are those that are recorded.

    Args:
        output: the folder.
        settings: of :func:`resolve`.
        root: what ids are relative to.
        force: replace settings that differ; outputs made with them are then made anew.

    Returns:
        Whether other settings were replaced.

    Raises:
        BulkError: if they differ, or, even with ``force``, in the format: two files of one utterance would stay.
    """
    path = output / STATE / _NAME
    document = {"root": root, **settings}
    while True:
        recorded = _read(path)
        if recorded is None:
            if _create(path, document):
                return False
            continue
        found = differences(recorded, document)
        if not found:
            return False
        if recorded.get("format") != document["format"]:
            raise BulkError(
                f"{output}: expected --format {recorded.get('format')}, as the outputs there; got {document['format']} "
                "(choose another --output)"
            )
        if not force:
            raise BulkError(
                f"{output}: expected the settings that its outputs were made with; {found} (--force makes them anew)"
            )
        write_text(path, _text(document))
        return True


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        document = None
    if not isinstance(document, dict):
        raise BulkError(
            f"{path}: expected the settings of the outputs in JSON; it is damaged (choose another --output)"
        )
    return document


def _create(path: Path, document: dict[str, Any]) -> bool:
    """Write the file unless somebody else just did: shards of a job array all begin at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{_NAME}.", encoding="utf-8") as mine:
        mine.write(_text(document))
        mine.flush()
        os.fchmod(mine.fileno(), 0o644)
        try:
            os.link(mine.name, path)
        except FileExistsError:
            return False
        except OSError:  # a file system without links
            write_text(path, _text(document))
    return True


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1) + "\n"
