"""Layers with equalised learning rate: weights are stored as standard normal numbers and scaled where they are used, so that Adam moves
all of them alike (Karras et al. 2018, arXiv:1710.10196). Shared by generator and critic; everything here can be differentiated twice.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from installation.training.convolution import convolve

SQRT2 = math.sqrt(2)
EPS = 1e-8


class Linear(nn.Module):
    """x [N, inputs] -> x @ (weight · lr / √inputs)^T + bias · lr."""

    def __init__(self, inputs: int, outputs: int, *, lr: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr)
        self.bias = nn.Parameter(torch.full((outputs,), bias / lr))
        self.gain, self.lr = lr / math.sqrt(inputs), lr

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.gain, self.bias * self.lr)


class Conv(nn.Module):
    """x [N, inputs, H, W] -> same height and width, in x's dtype. kernel: 1 or 3."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, bias: bool = True, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.gain = gain / math.sqrt(inputs * kernel * kernel)

    def forward(self, x: Tensor) -> Tensor:
        weight = (self.weight * self.gain).to(x.dtype)
        return convolve(x, weight, None if self.bias is None else self.bias.to(x.dtype))


def lrelu(x: Tensor) -> Tensor:
    """Leaky ReLU in place, without its gain of √2, which rides in the weights before it."""
    return F.leaky_relu_(x, 0.2)
