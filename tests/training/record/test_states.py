from __future__ import annotations

from pathlib import Path

from diffwave.training.record.states import newest_state, prune_states, save_state, states


def test_states_are_sorted_by_number_and_pruned_oldest_first(tmp_path: Path) -> None:
    for iteration in (5, 100_000_000, 20):
        save_state(tmp_path, iteration, {"iteration": iteration})
    (tmp_path / "training-best.pt").write_text("not one of ours")
    assert [path.name for path in states(tmp_path)] == [
        "training-00000005.pt", "training-00000020.pt", "training-100000000.pt",
    ]  # fmt: skip
    prune_states(tmp_path, 100_000_000, 1)
    assert [path.name for path in states(tmp_path)] == ["training-100000000.pt"]
    assert (tmp_path / "training-best.pt").exists()


def test_an_empty_run_directory_holds_no_state(tmp_path: Path) -> None:
    assert newest_state(tmp_path, {}) is None
    assert newest_state(tmp_path / "nowhere", {}) is None


def test_states_of_later_iterations_do_not_displace_good_ones(tmp_path: Path) -> None:
    for iteration in (4, 6, 8, 10):
        save_state(tmp_path, iteration, {})
    # 8 and 10 could not be read, the run went on from 6 and has written 7.
    save_state(tmp_path, 7, {})
    prune_states(tmp_path, 7, 2)
    assert [path.name for path in states(tmp_path)] == ["training-00000006.pt", "training-00000007.pt"]
