"""A third critic that sees the eyes alone: a visitor looks there first, a critic of whole pictures last.

After the critics of facial components of GFPGAN (Wang et al. 2021, arXiv:2101.04061). Both eyes come to it one behind the other, the
right one mirrored, so that two that do not belong together show at once. It takes pictures as `data align` cuts them: FFHQ's crop puts the
eyes of a face that looks ahead at 3/8 and 5/8 of the width, 15/32 of the height.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from installation.training.augment import Augment, Draw
from installation.training.base.config import BaseConfig
from installation.training.base.discriminator import Discriminator
from installation.training.base.plan import half_dtype
from installation.training.optimiser import Adam
from installation.training.state import State

# No hole, which would hide an eye. A sixteenth to each side is what turned faces do anyway.
_AUGMENT = Augment(kinds=("colour", "translation"), shift=1 / 16)


class EyeCritic(nn.Module):
    """A discriminator of windows, a quarter of the picture's side and half as wide as the one of pictures, and its optimiser."""

    def __init__(self, config: BaseConfig, device: torch.device, layout: torch.memory_format) -> None:
        super().__init__()
        self.side = config.size // 4
        widths = tuple(max(width // 2, 1) for width in config.critic_channels[:-2])
        own = replace(config, size=self.side, critic_channels=widths)
        self.net = Discriminator(own, half_dtype(device), layout, inputs=6).to(device)
        self.adam = Adam(dict(self.net.named_parameters()), beta2=config.beta2)

    def look(self, img: Tensor, draw: Draw) -> Tensor:
        """img [N, 3, size, size], not augmented -> [N, 6, size/4, size/4]: the eyes, with what `draw` says of colour and place."""
        side = self.side
        top, left = 15 * side // 8 - side // 2, side
        band = img[:, :, top : top + side, left : left + 2 * side]
        kinds = tuple(kind for kind in draw.kinds if kind in _AUGMENT.kinds)
        one, other = replace(draw, augment=_AUGMENT, kinds=kinds).apply(band).chunk(2, dim=3)
        return torch.cat([one, other.flip(3)], dim=1)

    def tensors(self) -> dict[str, Tensor]:
        """What a run's state keeps of it, besides `adam.steps`."""
        parts = {"eyes": self.net.state_dict(), "eyes_v": self.adam.state()}
        return {f"{part}.{name}": tensor for part, rows in parts.items() for name, tensor in rows.items()}

    def restore(self, state: State, steps: int) -> None:
        """KeyError, RuntimeError or ValueError if it does not fit."""
        self.net.load_state_dict(state.part("eyes"))
        self.adam.restore(state.part("eyes_v"), steps)
