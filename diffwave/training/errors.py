"""Why a run cannot go on."""


class TrainingError(RuntimeError):
    """The run cannot go on; the message says why and where the last good checkpoint is."""
