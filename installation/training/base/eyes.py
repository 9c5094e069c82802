"""A critic that sees the eyes alone: a visitor looks there first, a critic of whole pictures last.

After the critics of facial components of GFPGAN (Wang et al. 2021, arXiv:2101.04061). Both eyes come to it one behind the other, the
right one mirrored, so that two that do not belong together show at once. It takes pictures as `data align` cuts them: FFHQ's crop puts the
eyes of a face that looks ahead at 3/8 and 5/8 of the width, 15/32 of the height.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from installation.training.augment import Draw
from installation.training.base.config import BaseConfig
from installation.training.base.critic_net import CriticNet
from installation.training.base.critics import PixelCritic
from installation.training.base.plan import Plan, half_dtype

# No hole, which would hide an eye. A sixteenth to each side is what turned faces do anyway.
_KINDS, _SHIFT = ("colour", "translation"), 1 / 16


def band(size: int) -> tuple[slice, slice]:
    """Rows and columns of both windows, side by side, in a picture of that size."""
    top, left = 11 * size // 32, size // 4
    return slice(top, top + size // 4), slice(left, left + size // 2)


class EyeCritic(PixelCritic):
    """A critic of windows, a quarter of the picture's side and half as wide as the one of pictures."""

    def __init__(self, config: BaseConfig, plan: Plan, device: torch.device) -> None:
        self.side = config.size // 4
        widths = tuple(max(width // 2, 1) for width in config.critic_channels[:-2])
        own = replace(config, size=self.side, critic_channels=widths)
        net = CriticNet(own, half_dtype(device), plan.layout, inputs=6).to(device)
        super().__init__("eyes", net, config, weight=config.eyes)

    def look(self, img: Tensor, draw: Draw) -> Tensor:
        """img [N, 3, size, size], not augmented -> [N, 6, size/4, size/4]: the eyes, with what `draw` says of colour and place."""
        rows, columns = band(4 * self.side)
        eyes = img[:, :, rows, columns]
        kinds = tuple(kind for kind in draw.kinds if kind in _KINDS)
        one, other = replace(draw, augment=replace(draw.augment, shift=_SHIFT), kinds=kinds).apply(eyes).chunk(2, dim=3)
        return torch.cat([one, other.flip(3)], dim=1)
