"""Ctrl-C and schedulers: the run ends after its iteration, with its state saved."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from diffwave.cli.train import _stop_on_signals
from diffwave.training.states import states
from diffwave.training.trainer import Trainer
from runs import Configure, same_training, same_weights, train
from training_overrides import SMALL


def test_a_stop_in_the_middle_of_an_iteration_waits_for_its_end(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = train(configure(run="straight"))
    config = configure("train.checkpoint_every=100", run="interrupted")
    trainer = Trainer(config)
    update, calls = trainer.learner.average.update_parameters, []

    def interrupted(network: torch.nn.Module) -> None:
        calls.append(network)
        if len(calls) == 3:  # the optimiser has moved, the average has not
            trainer.stop()
        update(network)

    monkeypatch.setattr(trainer.learner.average, "update_parameters", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    run = train(config)
    assert same_training(straight / "training-00000006.pt", run / "training-00000006.pt")


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, 1), (signal.SIGINT, 1)])
def test_a_signal_ends_the_command_with_its_state_saved(
    configure: Configure, corpus: Path, number: int, workers: int
) -> None:
    config = configure("train.iterations=100000")
    run = Path(config.run_dir)
    overrides = [*SMALL, "train.iterations=100000", f"data.workers={workers}", f"data.root={corpus}", f"run_dir={run}"]
    # In a session of its own, whose processes all get the signal, as they do from a terminal.
    command = [sys.executable, "-m", "diffwave", "train", *overrides]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    until = time.monotonic() + 100
    while not states(run):
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in error
    (stopped,) = [line for line in error.splitlines() if "stopped at iteration" in line]
    iteration = int(stopped.split("iteration ")[1].split(";")[0])
    assert states(run)[-1].name == f"training-{iteration:08d}.pt"
    straight = train(configure(f"train.iterations={iteration}", run="straight"))
    assert same_weights(states(run)[-1], states(straight)[-1])


def test_a_second_request_of_a_scheduler_is_no_impatience(configure: Configure) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        _stop_on_signals(Trainer(configure()))
        for number in before:
            os.kill(os.getpid(), number)
        assert callable(signal.getsignal(signal.SIGTERM))
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
