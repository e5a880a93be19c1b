"""What a listening test consists of: its stimuli, its trials, and the documents that hold them.

Two documents carry a test. The *sheet* is what listeners get: opaque identifiers and audio, no names. The *key*
(``private/key.csv`` and ``private/test.json``) says which system and which utterance hides behind an identifier.
"""

from __future__ import annotations

from dataclasses import dataclass, field

METHODS = ("mushra", "acr", "ab", "cmos", "abx")
# Methods whose trial is a pair; the others rate each stimulus of a trial.
PAIR_METHODS = ("ab", "cmos", "abx")

# Kinds of stimulus.
SYSTEM, REFERENCE, ANCHOR = "system", "reference", "anchor"
# Names that a stimulus which is no system has in the key.
REFERENCE_NAME, ANCHOR35_NAME, GRIFFIN_LIM_NAME = "reference", "anchor35", "griffin-lim"

# One row per rated stimulus (mushra, acr) or per trial (ab, cmos, abx). Written by the page and by the server.
#   trial      identifier of the trial;  position  1-based place of the trial in this listener's order
#   stimulus   identifier of the rated stimulus, or of what was played as A;  slot  its 1-based place on the page
#   other, x   identifiers of what was played as B and as X (pairs only)
#   answer     mushra 0..100; acr 1..5; ab "a", "b" or "none"; cmos -3..3, B compared with A; abx "a" or "b"
#   plays      how often the stimulus was started (pairs: both or all three together)
RESULT_COLUMNS = (
    "test_id",
    "method",
    "listener",
    "session",
    "trial",
    "position",
    "stimulus",
    "slot",
    "other",
    "x",
    "answer",
    "plays",
    "listen_ms",
    "page_ms",
    "started_at",
    "order_seed",
    "user_agent",
)

KEY_COLUMNS = (
    "stimulus",
    "item",
    "system",
    "kind",
    "source",
    "sha256",
    "seconds",
    "gain_db",
    "lufs_before",
    "peak_dbfs",
)


@dataclass(frozen=True)
class Stimulus:
    """One prepared sound, and what the key says of it.

    Args:
        stimulus: opaque identifier, letter first, ``[a-z0-9]``.
        item: the utterance, as a relative path without suffix.
        system: name of the system, or one of the names above.
        kind: ``system``, ``reference`` or ``anchor``.
        source: file it was made from.
        sha256: of the prepared 16-bit samples.
        seconds: length.
        gain_db: applied gain.
        lufs_before: loudness of the source, as cut; NaN if it is too short or silent.
        peak_dbfs: of the prepared samples.
    """

    stimulus: str
    item: str
    system: str
    kind: str
    source: str
    sha256: str
    seconds: float
    gain_db: float
    lufs_before: float
    peak_dbfs: float


@dataclass(frozen=True)
class Trial:
    """What a listener judges on one page.

    Args:
        trial: opaque identifier, letter first.
        item: the utterance (in the key only, never on the sheet).
        reference: stimulus that is played openly as the reference (mushra, cmos with a reference); "" for none.
        stimuli: what is rated; for mushra with the hidden reference and the anchors; for pairs exactly two. The
            page shuffles them for every listener.
    """

    trial: str
    item: str
    reference: str
    stimuli: tuple[str, ...]


@dataclass(frozen=True)
class ListeningTest:
    """A whole test; ``private/test.json`` holds it as JSON.

    Args:
        test_id: name of the test in results, ``[a-z0-9-]``.
        title: shown on the first page.
        method: one of ``METHODS``.
        seed: the export was made with; never on the sheet.
        order_seed: what the page mixes with a listener's name to order trials and stimuli; tells nothing of ``seed``.
        sample_rate: of all stimuli.
        trials: in no particular order.
        training: trials that come first and are not recorded.
        volume: stimulus for the volume page.
        package_version: of diffwave.
    """

    test_id: str
    title: str
    method: str
    seed: int
    order_seed: str
    sample_rate: int
    trials: tuple[Trial, ...]
    training: tuple[Trial, ...]
    volume: str
    package_version: str
    stimuli: tuple[Stimulus, ...] = field(default=())
