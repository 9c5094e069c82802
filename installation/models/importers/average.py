"""The centre of w for networks whose file has none: the mean of the mapping over many z. Imports torch."""

from __future__ import annotations

import torch
from torch import Tensor

from installation.models.network import Generator

SAMPLES = 1 << 14  # the mean of w is then known to a hundredth of its spread


@torch.inference_mode()
def average_w(network: Generator, *, samples: int = SAMPLES, seed: int = 0) -> Tensor:
    """[w_dim] float32: the mean of w over so many z of that seed. The network is prepared, on the CPU; its own w_avg is not used."""
    rng = torch.Generator().manual_seed(seed)
    total = torch.zeros(network.w_dim, dtype=torch.float64)
    for begin in range(0, samples, 1024):
        z = torch.randn(min(1024, samples - begin), network.z_dim, generator=rng)
        total += network.mapping(z)[:, 0].double().sum(dim=0)
    return (total / samples).float()
