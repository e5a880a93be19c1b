"""Drives the page of a listening test in headless Chromium, as a listener would: by clicking."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver (Debian: apt install chromium chromium-driver)"
)
PHONE, DESKTOP = (390, 844), (1280, 800)

# (the trial as listeningTest.describe() tells it) -> mushra and acr: score per stimulus; pairs: {"": answer}
Judge = Callable[[dict[str, Any]], dict[str, Any]]


@contextlib.contextmanager
def chromium(downloads: Path, *, server: bool = False, mouse_and_keys: bool = True) -> Iterator[webdriver.Chrome]:
    """A fresh browser; without ``server`` it cannot reach anything over a network."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    # A mouse, which a machine without a screen does not have: pages show their keyboard help only beside one.
    mouse = "primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4"
    options.add_argument(f"--blink-settings={mouse if mouse_and_keys else ''}")
    for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--mute-audio", "--no-first-run"):
        options.add_argument(argument)
    options.add_argument("--disable-background-networking")
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND" + (", EXCLUDE 127.0.0.1" if server else ""))
    if not server:
        options.add_argument("--proxy-server=127.0.0.1:9")
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    options.set_capability("unhandledPromptBehavior", "accept")
    with tempfile.TemporaryDirectory(prefix="listening-", ignore_cleanup_errors=True) as profile:
        options.add_argument(f"--user-data-dir={profile}")
        # The path is given, so Selenium does not look for a driver on the network.
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
        try:
            yield driver
        finally:
            driver.quit()


def resize(driver: webdriver.Chrome, size: tuple[int, int]) -> None:
    """Make the window's inside exactly as large as asked; a phone's also has touch and a finer screen."""
    phone = size == PHONE
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 2 if phone else 1, "mobile": phone}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": phone})


def requests(driver: webdriver.Chrome) -> set[str]:
    """Addresses that were asked for since the last call, apart from the browser's own pages and data URLs."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    urls = {m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"}
    return {url for url in urls if not url.startswith(("chrome", "data:"))}


def complaints(driver: webdriver.Chrome) -> list[str]:
    """Errors in the browser's console since the last call."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]


