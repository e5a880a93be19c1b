"""Gradients of the first iterations of a run, of one process or of several.

    python tests/gradients.py OUTPUT ITERATIONS OVERRIDE...

RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT are read from the environment, as torchrun sets them.
Process 0 writes ``{"gradients": [iterations x parameters], "crops": [numbers of every process], "losses": [...]}``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from diffwave.config.composing import compose_config
from diffwave.training.distributed import Processes
from diffwave.training.trainer import Trainer
from tiny import random_weights


def main() -> None:
    """Learn for some iterations, and note what happens."""
    output, iterations = Path(sys.argv[1]), int(sys.argv[2])
    config = compose_config(sys.argv[3:])
    processes = Processes.join("cpu")
    trainer = Trainer(config, processes)
    # New networks have an output layer of zeros, which lets hardly a gradient through.
    if trainer.iteration == 0:
        random_weights(trainer.learner.network)
    gradients, crops, losses = [], [], []
    batches = iter(trainer._loader())
    for iteration in range(iterations):
        micro_batches = trainer._next(batches)
        step = trainer.learner.step(micro_batches, iteration)
        named = trainer.learner.network.named_parameters()
        gradients.append({name: value.grad.clone() for name, value in named})
        crops.append(processes.gather([number for part in micro_batches for number in part.number.tolist()]))
        losses.append(processes.gather(step.losses.tolist()))
        trainer.learner.update(step.gradient_norm)
    if processes.first:
        torch.save({"gradients": gradients, "crops": crops, "losses": losses}, output)
    processes.wait()
    processes.leave()


if __name__ == "__main__":
    main()
