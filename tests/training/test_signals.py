"""Ctrl-C and schedulers: the run ends after its iteration, with its state saved."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from diffwave.cli.train import _stop_on_signals
from diffwave.training.record.states import states
from runs import Configure, same_training, same_weights, train, trainer_of
from training_overrides import SMALL


def test_a_stop_in_the_middle_of_an_iteration_waits_for_its_end(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = train(configure(run="straight"))
    config = configure("train.checkpoint_every=100", run="interrupted")
    trainer = trainer_of(config)
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
        _stop_on_signals(trainer_of(configure()))
        for number in before:
            os.kill(os.getpid(), number)
        assert callable(signal.getsignal(signal.SIGTERM))
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_loader_process_outlives_a_signal_but_not_for_good() -> None:
    script = """
import time
from diffwave.training import loading
loading._GRACE = 1.5
loading._leave_signals_to_the_trainer(0)
print("ready", flush=True)
while True:
    time.sleep(0.1)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.7)
        assert process.wait(timeout=20) == -signal.SIGALRM
    finally:
        process.kill()
        process.communicate()


def test_loader_processes_end_with_a_failed_run_whose_traceback_is_kept(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_of(configure("data.workers=1"))
    seen: list[int] = []

    def fail() -> None:
        seen.extend(process.pid or 0 for process in multiprocessing.active_children())
        raise RuntimeError("on purpose")

    monkeypatch.setattr(trainer, "_after_iteration", fail)
    with pytest.raises(RuntimeError, match="on purpose") as caught:
        trainer.run()
    assert seen
    assert not {process.pid for process in multiprocessing.active_children()} & set(seen)
    assert caught.traceback
