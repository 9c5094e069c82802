"""Adversarial losses and the penalties that keep a discriminator smooth. Pure functions of tensors; all give 0-d float32.

`rp`: relativistic pairing loss, each fake against a real picture of the same row (Jolicoeur-Martineau 2018, arXiv:1807.00734; with
R1 + R2 it converges: Huang et al. 2024, arXiv:2501.05441). `ns`: the non-saturating loss of Goodfellow et al. 2014 (arXiv:1406.2661).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

LossKind = Literal["rp", "ns"]


def discriminator_loss(kind: LossKind, real: Tensor, fake: Tensor) -> Tensor:
    """Logits of real and generated pictures, of one shape -> the discriminator's loss. ln 2 (rp), 2 ln 2 (ns): it knows nothing."""
    real, fake = real.float(), fake.float()
    if kind == "rp":
        return F.softplus(fake - real).mean()
    return F.softplus(fake).mean() + F.softplus(-real).mean()


def generator_loss(kind: LossKind, fake: Tensor, real: Tensor | None) -> Tensor:
    """Logits of generated pictures, and for `rp` of as many real ones (which need no gradient) -> the generator's loss."""
    if kind == "ns":
        return F.softplus(-fake.float()).mean()
    if real is None:
        raise ValueError("the relativistic loss compares with real pictures")
    return F.softplus(real.float() - fake.float()).mean()


def gradient_penalty(logits: Tensor, img: Tensor) -> Tensor:
    """Mean over pictures of |d logits / d img|^2, differentiable: R1 for real pictures, R2 for generated ones. Before its factor γ/2.

    img [N, ...] float32 is what the logits [N] were computed from, with requires_grad. Mescheder et al. 2018 (arXiv:1801.04406).
    """
    (gradient,) = torch.autograd.grad(logits.float().sum(), img, create_graph=True)
    return gradient.float().square().flatten(1).sum(dim=1).mean()


def difference_penalty(logits: Tensor, moved: Tensor, sigma: float) -> Tensor:
    """Mean over pictures of ((D(x + σn) - D(x)) / σ)^2, which for standard normal n is `gradient_penalty` to first order.

    It needs no second derivative, so it compiles; its noise makes it poor for batches below 32. moved: logits of x + σn.
    Lin et al. 2025 (arXiv:2501.08316).
    """
    return ((moved - logits).float() / sigma).square().mean()


def path_lengths(img: Tensor, ws: Tensor, noise: Tensor) -> Tensor:
    """[N]: how far each picture moves when its w moves, |J^T y| for a random picture y. Karras et al. 2020 (arXiv:1912.04958), 3.2.

    img [N,3,H,W] made from ws [N,num_ws,w_dim] with gradients; noise: y, standard normal, of img's shape.
    """
    y = noise / (img.shape[2] * img.shape[3]) ** 0.5
    (gradient,) = torch.autograd.grad((img.float() * y).sum(), ws, create_graph=True)
    return gradient.float().square().sum(dim=2).mean(dim=1).sqrt()


def path_penalty(lengths: Tensor, mean: Tensor, decay: float = 0.01) -> tuple[Tensor, Tensor]:
    """(penalty, new mean): squared distance of the lengths from their running mean, which moves by `decay` towards this batch's."""
    mean = mean.lerp(lengths.detach().mean(), decay)
    return (lengths - mean).square().mean(), mean
