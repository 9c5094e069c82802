"""Slow, readable twin of stylegan3.py, written from the paper's equations: modulated weights, zero-stuffed signals, one picture at a time.

For tests and for readers; it reads the stored weights and none of the fast path's prepared tensors. float32.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from installation.models.stylegan3 import CLAMP, OUTPUT_SCALE, StyleGAN3
from installation.models.stylegan3_plan import LayerPlan

Weights = dict[str, Tensor]


def synthesis(network: StyleGAN3, ws: Tensor, transform: Tensor | None = None) -> Tensor:
    """ws [N, num_ws, w_dim], transform [3, 3] or None -> img [N, 3, size, size]."""
    weights = network.state_dict()
    return torch.stack([_picture(weights, network.plan, rows, transform) for rows in ws])


def _picture(weights: Weights, plan: list[LayerPlan], ws: Tensor, transform: Tensor | None) -> Tensor:
    x = _waves(weights, plan[0], ws[0], torch.eye(3) if transform is None else transform)
    for i, layer in enumerate(plan):
        x = _layer(weights, layer, x, ws[i + 1])
    return x * OUTPUT_SCALE


def _waves(weights: Weights, first: LayerPlan, w: Tensor, transform: Tensor) -> Tensor:
    """[channels, size, size]: sin(2 pi (f . p + phase)) at every place p of the grid, mixed."""
    t = _affine(weights, "synthesis.input", w)
    t = t / t[:2].norm()
    turn = torch.tensor([[t[0], -t[1], 0.0], [t[1], t[0], 0.0], [0.0, 0.0, 1.0]])
    move = torch.tensor([[1.0, 0.0, -t[2]], [0.0, 1.0, -t[3]], [0.0, 0.0, 1.0]])
    matrix = turn @ move @ weights["synthesis.input.transform"] @ transform
    freqs = weights["synthesis.input.freqs"] @ matrix[:2, :2]
    phases = weights["synthesis.input.phases"] + weights["synthesis.input.freqs"] @ matrix[:2, 2]
    fade = (1 - (freqs.norm(dim=1) - first.cutoff) / (first.rate / 2 - first.cutoff)).clamp(0, 1)
    places = ((torch.arange(first.size) + 0.5) / first.size * 2 - 1) * 0.5 * first.size / first.rate
    y, x = torch.meshgrid(places, places, indexing="ij")
    waves = torch.sin(2 * math.pi * (torch.stack([x, y], dim=2) @ freqs.T + phases)) * fade
    mix = weights["synthesis.input.weight"]
    return (waves @ (mix / math.sqrt(len(mix))).T).permute(2, 0, 1)


def _layer(weights: Weights, layer: LayerPlan, x: Tensor, w: Tensor) -> Tensor:
    name = f"synthesis.{layer.name}"
    kernel = weights[f"{name}.weight"] * _affine(weights, name, w)[None, :, None, None]
    if layer.colours:
        kernel = kernel / math.sqrt(kernel[0].numel())
    else:
        kernel = kernel / (kernel.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
    kernel = kernel / weights[f"{name}.magnitude_ema"].sqrt()
    x = F.conv2d(x[None], kernel, padding=kernel.shape[2] - 1)[0] + weights[f"{name}.bias"][:, None, None]
    if layer.colours:
        return x.clamp(-CLAMP, CLAMP)
    filters = weights.get(f"{name}.up_filter"), weights.get(f"{name}.down_filter")
    # All channels of 1024 px at once, raised to four times the rate, would take tens of gigabytes.
    return torch.cat([_activate(layer, some, *filters) for some in x.split(8)])


def _activate(layer: LayerPlan, x: Tensor, up: Tensor | None, down: Tensor | None) -> Tensor:
    """Each channel alone: raised to a higher rate, leaky ReLU, lowered again."""
    x = _padded(_stuff(x, layer.up), *layer.pad)
    x = _filter(x, up) * layer.up**2
    x = (torch.where(x >= 0, x, 0.2 * x) * math.sqrt(2)).clamp(-CLAMP, CLAMP)
    return _filter(x, down)[:, :: layer.down, :: layer.down]


def _affine(weights: Weights, name: str, w: Tensor) -> Tensor:
    weight = weights[f"{name}.affine.weight"]
    return weight @ w / math.sqrt(weight.shape[1]) + weights[f"{name}.affine.bias"]


def _stuff(x: Tensor, up: int) -> Tensor:
    """[C, h, w] -> [C, up h, up w] with zeros between and after."""
    out = x.new_zeros(x.shape[0], up * x.shape[1], up * x.shape[2])
    out[:, ::up, ::up] = x
    return out


def _padded(x: Tensor, before: int, after: int) -> Tensor:
    return F.pad(x, (before, after, before, after))


def _filter(x: Tensor, taps: Tensor | None) -> Tensor:
    """The convolution of each channel with taps [n] on both axes, or [n, n], where the filter lies within the signal."""
    if taps is None:
        return x
    kernels = [taps] if taps.ndim == 2 else [taps[:, None], taps[None, :]]
    for kernel in kernels:
        each = kernel.flip((0, 1)).expand(len(x), 1, *kernel.shape).contiguous()
        x = F.conv2d(x[None], each, groups=len(x))[0]
    return x
