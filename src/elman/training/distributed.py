"""Data-parallel training under torchrun: each process takes its lanes, the gradients are summed.

The start is ``torchrun --nproc-per-node 2 -m elman train ...``; torch.distributed carries it, with gloo
on the processor and nccl on CUDA. One process alone is the same group with nobody to talk to.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch import distributed as dist

__all__ = ["Group", "join"]

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Group:
    """The processes that train one network together; `rank` 0 reads out, writes and speaks."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def all_reduce(self, tensors: Sequence[Tensor], numbers: Sequence[float]) -> list[float]:
        """Replace `tensors` by their sums over the group in one message; return the sums of `numbers`."""
        if self.world_size == 1:
            return list(numbers)
        tail = torch.tensor(numbers, dtype=torch.float32, device=self.device)
        message = torch.cat([*(tensor.reshape(-1) for tensor in tensors), tail])
        dist.all_reduce(message)
        sizes = [tensor.numel() for tensor in tensors] + [len(numbers)]
        *parts, tail = torch.split(message, sizes)
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))
        return [float(number) for number in tail]

    def broadcast(self, numbers: Sequence[float]) -> list[float]:
        """Return the numbers of rank 0 in every process."""
        if self.world_size == 1:
            return list(numbers)
        message = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        dist.broadcast(message, src=0)
        return [float(number) for number in message]

    def all_gather(self, tensor: Tensor) -> list[Tensor]:
        """Return every process's `tensor`, by rank; they must have one shape but for the second size."""
        if self.world_size == 1:
            return [tensor]
        sizes = [0.0] * self.world_size
        sizes[self.rank] = float(tensor.shape[1])
        widths = [int(width) for width in self.all_reduce([], sizes)]
        padded = tensor.new_zeros((tensor.shape[0], max(widths), *tensor.shape[2:]))
        padded[:, : tensor.shape[1]] = tensor
        received = [torch.empty_like(padded) for _ in widths]
        dist.all_gather(received, padded)
        return [part[:, :width] for part, width in zip(received, widths, strict=True)]

    def columns(self, lanes: np.ndarray) -> np.ndarray:
        """Return this process's lanes of ``[L, B, H]``, as `elman.language.batches.shard` deals them."""
        width = lanes.shape[1]
        own = slice(
            self.rank * width // self.world_size, (self.rank + 1) * width // self.world_size
        )
        return lanes[:, own]

    def leave(self) -> None:
        """End the group."""
        if self.world_size > 1:
            dist.destroy_process_group()


def join(device: torch.device) -> Group:
    """Return the group that torchrun's environment describes, or a group of one."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    if world_size == 1:
        return Group(device=device)
    # The optimiser imports it, and it holds a group that is there already beyond `leave`: gloo's threads
    # would then meet the end of the interpreter, which aborts the process.
    importlib.import_module("torch._dynamo")
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    elif os.environ.get("MASTER_ADDR", "localhost") in _LOOPBACK:
        # gloo would look the host's name up and may listen beyond this machine
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Group(rank, world_size, device)
