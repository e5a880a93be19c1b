"""The texts that tell people what to do with an exported test."""

from __future__ import annotations

from diffwave.listening.design import PAIR_METHODS, ListeningTest
from diffwave.listening.words import counted

_README = """# Listening test {test_id}

Method {method}, {trials} for each listener, {training} for training.

## What to send

`index.html`: one file with everything inside. It opens from disk in any current browser, without network. At the end
the listener downloads a CSV file and sends it back. In a lab, `diffwave listen serve` collects the answers instead.

**Never send the folder `private/`**, and do not put it on a web server: it says what the identifiers stand for.

## What to do with the answers

    diffwave listen analyze RESULTS... --key private --report REPORT

`private/key.csv` says what each stimulus is, from which file it was made, and which gain it was given;
`private/test.json` holds the whole design; `private/stimuli/` holds the prepared stimuli under the names of the
systems, for other programs. Keep `private/`: without it the answers mean nothing.
"""

_WEBMUSHRA = """
## webMUSHRA

Copy the content of `webmushra/` into a checkout of webMUSHRA (https://github.com/audiolabs/webMUSHRA), so that
`webmushra/configs/...` becomes `configs/...`, and open

{addresses}

webMUSHRA needs a web server. With PHP (its Dockerfile has one), answers are written to
`results/<testId>/*.csv`; without PHP, pymushra serves a checkout (`pip install pymushra`, then
`pymushra -w PATH_OF_WEBMUSHRA server`; it listens on all network interfaces in debug mode, so only in a closed
network). `diffwave listen analyze` reads both. Answers on training pages are recorded too and left out there.
webMUSHRA shows the stimuli in another order each time, without a seed.
{note}"""

_MUSHRA_NOTE = "It adds the hidden reference to each mushra page by itself; its results call it `reference`.\n"

_NO_WEBMUSHRA = """
There is no `webmushra/` folder: webMUSHRA's paired comparison asks which of two sounds is the reference and cannot
ask {question}.
"""

_P808 = """
## P.808

`p808/` is for the crowdsourcing scripts of microsoft/P.808; its README says how to use it.
"""

_P808_README = """# Clips for microsoft/P.808 ({kind})

1. {upload}
2. `python master_script.py --method {kind} --clips rating_clips.csv --training_clips training_clips.csv{arguments}`
   with a project name and configuration of your own.
3. Results name clips by their files; what is behind the names is in the key, which stays with the experimenter.

{details}"""

_ACR_DETAILS = """`gold_clips.csv` holds clips whose rating is beyond doubt: unprocessed speech (5), and the same speech
with modulated noise as strong as itself (1; MNRU of ITU-T P.810 at Q = 0 dB). None of them is in the test.{few}

**Trapping clips are missing.** They hold a spoken message that says which answer to give, which cannot be made from
these stimuli. Put some of `audio/` into `src/trapping clips/source` of P.808 and run its `create_trapping_stimuli.py`,
which brings the messages and writes their list; without trapping clips do not trust the answers of a crowd.
"""

_FEW_GOLD = """ There were
no further utterances to make them of, so they come from one that is also in the test or its training."""

_CCR_DETAILS = """`references` is what a clip is compared with; P.808's page plays the two in random order and its
analysis puts the sign right: above 0, the clip in `rating_clips` was better. The scripts make the trapping questions
of CCR by themselves, from the references.
"""

_QUESTIONS = {"ab": "which is better", "cmos": "how much better one is", "abx": "which of two a third one is"}


def readme(test: ListeningTest, configurations: list[str], has_p808: bool) -> str:
    """The README of an export; names no system and no utterance."""
    text = _README.format(
        test_id=test.test_id, method=test.method, trials=counted(len(test.trials), "trial"), training=len(test.training)
    )
    if configurations:
        addresses = "\n".join(f"    http://SERVER/index.html?config={name}" for name in configurations)
        note = _MUSHRA_NOTE if test.method == "mushra" else ""
        text += _WEBMUSHRA.format(addresses=addresses, note=note)
    elif test.method in PAIR_METHODS:
        text += _NO_WEBMUSHRA.format(question=_QUESTIONS[test.method])
    return text + (_P808 if has_p808 else "")


def p808_readme(kind: str, base_url: str, gold_is_apart: bool) -> str:
    """The README beside the tables for P.808.

    Args:
        kind: ``acr`` or ``ccr``.
        base_url: where the clips will be; may be empty.
        gold_is_apart: whether gold clips are of utterances that the test does not have.
    """
    upload = f"Upload `audio/*.wav` so that they are found below {base_url}"
    if not base_url:
        upload = (
            "Upload `audio/*.wav`, and export again with `--base-url ADDRESS` and the same seed (the tables hold file "
            "names only; everything else comes out the same)."
        )
    if kind == "ccr":
        return _P808_README.format(kind=kind, upload=upload, arguments="", details=_CCR_DETAILS)
    arguments = " --gold_clips gold_clips.csv --trapping_clips trapping_clips.csv"
    details = _ACR_DETAILS.format(few="" if gold_is_apart else _FEW_GOLD)
    return _P808_README.format(kind=kind, upload=upload, arguments=arguments, details=details)
