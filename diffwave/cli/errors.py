"""What a user did wrong: which exceptions that is, and how it is told in one line."""

from __future__ import annotations


def user_errors() -> tuple[type[Exception], ...]:
    """Exceptions whose message is written for the user; anything else is a defect and keeps its traceback."""
    from diffwave.audio_checks import AudioError
    from diffwave.bulk.names import BulkError
    from diffwave.checkpoint import CheckpointError
    from diffwave.cli.plan import InputError
    from diffwave.config import ConfigError
    from diffwave.data import DataError
    from diffwave.devices import DeviceError
    from diffwave.evaluation.pairs import EvaluationError
    from diffwave.evaluation.perceptual import MetricError
    from diffwave.kernels.dispatch import BackendError
    from diffwave.listening.documents import ListeningError
    from diffwave.training.errors import TrainingError

    return (
        AudioError,
        BackendError,
        BulkError,
        CheckpointError,
        ConfigError,
        DataError,
        DeviceError,
        EvaluationError,
        MetricError,
        ImportError,
        InputError,
        ListeningError,
        TrainingError,
    )


def one_line(text: str) -> str:
    r"""Make ``text`` fit on one line of a terminal.

    File names may hold line breaks, terminal commands and bytes that are no characters; they are shown escaped.

    >>> one_line("two words\n")
    'two words\\n'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def reason(error: OSError) -> str:
    """What the operating system said, without the number and the path."""
    return error.strerror or str(error) or type(error).__name__
