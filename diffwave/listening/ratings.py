"""Answers with the key: who rated which system on which utterance, and what had to be left out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from diffwave.listening.answer_scores import SCALES, UnusableAnswerError, choice_score, number
from diffwave.listening.design import ANCHOR, PAIR_METHODS, REFERENCE, SYSTEM, ListeningTest, Stimulus, Trial
from diffwave.listening.documents import ListeningError
from diffwave.listening.formats import BS1116, DETECTION, Answer
from diffwave.listening.words import counted

# What webMUSHRA calls the hidden reference of every page.
_WEBMUSHRA_REFERENCE = "reference"
# Which kinds of result a test of each method may come back with: webMUSHRA offers a choice of pages.
_ACCEPTED = {"mushra": ("mushra", BS1116), "acr": ("acr",)} | {name: (name, DETECTION) for name in PAIR_METHODS}
_KIND_ORDER = {SYSTEM: 0, ANCHOR: 1, REFERENCE: 2}


@dataclass(frozen=True)
class Rating:
    """A score that a listener gave to a system on an item (mushra, acr, bs1116).

    Args:
        listener, session, trial, item: who, in which run, on which page, of which utterance.
        system, kind: what was rated.
        score: mushra 0..100, acr 1..5, bs1116 the difference grade: score minus that of the hidden reference.
        page_ms: time on the page; NaN if unknown.
        seconds: length of the stimulus.
    """

    listener: str
    session: str
    trial: str
    item: str
    system: str
    kind: str
    score: float
    page_ms: float
    seconds: float


@dataclass(frozen=True)
class PairChoice:
    """What a listener answered to a pair (ab, cmos, abx, detection).

    Args:
        listener, session, trial, item: as above.
        first, second: the two systems, in the order of their names whatever was played first.
        score: ab 1 (``first`` preferred), 0 (``second``), NaN (no preference); cmos -3..3, positive where ``first`` is
            better; abx and detection 1 (correct), 0 (wrong), NaN (undecided).
        said: the answer as given, which does not know what the two systems are.
        page_ms, seconds: as above; the longer of the two stimuli.
    """

    listener: str
    session: str
    trial: str
    item: str
    first: str
    second: str
    score: float
    said: str
    page_ms: float
    seconds: float


@dataclass(frozen=True)
class Run:
    """One listener's session: how many of its answers are there, of how many."""

    listener: str
    session: str
    answers: int
    expected: int


@dataclass(frozen=True)
class Answers:
    """All that can be analyzed.

    Args:
        method: of the answers: that of the test, or ``bs1116`` or ``detection``.
        ratings, choices: one of them is empty, as the method has it.
        runs: the sessions.
        notes: what was left out and why; each one line.
        systems: name -> kind, in the order to show them: systems, anchors, reference.
    """

    method: str
    ratings: tuple[Rating, ...]
    choices: tuple[PairChoice, ...]
    runs: tuple[Run, ...]
    notes: tuple[str, ...]
    systems: dict[str, str]


def join(test: ListeningTest, answers: Sequence[Answer]) -> Answers:
    """Say of every answer what it is about.

    Args:
        test: the test with its key.
        answers: as read.

    Raises:
        ListeningError: if answers belong to another test or method, or none can be used.
    """
    method = _method(test, answers)
    kept, notes = _without_training(test, answers)
    kept, repeated = _once(kept)
    joiner = _Joiner(test)
    ratings: list[Rating] = []
    choices: list[PairChoice] = []
    used = []
    for answer in kept:
        try:
            if method in SCALES and method != "cmos":
                ratings.append(joiner.rating(answer))
            else:
                choices.append(joiner.choice(answer))
            used.append(answer)
        except UnusableAnswerError as error:
            notes.append(f"{answer.place}: {error}; left out")
    if not used:
        raise ListeningError(f"no answer can be used; {notes[0]}")
    runs = _runs(test, method, used)
    notes = [*repeated, *_incomplete(runs), *notes]
    return Answers(method, tuple(ratings), tuple(choices), runs, tuple(notes), joiner.systems)


def _method(test: ListeningTest, answers: Sequence[Answer]) -> str:
    """The one method of all answers."""
    for answer in answers:
        # An export for webMUSHRA has its BS.1116 pages in a configuration with a name of its own.
        own = (test.test_id, f"{test.test_id}-{BS1116}") if answer.method == BS1116 else (test.test_id,)
        if answer.test_id and answer.test_id not in own:
            raise ListeningError(f"{answer.place}: results of test {answer.test_id!r}; the key is of {test.test_id!r}")
        if answer.method not in _ACCEPTED[test.method]:
            raise ListeningError(
                f"{answer.place}: results of method {answer.method!r}; the key is of a {test.method} test"
            )
    methods = list(dict.fromkeys(answer.method for answer in answers))
    if len(methods) > 1:
        raise ListeningError(f"expected results of one method; got {' and '.join(methods)}: analyze them one by one")
    return methods[0]


def _without_training(test: ListeningTest, answers: Sequence[Answer]) -> tuple[list[Answer], list[str]]:
    training = {trial.trial for trial in test.training} - {trial.trial for trial in test.trials}
    kept = [answer for answer in answers if answer.trial not in training]
    left = len(answers) - len(kept)
    return kept, [f"{counted(left, 'answer')} of training pages left out"] if left else []


