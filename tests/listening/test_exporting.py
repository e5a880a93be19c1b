from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

from diffwave.listening.documents import ListeningError, load_key, load_test
from diffwave.listening.export_settings import ExportSettings
from diffwave.listening.exporting import export
from recordings import ITEMS, RATE, SYSTEMS, make_folders, speech, write

SEED = 918273645


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_folders(tmp_path_factory.mktemp("audio"))


def settings(folders: dict[str, Path], output: Path, **changes: Any) -> ExportSettings:
    systems = {name: folder for name, folder in folders.items() if name != "reference"}
    plain = ExportSettings(folders["reference"], systems, "mushra", 2, SEED, output, anchors=("anchor35",))
    if changes.get("method", "mushra") in ("ab", "cmos", "abx"):
        changes = {"anchors": None, **changes}
    return dataclasses.replace(plain, **changes)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    ("method", "trials", "stimuli", "parts"),
    [
        # Stimuli of two items and one for training.
        ("mushra", 2, 3 * 5, {"webmushra"}),
        ("acr", 2 * 4, 3 * 4 + 2, {"webmushra", "p808"}),
        ("ab", 2, 3 * 2 + 1, set()),
        ("cmos", 2, 3 * 2 + 1, {"p808"}),
        ("abx", 2 * 2, 3 * 3, set()),
    ],
)
def test_every_method_is_whole(
    folders: dict[str, Path], tmp_path: Path, method: str, trials: int, stimuli: int, parts: set[str]
) -> None:
    done = export(settings(folders, tmp_path / "out", method=method))
    test = load_test(tmp_path / "out")
    assert test == done.test
    assert (len(test.trials), len(test.stimuli)) == (trials, stimuli)
    assert load_key(tmp_path / "out") == list(test.stimuli)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"index.html", "README.md", "private"} | parts
    assert not [path for path in tmp_path.iterdir() if path.name != "out"]
    assert re.fullmatch(f"listen-{method}-[0-9a-f]{{8}}", test.test_id)
    # Training is on an utterance that is not judged.
    assert not {trial.item for trial in test.trials} & {trial.item for trial in test.training}
    assert done.page_bytes == (tmp_path / "out/index.html").stat().st_size


@pytest.mark.parametrize("method", ["mushra", "acr", "cmos"])
def test_the_key_is_in_nothing_that_is_sent(folders: dict[str, Path], tmp_path: Path, method: str) -> None:
    export(settings(folders, tmp_path / "out", method=method))
    secrets = [*SYSTEMS, "hissing", "muffled", *ITEMS, *(Path(item).name for item in ITEMS), "recordings", str(SEED)]
    secrets += [str(tmp_path), "anchor35", "griffin-lim"]
    secrets += [stimulus.sha256 for stimulus in load_test(tmp_path / "out").stimuli]
    sent = {name: data for name, data in contents(tmp_path / "out").items() if not name.startswith("private/")}
    assert len(sent) > 2
    for name, data in sent.items():
        # webMUSHRA's option for an anchor of its own, which is off.
        text = data.lower().replace(b"createanchor35", b"")
        found = [secret for secret in secrets if secret.encode() in text]
        assert not found, name
        assert not any(secret in name for secret in secrets), name
    key = (tmp_path / "out/private/key.csv").read_text(encoding="utf-8")
    assert all(secret in key for secret in SYSTEMS)


