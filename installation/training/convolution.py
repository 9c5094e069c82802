"""A convolution of stride 1 that can be differentiated as often as wanted, each time by the kernels of the first time.

A critic's gradient penalty differentiates twice. There torch gets the weights' part by a convolution in which pictures and channels
have changed places and the kernel is as large as the picture: on an H100 six such calls were 24 of the 72 ms of a penalised step of
b128. But what is wanted is one of three things that are each linear in both of their inputs, and each one's derivatives are the other
two. None of it is for autocast.
After `conv2d_gradfix` of StyleGAN2-ADA (Karras et al. 2020, arXiv:2006.06676), which is about the same.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [N, I, H, W], weight [O, I, k, k] with k odd, bias [O], all of one dtype -> [N, O, H, W], as F.conv2d with a margin of k // 2."""
    return cast("Tensor", _Convolve.apply(x, weight, bias))


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, padding=weight.shape[2] // 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (y,), (x, weight) = gradients, ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad
        return (
            _Transpose.apply(y, weight) if for_x else None,
            _Weigh.apply(y, x, weight.shape) if for_weight else None,
            y.sum((0, 2, 3)) if for_bias else None,
        )


class _Transpose(torch.autograd.Function):
    """Of the convolution by that weight: y [N, O, H, W] -> [N, I, H, W]."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(y, weight)
        return F.conv_transpose2d(y, weight, padding=weight.shape[2] // 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (x,), (y, weight) = gradients, ctx.saved_tensors
        for_y, for_weight = ctx.needs_input_grad
        return (
            _Convolve.apply(x, weight, None) if for_y else None,
            _Weigh.apply(y, x, weight.shape) if for_weight else None,
        )


class _Weigh(torch.autograd.Function):
    """The weight [O, I, k, k] of which `convolve(x, weight)` in direction y [N, O, H, W] is the scalar product: its gradient."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, x: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(y, x)
        margin = shape[2] // 2
        like = x.new_empty(1).expand(shape)  # only its shape is asked for
        return torch.ops.aten.convolution_backward(
            y, x, like, None, [1, 1], [margin, margin], [1, 1], False, [0, 0], 1, [False, True, False]
        )[1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (weight,), (y, x) = gradients, ctx.saved_tensors
        for_y, for_x, _ = ctx.needs_input_grad
        return (
            _Convolve.apply(x, weight, None) if for_y else None,
            _Transpose.apply(y, weight) if for_x else None,
            None,
        )
