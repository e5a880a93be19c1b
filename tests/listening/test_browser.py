"""The page in a real browser: a whole test by clicking, without a network, and the answers that were clicked."""

from __future__ import annotations

import csv
import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from browser import DESKTOP, PHONE, Listener, chromium, complaints, needs_chromium, requests, resize
from diffwave.listening.design import METHODS, RESULT_COLUMNS, ListeningTest
from diffwave.listening.sheet_page import build_page
from tones import tone_test

pytestmark = [pytest.mark.browser, needs_chromium]


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def driver(downloads: Path) -> Iterator[webdriver.Chrome]:
    with chromium(downloads) as browser:
        resize(browser, DESKTOP)
        yield browser


def write_page(
    folder: Path, method: str, trials: int = 2, seconds: float = 0.6, **changes: Any
) -> tuple[str, ListeningTest]:
    """A page on disk: its address, and its test."""
    test, audio = tone_test(method, trials, seconds)
    test = dataclasses.replace(test, **changes)
    (folder / "index.html").write_text(build_page(test, audio), encoding="utf-8")
    return (folder / "index.html").as_uri(), test


def judge(test: ListeningTest) -> Any:
    """Answers that differ from stimulus to stimulus, and from pair to pair."""

    def number(name: str) -> int:
        return int(name[1:3])

    def decide(page: dict[str, Any]) -> dict[str, Any]:
        stimuli, many = page["stimuli"], sum(number(stimulus) for stimulus in page["stimuli"])
        if test.method == "mushra":
            return {stimulus: number(stimulus) * 37 % 101 for stimulus in stimuli}
        if test.method == "acr":
            return {stimulus: 1 + number(stimulus) % 5 for stimulus in stimuli}
        return {"": {"ab": ["a", "none", "b"], "cmos": list(range(-3, 4)), "abx": ["a", "b"]}[test.method][many % 2]}

    return decide


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        assert tuple(reader.fieldnames or ()) == RESULT_COLUMNS
        return list(reader)


def check_rows(rows: list[dict[str, str]], listener: Listener, test: ListeningTest) -> None:
    """Every click is in the rows, and nothing else."""
    expected = set()
    for answers in listener.answered.values():
        page = answers["page"]
        if test.method in ("mushra", "acr"):
            for slot, stimulus in enumerate(page["stimuli"], start=1):
                expected.add((page["trial"], stimulus, "", "", str(slot), str(answers[stimulus])))
        else:
            a, b = page["stimuli"]
            expected.add((page["trial"], a, b, page["x"], "1", str(answers[""])))
    found = [tuple(row[name] for name in ("trial", "stimulus", "other", "x", "slot", "answer")) for row in rows]
    assert sorted(found) == sorted(expected)
    assert {row["trial"] for row in rows} == {trial.trial for trial in test.trials}, "training is not recorded"
    assert all(int(row["plays"]) > 0 and int(row["listen_ms"]) >= 350 for row in rows)
    assert all(int(row["page_ms"]) >= 250 and row["order_seed"] == test.order_seed for row in rows)


@pytest.mark.parametrize("method", METHODS)
def test_whole_test(method: str, driver: webdriver.Chrome, downloads: Path, tmp_path: Path) -> None:
    page, test = write_page(tmp_path, method, seconds=0.4)
    requests(driver)
    listener = Listener(driver, page, judge(test))
    listener.take("P-01", stop_before=2)
    before = listener.describe()
    assert warns(driver), "leaving now would be a pity"
    driver.refresh()  # in the middle of the test, after one trial
    listener.wait_for("welcome")
    assert listener.find("#listener").get_property("value") == "P-01"
    listener.sign_in("P-01")
    listener.wait_for("return")
    assert "Trial 2 of" in listener.find("main").text
    listener.go_on()
    assert listener.describe()["progress"]["session"] == before["progress"]["session"]
    assert warns(driver), "the answers are nowhere else"
    path = listener.download(downloads)
    assert not warns(driver)
    assert path.name == f"tones-{method}-P-01.csv"
    rows = read_rows(path)
    check_rows(rows, listener, test)
    assert {row["listener"] for row in rows} == {"P-01"}
    stimuli = {trial.reference for trial in test.trials + test.training} - {""}
    stimuli |= {stimulus for trial in test.trials + test.training for stimulus in trial.stimuli} | {test.volume}
    assert listener.find("body").get_attribute("data-decoded") == f"{len(stimuli)}/{len(stimuli)}"
    assert listener.find("#csv").get_property("value").splitlines() == path.read_text(encoding="utf-8").splitlines()
    assert requests(driver) == {page}, "only the page itself is ever asked for"
    assert complaints(driver) == []


