"""Where a network with a movable plane (StyleGAN3) draws: translation and rotation as the matrix its synthesis takes.

Pure tensor algebra on whatever device the numbers are on; no host synchronisation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def transform(x: Tensor | float = 0.0, y: Tensor | float = 0.0, turn: Tensor | float = 0.0) -> Tensor:
    """[3, 3] float32, or [N, 3, 3] for numbers given as [N] tensors: the argument `transform` of a synthesis with `has_transform`.

    x, y: how far the picture's content moves to the right and down, in picture widths and heights. turn: how far it is turned clockwise
    about the centre, in turns; turned first, then moved. The matrix is the inverse of that motion: it leads from a place on the
    picture back to the place on the network's plane that is drawn there.
    """
    x, y, angle = torch.broadcast_tensors(
        *(torch.as_tensor(value, dtype=torch.float32) for value in (x, y, turn * math.tau))
    )
    cos, sin = angle.cos(), angle.sin()
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    # The inverse of a turn R and a move t is R^T, -R^T t.
    rows = [[cos, sin, -(cos * x + sin * y)], [-sin, cos, sin * x - cos * y], [zero, zero, one]]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
