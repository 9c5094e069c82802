"""What makes a stage flicker, as losses: detail that depends on where the pixel grid lies, and detail that changes more than the picture.

Eilertsen et al. 2019 ("Single-frame Regularization for Temporally Stable CNNs", arXiv:1902.10424), for steps of less than a pixel.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from installation.models import projection

Enlarge = Callable[[Tensor], Tensor]


def shift_loss(enlarge: Enlarge, img: Tensor, scale: int, offset: tuple[int, int], margin: int) -> Tensor:
    """Mean |S(Tx) − T S(x)| where T moves by `offset` large pixels, each 0..scale: parts of a small pixel.

    img [N, 3, H, W] real: both small pictures are taken from it, so nothing is interpolated. margin: large px left out at the
    borders, where the two see different ends.
    """
    side = [length - scale for length in img.shape[2:]]
    down_by, right_by = offset
    still = enlarge(projection.down(img[:, :, : side[0], : side[1]], scale))
    moved = enlarge(projection.down(img[:, :, down_by : down_by + side[0], right_by : right_by + side[1]], scale))
    height, width = side[0] - down_by, side[1] - right_by
    apart = still[:, :, down_by:, right_by:] - moved[:, :, :height, :width]
    return apart[:, :, margin : height - margin, margin : width - margin].abs().mean()


def walk_loss(enlarge: Enlarge, here: Tensor, there: Tensor, scale: int, sway: float) -> Tensor:
    """Mean change of the detail between two moments of a walk, beyond `sway` times the small picture's own change around it.

    here, there [N, 3, h, w]. The detail is what a stage adds to `up` of its input. No flow is needed: where the small picture stands still
    the detail must, and where it moves some change is right.
    """
    both = enlarge(torch.cat([here, there]))
    detail = both - projection.up(torch.cat([here, there]), scale)
    first, second = detail.chunk(2)
    own = (here - there).abs().amax(dim=1, keepdim=True)
    own = F.max_pool2d(own, 3, stride=1, padding=1)  # what moves by less than a small pixel changes its neighbour
    allowed = sway * F.interpolate(own, scale_factor=scale, mode="nearest")
    return F.relu((first - second).abs() - allowed).mean()


@torch.no_grad()
def flicker(frames: Sequence[Tensor], enlarged: Sequence[Tensor], scale: int) -> float:
    """How much the detail changes from frame to frame of a walk, as a share of how much detail there is: 0 for none, 1.4 for new noise.

    frames: [1, 3, h, w] each. enlarged: what a stage makes of each, [1, 3, h·scale, w·scale].
    """
    details = [img - projection.up(frame, scale) for frame, img in zip(frames, enlarged, strict=True)]
    changes = torch.stack([(b - a).square().mean() for a, b in itertools.pairwise(details)])
    amount = torch.stack([detail.square().mean() for detail in details]).mean()
    return float((changes.mean() / amount.clamp_min(1e-12)).sqrt())
