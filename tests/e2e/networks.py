"""Tiny networks with seeded random weights, saved as checkpoints."""

from __future__ import annotations

from pathlib import Path

import torch

from installation.models import checkpoint, random_weights
from installation.models.network import Network


def save_tiny_networks(folder: Path) -> None:
    base = random_weights.dcgan(1)
    save(folder / "base.safetensors", base, base.state_dict())
    # Sums overflow float32 above some psi, with both signs: infinity minus infinity is NaN.
    volcano = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    volcano["layers.0.norm.weight"] *= 1e38
    volcano["layers.1.norm.weight"] *= 1e-38
    save(folder / "volcano.safetensors", base, volcano)
    upscaler = random_weights.srvgg(2)
    save(folder / "x2.safetensors", upscaler, upscaler.state_dict())


def save(path: Path, network: Network, tensors: dict[str, torch.Tensor]) -> None:
    checkpoint.save(path, tensors, checkpoint.describe(network, name=path.stem, licence="made by the test"))
