"""The processes that train one network together: `torchrun` starts them, alone there is one. Same code for both.

No wrapper around the networks: gradients are averaged by `Team.average_gradients`. The processes share the run's folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Team:
    """rank: this process, of `size`. control: a group of its own for decisions, on the CPU, so that a GPU's queue is never waited for."""

    rank: int = 0
    size: int = 1
    control: Any = None

    @property
    def leads(self) -> bool:
        """Whether this process writes files and decides."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """This process's rows of a batch of n, which is a multiple of `size`."""
        part = n // self.size
        return slice(self.rank * part, (self.rank + 1) * part)

    def agree(self, value: int) -> int:
        """The leader's whole number, in every process."""
        if self.size == 1:
            return value
        number = torch.tensor([value], dtype=torch.int64)
        dist.broadcast(number, 0, group=self.control)
        return int(number.item())

    def mean(self, value: float) -> float:
        """The mean of every process's number, the same in all."""
        if self.size == 1:
            return value
        number = torch.tensor([value], dtype=torch.float64)
        dist.all_reduce(number, group=self.control)
        return number.item() / self.size

    def average(self, numbers: Tensor) -> Tensor:
        """The mean over all processes; in place where there are several."""
        if self.size > 1:
            dist.all_reduce(numbers)
            numbers /= self.size
        return numbers

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """The mean of each gradient over all processes, in one message. A parameter without a gradient must lack it in every process."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.size == 1 or not gradients:
            return
        flat = self.average(torch.cat([g.flatten() for g in gradients]))
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            dist.barrier(group=self.control)


def launched() -> bool:
    """Whether torchrun started this process."""
    return dist.is_available() and dist.is_torchelastic_launched()


@contextmanager
def assemble(device: torch.device) -> Iterator[Team]:
    """The team this process belongs to: torchrun's, one that is already in use, or just this process."""
    if not dist.is_available():
        yield Team()
        return
    began = False
    if not dist.is_initialized() and launched():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        began = True
    try:
        if dist.is_initialized() and dist.get_world_size() > 1:
            yield Team(dist.get_rank(), dist.get_world_size(), dist.new_group(backend="gloo"))
        else:
            yield Team()
    finally:
        if began:
            dist.destroy_process_group()
