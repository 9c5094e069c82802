"""What keeps a finished network as it is, while its eyes or its patterns are drawn anew."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from installation.training.base.batch import Batch
from installation.training.base.config import BaseConfig
from installation.training.base.eyes import band
from installation.training.base.generator import Generator
from installation.training.state import State, joined
from installation.training.team import Team


class Anchor:
    """The network as it was. `loss` draws a generator back to its pictures; but for the fine structure of eyes that have a critic."""

    name = "moved"

    def __init__(self, generator: Generator, config: BaseConfig) -> None:
        size = config.size
        self.weight = config.keep
        self.generator = copy.deepcopy(generator).requires_grad_(False)
        self.cell = size // 16
        rows, columns = band(size)
        inside = torch.zeros(1, 1, size, size)
        inside[:, :, rows, columns] = float(config.eyes > 0)
        # A soft edge: no seam around the eyes.
        soft = size // 32 * 2 + 1
        device = next(generator.parameters()).device
        self.outside = 1 - F.avg_pool2d(inside, soft, stride=1, padding=soft // 2).to(device)

    def keep(self, generator: Generator) -> None:
        """From now on it is that one."""
        self.generator.take(dict(generator.named_parameters()))

    def loss(self, z: Tensor, made: Tensor) -> Tensor:
        """made [N, 3, size, size] from z -> mean square of what is another outside of the eyes, and a twentieth of what is another
        everywhere when seen from afar: their place, and the light on them."""
        with torch.no_grad():
            before = self.generator(z)
        apart = made - before
        return (apart * self.outside).square().mean() + 0.05 * F.avg_pool2d(apart, self.cell).square().mean()

    def hold(self, batch: Batch, made: Tensor) -> tuple[Tensor, Tensor]:
        moved = self.loss(batch.z[1], made)
        return moved, moved

    def learn(self, seen: Tensor, team: Team) -> Tensor:
        return seen

    def tensors(self) -> dict[str, Tensor]:
        return joined({"anchor": dict(self.generator.named_parameters())})

    def restore(self, state: State) -> None:
        self.generator.take(state.part("anchor"))


def learning(generator: Generator, size: int) -> dict[str, nn.Parameter]:
    """The parameters that draw the eyes and do not decide who is there: layers from a quarter of the size up."""
    levels = tuple(f"synthesis.b{size >> i}." for i in range(3))
    return {name: p for name, p in generator.named_parameters() if name.startswith(levels)}
