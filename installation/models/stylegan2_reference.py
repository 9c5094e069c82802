"""Slow, readable twin of stylegan2.py, written from the papers' equations: modulated weights, one picture at a time, float32.

For tests and for readers; it reads the stored weights and none of the fast path's prepared tensors.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from installation.models.stylegan2 import MAPPING_LR, StyleGAN2


def mapping(network: StyleGAN2, z: Tensor, c: Tensor | None = None) -> Tensor:
    """z [N, z_dim], c [N, c_dim] or None -> ws [N, num_ws, w_dim] before truncation."""
    weights = network.state_dict()
    parts = [z] if c is None else [z, _linear(weights, "mapping.embed", c)]
    if network.config.get("joint_norm"):  # no StyleGAN3 has it
        parts = [torch.cat(parts, dim=1)]
    x = torch.cat([part / (part.square().mean(dim=1, keepdim=True) + 1e-8).sqrt() for part in parts], dim=1)
    for i in range(network.config["mapping_layers"]):
        x = _lrelu(_linear(weights, f"mapping.fc{i}", x, lr=MAPPING_LR))
    return torch.stack([x] * network.num_ws, dim=1)


def synthesis(network: StyleGAN2, ws: Tensor) -> Tensor:
    """ws [N, num_ws, w_dim] -> img [N, 3, height, width]."""
    return torch.stack([_picture(network, rows) for rows in ws])


def _picture(network: StyleGAN2, ws: Tensor) -> Tensor:
    """ws [num_ws, w_dim] -> [3, height, width]."""
    weights, clamp = network.state_dict(), network.config["conv_clamp"] or math.inf
    x, img, i = weights["synthesis.b4.const"], None, 0
    for level in range(len(network.config["channels"])):
        block = f"synthesis.b{4 << level}"
        if level:
            x = _layer(weights, f"{block}.conv0", x, ws[i], up=True, clamp=clamp)
            i += 1
        x = _layer(weights, f"{block}.conv1", x, ws[i], up=False, clamp=clamp)
        s = _linear(weights, f"{block}.torgb.affine", ws[i + 1])
        kernel = weights[f"{block}.torgb.weight"] * s[:, None, None] / math.sqrt(len(s))
        rgb = (F.conv2d(x[None], kernel)[0] + weights[f"{block}.torgb.bias"][:, None, None]).clamp(-clamp, clamp)
        img = rgb if img is None else _blur(_stuff(img), 2, 1) + rgb
        i += 1
    assert img is not None
    return img


def _layer(weights: dict[str, Tensor], name: str, x: Tensor, w: Tensor, *, up: bool, clamp: float) -> Tensor:
    kernel = weights[f"{name}.weight"] * _linear(weights, f"{name}.affine", w)[None, :, None, None]
    kernel = kernel / (kernel.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
    if up:
        x = _blur(F.conv_transpose2d(x[None], kernel.transpose(0, 1), stride=2)[0], 1, 1)
    else:
        x = F.conv2d(x[None], kernel, padding=1)[0]
    if f"{name}.noise_const" in weights:
        x = x + weights[f"{name}.noise_strength"] * weights[f"{name}.noise_const"]
    return _lrelu(x + weights[f"{name}.bias"][:, None, None]).clamp(-clamp, clamp)


def _linear(weights: dict[str, Tensor], name: str, x: Tensor, lr: float = 1.0) -> Tensor:
    weight = weights[f"{name}.weight"]
    return x @ (weight * lr / math.sqrt(weight.shape[1])).T + weights[f"{name}.bias"] * lr


def _lrelu(x: Tensor) -> Tensor:
    return torch.where(x >= 0, x, 0.2 * x) * math.sqrt(2)


def _stuff(x: Tensor) -> Tensor:
    """[C, h, w] -> [C, 2h, 2w] with zeros between."""
    out = x.new_zeros(x.shape[0], 2 * x.shape[1], 2 * x.shape[2])
    out[:, ::2, ::2] = x
    return out


def _blur(x: Tensor, before: int, after: int) -> Tensor:
    """[C, h, w] zero-padded by before/after on both axes, then outer([1,3,3,1]) / 16: gain 4, for a signal of which 3 in 4 are zeros."""
    x = F.pad(x, (before, after, before, after))
    h, w = x.shape[1] - 3, x.shape[2] - 3
    taps = (0.25, 0.75, 0.75, 0.25)
    total = x.new_zeros(x.shape[0], h, w)
    for dy, ty in enumerate(taps):
        for dx, tx in enumerate(taps):
            total += ty * tx * x[:, dy : dy + h, dx : dx + w]
    return total
