"""img to light frame: what the look pass is given where 8 bits would band.

A *light frame* is float16 [H, W, 4]: linear light, display-referred 0..1, alpha 1, origin top left. Half floats are finer than 11
bits of code value everywhere, and in the shadows much finer.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def light_from_code(code: Tensor) -> Tensor:
    """sRGB code values 0..1 to linear light (IEC 61966-2-1)."""
    return torch.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055).pow(2.4))


class LightPacker:
    """Packs pictures of one size. One thread."""

    def __init__(self, width: int, height: int, device: torch.device | str = "cpu") -> None:
        self._pixels = torch.ones(height, width, 4, dtype=torch.float16, device=device)
        pinned = self._pixels.device.type == "cuda"
        self._host = torch.empty(self._pixels.shape, dtype=torch.float16, pin_memory=True) if pinned else None

    @torch.inference_mode()
    def pack(self, light: Tensor, out: np.ndarray) -> bool:
        """light [1, 3, height, width] float32 -> out, a light frame, complete on return. False if it held NaN or infinity."""
        finite = light.sum().isfinite()
        light = light[0].clamp(0.0, 1.0)
        for channel in range(3):
            self._pixels[..., channel].copy_(light[channel])
        if self._host is None:
            torch.from_numpy(out).copy_(self._pixels)
        else:
            self._host.copy_(self._pixels)
            np.copyto(out, self._host.numpy())
        return bool(finite)
