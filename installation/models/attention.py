"""Attention as lucidrains' networks have it: its cost grows with the number of places, not with its square. All in float32.

Of stylegan2-pytorch the whole layer, `AttentionLayer`; of lightweight-gan, whose layers have another half beside it, the sum alone.
Tensor names of a layer: `q`, `depthwise`, `kv`, `out`, `widen`, `narrow`, and `gain{k}`, `shift{k}` of its two norms.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEADS = 8
HEAD_WIDTH = 64
SLOPE = 0.2
EPS = 1e-5
# What its releases norm a layer's input by: nothing, but its output is scaled (1.6 and 1.7); the deviation over the channels (1.8.0 to
# 1.8.7) or the variance (since), which differ in where EPS is added; mean and variance over the places (1.8.3 and 1.8.4).
NORMS = ("scale", "deviation", "variance", "places")


def channel_norm(x: Tensor) -> Tensor:
    """x [N, channels, h, w] -> each place's channels with mean 0 and variance 1."""
    var, mean = torch.var_mean(x, dim=1, unbiased=False, keepdim=True)
    return (x - mean) / (var + EPS).sqrt()


def linear_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """q, k, v [N, inner, h, w] -> [N, inner, h, w]: in each head softmax(q over its channels) / sqrt(width) of what all places put in.

    sum_p softmax(k over places)[d, p] v[e, p] is one matrix of the head's width for the whole picture.
    """
    shape, width = q.shape, q.shape[1] // HEADS
    q, k, v = (each.reshape(len(each), HEADS, width, -1) for each in (q, k, v))
    q, k = q.softmax(dim=2) * width**-0.5, k.softmax(dim=3)
    return (v @ k.mT @ q).reshape(shape)


class AttentionLayer(nn.Module):
    """x + attention of it, then x + two 1x1 convolutions of it, each of x after a norm. norm: one of NORMS."""

    def __init__(self, channels: int, norm: str) -> None:
        super().__init__()
        self.norm, inner = norm, HEADS * HEAD_WIDTH
        for k in range(2):
            self.register_parameter(f"gain{k}", nn.Parameter(torch.empty(channels)))
            if norm != "scale":
                self.register_parameter(f"shift{k}", nn.Parameter(torch.empty(channels)))
        self.q = nn.Conv2d(channels, inner, 1, bias=False)
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.kv = nn.Conv2d(channels, 2 * inner, 1, bias=False)
        self.out = nn.Conv2d(inner, channels, 1)
        self.widen = nn.Conv2d(channels, 2 * channels, 1)
        self.narrow = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, channels, h, w] float32 -> the same shape."""
        y = self._normed(x, 0)
        k, v = self.kv(self.depthwise(y)).chunk(2, dim=1)
        x = x + self._scaled(self.out(F.gelu(linear_attention(self.q(y), k, v))), 0)
        y = self.narrow(F.leaky_relu_(self.widen(self._normed(x, 1)), SLOPE))
        return x + self._scaled(y, 1)

    def _normed(self, x: Tensor, k: int) -> Tensor:
        if self.norm == "scale":
            return x
        gain, shift = self.get_parameter(f"gain{k}"), self.get_parameter(f"shift{k}")
        if self.norm == "places":
            return F.instance_norm(x, weight=gain, bias=shift, eps=EPS)
        if self.norm == "variance":
            x = channel_norm(x)
        else:
            var, mean = torch.var_mean(x, dim=1, unbiased=False, keepdim=True)
            x = (x - mean) / (var.sqrt() + EPS)
        return x * gain[:, None, None] + shift[:, None, None]

    def _scaled(self, y: Tensor, k: int) -> Tensor:
        return y * self.get_parameter(f"gain{k}")[:, None, None] if self.norm == "scale" else y
