"""The [1,3,3,1] low-pass filter with which networks in training halve and double sizes, to be differentiated as often as wanted.

torch differentiates a grouped convolution twice by a loop over its groups: on an H100 a step of b128 with penalties took 840 ms so,
and takes 121 like this. The filter is linear, and its derivative is its transpose; so each of the two is given as the other's.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor


def halve(x: Tensor, fir: Tensor) -> Tensor:
    """x [N, C, H, W], H and W even -> [N, C, H/2, W/2], low-passed. fir: `blur_kernel`, on x's device."""
    return cast("Tensor", _Halve.apply(x, fir))


class _Halve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, fir: Tensor) -> Tensor:
        ctx.save_for_backward(fir)
        kernel, margin = _kernel(x, fir)
        return F.conv2d(x, kernel, stride=2, padding=margin, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return _Spread.apply(gradients[0], *ctx.saved_tensors), None


class _Spread(torch.autograd.Function):
    """The transpose of `halve`: y [N, C, h, w] -> [N, C, 2h, 2w]."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, fir: Tensor) -> Tensor:
        ctx.save_for_backward(fir)
        kernel, margin = _kernel(y, fir)
        return F.conv_transpose2d(y, kernel, stride=2, padding=margin, output_padding=margin - 1, groups=y.shape[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return _Halve.apply(gradients[0], *ctx.saved_tensors), None


def _kernel(x: Tensor, fir: Tensor) -> tuple[Tensor, int]:
    """The filter for x's channels, and its margin. On a GPU with an empty row and column: cuDNN is fast at 5x5, and slow at 4x4."""
    kernel, margin = (F.pad(fir, (1, 0, 1, 0)), 2) if x.is_cuda else (fir, 1)
    return kernel.to(x.dtype).expand(x.shape[1], 1, *kernel.shape[2:]), margin