def _once(answers: Sequence[Answer]) -> tuple[list[Answer], list[str]]:
    """Each answer once, the last where they differ: who goes back and changes an answer means the later one."""
    last: dict[tuple[str, ...], Answer] = {}
    same, changed = Counter[str](), Counter[str]()
    for answer in answers:
        pair = answer.method in PAIR_METHODS
        key = (answer.listener, answer.session, answer.trial, "" if pair else answer.stimulus)
        if key in last:
            before = last[key]
            alike = (before.stimulus, before.answer) == (answer.stimulus, answer.answer)
            (same if alike else changed)[answer.file] += 1
        last[key] = answer
    notes = []
    if same:
        # A server leaves a table and a journal for each session, with the same answers.
        where = next(iter(same)) if len(same) == 1 else f"{len(same)} files"
        said = counted(same.total(), "answer was", "answers were")
        notes.append(f"{said} there before ({where}); counted once")
    for file, count in changed.items():
        said = counted(count, "answer replaces an earlier one that differs", "answers replace earlier ones that differ")
        notes.append(f"{file}: {said}")
    return list(last.values()), notes


class _Joiner:
    """Looks up identifiers in the key."""

    def __init__(self, test: ListeningTest) -> None:
        self.stimuli = {stimulus.stimulus: stimulus for stimulus in test.stimuli}
        self.trials = {trial.trial: trial for trial in test.trials}
        rated = {name for trial in test.trials for name in (*trial.stimuli, trial.reference)}
        # The key's own order is that of the identifiers, which is random.
        names = sorted({(_KIND_ORDER[s.kind], s.system, s.kind) for s in test.stimuli if s.stimulus in rated})
        self.systems = {system: kind for _, system, kind in names}
        self.rank = {system: rank for rank, system in enumerate(self.systems)}

    def rating(self, answer: Answer) -> Rating:
        """A score with what it is about."""
        trial = self._trial(answer)
        stimulus = self._stimulus(trial, answer.stimulus)
        score = number(answer.answer, SCALES[answer.method])
        if answer.method == BS1116:
            score -= number(answer.reference_answer, SCALES[BS1116])
        return Rating(
            answer.listener,
            answer.session,
            trial.trial,
            stimulus.item,
            stimulus.system,
            stimulus.kind,
            score,
            answer.page_ms,
            stimulus.seconds,
        )

    def choice(self, answer: Answer) -> PairChoice:
        """An answer to a pair, turned so that it does not depend on which of the two was played first."""
        trial = self._trial(answer)
        a, b = self._stimulus(trial, answer.stimulus), self._stimulus(trial, answer.other)
        if a.stimulus == b.stimulus:
            raise UnusableAnswerError(f"expected two different stimuli; got {a.stimulus!r} twice")
        turned = self.rank[a.system] > self.rank[b.system]
        first, second = (b, a) if turned else (a, b)
        return PairChoice(
            answer.listener,
            answer.session,
            trial.trial,
            trial.item,
            first.system,
            second.system,
            choice_score(answer, turned),
            answer.answer,
            answer.page_ms,
            max(a.seconds, b.seconds),
        )

    def _trial(self, answer: Answer) -> Trial:
        if answer.trial not in self.trials:
            raise UnusableAnswerError(f"trial {answer.trial!r} is not in the key")
        return self.trials[answer.trial]

    def _stimulus(self, trial: Trial, name: str) -> Stimulus:
        """A stimulus of a trial, by identifier or, as webMUSHRA names its own, by what it is."""
        if name in trial.stimuli:
            return self.stimuli[name]
        for identifier in (*trial.stimuli, *([trial.reference] if trial.reference else [])):
            stimulus = self.stimuli[identifier]
            if name == (_WEBMUSHRA_REFERENCE if stimulus.kind == REFERENCE else stimulus.system):
                return stimulus
        raise UnusableAnswerError(f"stimulus {name!r} is not one of trial {trial.trial!r}")


def _runs(test: ListeningTest, method: str, used: Sequence[Answer]) -> tuple[Run, ...]:
    """Sessions in order of appearance, with how many answers a whole one has."""
    counts = Counter((answer.listener, answer.session) for answer in used)
    kinds = {stimulus.stimulus: stimulus.kind for stimulus in test.stimuli}
    if method == BS1116:
        # One page for each system against the reference, which is rated along with it; no anchors.
        expected = sum(kinds[name] == SYSTEM for trial in test.trials for name in trial.stimuli)
    else:
        expected = sum(1 if test.method in PAIR_METHODS else len(trial.stimuli) for trial in test.trials)
    return tuple(Run(*who, count, expected) for who, count in counts.items())


def _incomplete(runs: Sequence[Run]) -> list[str]:
    missing: dict[str, list[str]] = defaultdict(list)
    for run in runs:
        if run.answers < run.expected:
            missing[run.listener].append(f"{run.answers} of {run.expected} answers")
    return [f"listener {name}: {', '.join(said)}; kept" for name, said in missing.items()]
