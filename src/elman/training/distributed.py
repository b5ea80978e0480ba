"""Data-parallel training under torchrun: processes share each batch and sum their gradients.

Start it with ``torchrun --nproc-per-node 2 -m elman train ...``. The processes exchange messages through
torch.distributed, with gloo on a CPU and nccl on CUDA. A single process is a group of one, which sends none.
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

from elman.engine import kernel
from elman.errors import OptionError

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Group:
    """The processes that train one network together; the one of `rank` 0 leads."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this process evaluates, writes files and shows progress."""
        return self.rank == 0

    def all_reduce(self, tensors: Sequence[Tensor], numbers: Sequence[float]) -> list[float]:
        """Replace `tensors` by their sums over the processes, and return the sums of `numbers`."""
        if self.world_size == 1:
            return list(numbers)
        tail = torch.tensor(numbers, dtype=torch.float32, device=self.device)
        # One message for everything: latency counts more than bytes here.
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
        """Return the `tensor` of every process by rank; only the second dimension may differ in size."""
        if self.world_size == 1:
            return [tensor]
        # gloo gathers only equal shapes, so pad to the widest share and cut afterwards.
        sizes = [0.0] * self.world_size
        sizes[self.rank] = float(tensor.shape[1])
        widths = [int(width) for width in self.all_reduce([], sizes)]
        padded = tensor.new_zeros((tensor.shape[0], max(widths), *tensor.shape[2:]))
        padded[:, : tensor.shape[1]] = tensor
        received = [torch.empty_like(padded) for _ in widths]
        dist.all_gather(received, padded)
        return [part[:, :width] for part, width in zip(received, widths, strict=True)]

    def columns(self, lanes: np.ndarray) -> np.ndarray:
        """Return this process's share of the batch dimension of ``[L, B, H]``."""
        # the same cut as in `elman.language.batches.shard`
        width = lanes.shape[1]
        own = slice(
            self.rank * width // self.world_size, (self.rank + 1) * width // self.world_size
        )
        return lanes[:, own]

    def leave(self) -> None:
        """End the group."""
        if self.world_size > 1:
            dist.destroy_process_group()


def choose_device(name: str, precision: str | None) -> torch.device:
    """Return the device of the options `device` and `precision`; raises OptionError where they cannot be."""
    cuda = torch.cuda.is_available()
    if name == "cuda" and not cuda:
        raise OptionError("device", got="cuda", expected="a CUDA device that torch can use")
    device = torch.device("cuda" if cuda and name != "cpu" else "cpu")
    if precision == "bf16":
        if device.type != "cpu":
            raise OptionError("precision", got=f"bf16 on {device}", expected="float32 there")
        # raises OptionError on a processor without these products
        kernel.require_bfloat16()
    return device


def join(device: torch.device) -> Group:
    """Return the group of processes that torchrun's environment describes, or a group of one."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    if world_size == 1:
        return Group(device=device)
    # The optimizer imports torch._dynamo, which keeps a group that exists by then alive beyond `leave`.
    # Gloo's threads would still run when the interpreter ends, which aborts the process. So import it before.
    importlib.import_module("torch._dynamo")
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    elif os.environ.get("MASTER_ADDR", "localhost") in _LOOPBACK:
        # Without this, gloo resolves the host's name and may listen on an address outside this machine.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Group(rank, world_size, device)