def test_the_same_seed_gives_the_same_bytes(folders: dict[str, Path], tmp_path: Path) -> None:
    for name in ("one", "two"):
        export(settings(folders, tmp_path / name, method="acr", anchors=("anchor35", "griffin-lim")))
    export(settings(folders, tmp_path / "three", method="acr", seed=SEED + 1))
    one, two, three = (contents(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two
    assert not {name for name in one if "/audio/" in name} & set(three)


def test_stimuli_of_an_item_are_alike_in_all_but_what_is_judged(folders: dict[str, Path], tmp_path: Path) -> None:
    export(settings(folders, tmp_path / "out", anchors=("anchor35", "griffin-lim")))
    audio = tmp_path / "out/webmushra/configs"
    lengths: dict[str, set[int]] = {}
    played = {path.stem: path for path in audio.glob("*/audio/*.wav")}
    for stimulus in load_key(tmp_path / "out"):
        if stimulus.stimulus not in played:
            assert stimulus.kind == "reference"  # the hidden one, which webMUSHRA makes itself
            continue
        samples, rate = soundfile.read(played[stimulus.stimulus], dtype="int16")
        assert rate == RATE
        assert stimulus.peak_dbfs <= -1
        assert 20 * np.log10(np.abs(samples.astype(float)).max() / 32768) == pytest.approx(stimulus.peak_dbfs, abs=1e-3)
        lengths.setdefault(stimulus.item, set()).add(len(samples))
        named = tmp_path / "out/private/stimuli" / stimulus.system / f"{Path(stimulus.item).name}.wav"
        assert named.read_bytes() == played[stimulus.stimulus].read_bytes()
    assert all(len(found) == 1 for found in lengths.values()), lengths


def test_the_webmushra_configuration_names_files_that_exist(folders: dict[str, Path], tmp_path: Path) -> None:
    done = export(settings(folders, tmp_path / "out", name="study-7"))
    root = tmp_path / "out/webmushra"
    assert sorted(path.name for path in (root / "configs").glob("*.yaml")) == ["study-7-bs1116.yaml", "study-7.yaml"]
    named = set()
    for path in (root / "configs").glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        named |= set(re.findall('"(configs/[^"]*wav)"', text))
        assert len(yaml.safe_load(text)["pages"]) == 4
    assert named == {str(path.relative_to(root)) for path in root.rglob("*.wav")}
    assert len(named) == len(done.test.stimuli) - 3  # without the hidden references


def test_p808_addresses_lead_to_the_clips(folders: dict[str, Path], tmp_path: Path) -> None:
    done = export(settings(folders, tmp_path / "out", method="acr", base_url="https://example.org/x"))
    folder = tmp_path / "out/p808"
    named = set()
    for table in ("rating_clips", "training_clips", "gold_clips"):
        rows = list(csv.DictReader(io.StringIO((folder / f"{table}.csv").read_text(encoding="utf-8"))))
        assert len({row[table] for row in rows}) == len(rows)
        named |= {row[table] for row in rows}
    assert named == {f"https://example.org/x/{path.name}" for path in (folder / "audio").iterdir()}
    # Clips beyond doubt are of an utterance that is neither judged nor trained with.
    gold = [stimulus for stimulus in done.test.stimuli if stimulus.system == "mnru"]
    judged = {trial.item for trial in (*done.test.trials, *done.test.training)}
    assert gold
    assert not judged & {stimulus.item for stimulus in gold}
    assert not (folder / "trapping_clips.csv").exists()
    assert "Trapping clips are missing" in (folder / "README.md").read_text(encoding="utf-8")


def test_unusable_items_are_replaced_and_told(tmp_path: Path) -> None:
    folders = make_folders(tmp_path)
    for item in ITEMS[:2]:
        write(folders[SYSTEMS[0]] / f"{item}.wav", np.zeros(RATE))
    (folders[SYSTEMS[1]] / f"{ITEMS[2]}.wav").unlink()
    done = export(settings(folders, tmp_path / "out", items=1))
    assert [trial.item for trial in done.test.trials] == [ITEMS[3]]
    assert f"{SYSTEMS[1]} lacks 1 of 4 utterances, left out: {ITEMS[2]}" in done.notes
    assert sum(note.startswith("left out ash/") for note in done.notes) == 2
    assert "no utterance is left for training: the training page uses one of the test" in done.notes
    with pytest.raises(ListeningError, match=r"--items 2: expected at most 1.*; got 2; left out ash/"):
        export(settings(folders, tmp_path / "other", items=2))
    assert not (tmp_path / "other").exists()


def test_a_name_that_is_in_two_folders_keeps_its_folder(tmp_path: Path) -> None:
    for name in ("reference", "copy"):
        for folder, wav in zip("ab", speech(), strict=False):
            write(tmp_path / name / folder / "same.wav", wav)
    folders = {name: tmp_path / name for name in ("reference", "copy")}
    export(settings(folders, tmp_path / "out", method="ab"))
    assert sorted(p.parent.name for p in (tmp_path / "out/private/stimuli/copy").rglob("same.wav")) == ["a", "b"]


def test_nothing_is_left_after_a_failure(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(settings(folders, tmp_path / "out"))
    before = contents(tmp_path / "out")

    def fail(*_: object) -> str:
        raise OSError("disk full")

    monkeypatch.setattr("diffwave.listening.sheet_page.build_page", fail)
    for output in ("out", "new"):
        with pytest.raises(OSError, match="disk full"):
            export(settings(folders, tmp_path / output, force=True, seed=1))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert contents(tmp_path / "out") == before


def test_an_output_is_replaced_only_by_force_and_only_if_it_is_a_test(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export(settings(folders, tmp_path / "out"))
    with pytest.raises(ListeningError, match="--force replaces it"):
        export(settings(folders, tmp_path / "out"))
    export(settings(folders, tmp_path / "out", seed=5, force=True))
    assert load_test(tmp_path / "out").seed == 5
    (tmp_path / "home").mkdir()
    (tmp_path / "home/letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(ListeningError, match="is no listening test"):
        export(settings(folders, tmp_path / "home", force=True))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"items": 0}, "--items: expected a positive number; got 0"),
        ({"max_seconds": 12.5}, "--max-seconds: expected 1 to 12 seconds; got 12.5"),
        (
            {"anchors": ("anchor36",)},
            r"--anchors: expected some of anchor35, .*; got \['anchor36'\]",
        ),
        ({"method": "ab", "anchors": ("anchor35",)}, "--anchors: expected none with ab"),
        ({"pairs": "systems"}, "--pairs: expected ab, cmos or abx; got --method mushra"),
        (
            {"systems": {f"s{i}": Path() for i in range(11)}},
            "at most 12 sounds on a page; got 13: 11 systems",
        ),
        ({"systems": {"reference": Path()}}, "--system reference: expected another name"),
        ({"systems": {"anchor35": Path()}}, "--system anchor35: expected another name"),
        ({"systems": {"../up": Path()}}, "--system: expected a name"),
        ({"name": "Study 1"}, "--name: expected up to 64 of a-z, 0-9 and -; got 'Study 1'"),
        ({"title": "two\nlines"}, "--title: expected one line"),
        ({"title": "Is muffled-vocoder better?"}, "--title: expected nothing that names a system"),
        ({"base_url": "ftp://x"}, "--base-url: expected an address"),
    ],
)
def test_contradictions_are_told_before_any_work(
    folders: dict[str, Path], tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ListeningError, match=said):
        export(settings(folders, tmp_path / "out", **changes))
    assert not list(tmp_path.iterdir())


def test_one_system_is_compared_with_the_reference(folders: dict[str, Path], tmp_path: Path) -> None:
    alone = {name: folders[name] for name in ("reference", SYSTEMS[0])}
    done = export(settings(alone, tmp_path / "out", method="cmos"))
    system = {stimulus.stimulus: stimulus.system for stimulus in done.test.stimuli}
    assert {frozenset(system[s] for s in t.stimuli) for t in done.test.trials} == {frozenset(("reference", SYSTEMS[0]))}
    with pytest.raises(ListeningError, match="--pairs systems: expected at least two systems; got 1"):
        export(settings(alone, tmp_path / "other", method="ab", pairs="systems"))


def test_no_time_stamps(folders: dict[str, Path], tmp_path: Path) -> None:
    export(settings(folders, tmp_path / "out"))
    document = json.loads((tmp_path / "out/private/test.json").read_text(encoding="utf-8"))
    assert not [key for key in document if "time" in key or "date" in key]


@pytest.mark.parametrize("name", ["answers", "private/study.csv"])
def test_force_replaces_nothing_that_the_export_did_not_make(
    folders: dict[str, Path], tmp_path: Path, name: str
) -> None:
    export(settings(folders, tmp_path / "out", method="acr"))
    export(settings(folders, tmp_path / "out", method="acr", force=True))
    (tmp_path / "out" / name).write_text("answers", encoding="utf-8")
    with pytest.raises(ListeningError, match=f"expected nothing but an earlier test; it also holds {name}$"):
        export(settings(folders, tmp_path / "out", method="acr", force=True))
    assert (tmp_path / "out" / name).exists()


@pytest.mark.parametrize("inside", ["reference", SYSTEMS[0]])
def test_an_output_in_an_input_is_refused(folders: dict[str, Path], inside: str) -> None:
    for output in (folders[inside], folders[inside] / "new" / "out"):
        with pytest.raises(ListeningError, match=r"--output .*: expected a folder outside the input; it is in "):
            export(settings(folders, output))
    assert not (folders[inside] / "new").exists()
