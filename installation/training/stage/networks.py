"""The two networks of a run: the stage, initialised, and the critic that sees an enlargement together with what it was made from."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from installation.models import projection
from installation.models.stage import SLOPE, Stage
from installation.models.stylegan2_layers import blur_kernel
from installation.training.filters import halve
from installation.training.stage.configs import StageConfig

DETAIL_GAIN = 8.0


def new_stage(config: StageConfig, scale: int, seed: int) -> Stage:
    """A stage that begins as the plain smooth enlargement, in train mode. ModelError if the config fits no network."""
    stage = Stage(widths=config.widths, blocks=config.blocks, scale=scale, w_dim=config.w_dim, calm=config.calm)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in stage.named_parameters():
            # The last at zero: what random weights draw there lies on the pixel grid, and thousands of crops went into unlearning it
            # (realtime began at 22.7 dB where plain enlargement has 32.9, and still had a grid after 15 kimg).
            if name.endswith(("bias", "affine")) or name.startswith("last"):
                tensor.zero_()
                continue
            # He et al. 2015 (arXiv:1502.01852); a block's second convolution starts small, so that depth costs nothing.
            gain = math.sqrt(2 / (1 + SLOPE**2)) * (0.1 if ".conv2." in name else 1.0)
            tensor.normal_(0, gain / math.sqrt(tensor[0].numel()), generator=rng)
    return stage.train()


class Critic(nn.Module):
    """Conditional patch critic: img [N, 3, h·scale, w·scale] and lo [N, 3, h, w], both -1..1 -> logits [N, 1, h', w'].

    Each logit judges a patch: is it real, and is it an enlargement of this very lo? Seen is the detail above lo, amplified: all else is
    the same in real and made ones, and the detail of skin is a fiftieth of the range (seeing img itself, it knew nothing after the
    hundred steps in which it now comes to be right of nine in ten patches). lo joins the channels where the sizes match, and
    sizes are halved through blurs, so that a moved picture moves the verdicts and nothing else. (Isola et al. 2017, arXiv:1611.07004.)
    """

    fir: Tensor

    def __init__(self, widths: Sequence[int], scale: int, seed: int = 0) -> None:
        super().__init__()
        self.joins_at = scale.bit_length() - 1
        self.register_buffer("fir", blur_kernel(torch.device("cpu")), persistent=False)
        self.first = nn.Conv2d(3, widths[0], 3, padding=1)
        pairs = itertools.pairwise(widths)
        self.steps = nn.ModuleList(
            nn.Conv2d(a + (3 if level == self.joins_at else 0), b, 3, padding=1) for level, (a, b) in enumerate(pairs)
        )
        joined = 3 if len(widths) - 1 == self.joins_at else 0
        self.judge = nn.Conv2d(widths[-1] + joined, widths[-1], 3, padding=1)
        self.verdict = nn.Conv2d(widths[-1], 1, 3, padding=1)
        rng = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for tensor in self.parameters():
                if tensor.ndim == 1:
                    tensor.zero_()
                else:
                    tensor.normal_(0, math.sqrt(2 / (1 + SLOPE**2) / tensor[0].numel()), generator=rng)

    def forward(self, img: Tensor, lo: Tensor) -> Tensor:
        detail = (img.float() - projection.up(lo, 2**self.joins_at)) * DETAIL_GAIN
        x = F.leaky_relu(self.first(detail), SLOPE)
        for level, step in enumerate(self.steps):
            if level == self.joins_at:
                x = torch.cat([x, lo.to(x.dtype)], dim=1)
            x = F.leaky_relu(step(halve(x, self.fir)), SLOPE)
        if len(self.steps) == self.joins_at:
            x = torch.cat([x, lo.to(x.dtype)], dim=1)
        return self.verdict(F.leaky_relu(self.judge(x), SLOPE))
