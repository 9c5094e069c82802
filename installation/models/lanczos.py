"""Lanczos resampling to any size, for what no network enlarges and for what is shown smaller than it was made.

C. Duchon, "Lanczos filtering in one and two dimensions", Journal of Applied Meteorology 18(8), 1979; three lobes. When
shrinking, the kernel widens with the ratio, so every source pixel counts. Pixels are squares: their centres lie at
i + 0.5; at the border what lies inside weighs for all.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

_LOBES = 3
_BLOCK = 64  # target pixels that share one small matrix: few enough that it is not mostly zeros


class Lanczos:
    """source, target: (height, width), px. Runs where `img` lies; deterministic."""

    def __init__(self, source: tuple[int, int], target: tuple[int, int], device: torch.device | str = "cpu") -> None:
        self.source, self.target = source, target
        self._rows, self._columns = (
            _blocks(torch.from_numpy(weights(a, b)).to(device, torch.float32))
            for a, b in zip(source, target, strict=True)
        )

    def __call__(self, img: Tensor) -> Tensor:
        """img [N, 3, h, w] float32 of the source's size -> [N, 3, H, W]. May overshoot img's range a little at edges."""
        if tuple(img.shape[-2:]) != self.source:
            raise ValueError(f"img has size {list(img.shape[-2:])}, {list(self.source)} expected")
        planes = img.reshape(-1, *self.source)
        if self.source[0] != self.target[0]:
            planes = torch.stack([_along_rows(plane, self._rows, self.target[0]) for plane in planes])
        if self.source[1] != self.target[1]:
            flat = planes.reshape(-1, self.source[1])
            out = flat.new_empty(flat.shape[0], self.target[1])
            for at, first, part in self._columns:
                out[:, at : at + part.shape[0]] = flat[:, first : first + part.shape[1]] @ part.T
            planes = out
        return planes.reshape(*img.shape[:2], *self.target)


def weights(source: int, target: int) -> np.ndarray:
    """[target, source] float64: what each target pixel takes of each source pixel along one axis. Rows sum to 1."""
    ratio = source / target
    spread = max(ratio, 1.0)
    centres = (np.arange(target) + 0.5) * ratio - 0.5
    reach = math.ceil(_LOBES * spread)
    taps = np.floor(centres)[:, None].astype(int) + np.arange(-reach, reach + 2)
    x = (taps - centres[:, None]) / spread
    inside = (np.abs(x) < _LOBES) & (taps >= 0) & (taps < source)
    values = np.where(inside, np.sinc(x) * np.sinc(x / _LOBES), 0.0)
    values /= values.sum(axis=1, keepdims=True)
    matrix = np.zeros((target, source))
    np.add.at(matrix, (np.arange(target)[:, None], taps.clip(0, source - 1)), values)
    return matrix


def _along_rows(plane: Tensor, blocks: list[tuple[int, int, Tensor]], height: int) -> Tensor:
    out = plane.new_empty(height, plane.shape[1])
    for at, first, part in blocks:
        torch.mm(part, plane[first : first + part.shape[1]], out=out[at : at + part.shape[0]])
    return out


def _blocks(matrix: Tensor) -> list[tuple[int, int, Tensor]]:
    """The matrix as (first target pixel, first source pixel, part): at 4K a thirtieth of the whole's work."""
    found = []
    for at in range(0, matrix.shape[0], _BLOCK):
        rows = matrix[at : at + _BLOCK]
        used = rows.abs().sum(0).nonzero()
        first, last = int(used[0]), int(used[-1]) + 1
        found.append((at, first, rows[:, first:last].contiguous()))
    return found
