"""What one step of a base run is made from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from installation.training.augment import Draw


@dataclass(frozen=True, slots=True)
class Batch:
    """This process's share of a step. real [N, 3, S, S] float32 -1..1; z [2, N, z_dim]: latents of the critics' step and the generator's.

    draws: what augmentation does to the real pictures and the generated ones of the critic's step, to the same real pictures as the
    generator's step sees them, and to its new ones; then, where a critic is always shown augmented ones, what it sees of the real
    pictures, the generated ones, and those of the generator's step.
    rng: for what is drawn on the way (path lengths, differences).
    """

    real: Tensor
    z: Tensor
    draws: tuple[Draw, ...]
    rng: torch.Generator

    def part(self, rows: slice) -> Batch:
        """Some of its pictures, with their latents and draws."""
        draws = tuple(draw.part(rows) for draw in self.draws)
        return replace(self, real=self.real[rows], z=self.z[:, rows], draws=draws)

    def copy(self) -> Batch:
        """The same in memory of its own."""
        draws = tuple(replace(draw, table=draw.table.clone()) for draw in self.draws)
        return replace(self, real=self.real.clone(), z=self.z.clone(), draws=draws)

    def take(self, other: Batch) -> None:
        """Become like another of the same shapes, in place; which kinds of augmentation there are is not taken."""
        self.real.copy_(other.real)
        self.z.copy_(other.z)
        for own, draw in zip(self.draws, other.draws, strict=True):
            own.table.copy_(draw.table)
