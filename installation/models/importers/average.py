"""The centre of w for networks whose file has none: the mean of the mapping over many z. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from installation.models.network import Generator, restore

SAMPLES = 1 << 14  # the mean of w is then known to a hundredth of its spread


@torch.inference_mode()
def average_w(network: Generator, *, samples: int = SAMPLES) -> Tensor:
    """[w_dim] float32: the mean of w over so many z, always the same. The network is prepared, on the CPU; its own w_avg is not used.

    Of a conditional network the classes take turns.
    """
    rng = torch.Generator().manual_seed(0)
    total = torch.zeros(network.w_dim, dtype=torch.float64)
    for begin in range(0, samples, 1024):
        z = torch.randn(min(1024, samples - begin), network.z_dim, generator=rng)
        turns = torch.arange(begin, begin + len(z)) % max(network.c_dim, 1)
        classes = (torch.eye(network.c_dim)[turns],) if network.c_dim else ()
        total += network.mapping(z, *classes)[:, 0].double().sum(dim=0)
    return (total / samples).float()


def estimated_w_avg(kind: type[Generator], config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Tensor:
    """`average_w` of a network that is still config and tensors; its w_avg among them is any tensor of the shape. ModelError as restore."""
    with torch.device("meta"):
        network = kind(**config)
    return average_w(restore(network, tensors))