def warns(driver: webdriver.Chrome) -> bool:
    """Whether the page would ask before it is left."""
    ask = "const event = new Event('beforeunload', {cancelable: true}); return !window.dispatchEvent(event)"
    return bool(driver.execute_script(ask))


def test_half_a_page_survives_a_reload(driver: webdriver.Chrome, tmp_path: Path) -> None:
    page, test = write_page(tmp_path, "mushra", training=())
    listener = Listener(driver, page, judge(test))
    listener.take("half", stop_before=1)
    listener.press("2", *[Keys.ARROW_LEFT] * 3)
    listener.wait(lambda: "2" not in listener.unplayed())
    listener.press(" ")
    listener.take("half", stop_before=1)
    assert [score.text for score in listener.all(".score")] == ["–", "47", "–", "–"]
    assert "2" not in listener.unplayed()


def test_title_is_text(driver: webdriver.Chrome, tmp_path: Path) -> None:
    page, test = write_page(tmp_path, "ab")
    driver.get(page)
    Listener(driver, page, judge(test)).wait_for("welcome")
    assert driver.title == test.title
    assert driver.find_element(By.TAG_NAME, "h1").text == test.title


def test_keyboard_alone(driver: webdriver.Chrome, tmp_path: Path) -> None:
    page, test = write_page(tmp_path, "mushra", trials=1, training=())
    driver.get(f"{page}?listener=keys")
    listener = Listener(driver, page, judge(test))
    listener.wait_for("welcome")
    listener.wait(listener.find("#start").is_enabled)
    listener.find("#listener").send_keys(Keys.ENTER)
    listener.wait_for("volume")
    listener.press(" ", Keys.ENTER)
    listener.wait_for("ready")
    listener.press(Keys.ENTER)
    listener.wait_for("trial")
    listener.press(Keys.ENTER)
    assert listener.find("#live").text == "Still to do: play Reference, 1, 2, 3, 4; rate 1, 2, 3, 4."
    for key in ("r", "1", "2", "3", "4"):
        listener.press(key)
        listener.wait(lambda key=key: {"r": "Reference"}.get(key, key) not in listener.unplayed())
        if key != "r":
            listener.press(*[Keys.ARROW_RIGHT] * int(key))
    listener.press(" ", Keys.ENTER)
    assert "should have 100" in listener.find("#live").text
    listener.press(Keys.ENTER)
    listener.wait_for("finish")
    assert [row["answer"] for row in listener.describe()["progress"]["rows"]] == [51, 52, 53, 54]


def test_switching_keeps_the_position_and_loops_stay_long_enough(driver: webdriver.Chrome, tmp_path: Path) -> None:
    page, test = write_page(tmp_path, "ab", training=())
    listener = Listener(driver, page, judge(test))
    listener.take("switcher", stop_before=1)
    start, end = listener.all(".handle")
    assert (start.get_attribute("aria-valuenow"), end.get_attribute("aria-valuenow")) == ("0.0", "0.6")
    end.send_keys(*[Keys.ARROW_LEFT] * 5)
    listener.wait(lambda: end.get_attribute("aria-valuenow") == "0.5")
    listener.press("l", "a")
    listener.wait(lambda: float(listener.find(".clock").text.split()[0]) >= 0.1)
    before, _, after = driver.execute_script("""
        const clock = () => parseFloat(document.querySelector('.playhead').style.left);
        const [a, b] = document.querySelectorAll('.pair .stimulus');
        const before = clock(); b.click(); const state = b.className;
        const later = (done) => requestAnimationFrame(() => requestAnimationFrame(done));
        return new Promise(later).then(() => [before, state, clock()]);
    """)
    assert after >= before or before > 70, "the time line goes on, apart from a turn of the loop"
    assert "on" in str(listener.all(".pair .stimulus")[1].get_attribute("class")).split()


def test_unplayable_sound_is_told(driver: webdriver.Chrome, tmp_path: Path) -> None:
    test, audio = tone_test("ab", 1)
    audio[test.trials[0].stimuli[0]] = b"no sound at all"
    (tmp_path / "index.html").write_text(build_page(test, audio), encoding="utf-8")
    driver.get((tmp_path / "index.html").as_uri())
    listener = Listener(driver, "", judge(test))
    listener.wait_for("failure")
    assert "cannot be decoded" in listener.find("main").text


