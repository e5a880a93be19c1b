from __future__ import annotations

from pathlib import Path

import pytest

from diffwave.checkpoint import load_checkpoint
from diffwave.cli.main import main
from diffwave.vocoder import Vocoder


def test_export_changes_only_what_was_asked_for(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    assert (
        main(["export", str(tiny_checkpoint), "-o", str(folder), "--half", "--steps", "5", "--consistency", "3"]) == 0
    )
    before, after = load_checkpoint(tiny_checkpoint), load_checkpoint(folder)
    assert (after.config.sampling.steps, after.config.sampling.consistency_iterations) == (5, 3)
    assert after.config.sampling.sampler == before.config.sampling.sampler
    assert (after.config.network, after.config.mel) == (before.config.network, before.config.mel)
    for name, weight in before.weights.items():
        assert after.weights[name].element_size() == 2
        assert (after.weights[name].float() - weight).abs().max() <= weight.abs().max() * 2**-10
    assert len(Vocoder.from_pretrained(folder, "cpu").sampler()) == 5


@pytest.mark.parametrize("steps", ["0", "51"])
def test_steps_it_was_not_trained_on_are_refused(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], steps: str
) -> None:
    assert main(["export", str(tiny_checkpoint), "-o", str(tmp_path / "model"), "--steps", steps]) == 2
    assert f"expected 1 to 50, the steps it was trained on; got {steps}" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_a_checkpoint_is_not_replaced_without_force(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["export", str(tiny_checkpoint), "-o", str(tmp_path / "model")]
    assert main(command) == 0
    assert main(command) == 2
    assert "--force replaces it" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0
