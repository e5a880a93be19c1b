from __future__ import annotations

import csv
import io

from diffwave.listening.design import ListeningTest, Stimulus, Trial
from diffwave.listening.p808 import clips, obstacle, tables

URL = "https://example.org/clips"


def stimulus(name: str, system: str, kind: str = "system") -> Stimulus:
    return Stimulus(name, "item", system, kind, "", "", 1.0, 0.0, -23.0, -3.0)


STIMULI = (
    stimulus("ref1", "reference", "reference"),
    stimulus("one1", "one"),
    stimulus("two1", "two"),
    stimulus("three1", "three"),
    stimulus("gold5", "reference", "reference"),
    stimulus("gold1", "mnru", "anchor"),
    stimulus("train1", "one"),
    stimulus("train2", "two"),
)


def make_test(method: str, *trials: tuple[str, ...]) -> ListeningTest:
    made = tuple(Trial(f"t{i}", "item", "", stimuli) for i, stimuli in enumerate(trials))
    last = ("train1",) if method == "acr" else ("train2", "train1")
    training = (Trial("t9", "item", "", last),)
    return ListeningTest("t", "T", method, 1, "beef", 16000, made, training, "ref1", "0", STIMULI)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_acr_has_the_columns_of_p808() -> None:
    test = make_test("acr", ("one1",), ("ref1",))
    made = tables(test, URL + "/", ["gold1", "gold5"], ["one", "two"])
    assert sorted(made) == ["gold_clips.csv", "rating_clips.csv", "training_clips.csv"]
    assert rows(made["rating_clips.csv"]) == [{"rating_clips": f"{URL}/{name}.wav"} for name in ("one1", "ref1")]
    assert rows(made["training_clips.csv"]) == [{"training_clips": f"{URL}/train1.wav"}]
    assert rows(made["gold_clips.csv"]) == [
        {"gold_clips": f"{URL}/gold1.wav", "gold_clips_ans": "1"},
        {"gold_clips": f"{URL}/gold5.wav", "gold_clips_ans": "5"},
    ]
    assert clips(test, ["gold1", "gold5"]) == ["gold1", "gold5", "one1", "ref1", "train1"]


def test_ccr_rates_the_later_system_against_the_earlier_or_the_reference() -> None:
    test = make_test("cmos", ("two1", "one1"), ("three1", "ref1"))
    made = tables(test, "", [], ["one", "two", "three"])
    assert rows(made["rating_clips.csv"]) == [
        {"rating_clips": "two1.wav", "references": "one1.wav"},
        {"rating_clips": "three1.wav", "references": "ref1.wav"},
    ]
    assert rows(made["training_clips.csv"]) == [{"training_clips": "train2.wav", "training_references": "train1.wav"}]


def test_what_these_scripts_cannot_say_apart_is_left_out() -> None:
    twice = make_test("cmos", ("one1", "three1"), ("two1", "three1"))
    assert "several others" in obstacle(twice, ["one", "two", "three"])
    assert tables(twice, URL, [], ["one", "two", "three"]) == {}
    assert "ACR and CCR only" in obstacle(make_test("mushra", ("one1",)), ["one"])