def test_names_are_checked_and_storage_may_be_missing(driver: webdriver.Chrome, tmp_path: Path) -> None:
    page, test = write_page(tmp_path, "ab", trials=1, training=())
    script = "Object.defineProperty(window, 'localStorage', { get() { throw new Error('no storage'); } });"
    added = driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
    try:
        driver.get(page)
        listener = Listener(driver, page, judge(test))
        listener.wait_for("welcome")
        listener.wait(listener.find("#start").is_enabled)
        listener.find("#listener").send_keys("=cmd|calc")
        listener.click("#start")
        assert "letters and digits" in listener.find("#live").text
        listener.take("nobody")
        assert len(listener.describe()["progress"]["rows"]) == 1
        listener.click("#another")
        listener.sign_in("somebody")
        listener.wait_for("volume")
        assert listener.describe()["progress"]["rows"] == []
    finally:
        driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def serve(folder: Path, port: int = 0) -> tuple[subprocess.Popen[str], str]:
    """The real command as a process, and the page's address."""
    command = "import sys; from diffwave.cli.listen_serve import main; sys.exit(main(sys.argv[1:]))"
    call = [
        sys.executable,
        "-c",
        command,
        str(folder),
        "--port",
        str(port),
        "--results",
        str(folder.with_name(f"{folder.name}-kept")),
    ]
    process = subprocess.Popen(call, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().split()[-1]


def test_served_test_survives_a_killed_server(tmp_path: Path, downloads: Path) -> None:
    _, test = write_page(tmp_path, "ab", trials=4)
    table = tmp_path.with_name(f"{tmp_path.name}-kept") / "tones-ab.csv"
    process, url = serve(tmp_path)
    try:
        with chromium(downloads, server=True) as driver:
            listener = Listener(driver, url, judge(test))
            listener.take("lab-7", stop_before=2)
            listener.wait(lambda: len(read_rows(table)) == 1)
            process.kill()
            process.wait(10)
            listener.go_on(stop_before=3)
            listener.wait(lambda: "kept on this device" in listener.find("#live").text)
            driver.refresh()  # not answered: the browser shows what it has
            process, url = serve(tmp_path, port=urlsplit(url).port or 0)
            driver.get(url)
            listener.sign_in("lab-7")
            listener.go_on()
            listener.wait(lambda: "saved on the server" in listener.find("#saved").text, seconds=40)
            rows = read_rows(table)
            check_rows(rows, listener, test)
            assert len({row["session"] for row in rows}) == 1
            saved = listener.download(downloads)
            assert sorted(read_rows(saved), key=str) == sorted(rows, key=str)
            assert {urlsplit(asked).netloc for asked in requests(driver)} == {urlsplit(url).netloc}
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.skipif("DIFFWAVE_SCREENSHOTS" not in os.environ, reason="DIFFWAVE_SCREENSHOTS names no folder")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_screenshots(size: tuple[int, int], dark: bool, tmp_path: Path) -> None:
    """A picture of every kind of page, to be looked at."""
    folder = Path(os.environ["DIFFWAVE_SCREENSHOTS"])
    folder.mkdir(parents=True, exist_ok=True)
    look = f"{'phone' if size == PHONE else 'desktop'}{'-dark' if dark else ''}"
    for method in METHODS if not dark else ("mushra", "cmos"):
        page, test = write_page(tmp_path, method, trials=1, title="Vocoders of read speech, spring 2026")
        with chromium(tmp_path, mouse_and_keys=size == DESKTOP) as driver:
            resize(driver, size)
            if dark:
                features = [{"name": "prefers-color-scheme", "value": "dark"}]
                driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

            def shoot(kind: str, driver: webdriver.Chrome = driver, method: str = method) -> None:
                name = f"{look}-{method}-{kind}.png"
                if kind in ("training", "rated") or method == "mushra":
                    driver.save_screenshot(str(folder / name))
                wide = "return document.documentElement.scrollWidth <= window.innerWidth"
                assert driver.execute_script(wide), f"{name} scrolls sideways"

            Listener(driver, page, judge(test), shoot).take("P01")
            again = Listener(driver, page, judge(test), shoot)
            driver.get(page)
            again.sign_in("P01")
            again.wait_for("return")
            shoot("return")
