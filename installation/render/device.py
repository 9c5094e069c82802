"""Numbers on their way to the device the networks run on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from installation.models.device import send


def to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """A float32 tensor on the device; the copy to a GPU does not make the host wait."""
    return send(torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)), device)
