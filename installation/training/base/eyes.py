"""A critic that sees the eyes alone: a visitor looks there first, a critic of whole pictures last. And what keeps the rest of a finished
network as it is, while its eyes are drawn anew.

After the critics of facial components of GFPGAN (Wang et al. 2021, arXiv:2101.04061). Both eyes come to it one behind the other, the
right one mirrored, so that two that do not belong together show at once. It takes pictures as `data align` cuts them: FFHQ's crop puts the
eyes of a face that looks ahead at 3/8 and 5/8 of the width, 15/32 of the height.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from installation.training.augment import Draw
from installation.training.base.config import BaseConfig
from installation.training.base.critic_net import CriticNet
from installation.training.base.generator import Generator
from installation.training.base.plan import half_dtype
from installation.training.optimiser import Adam
from installation.training.state import State, joined

# No hole, which would hide an eye. A sixteenth to each side is what turned faces do anyway.
_KINDS, _SHIFT = ("colour", "translation"), 1 / 16


def _band(size: int) -> tuple[slice, slice]:
    """Rows and columns of both windows, side by side, in a picture of that size."""
    top, left = 11 * size // 32, size // 4
    return slice(top, top + size // 4), slice(left, left + size // 2)


class EyeCritic(nn.Module):
    """A critic of windows, a quarter of the picture's side and half as wide as the one of pictures, and its optimiser."""

    def __init__(self, config: BaseConfig, device: torch.device, layout: torch.memory_format) -> None:
        super().__init__()
        self.side = config.size // 4
        widths = tuple(max(width // 2, 1) for width in config.critic_channels[:-2])
        own = replace(config, size=self.side, critic_channels=widths)
        self.net = CriticNet(own, half_dtype(device), layout, inputs=6).to(device)
        self.adam = Adam(dict(self.net.named_parameters()), beta2=config.beta2)

    def look(self, img: Tensor, draw: Draw) -> Tensor:
        """img [N, 3, size, size], not augmented -> [N, 6, size/4, size/4]: the eyes, with what `draw` says of colour and place."""
        rows, columns = _band(4 * self.side)
        band = img[:, :, rows, columns]
        kinds = tuple(kind for kind in draw.kinds if kind in _KINDS)
        one, other = replace(draw, augment=replace(draw.augment, shift=_SHIFT), kinds=kinds).apply(band).chunk(2, dim=3)
        return torch.cat([one, other.flip(3)], dim=1)

    def tensors(self) -> dict[str, Tensor]:
        """What a run's state keeps of it, besides `adam.steps`."""
        return joined({"eyes": self.net.state_dict(), "eyes_v": self.adam.state()})

    def restore(self, state: State, steps: int) -> None:
        """KeyError, RuntimeError or ValueError if it does not fit."""
        self.net.load_state_dict(state.part("eyes"))
        self.adam.restore(state.part("eyes_v"), steps)


class Anchor:
    """The network as it was. `loss` draws a generator back to its pictures; eyes: but for the fine structure of the eyes."""

    def __init__(self, generator: Generator, size: int, *, eyes: bool) -> None:
        self.generator = copy.deepcopy(generator).requires_grad_(False)
        self.cell = size // 16
        rows, columns = _band(size)
        inside = torch.zeros(1, 1, size, size)
        inside[:, :, rows, columns] = float(eyes)
        # A soft edge: no seam around the eyes.
        soft = size // 32 * 2 + 1
        device = next(generator.parameters()).device
        self.outside = 1 - F.avg_pool2d(inside, soft, stride=1, padding=soft // 2).to(device)

    @torch.no_grad()
    def hold(self, generator: Generator) -> None:
        """From now on it is that one."""
        for own, other in zip(self.generator.parameters(), generator.parameters(), strict=True):
            own.copy_(other)

    def loss(self, z: Tensor, made: Tensor) -> Tensor:
        """made [N, 3, size, size] from z -> mean square of what is another outside of the eyes, and a twentieth of what is another
        everywhere when seen from afar: their place, and the light on them."""
        with torch.no_grad():
            before = self.generator(z)
        apart = made - before
        return (apart * self.outside).square().mean() + 0.05 * F.avg_pool2d(apart, self.cell).square().mean()


def learning(generator: Generator, size: int) -> dict[str, nn.Parameter]:
    """The parameters that draw the eyes and do not decide who is there: layers from a quarter of the size up."""
    levels = tuple(f"synthesis.b{size >> i}." for i in range(3))
    return {name: p for name, p in generator.named_parameters() if name.startswith(levels)}
