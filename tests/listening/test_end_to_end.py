"""From folders of audio to the figures of the analysis, with a real browser and clicks in between."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from selenium import webdriver

from browser import DESKTOP, Listener, chromium, needs_chromium, resize
from diffwave.cli.listen import main
from diffwave.listening.design import METHODS

pytestmark = [pytest.mark.browser, needs_chromium]

RATE = 16000
# What the listener thinks of a system; the utterance adds 0, 1 or 2.
OPINION = {"mushra": {"reference": 98, "ours": 71, "theirs": 33}, "acr": {"reference": 3, "ours": 2, "theirs": 1}}
# What comes out for each utterance of a pair test.
PAIRS = {
    "ab": {"u0": 1, "u1": 0, "u2": 1},  # 1: prefers ours
    "cmos": {"u0": 1, "u1": -2, "u2": 3},  # of ours, compared with theirs
    "abx": {"u0": 1, "u1": 0, "u2": 1},  # 1: right
}


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("downloads")) as browser:
        resize(browser, DESKTOP)
        yield browser


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three folders of three short utterances; the systems are noisier than the recordings."""
    folder, random = tmp_path_factory.mktemp("audio"), np.random.default_rng(0)
    time = np.arange(round(0.45 * RATE)) / RATE
    for system, noise in (("reference", 0.0), ("ours", 0.01), ("theirs", 0.05)):
        (folder / system).mkdir()
        for item in range(3):
            tone = 0.2 * np.sin(2 * np.pi * (200 + 60 * item) * time) * np.hanning(len(time))
            soundfile.write(folder / system / f"u{item}.wav", tone + noise * random.standard_normal(len(time)), RATE)
    return folder


def judge(method: str, key: dict[str, dict[str, str]]) -> Any:
    """A listener with opinions who, unlike real ones, knows the key."""

    def opinion(stimulus: str) -> int:
        return OPINION[method][key[stimulus]["system"]] + int(key[stimulus]["item"][1:])

    def decide(page: dict[str, Any]) -> dict[str, Any]:
        if method in OPINION:
            return {stimulus: opinion(stimulus) for stimulus in page["stimuli"]}
        a, b = page["stimuli"]
        right = PAIRS[method][key[a]["item"]]
        if method == "cmos":
            return {"": right if key[b]["system"] == "ours" else -right}
        wanted = page["x"] == a if method == "abx" else key[a]["system"] == "ours"
        return {"": "a" if wanted == bool(right) else "b"}

    return decide


@pytest.mark.parametrize("method", METHODS)
def test_analysis_gives_back_what_was_clicked(
    method: str, driver: webdriver.Chrome, audio: Path, tmp_path: Path
) -> None:
    test = tmp_path / "test"
    systems = [f"--system={name}={audio / name}" for name in ("ours", "theirs")]
    options = ["--anchors=none"] if method in OPINION else ["--pairs=systems"]
    call = ["export", f"--reference={audio / 'reference'}", *systems, f"--method={method}", "--items=2", "--seed=4"]
    assert main([*call, *options, f"--output={test}"]) == 0
    with (test / "private" / "key.csv").open(encoding="utf-8", newline="") as file:
        key = {row["stimulus"]: row for row in csv.DictReader(file)}
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    listener = Listener(driver, (test / "index.html").as_uri(), judge(method, key))
    listener.take("P01")
    results = listener.download(tmp_path)
    report = tmp_path / "report"
    assert main(["analyze", str(results), f"--key={test / 'private'}", f"--report={report}"]) == 0
    with (report / "ratings.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if method in OPINION:
        found = {(row["item"], row["system"]): float(row["score"]) for row in rows}
        items = {item for item, _ in found}
        assert found == {(i, name): OPINION[method][name] + int(i[1:]) for i in items for name in OPINION[method]}
        assert (len(items), len(rows)) == (2, 6)
    else:
        assert {(row["first"], row["second"]) for row in rows} == {("ours", "theirs")}
        assert [float(row["score"]) for row in rows] == [PAIRS[method][row["item"]] for row in rows]
        assert len({row["item"] for row in rows}) == len(rows) == 2
