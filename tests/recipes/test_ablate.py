from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import ablate
from ablation import laboratory, training
from ablation.costs import relative_cost
from ablation.intervals import difference, interval, verdict
from ablation.page import _fewer, reading
from ablation.settings import METRICS, Laboratory
from ablation.summary import summarize
from ablation.systems import FLOORS, metric_names
from ablation.variants import DEFAULT, LMNT, VARIANTS
from diffwave.config.composing import compose_config
from diffwave.evaluation.metrics import METRICS as KNOWN
from diffwave.evaluation.statistics import Interval

UTTERANCE = "train-clean-100/403/1/403-1-0000.flac"
TINY = [
    "model.network.residual_channels=8",
    "model.network.residual_layers=2",
    "data.crop_frames=8",
    "train.batch_size=2",
    "train.validation_utterances=1",
]


@pytest.fixture(autouse=True)
def same_threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    path = tmp_path / "val.txt"
    path.write_text(f"{UTTERANCE}\ntrain-clean-100/839/1/839-1-0000.flac\n")
    return path


def arguments(root: Path, listed: Path, *more: str, overrides: list[str] = TINY) -> list[str]:
    where = ["--data", str(root), "--output", str(root.parent / "out"), "--validation-list", str(listed)]
    budget = ["--iterations", "2", "--seeds", "0", "--utterances", "1", "--consistency", "2"]
    return [*where, *budget, *more, "--", *overrides]


