"""Real crops to the small pictures that a previous stage might have made: softer, a little noisy, a little off in colour.

Drawn from a generator that is given, on the CPU: the same numbers on every device. No JPEG: no generator makes its blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from installation.models import projection
from installation.models.device import send

_RADIUS = 3  # of the blur, small px; 0.8 px sigma leaves 2e-4 beyond


@dataclass(frozen=True, slots=True)
class Degradation:
    """blur: most sigma, small px. noise: most sigma, 8-bit levels. colour: most change of a channel's gain, and of its offset in -1..1."""

    blur: float
    noise: float
    colour: float

    def apply(self, lo: Tensor, rng: torch.Generator) -> Tensor:
        """lo [N, 3, h, w], -1..1 -> another of the same shape; each picture has its own strengths, from none to the most."""
        n, _, height, width = lo.shape
        strength = torch.rand(n, 2, generator=rng)
        gain, offset = (torch.rand(2, n, 3, 1, 1, generator=rng) * 2 - 1).unbind()
        grain = torch.randn(n, 3, height, width, generator=rng)
        lo = _gaussian(lo, send(strength[:, 0] * self.blur, lo.device))
        lo = lo * (1 + self.colour * send(gain, lo.device)) + self.colour * send(offset, lo.device)
        sigma = strength[:, 1] * self.noise / 127.5
        return (lo + send(grain * sigma[:, None, None, None], lo.device)).clamp(-1, 1)


def pair(img: Tensor, scale: int, degradation: Degradation, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """img [N, 3, H, W] real -> (lo [N, 3, H/scale, W/scale], target like img): lo degraded, and the real detail above this very lo.

    A stage's output has exactly lo below; so has the target, or it would be asked for, and its critic shown, what it may not change.
    """
    small = projection.down(img, scale)
    lo = degradation.apply(small, rng)
    return lo, img + projection.up(lo - small, scale)


def _gaussian(lo: Tensor, sigma: Tensor) -> Tensor:
    """Each picture [N, 3, h, w] blurred by its own sigma [N], px; 0 leaves it as it is."""
    n, c, height, width = lo.shape
    at = torch.arange(-_RADIUS, _RADIUS + 1, device=lo.device)
    rows = torch.exp(-0.5 * (at / sigma.clamp_min(1e-3)[:, None]) ** 2)
    rows = (rows / rows.sum(dim=1, keepdim=True)).repeat_interleave(c, dim=0)
    x = F.pad(lo.reshape(1, n * c, height, width), (_RADIUS,) * 4, mode="replicate")
    x = F.conv2d(F.conv2d(x, rows[:, None, :, None], groups=n * c), rows[:, None, None, :], groups=n * c)
    return x.view(n, c, height, width)
