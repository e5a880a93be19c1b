from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

import ablate
from ablation import running
from ablation.page import difference, interval, reading, summarize, verdict
from ablation.running import ALONE, CONSISTENT, FLOORS, Laboratory, relative_cost
from ablation.variants import DEFAULT, VARIANTS
from diffwave.cli.main import main
from diffwave.config.composing import compose_config
from diffwave.evaluation.statistics import Interval

UTTERANCE = "train-clean-100/403/1/403-1-0000.flac"
TINY = [
    "model.network.residual_channels=8",
    "model.network.residual_layers=2",
    "data.crop_frames=8",
    "train.batch_size=2",
    "train.validation_utterances=1",
]


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
    monkeypatch.setattr(running, "METRICS", ("pesq_wb", "mr_stft_aligned", "real_time_factor"))
    for module in ("running", "page"):
        monkeypatch.setattr(f"ablation.{module}.FLOORS", {"consistency-60": ("60 iterations", "mel-consistency", 60)})
    process = running._diffwave

    def here(words: list[str], laboratory: Laboratory, fine: tuple[int, ...] = (0,)) -> None:
        """All but training in this process, which has imported everything already."""
        if words[0] == "train":
            process(words, laboratory)
        else:
            assert main(words) in fine

    monkeypatch.setattr(running, "_diffwave", here)
    overrides = [*TINY, "model.network.parameterization=clean"]
    words = arguments(root, listed, "--variants", "default", overrides=overrides)
    assert ablate.main(words) == 0, capsys.readouterr().err
    out = tmp_path / "out"
    found = json.loads((out / "default-0.json").read_text())
    assert found["training"]["iterations"] == 2
    assert found["training"]["model"]["network"]["parameterization"] == "clean"
    for kind in (ALONE, CONSISTENT):
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
    assert page.count("| default |") == 2
    assert page.count("| no network: 60 iterations |") == 1
    assert "min-snr: not run" in page
    assert "--iterations 2 --seeds 0 --utterances 1" in page
    assert str(tmp_path) not in page + (tmp_path / "docs/ablation.json").read_text()