class Listener:
    """Somebody who takes a test.

    Args:
        driver: a browser.
        page: address of the page.
        judge: decides on the answers.
        seen: called on every page, with the page's kind, before anything is clicked.
    """

    def __init__(
        self,
        driver: webdriver.Chrome,
        page: str,
        judge: Judge,
        seen: Callable[[str], None] = lambda kind: None,
    ):
        self.driver, self.page, self.judge, self.seen = driver, page, judge, seen
        self.answered: dict[str, dict[str, Any]] = {}

    def take(self, name: str, stop_before: int | None = None) -> None:
        """Take the test up to the last page, or up to trial ``stop_before`` (counted from 1)."""
        self.driver.get(self.page)
        self.sign_in(name)
        self.go_on(stop_before)

    def sign_in(self, name: str) -> None:
        """Fill in the first page."""
        self.wait_for("welcome")
        start = self.find("#start")
        self.wait(start.is_enabled)
        field = self.find("#listener")
        field.clear()
        field.send_keys(name)
        self.seen("welcome")
        start.click()

    def go_on(self, stop_before: int | None = None) -> None:
        """From wherever the test stands to its end."""
        steps: dict[str, Callable[[], None]] = {"volume": self.volume, "ready": self.next}
        steps["return"] = lambda: self.click("#resume")
        while True:
            kind, where = self.wait(self.settled)
            if kind == "failure":
                raise AssertionError(self.find("main").text)
            if kind == "trial" and where == stop_before:
                return
            self.seen(kind)
            if kind == "finish":
                return
            steps.get(kind, self.rate)()
            self.wait(lambda before=(kind, where): self.settled() != before)

    def settled(self) -> tuple[str, int] | None:
        """The kind of the page and the number on it; None while a page is being made."""
        kind = self.driver.find_element(By.TAG_NAME, "body").get_attribute("data-page")
        progress = self.describe()["progress"]
        if kind in ("welcome", "return", "loading"):
            return (kind, 0) if kind == "return" else None
        number = {"training": "trained", "trial": "done"}.get(kind, "")
        stage = {"trial": "trials", "finish": "finished"}.get(kind, kind)
        if progress["stage"] != stage and kind != "failure":
            return None
        count = progress[number] + 1 if number else 0
        # The next trial has the same kind of page: what is on the screen must be that trial.
        if number and str(count) not in self.find("#where").text.split():
            return None
        if number and self.driver.execute_script("return document.getElementById('next') === window.clickedNext"):
            return None
        return kind, count

    def describe(self) -> dict[str, Any]:
        """The page's own account of where it stands."""
        described: dict[str, Any] = self.driver.execute_script("return listeningTest.describe()")
        return described

    def volume(self) -> None:
        self.click(".play")
        self.next()

    def rate(self) -> None:
        """Play what has to be played, answer, go on."""
        state = self.describe()
        page, method = state["page"], state["method"]
        answers = self.judge(page)
        {"mushra": self.rate_mushra, "acr": self.rate_acr}.get(method, self.rate_pair)(page, answers)
        if self.driver.find_element(By.TAG_NAME, "body").get_attribute("data-page") == "trial":
            self.answered["|".join([page["trial"], *sorted(page["stimuli"])])] = {**answers, "page": page}
        self.seen("rated")
        self.next()

    def rate_mushra(self, page: dict[str, Any], scores: dict[str, Any]) -> None:
        self.play(".reference", "Reference")
        rows = [row for row in self.all(".ratings .row") if "words" not in str(row.get_attribute("class"))]
        for stimulus, row in zip(page["stimuli"], rows, strict=True):
            assert not row.find_element(By.TAG_NAME, "input").is_enabled()
            listen = row.find_element(By.TAG_NAME, "button")
            self.tap(listen)
            slider = row.find_element(By.TAG_NAME, "input")
            drag(self.driver, slider, scores[stimulus])
            assert row.find_element(By.TAG_NAME, "output").text == str(scores[stimulus])
            self.wait(lambda listen=listen: listen.text not in self.unplayed())

    def rate_acr(self, page: dict[str, Any], scores: dict[str, Any]) -> None:
        (stimulus,) = page["stimuli"]
        self.play(".play", "sound")
        self.click(f"[data-answer='{scores[stimulus]}']")

    def rate_pair(self, page: dict[str, Any], answers: dict[str, Any]) -> None:
        for sound in self.all(".pair .stimulus"):
            self.tap(sound)
            self.wait(lambda sound=sound: "heard" in str(sound.get_attribute("class")))
        self.click(f"[data-answer='{answers['']}']")

    def play(self, selector: str, label: str) -> None:
        """Start a sound and let it play for long enough."""
        self.click(selector)
        self.wait(lambda: label not in self.unplayed())

    def unplayed(self) -> set[str]:
        """Labels of the sounds that the page still asks to play."""
        first = self.find("#todo").text.split(";")[0]
        return set(first.replace(",", " ").split()) if "play" in first else set()

    def next(self) -> None:
        """Go on, as soon as the page allows it."""
        button = self.find("#next")
        self.wait(lambda: button.get_attribute("aria-disabled") != "true")
        self.driver.execute_script("window.clickedNext = arguments[0]", button)
        button.click()
        # MUSHRA reminds once of the hidden reference; a second click goes on.
        with contextlib.suppress(StaleElementReferenceException):
            if "identical to the reference" in self.find("#live").text and button.is_displayed():
                button.click()

    def download(self, folder: Path) -> Path:
        """Click on the last page's download and wait for the file."""
        before = set(folder.iterdir())
        self.click("#download")

        def finished() -> Path | None:
            new = [path for path in set(folder.iterdir()) - before if path.suffix == ".csv"]
            return new[0] if new else None

        return self.wait(finished)

    def wait_for(self, kind: str) -> None:
        self.wait(lambda: self.driver.find_element(By.CSS_SELECTOR, f"body[data-page={kind}]"))

    def wait(self, condition: Callable[[], Any], seconds: float = 10) -> Any:
        wait = WebDriverWait(self.driver, seconds, 0.03, ignored_exceptions=(StaleElementReferenceException,))
        return wait.until(lambda _: condition())

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def click(self, selector: str) -> None:
        self.tap(self.find(selector))

    def tap(self, element: WebElement) -> None:
        """Scroll there and click: on a phone the Next button covers the lower edge."""
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def press(self, *keys: str) -> None:
        """Type on the page as a whole."""
        for key in keys:
            webdriver.ActionChains(self.driver).send_keys(key).perform()


def drag(driver: webdriver.Chrome, slider: WebElement, score: int) -> None:
    """Move a slider: a click near the score, the rest with the arrow keys."""
    inner = slider.size["width"] - 28  # the thumb's width
    offset = round((score - 50) / 100 * inner)
    webdriver.ActionChains(driver).move_to_element_with_offset(slider, offset, 0).click().perform()
    for _ in range(200):
        now = int(slider.get_property("value"))
        if now == score:
            return
        slider.send_keys(Keys.ARROW_RIGHT if now < score else Keys.ARROW_LEFT)
    raise AssertionError(f"the slider stays at {now}; expected {score}")
