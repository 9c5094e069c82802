"""How the steps of a run are computed on one machine. It changes speed and memory, not what is learnt."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Plan:
    """micro: images at once in a process; a batch that is larger is summed up in passes. compiled: with torch.compile.

    channels_last: the memory format. On a CPU it is always the faster one. recorded: steps are CUDA graphs (`recorded.py`).
    """

    micro: int
    channels_last: bool = True
    compiled: bool = False
    recorded: bool = False

    @property
    def layout(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format


def half_dtype(device: torch.device) -> torch.dtype | None:
    """bfloat16 where the device computes with it, else None. Not float16: gradients of a GAN leave its range."""
    return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else None
