"""The processes of a training run: one alone, or several under ``torchrun`` (DDP).

Only process 0 writes, and only it needs to see the run directory; the others get from it what they need. What travels
between processes are tensors and JSON, never pickles.
"""

from __future__ import annotations

import inspect
import json
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from diffwave.config import ConfigError
from diffwave.devices import DeviceError, pick_device

# Process 0 synthesizes and scores outputs now and then, while the others wait.
_PLACES = {"WORLD_SIZE": 1, "RANK": 0, "LOCAL_RANK": 0}
_PATIENCE = timedelta(minutes=60)


@dataclass(frozen=True)
class Processes:
    """This process among those of its run.

    Args:
        device: that this process computes on.
        rank: number of this process, from 0.
        count: of processes.
    """

    device: torch.device
    rank: int = 0
    count: int = 1

    @classmethod
    def join(cls, device: str) -> Self:
        """Find the other processes that ``torchrun`` has started, if it has (NCCL on GPUs, gloo on CPUs).

        Args:
            device: ``auto``, ``cpu`` or ``cuda``; each process of a machine takes a GPU of its own.

        Raises:
            DeviceError: if there is no such device, or a machine has fewer GPUs than processes.
            ConfigError: if the environment says half of what torchrun does.
        """
        count, rank, local = (_whole(name, default) for name, default in _PLACES.items())
        chosen = pick_device(device)
        if count == 1:
            return cls(chosen)
        for name in ("MASTER_ADDR", "MASTER_PORT"):
            if name not in os.environ:
                raise ConfigError(f"WORLD_SIZE={count}: expected {name} too, as torchrun sets it; it is not set")
        if chosen.type == "cuda":
            if local >= torch.cuda.device_count():
                raise DeviceError(
                    f"--nproc-per-node: expected at most {torch.cuda.device_count()} processes, one for each GPU of "
                    f"this machine; process {local} has none"
                )
            chosen = torch.device("cuda", local)
            torch.cuda.set_device(chosen)
        if not dist.is_initialized():
            backend = "nccl" if chosen.type == "cuda" else "gloo"
            dist.init_process_group(backend, store=_own_store(), rank=rank, world_size=count, timeout=_PATIENCE)
        return cls(chosen, rank, count)

    @staticmethod
    def leave() -> None:
        """Take leave of the other processes."""
        if dist.is_initialized():
            dist.destroy_process_group()

    def prepare_torch(self, threads: int, deterministic: bool) -> None:
        """Set what is global to a process.

        Args:
            threads: on a CPU; 0 leaves PyTorch's choice.
            deterministic: only use algorithms that give the same bits every time.
        """
        if threads:
            torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
        if self.device.type == "cuda":
            if deterministic:  # what cuBLAS asks for, read when it is first used
                os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.backends.cudnn.benchmark = not deterministic

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def share(self, batch: int, accumulate: int) -> int:
        """Crops of a micro-batch of this process.

        Raises:
            ConfigError: if the batch cannot be divided evenly.
        """
        if batch % (self.count * accumulate):
            raise ConfigError(
                f"train.batch_size={batch}: expected a multiple of {self.count * accumulate}, {self.count} processes "
                f"with train.accumulate={accumulate}"
            )
        return batch // (self.count * accumulate)

    def wrap(self, module: nn.Module) -> nn.Module:
        """Let the gradients of all processes be averaged in the backward pass."""
        if self.count == 1:
            return module
        devices = [self.device] if self.device.type == "cuda" else None
        # Tables and filters never change. PyTorch 2.13 has another name for the same switch, and warns of the old one.
        switch = "forward_sync_buffers"
        known = switch in inspect.signature(DistributedDataParallel).parameters
        settings: dict[str, Any] = {switch if known else "broadcast_buffers": False}
        return DistributedDataParallel(module, device_ids=devices, **settings)

    def sum(self, vector: Tensor) -> Tensor:
        """Sum over all processes, in place."""
        if self.count > 1:
            dist.all_reduce(vector)
        return vector

    def broadcast(self, data: bytes | None) -> bytes:
        """Give every process the bytes of process 0, which alone needs to have any."""
        if self.count == 1:
            assert data is not None
            return data
        size = torch.tensor([len(data or b"")], device=self.device)
        dist.broadcast(size, 0)
        tensor = torch.empty(int(size), dtype=torch.uint8, device=self.device)
        if self.first and data:
            tensor.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        dist.broadcast(tensor, 0)
        return tensor.cpu().numpy().tobytes()

    def gather(self, value: Any) -> list[Any]:
        """A JSON value of each process, by rank, in every process."""
        if self.count == 1:
            return [value]
        data = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8).to(self.device)
        sizes = [torch.zeros(1, dtype=torch.int64, device=self.device) for _ in range(self.count)]
        dist.all_gather(sizes, torch.tensor([len(data)], device=self.device))
        longest = max(int(size) for size in sizes)
        padded = torch.zeros(longest, dtype=torch.uint8, device=self.device)
        padded[: len(data)] = data
        parts = [torch.empty_like(padded) for _ in range(self.count)]
        dist.all_gather(parts, padded)
        texts = (part[: int(size)].cpu().numpy().tobytes() for part, size in zip(parts, sizes, strict=True))
        return [json.loads(text) for text in texts]

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.count > 1:
            dist.barrier()


def _whole(name: str, default: int) -> int:
    """A whole number in the environment."""
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise ConfigError(f"{name}: expected a whole number, as torchrun sets it; got {text!r}")
    return int(text)


def _own_store() -> Any:
    """Where processes that ``torchrun`` has started again find each other; None leaves it to PyTorch.

    torchrun keeps one store for all attempts, and PyTorch puts the addresses of every attempt under the same keys
    there: a process may read those of one that is dead (pytorch#135712). On one machine the number of the attempt keeps
    them apart. Several machines count attempts each for itself; there, TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in
    torchrun's environment makes a new store for every attempt (recipes/librispeech/train.sbatch).
    """
    shared = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if not shared or os.environ.get("LOCAL_WORLD_SIZE") != os.environ["WORLD_SIZE"]:
        return None
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    # mypy: torch.distributed has both, but does not list them.
    made = dist.TCPStore(  # type: ignore[attr-defined]
        host, port, int(os.environ["WORLD_SIZE"]), is_master=False, timeout=_PATIENCE
    )
    return dist.PrefixStore(  # type: ignore[attr-defined]
        f"attempt-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", made
    )
