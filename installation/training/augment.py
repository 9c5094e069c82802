"""Differentiable augmentation of what the discriminator sees, real and generated alike, so that few pictures are not learnt by heart.

DiffAugment's colour, translation and cutout (Zhao et al. 2020, arXiv:2006.10738), each applied to a picture with probability p, so that
they do not leak into what is generated (Karras et al. 2020, arXiv:2006.06676). p follows a ramp, or a target of how often the
discriminator is sure of real pictures. Draws come from a generator that is given, on the CPU: equal on every device.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

KINDS = ("colour", "translation", "cutout")


@dataclass(frozen=True, slots=True)
class Augment:
    """Which kinds, and how strong. colour: factor on all colour changes, 1 as published. shift: of the side. cut: side of the hole."""

    kinds: tuple[str, ...] = KINDS
    colour: float = 0.5
    shift: float = 0.125
    cut: float = 0.5

    def draw(self, n: int, p: float, rng: torch.Generator) -> Draw:
        """What happens to each of n pictures. A number of draws that does not depend on p."""
        chance = torch.rand(n, 3, generator=rng) < p
        table = torch.cat([chance.float(), torch.rand(n, 7, generator=rng)], dim=1)
        return Draw(self, self.kinds if p > 0 else (), table)


@dataclass(frozen=True, slots=True)
class Draw:
    """One decision for each picture of a batch; `apply` may be called on several batches of that size.

    kinds: those that any picture may get. table [n, 10] float32, on any device: whether it gets each of KINDS, 0 or 1; three numbers for
    its colour, four for the places of shift and hole, all 0..1.
    """

    augment: Augment
    kinds: tuple[str, ...]
    table: Tensor

    def part(self, rows: slice) -> Draw:
        """The decisions for some of the pictures: a process's share of the batch."""
        return Draw(self.augment, self.kinds, self.table[rows])

    def apply(self, img: Tensor) -> Tensor:
        """img [N,3,H,W], about -1..1 -> the same shape. With p 0 the very same tensor."""
        table = self.table.to(img.device)
        if "colour" in self.kinds:
            img = self._colour(img, table)
        if "translation" in self.kinds:
            img = self._translate(img, table)
        if "cutout" in self.kinds:
            img = img * self._mask(img, table)
        return img

    def _colour(self, img: Tensor, table: Tensor) -> Tensor:
        """Brightness ±0.5, then saturation 0..2, then contrast 0.5..1.5 about the picture's mean, at strength 1."""
        strength = ((table[:, 3:6] - 0.5) * table[:, :1] * self.augment.colour).to(img.dtype)
        brightness, saturation, contrast = (column[:, None, None, None] for column in strength.unbind(1))
        saturation = 2 * saturation
        grey = img.mean(dim=1, keepdim=True)
        # The three steps in a row, multiplied out: one pass over the picture.
        shift = brightness - contrast * grey.mean(dim=(2, 3), keepdim=True)
        return img * ((1 + contrast) * (1 + saturation)) + (shift - (1 + contrast) * saturation * grey)

    def _translate(self, img: Tensor, table: Tensor) -> Tensor:
        """Whole pixels, up to `shift` of the side each way; what comes in is mid-grey. No interpolation, so p=1 loses nothing inside."""
        n, channels, height, width = img.shape
        down_by, right_by = (
            (((table[:, 6 + i] * 2 - 1) * (side * self.augment.shift + 0.499)).round() * table[:, 1]).long()[:, None]
            for i, side in enumerate((height, width))
        )
        margin = int(max(height, width) * self.augment.shift) + 1
        padded = F.pad(img, (margin, margin, margin, margin))
        rows = torch.arange(height, device=img.device)[None, :] + down_by + margin
        columns = torch.arange(width, device=img.device)[None, :] + right_by + margin
        batch = torch.arange(n, device=img.device)[:, None, None]
        shifted = padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]]
        return shifted.permute(0, 3, 1, 2).reshape(n, channels, height, width)

    def _mask(self, img: Tensor, table: Tensor) -> Tensor:
        """[N,1,H,W] of 1, and 0 in a square hole whose centre lies anywhere in the picture."""
        height, width = img.shape[2:]
        rows = torch.arange(height, device=img.device)[None, :] + 0.5
        columns = torch.arange(width, device=img.device)[None, :] + 0.5
        in_rows = (rows - table[:, 8:9] * height).abs() < self.augment.cut * height / 2
        in_columns = (columns - table[:, 9:] * width).abs() < self.augment.cut * width / 2
        hole = in_rows[:, :, None] & in_columns[:, None, :] & (table[:, 2] > 0.5)[:, None, None]
        return (~hole)[:, None].to(img.dtype)


@dataclass(frozen=True, slots=True)
class Schedule:
    """How p moves. `ramp`: from 0 to `most` over `ramp_images`. `ada`: up while the discriminator's sign is right more often than `target`.

    target: of r_t = E[sign D(real)], 0.6 in StyleGAN2-ADA. ada_images: in which p can move by 1.
    """

    kind: str = "ramp"
    most: float = 0.3
    ramp_images: int = 300_000
    target: float = 0.6
    ada_images: int = 500_000

    def next(self, p: float, *, nimg: int, images: int, r_t: float) -> float:
        """p for the time after `nimg`, of which `images` are new since it was last asked."""
        if self.kind == "ramp":
            return self.most * min(nimg / self.ramp_images, 1.0) if self.ramp_images else self.most
        step = images / self.ada_images * (1 if r_t > self.target else -1)
        return min(max(p + step, 0.0), self.most)
