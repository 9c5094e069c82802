"""A small network of our own in a models folder."""

from __future__ import annotations

from pathlib import Path

import torch

from installation.models import checkpoint
from installation.models.srvgg import SRVGG


def model(folder: Path, name: str, *, seed: int = 0) -> Path:
    """A small upscaler of our own in `folder`."""
    torch.manual_seed(seed)
    network = SRVGG(num_feat=4, num_conv=1, scale=2)
    path = folder / f"{name}.safetensors"
    checkpoint.save(path, network.state_dict(), checkpoint.describe(network, name=name))
    return path
