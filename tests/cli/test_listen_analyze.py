"""``diffwave listen analyze``: from files to the table, and what goes wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

from diffwave.cli.listen_analyze import main
from diffwave.listening.documents import ListeningError, write_documents
from simulated_listeners import honest_mushra, make_test, own_csv, random_clicks


@pytest.fixture
def study(tmp_path):
    """Results of eight listeners and one who clicks anything, in two files, and the key."""
    rng = np.random.default_rng(5)
    test = make_test("mushra", 8)
    given = honest_mushra(rng, test, [f"listener{i}" for i in range(8)]) + random_clicks(rng, test, ["x"], 0, 100)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a.csv").write_text(own_csv(given[:150]), encoding="utf-8")
    (tmp_path / "results" / "b.csv").write_text(own_csv(given[140:]), encoding="utf-8")
    (tmp_path / "private").mkdir()
    write_documents(tmp_path / "private", test)
    return tmp_path


@pytest.fixture
def analyze(study, capsys):
    """Call the command; returns exit code, stdout and lines of stderr."""

    def call(*arguments):
        code = main([*map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err.splitlines()

    return call


def test_folder_in_report_out(study, analyze):
    code, out, err = analyze(study / "results", "--key", study / "private", "--report", study / "report")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "Simulated test: MUSHRA score"
    assert [line.split()[0] for line in lines[3:]] == ["good", "middling", "poor", "anchor35", "reference"]
    assert err[0].startswith("left out x: hidden reference below 90 on ")
    assert err[1] == f"10 answers were there before ({study / 'results' / 'b.csv'}); counted once"
    assert err[-1] == f"{study / 'report'}: report.html, summary.json, ratings.csv, scores.png"
    assert sorted(path.name for path in (study / "report").iterdir()) == [
        "ratings.csv",
        "report.html",
        "scores.png",
        "summary.json",
    ]


@pytest.mark.parametrize("key", ["private", "private/test.json", "private/key.csv", "."])
def test_json_and_the_ways_to_name_the_key(study, analyze, key):
    arguments = [study / "results" / "a.csv", study / "results" / "b.csv", "--key", study / key]
    code, out, _ = analyze(*arguments, "--report", study / "report", "--json")
    assert code == 0
    assert json.loads(out) == json.loads((study / "report" / "summary.json").read_text(encoding="utf-8"))
    assert json.loads(out)["everybody"]["listeners"] == 9


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"results": "nowhere.csv"}, "cannot be read"),
        ({"results": "private"}, "found none"),
        ({"results": "private/key.csv"}, "expected the header of a result file"),
        ({"key": "results"}, "expected test.json"),
        ({"report": "results"}, "--force"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(study, analyze, change, said):
    names = {"results": "results", "key": "private", "report": "report"} | change
    with pytest.raises(ListeningError, match=said) as error:
        analyze(study / names["results"], "--key", study / names["key"], "--report", study / names["report"])
    assert "\n" not in str(error.value)
    assert not (study / "report").exists()


def test_results_of_another_test_are_refused(study, analyze):
    text = (study / "results" / "a.csv").read_text(encoding="utf-8").replace("test-mushra", "another")
    (study / "results" / "c.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ListeningError, match=r"c\.csv, line 2: results of test 'another'; the key is of 'test-mushra'"):
        analyze(study / "results", "--key", study / "private", "--report", study / "report")
    assert not (study / "report").exists()


def test_force_writes_again(study, analyze):
    arguments = [study / "results", "--key", study / "private", "--report", study / "report"]
    analyze(*arguments)
    before = (study / "report" / "report.html").read_bytes()
    with pytest.raises(ListeningError, match="--force"):
        analyze(*arguments)
    assert analyze(*arguments, "--force")[0] == 0
    assert (study / "report" / "report.html").read_bytes() == before


def test_many_notes_are_cut_on_the_terminal_and_not_in_the_report(study, analyze):
    path = study / "results" / "a.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines, *(["one,two"] * 9)]) + "\n", encoding="utf-8")
    _, _, err = analyze(study / "results", "--key", study / "private", "--report", study / "report")
    assert sum("expected 17 fields" in line for line in err) == 5
    assert any(line.endswith("more notes are in the report") for line in err)
    assert (study / "report" / "report.html").read_text(encoding="utf-8").count("expected 17 fields; got 2") == 9