def test_a_result_of_other_settings_or_of_another_variant_is_made_anew(
    root: Path, listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def train(variant: Any, seed: int, conditions: Laboratory) -> dict[str, Any]:
        calls.append(conditions.iterations)
        return {"iterations": 2, "seconds": 1.0, "parameters": 1}

    monkeypatch.setattr(running, "train", train)
    monkeypatch.setattr(running, "_diffwave", lambda *_, **__: None)
    monkeypatch.setattr(running, "_score", lambda folders, conditions: {})
    words = arguments(root, listed, "--variants", "stft")
    for _ in range(2):
        assert ablate.main(words) == 0
    longer = [word if word != "2" else "3" for word in words]
    assert ablate.main(longer) == 0
    stft = next(variant for variant in VARIANTS if variant.name == "stft")
    stronger = dataclasses.replace(stft, overrides=("train.stft_weight=0.2",))
    monkeypatch.setattr(ablate, "choose", lambda names: [stronger])
    assert ablate.main(longer) == 0
    monkeypatch.setattr(running, "METRICS", ("pesq_wb",))
    assert ablate.main(longer) == 0  # other scores; the real train() finds its checkpoint
    assert calls == [2, 3, 3, 3]


def test_what_cannot_be_run_says_so_and_is_tried_again(
    root: Path, listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(variant: Any, seed: int, conditions: Laboratory) -> dict[str, Any]:
        raise running.VariantError("diffwave train: exit code 1; no memory")

    monkeypatch.setattr(running, "train", fail)
    monkeypatch.setattr(running, "_diffwave", lambda *_, **__: None)
    monkeypatch.setattr(running, "_score", lambda folders, conditions: {})
    words = arguments(root, listed, "--variants", "default")
    assert ablate.main(words) == 1
    assert ablate.main(words) == 1
    assert capsys.readouterr().err.count("default-0: diffwave train: exit code 1; no memory") == 2
    assert json.loads((tmp_path / "out/default-0.json").read_text())["error"].endswith("no memory")
    assert ablate.main(["--output", str(tmp_path / "out"), "--page"]) == 2
    assert "expected default-SEED.json of a run that is done" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--variants", "min-srn"], "unknown variant 'min-srn'; did you mean min-snr?"),
        (["--variants", "zzz"], "unknown variant 'zzz'; known: default, standard-prior"),
        (["--iterations", "0"], "argument --iterations: expected a positive whole number; got '0'"),
        (["--data", "nowhere"], "--data nowhere: expected a folder of audio; there is none"),
        (["--utterances", "41"], "val.txt has 40; got 41"),
        (["--", "train.los=l1"], "unknown setting train.los; did you mean train.loss?"),
        (["--experiment", "nothing"], "nothing"),
        (["--validation-list", "no.txt"], "no.txt: cannot be read or written"),
        ([], "expected the validation utterance 1098-133695-0000.flac; no /"),
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


def test_the_squeezed_variant_costs_about_the_same_and_fits_the_kernel() -> None:
    squeezed = next(variant for variant in VARIANTS if variant.name == "squeeze-4")
    assert relative_cost(squeezed) == pytest.approx(1, abs=0.05)
    config = compose_config(["experiment=librispeech_fast", *squeezed.overrides])
    assert config.model.network.residual_channels % 32 == 0


def test_every_variant_composes_and_differs_from_the_default() -> None:
    default = compose_config(["experiment=librispeech_fast"])
    for variant in VARIANTS:
        config = compose_config(["experiment=librispeech_fast", *variant.overrides])
        assert (config == default) == (variant.name == DEFAULT), variant.name
        seconds = config.data.crop_frames * config.train.batch_size
        assert seconds == default.data.crop_frames * default.train.batch_size


def conditions(tmp_path: Path) -> Laboratory:
    return Laboratory(tmp_path, tmp_path, 400, ("a.flac",), 1, "cpu", "librispeech_fast", (), 60)


def canned(name: str, seed: int, lift: float, settings: dict[str, Any], spread: float = 0.02) -> dict[str, Any]:
    """A result whose PESQ is that of the utterance, plus a lift, plus some noise."""
    rows = {}
    for i in range(12):
        wobble = spread * math.sin(7 * i + 3 * seed + len(name))
        scores = {"pesq_wb": 2.5 + 0.1 * i + lift + wobble, "estoi": 0.9 - (0.1 if name == "stft" else 0) + wobble / 9}
        rows[f"{i}-1-0"] = {"speaker": str(i), "scores": scores}
    return {
        "settings": settings,
        "metrics": ["pesq_wb", "estoi"],
        "environment": {"processor": "A", "cores": 2, "system": "s", "python": "3.12", "torch": "2.11"},
        "variant": name,
        "seed": seed,
        "command": "python ...",
        "training": {"iterations": 400, "seconds": 120.0, "parameters": 2_000_000},
        "systems": {"alone": rows, "consistent": rows},
    }


@pytest.fixture
def results(tmp_path: Path) -> Path:
    settings = conditions(tmp_path).common()
    lifts = {"default": 0.0, "clean": 0.3, "noise": -0.3, "loudness": 0.0005, "stft": 0.3}
    for name, lift in lifts.items():
        for seed in (0, 1):
            (tmp_path / f"{name}-{seed}.json").write_text(json.dumps(canned(name, seed, lift, settings)))
    (tmp_path / "min-snr-0.json").write_text(json.dumps({"seed": 0, "error": "training: exit code 1; no memory"}))
    other = canned("squeeze-4", 0, 0.0, settings | {"iterations": 9})
    (tmp_path / "squeeze-4-0.json").write_text(json.dumps(other))
    floors = {name: canned("x", 0, -0.2, settings)["systems"]["alone"] for name in FLOORS}
    document = {"settings": settings, "metrics": ["pesq_wb", "estoi"], "systems": floors}
    (tmp_path / "floors.json").write_text(json.dumps(document))
    return tmp_path


def test_the_page_reads_canned_results(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ablate.main(["--output", str(results), "--page", "--docs", str(results / "docs")]) == 0
    page = (results / "docs/ablation.md").read_text()
    for kind in (ALONE, CONSISTENT):
        said = reading(summarize(results), kind)
        assert said in page
        better, rest = said.removeprefix("In PESQ-WB beside `default`, better: ").split("; worse: ")
        assert set(better.split(", ")) == {"`clean`", "`stft` (worse in ESTOI)"}
        assert rest.startswith("`noise`; not separable: `loudness`. Of 4 comparisons about 0.2 would")
    assert "min-snr, seed 0: training: exit code 1; no memory" in page
    assert "squeeze-4, seed 0: run under other settings than the default" in page
    assert "standard-prior: not run" in page
    names = [line.split(" | ")[0].removeprefix("| ") for line in page.splitlines() if line.startswith("| ")]
    assert names[0] == "variant"
    assert names[1] in ("clean", "stft")
    assert names[5] == "noise"
    assert [name.split(":")[0] for name in names].count("no network") == len(FLOORS)
    differences = {row["name"]: row["differences"] for row in summarize(results)["rows"] if row["seeds"]}
    assert differences["clean"]["consistent pesq_wb"]["mean"] == pytest.approx(0.3, abs=0.02)
    assert differences["default"] == {}


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
