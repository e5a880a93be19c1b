"""What the page's player sends to the loudspeaker, sample by sample: the real Web Audio, rendered without a clock."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from selenium import webdriver

from browser import chromium, needs_chromium

pytestmark = [pytest.mark.browser, needs_chromium]

RATE, FADE, LEAD = 16000, 0.005, 0.01
# A is 0.5 everywhere and B grows from 0 to -1: the sign tells which one sounds, B's value tells where it is.
RENDER = """
const [commands, loopRegion, done] = arguments;
const offline = new OfflineAudioContext(1, RATE * 1.5, RATE);
const proceed = offline.resume.bind(offline);
offline.resume = () => {};
window.AudioContext = function () { return offline; };
const player = new Player(RATE);
const buffers = {};
for (const [role, value] of [['A', () => 0.5], ['B', (t) => -t]]) {
  buffers[role] = offline.createBuffer(1, RATE, RATE);
  buffers[role].getChannelData(0).forEach((_, i, samples) => { samples[i] = value(i / RATE); });
}
const heard = [];
player.note = () => heard.push(['note', player.unreported(), heard.length]);
const started = (role) => heard.push(['start', role]);
player.load(buffers, { changed() {}, started, heard: (...what) => heard.push(what) });
if (loopRegion) {
  player.setLoop(true);
  player.setRegion(...loopRegion);
}
const times = [];
for (const [time, name, ...values] of commands) {
  const run = () => { times.push(offline.currentTime); player[name](...values); };
  if (time === 0) run();
  else offline.suspend(time).then(() => { run(); proceed(); });
}
offline.startRendering().then((result) => done([Array.from(result.getChannelData(0)), times, heard]));
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("downloads")) as browser:
        browser.get("data:text/html,<title>player</title>")
        yield browser


def render(driver: webdriver.Chrome, *commands: tuple[object, ...], region: tuple[float, float] | None = None) -> tuple:
    """Samples ``[N]``, the times at which the commands ran, and what the player says was heard."""
    folder = resources.files("diffwave.listening") / "sheet"
    program = "".join((folder / name).read_text(encoding="utf-8") for name in ("decode.js", "player.js"))
    script = f"const RATE = {RATE};\n{program}\n{RENDER}"
    samples, times, heard = driver.execute_async_script(script, commands, region)
    return np.array(samples), times, heard


def index(seconds: float) -> int:
    return round(seconds * RATE)


def test_switch_fades_out_then_in_at_the_same_position(driver: webdriver.Chrome) -> None:
    samples, (_, pressed), heard = render(driver, (0, "play", "A"), (0.4, "play", "B"))
    leave, enter = pressed + LEAD, pressed + LEAD + FADE
    # A until the fade: a raised cosine over 5 ms at the start, then exactly A.
    curve = 0.5 - 0.5 * np.cos(np.pi * np.arange(index(FADE)) / index(FADE))
    first = samples[index(LEAD) : index(LEAD + FADE)]
    assert np.abs(first - 0.5 * curve).max() < 0.005
    assert np.abs(samples[index(LEAD + FADE) + 1 : index(leave) - 1] - 0.5).max() < 1e-6
    assert np.abs(samples[index(leave) : index(enter)] - 0.5 * curve[::-1]).max() < 0.02
    # Never a cross-fade: A is positive and B negative, and neither sounds while the other does.
    assert samples[: index(enter) + 1].min() >= -1e-6
    assert samples[index(enter) + 1 :].max() <= 1e-6
    # B goes on where A was: its value is the position.
    steady = np.arange(index(enter + FADE) + 1, index(LEAD + 1 - FADE) - 1)
    assert np.abs(samples[steady] + (steady / RATE - LEAD)).max() < 1e-4
    assert np.abs(samples[index(LEAD + 1) + 1 :]).max() == 0, "it ends at the end"
    assert [entry[0:2] for entry in heard if entry[0] == "start"] == [["start", "A"], ["start", "B"]]


def test_loop_joins_with_fades_and_without_a_gap(driver: webdriver.Chrome) -> None:
    samples, _, _ = render(driver, (0, "play", "B"), region=(0.2, 0.7))
    join = LEAD + 0.5
    before = samples[index(LEAD + FADE) + 1 : index(join - FADE) - 1]
    assert np.abs(before + 0.2 + (np.arange(len(before)) + index(FADE) + 1) / RATE).max() < 1e-4
    after = samples[index(join + FADE) + 1 : index(join + 0.4)]
    assert np.abs(after + 0.2 + (np.arange(len(after)) + index(FADE) + 1) / RATE).max() < 1e-4
    assert np.abs(samples[index(join) - 1 : index(join) + 2]).max() < 0.02, "silent for a moment at the join"


def test_what_was_heard_never_shrinks(driver: webdriver.Chrome) -> None:
    """A page that asks for half a second must not take it back at a turn of the loop."""
    asked = [(0.05 * i, "note") for i in range(1, 22)]
    _, times, heard = render(driver, (0, "play", "A"), *asked, region=(0.2, 0.75))
    for time, what in zip(times[1:], [entry for entry in heard if entry[0] == "note"], strict=True):
        told = sum(entry[2] - entry[1] for entry in heard[: heard.index(what)] if entry[0] == "A")
        assert told + what[1] == pytest.approx(max(0, time - LEAD), abs=1e-6)


def test_region_is_never_shorter_than_half_a_second(driver: webdriver.Chrome) -> None:
    samples, _, _ = render(driver, (0, "play", "A"), region=(0.9, 0.95))
    # 0.5 s and again: silent only at the joins.
    loud = np.flatnonzero(np.abs(samples[index(LEAD + FADE) + 1 : index(LEAD + 0.5 - FADE)]) < 0.499)
    assert len(loud) == 0


def test_pause_keeps_the_position_and_stop_forgets_it(driver: webdriver.Chrome) -> None:
    samples, times, heard = render(driver, (0, "play", "B"), (0.3, "pause"), (0.6, "play"))
    paused, again = times[1], times[2]
    assert np.abs(samples[index(paused + LEAD + FADE) + 1 : index(again + LEAD)]).max() < 1e-6
    # Resumed where the pause was pressed.
    at = index(again + LEAD + 2 * FADE)
    assert abs(samples[at] + (paused - LEAD) + 2 * FADE) < 2e-3
    samples, times, _ = render(driver, (0, "play", "B"), (0.3, "stop"), (0.6, "play"))
    at = index(times[2] + LEAD + 2 * FADE)
    assert abs(samples[at] + 2 * FADE) < 2e-3
    assert heard[1][:2] == ["B", 0]
    assert heard[1][2] == pytest.approx(paused, abs=1e-6)


def test_quick_switching_never_clicks(driver: webdriver.Chrome, tmp_path: Path) -> None:
    presses = [(0.1 + 0.008 * i, "play", "AB"[i % 2]) for i in range(20)]
    samples, _, _ = render(driver, (0, "play", "A"), *presses)
    # The steepest step of a 5 ms raised cosine of height 1 is pi / 2 / 80; two may meet.
    assert np.abs(np.diff(samples)).max() < 2 * np.pi / 2 / index(FADE)