def test_a_variant_goes_through_all_of_it_once(
    root: Path, listed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pitch tracking takes most of the time, and has tests of its own.
    monkeypatch.setattr(
        "ablation.systems.METRICS", ("pesq_wb", "mr_stft_aligned", "no_such_metric", "real_time_factor")
    )
    for module in ("laboratory", "summary"):
        monkeypatch.setattr(f"ablation.{module}.FLOORS", FLOORS[1:2])
    overrides = [*TINY, "model.network.parameterization=clean"]
    words = arguments(root, listed, "--variants", "default", overrides=overrides)
    assert ablate.main(words) == 0, capsys.readouterr().err
    out = tmp_path / "out"
    found = json.loads((out / "default-0.json").read_text())
    assert found["training"]["iterations"] == 2
    assert found["training"]["model"]["network"]["parameterization"] == "clean"
    assert found["missing_metrics"] == ["no_such_metric"]
    for kind in ("alone", "consistent"):
        scores = found["systems"][kind]["403-1-0000"]["scores"]
        assert 1 <= scores["pesq_wb"] <= 4.65
        assert scores["real_time_factor"] > 0
    assert not list((out / "runs").glob("*/training-*.pt"))
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.json")}
    capsys.readouterr()
    assert ablate.main(words) == 0
    assert capsys.readouterr().err.count("done before") == 2
    assert {path: path.stat().st_mtime_ns for path in out.glob("*.json")} == before
    assert ablate.main(["--output", str(out), "--page", "--docs", str(tmp_path / "docs")]) == 0
    page = (tmp_path / "docs/ablation.md").read_text()
    assert "| default |" in page
    assert "| no network: 60 iterations of mel consistency from noise |" in page
    assert "- min-snr: not run" in page
    assert "--variants default --utterances 1" in page
    assert str(tmp_path) not in page + (tmp_path / "docs/ablation.json").read_text()


def test_scores_alone_are_made_anew_when_metrics_come(
    root: Path, listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def train(variant: Any, seed: int, conditions: Laboratory) -> dict[str, Any]:
        calls.append(variant.name)
        return {"iterations": 2, "seconds": 1.0, "parameters": 1}

    monkeypatch.setattr(laboratory, "train", train)
    monkeypatch.setattr(laboratory, "synthesize", lambda run_dir, conditions: {})
    monkeypatch.setattr(laboratory, "score", lambda folders, conditions: {})
    monkeypatch.setattr(laboratory, "make_floor", lambda floor, conditions: tmp_path)
    words = arguments(root, listed, "--variants", "default")
    assert ablate.main(words) == 0
    assert ablate.main(words) == 0
    assert calls == ["default"]
    monkeypatch.setattr("ablation.systems.METRICS", ("pesq_wb",))
    assert ablate.main(words) == 0
    assert calls == ["default"] * 2  # where train() finds its checkpoint


def test_a_result_of_other_settings_or_of_another_variant_is_made_anew(
    root: Path, listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def train(variant: Any, seed: int, conditions: Laboratory) -> dict[str, Any]:
        calls.append(conditions.iterations)
        return {"iterations": 2, "seconds": 1.0, "parameters": 1}

    monkeypatch.setattr(laboratory, "train", train)
    monkeypatch.setattr(laboratory, "synthesize", lambda run_dir, conditions: {})
    monkeypatch.setattr(laboratory, "score", lambda folders, conditions: {})
    monkeypatch.setattr(laboratory, "make_floor", lambda floor, conditions: tmp_path)
    words = arguments(root, listed, "--variants", "stft")
    for _ in range(2):
        assert ablate.main(words) == 0
    longer = [word if word != "2" else "3" for word in words]
    assert ablate.main(longer) == 0
    stft = next(variant for variant in VARIANTS if variant.name == "stft")
    stronger = dataclasses.replace(stft, overrides=("train.stft_weight=0.2",))
    monkeypatch.setattr(ablate, "choose", lambda names: [stronger])
    assert ablate.main(longer) == 0
    assert calls == [2, 3, 3]


def test_what_cannot_be_run_says_so_and_is_tried_again(
    root: Path, listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(variant: Any, seed: int, conditions: Laboratory) -> dict[str, Any]:
        raise training.VariantError("training: exit code 1; no memory")

    monkeypatch.setattr(laboratory, "train", fail)
    monkeypatch.setattr(laboratory, "score", lambda folders, conditions: {})
    monkeypatch.setattr(laboratory, "make_floor", lambda floor, conditions: tmp_path)
    words = arguments(root, listed, "--variants", "default")
    assert ablate.main(words) == 1
    assert ablate.main(words) == 1
    assert capsys.readouterr().err.count("default-0: training: exit code 1; no memory") == 2
    assert json.loads((tmp_path / "out/default-0.json").read_text())["error"].endswith("no memory")
    assert ablate.main(["--output", str(tmp_path / "out"), "--page"]) == 2
    assert "expected default-SEED.json of a run that is done" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--variants", "min-srn"], "unknown variant 'min-srn'; did you mean min-snr?"),
        (["--variants", "zzz"], "unknown variant 'zzz'; known: default, standard-prior"),
        (["--minutes", "0"], "argument --minutes: expected a positive number of minutes; got '0'"),
        (["--minutes", "-2"], "expected a positive number of minutes; got '-2'"),
        (["--iterations", "0"], "argument --iterations: expected a positive whole number; got '0'"),
        (["--minutes", "2", "--iterations", "2"], "not allowed with argument"),
        (["--data", "nowhere"], "--data nowhere: expected a folder of audio; there is none"),
        (["--utterances", "41"], "val.txt has 40; got 41"),
        (["--", "train.los=l1"], "unknown setting train.los; did you mean train.loss?"),
        (["--experiment", "nothing"], "nothing"),
        (["--validation-list", "no.txt"], "no.txt: cannot be read or written"),
        ([], "expected the validation utterance 1098-133695-0000.flac; there is no"),
    ],
)
def test_a_mistake_is_one_line(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    given = ["--data", str(root), "--output", str(tmp_path / "out"), "--variants", "default", *words]
    try:
        code = ablate.main(given)
    except SystemExit as end:
        code = int(end.code or 0)
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    assert message in said.err
    assert len(said.err.splitlines()) == 1
    assert not (tmp_path / "out/default-0.json").exists()


@pytest.mark.parametrize("words", [[], ["--output", "x"], ["--page"]])
def test_folders_are_asked_for(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert ablate.main(words) == 2
    assert "expected --" in capsys.readouterr().err


def test_the_list_names_every_variant_with_its_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert ablate.main(["--list"]) == 0
    said = capsys.readouterr().out
    for variant in VARIANTS:
        assert f"{variant.name}, cost {relative_cost(variant):.2f}: " in said


def test_squeezed_variants_cost_about_the_same_and_fit_the_kernel() -> None:
    by_name = {variant.name: variant for variant in VARIANTS}
    for name in ("squeeze-4", "squeeze-16"):
        assert relative_cost(by_name[name]) == pytest.approx(1, abs=0.05)
        config = compose_config(["experiment=librispeech_fast", *by_name[name].overrides])
        assert config.model.network.residual_channels % 32 == 0


def test_every_variant_composes_and_differs_from_the_default() -> None:
    default = compose_config(["experiment=librispeech_fast"])
    for variant in VARIANTS:
        config = compose_config(["experiment=librispeech_fast", *variant.overrides])
        assert (config == default) == (variant.name in (DEFAULT, LMNT)), variant.name
        seconds = config.data.crop_frames * config.train.batch_size
        assert seconds == default.data.crop_frames * default.train.batch_size


def conditions(tmp_path: Path, minutes: float = 1.0) -> Laboratory:
    return Laboratory(tmp_path, tmp_path, minutes, 0, ("a.flac",), 1, "cpu", "librispeech_fast", (), 60)


class Machine:
    """Stands in for ``diffwave train``: iterations that take what they are told to."""

    def __init__(self, folder: Path, speed: list[float]) -> None:
        self.folder, self.speed, self.legs = folder, speed, []
        self.rows: list[dict[str, Any]] = []

    def __call__(self, overrides: list[str], conditions: Laboratory) -> None:
        said = dict(text.split("=", 1) for text in overrides)
        goal, every = int(said["train.iterations"]), int(said["train.log_every"])
        per_second = self.speed[min(len(self.legs), len(self.speed) - 1)]
        first = self.rows[-1]["iteration"] if self.rows else 0
        self.legs.append((goal, int(said["train.decay_iterations"])))
        for i in range(first + 1, goal + 1):
            if i % every == 0 or i == goal:
                self.rows.append({"iteration": i, "crops_per_second": 8 * per_second})
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.joinpath("history.jsonl").write_text("\n".join(map(json.dumps, self.rows)))
        self.folder.joinpath("config.json").write_text('{"training": {"batch_size": 8}}')


@pytest.mark.parametrize("speed", [[4.0], [2.0, 4.0, 4.0], [4.0, 4.0, 3.0], [0.1]])
def test_minutes_become_iterations_whose_rate_falls_to_zero_at_their_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speed: list[float]
) -> None:
    machine = Machine(tmp_path / "runs/default-0", speed)
    monkeypatch.setattr(training, "_run", machine)
    monkeypatch.setattr(training, "_figures", lambda run_dir: {"seconds": sum(s for _, s in training._timed(run_dir))})
    found = training.train(VARIANTS[0], 0, conditions(tmp_path))
    (goal, decay), before = machine.legs[-1], machine.legs[-2][0]
    assert decay == goal - before
    assert all(decay == 0 for _, decay in machine.legs[:-1])
    if speed == [0.1]:  # the probe alone is longer than the budget: one iteration more ends the schedule
        assert goal == training.PROBE + 1
    else:
        # The budget is met as well as the last leg's speed was known.
        assert found["seconds"] == pytest.approx(60, rel=0.15 if speed[-1] == 3 else 0.02)
        assert training.train(VARIANTS[0], 0, conditions(tmp_path)) == found
        assert len(machine.legs) == 3


def canned(name: str, seed: int, lift: float, settings: dict[str, Any], spread: float = 0.02) -> dict[str, Any]:
    """A result whose PESQ is that of the utterance, plus a lift, plus some noise."""
    rows = {}
    for i in range(12):
        wobble = spread * math.sin(7 * i + 3 * seed + len(name))
        scores = {"pesq_wb": 2.5 + 0.1 * i + lift + wobble, "estoi": 0.9 - (0.1 if name == "stft" else 0) + wobble / 9}
        rows[f"{i}-1-0"] = {"speaker": str(i), "scores": scores, "errors": {}}
    training_of = {"iterations": 400, "seconds": 120.0, "parameters": 2_000_000, "validation_loss": 0.8}
    kind = "energy" if "prior" in name else "spectral"
    model = {"diffusion": {"prior": kind}, "network": {"parameterization": "velocity"}}
    return {
        "settings": settings,
        "metrics": ["pesq_wb", "estoi"],
        "environment": {"processor": "A processor", "python": "3.12", "torch": "2.11"},
        "variant": name,
        "seed": seed,
        "command": f"python ... --variants {name}",
        "training": {**training_of, "model": model, "overrides": []},
        "systems": {"alone": rows, "consistent": rows},
    }


@pytest.fixture
def results(tmp_path: Path) -> Path:
    settings = conditions(tmp_path).common()
    lifts = {"default": 0.0, "clean": 0.3, "noise": -0.3, "l1": 0.0005, "stft": 0.3, "energy-prior": 0.1, LMNT: -0.8}
    for name, lift in lifts.items():
        for seed in (0, 1):
            (tmp_path / f"{name}-{seed}.json").write_text(json.dumps(canned(name, seed, lift, settings)))
    (tmp_path / "min-snr-0.json").write_text(json.dumps({"seed": 0, "error": "training: exit code 1; no memory"}))
    other = canned("ema-0.99", 0, 0.0, settings | {"minutes": 9.0})
    (tmp_path / "ema-0.99-0.json").write_text(json.dumps(other))
    floors = {name: canned("x", 0, -0.2, settings)["systems"]["alone"] for name in ("griffin-lim-60", "consistency-60")}
    floors["consistency-200"] = canned("x", 0, 0.15, settings)["systems"]["alone"]
    document = {"settings": settings, "metrics": ["pesq_wb", "estoi"], "systems": floors}
    (tmp_path / "floors.json").write_text(json.dumps(document))
    return tmp_path


def test_the_page_reads_canned_results(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ablate.main(["--output", str(results), "--page", "--docs", str(results / "docs")]) == 0
    page = (results / "docs/ablation.md").read_text()
    assert "Better than `default` in PESQ-WB beyond the interval: `" in page
    better, rest = page.split("beyond the interval: ")[1].split(". Worse: ", 1)
    assert set(better.split(", ")) == {"`clean`", "`stft` (but worse in ESTOI)", "`energy-prior`"}
    assert rest.startswith("`noise`.")
    assert "Not separable at this budget: `l1`." in page
    assert "`default` − `lmnt-com` in PESQ-WB: +0.8" in page
    assert "Above the best floor without a network (200 iterations of mel consistency from noise, 3.2" in page
    assert "- min-snr, seed 0: training: exit code 1; no memory" in page
    assert "- ema-0.99, seed 0: run under other settings than the default" in page
    assert "- logit-normal: not run" in page
    names = [line.split(" | ")[0].removeprefix("| ") for line in page.splitlines() if line.startswith("| ")]
    assert names[1] in ("clean", "stft")
    assert names[7:8] == [LMNT]
    assert all(f"      python ... --variants {name}" in page for name in ("default", "clean", LMNT))


def test_a_page_of_the_two_codes_alone_does_not_speak_of_levers(results: Path) -> None:
    for path in results.glob("*-[01].json"):
        if path.name[:-7] not in ("default", LMNT):
            path.unlink()
    assert ablate.main(["--output", str(results), "--page", "--docs", str(results / "docs")]) == 0
    page = (results / "docs/ablation.md").read_text()
    assert page.startswith(f"# `default` beside `{LMNT}`\n")
    assert "**Reading.** `default` − `lmnt-com` in PESQ-WB: +0.8" in page
    assert not re.search("lever|not run|Better than|changes one thing", page)


def test_the_peer_is_compared_as_it_speaks_too(results: Path) -> None:
    for seed in (0, 1):
        path = results / f"{LMNT}-{seed}.json"
        found = json.loads(path.read_text())
        for row in found["systems"]["alone"].values():
            row["scores"]["pesq_wb"] -= 1
        path.write_text(json.dumps(found))
    told = re.search(r"`default` − `lmnt-com` in PESQ-WB: (.*?)\. Above", reading(summarize(results)))
    assert told is not None
    shipped, alone, consistent = re.findall(r"[+-]\d\.\d\d", told[1])
    assert float(shipped) == float(alone) == pytest.approx(float(consistent) + 1)
    assert told[1].index("each as its own code speaks") < told[1].index("networks alone")


def test_rows_that_lack_a_seed_are_named() -> None:
    rows = [{"name": "default", "seeds": [0, 1]}, {"name": "l1", "seeds": [0]}]
    [line] = _fewer(rows, [0, 1])
    assert line.endswith("too narrow: `l1`.")
    assert _fewer(rows[:1], [0, 1]) == []


def test_losses_are_told_where_they_mean_the_same(results: Path) -> None:
    rows = {row["name"]: row for row in summarize(results)["rows"]}
    assert rows["clean"]["validation_loss"] == pytest.approx(0.8)
    assert rows["energy-prior"]["validation_loss"] is None
    assert rows["clean"]["differences"]["consistent pesq_wb"]["mean"] == pytest.approx(0.3, abs=0.02)
    assert rows["default"]["differences"] == {}


def test_intervals_hold_seeds_as_well_as_speakers() -> None:
    voices = {str(i): str(i) for i in range(10)}
    one = {(0, name): float(name) / 10 for name in voices}
    two = one | {(1, name): float(name) / 10 + 0.5 for name in voices}
    narrow, wide = interval(one, voices), interval(two, voices)
    assert narrow.high - narrow.low < 0.5
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_differences_are_paired_and_know_which_way_is_better() -> None:
    voices = {str(i): str(i) for i in range(8)}
    default = {(0, name): float(name) for name in voices}
    shifted = {key: value + 0.1 + 0.001 * value for key, value in default.items()} | {(1, "0"): 99.0}
    found = difference(shifted, default, voices, "pesq_wb")
    assert found.mean == pytest.approx(0.1035)
    assert verdict(found, "pesq_wb") == "better"
    assert verdict(found, "mr_stft_aligned") == "worse"
    assert verdict(Interval(0.1, -0.1, 0.3), "pesq_wb") == "not separable"
    assert verdict(Interval(0.1, math.nan, math.nan), "pesq_wb") == "not separable"
    # Two levels that are off by as much, in opposite directions, are equally good.
    off = {key: -value for key, value in default.items()}
    assert difference(off, default, voices, "level").mean == 0


def test_metrics_are_taken_as_far_as_they_are_there() -> None:
    there, lacking = metric_names()
    assert [*there, *lacking] == sorted([*there, *lacking], key=lambda name: (name not in KNOWN, METRICS.index(name)))
    assert {"pesq_wb", "estoi", "mr_stft_aligned", "periodicity_pyin", "synchrony"} <= set(there)


@pytest.mark.peer
@pytest.mark.timeout(600)
def test_the_other_package_learns_from_our_crops_and_speaks(
    root: Path, listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.peers.packages import PeerUnavailableError, install

    try:
        package = install("lmnt", tmp_path)
    except PeerUnavailableError as error:
        pytest.skip(str(error))
    monkeypatch.setattr("ablation.systems.METRICS", ("pesq_wb", "real_time_factor"))
    monkeypatch.setattr("ablation.laboratory.FLOORS", ())
    monkeypatch.setattr(laboratory, "_run_floors", lambda conditions: {})
    assert ablate.main(arguments(root, listed, "--variants", LMNT, "--peer", str(package))) == 0
    found = json.loads((tmp_path / "out/lmnt-com-0.json").read_text())
    assert found["training"]["parameters"] == 2_619_971
    assert found["training"]["iterations"] == 2
    for kind in ("alone", "consistent"):
        assert found["systems"][kind]["403-1-0000"]["scores"]["real_time_factor"] > 0
