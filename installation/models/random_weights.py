"""Networks with seeded random weights: for tests, benchmarks and a wall without a model. Initialised as for training."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from installation.models.dcgan import DCGAN
from installation.models.mobilestylegan import MobileStyleGAN
from installation.models.network import N
from installation.models.r3gan import R3GAN
from installation.models.srvgg import SRVGG
from installation.models.stylegan2 import StyleGAN2
from installation.models.stylegan3 import StyleGAN3


def stylegan2(seed: int = 0, **config: Any) -> StyleGAN2:
    """A StyleGAN2; by default 32 px and very small. config: constructor arguments to change."""

    def fill(name: str, tensor: Tensor, rng: torch.Generator) -> None:
        if name.endswith("affine.bias"):
            tensor.fill_(1.0)
        elif name.endswith("noise_strength"):
            tensor.fill_(0.1)
        elif name.endswith(".bias") or name == "mapping.w_avg":
            tensor.normal_(0, 0.1, generator=rng)
        elif name.startswith("mapping.fc"):
            tensor.normal_(0, 100.0, generator=rng)  # stored divided by the mapping's learning rate of 0.01
        else:
            tensor.normal_(0, 1, generator=rng)

    small: dict[str, Any] = {
        "z_dim": 16,
        "w_dim": 16,
        "channels": [16, 16, 12, 8],
        "mapping_layers": 2,
        "conv_clamp": 256.0,
    }
    return _filled(StyleGAN2(**(small | config)), seed, fill)


def mobilestylegan(seed: int = 0, **config: Any) -> MobileStyleGAN:
    """A MobileStyleGAN; by default 32 px and very small."""

    def fill(name: str, tensor: Tensor, rng: torch.Generator) -> None:
        if name.endswith(("affine.bias", "up.bias")):
            tensor.fill_(1.0)
        elif tensor.ndim > 1 and not name.endswith(("const", "noise")):
            tensor.normal_(0, 1 / math.sqrt(tensor[0].numel()), generator=rng)
        else:
            tensor.normal_(0, 1 if name.endswith("const") else 0.1, generator=rng)

    small: dict[str, Any] = {"z_dim": 16, "w_dim": 16, "channels": [16, 16, 12], "mapping_layers": 2}
    return _filled(MobileStyleGAN(**(small | config)), seed, fill)


def stylegan3(seed: int = 0, **config: Any) -> StyleGAN3:
    """A StyleGAN3; by default T, 16 px and very small, with windowed sines as filters. config: constructor arguments to change."""
    small: dict[str, Any] = {"z_dim": 16, "w_dim": 16, "resolution": 16, "channels": [12, 12, 12, 10, 8, 8]}
    network = StyleGAN3(**(small | config))

    def fill(name: str, tensor: Tensor, rng: torch.Generator) -> None:
        if name.endswith(("up_filter", "down_filter")):
            taps = torch.arange(tensor.shape[0]) - (tensor.shape[0] - 1) / 2
            places = taps if tensor.ndim == 1 else (taps[:, None].square() + taps.square()).sqrt()
            window = torch.sinc(places / 2) * torch.cos(math.pi / 2 * (places / (tensor.shape[0] / 2 + 1)).clamp(-1, 1))
            tensor.copy_(window / window.sum())
        elif name.endswith("magnitude_ema"):
            tensor.fill_(1.0)
        elif name == "synthesis.input.transform":
            tensor.copy_(torch.eye(3))
        elif name.endswith("input.freqs"):
            tensor.uniform_(-network.plan[0].cutoff, network.plan[0].cutoff, generator=rng).mul_(0.7)
        elif name.endswith("input.affine.bias"):
            tensor.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
        elif name.endswith("input.affine.weight"):
            tensor.normal_(0, 0.1, generator=rng)
        elif name.endswith("affine.bias"):
            tensor.fill_(1.0)
        elif name.endswith(".bias") or name == "mapping.w_avg":
            tensor.normal_(0, 0.1, generator=rng)
        elif name.startswith("mapping.fc"):
            tensor.normal_(0, 100.0, generator=rng)  # stored divided by the mapping's learning rate of 0.01
        else:
            tensor.normal_(0, 1, generator=rng)

    return _filled(network, seed, fill)


def r3gan(seed: int = 0, **config: Any) -> R3GAN:
    """An R3GAN; by default 32 px and very small. config: constructor arguments to change."""

    def fill(name: str, tensor: Tensor, rng: torch.Generator) -> None:
        if name.endswith("taps"):
            row = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
            tensor.copy_(torch.outer(row, row))
        elif "bias" in name:
            tensor.normal_(0, 0.1, generator=rng)
        else:
            tensor.normal_(0, 1 / math.sqrt(tensor[0].numel()), generator=rng)

    small: dict[str, Any] = {"z_dim": 16, "widths": [16, 16, 12, 8], "groups": [4, 4, 3, 2], "blocks": [1, 2, 1, 1]}
    return _filled(R3GAN(**(small | config)), seed, fill)


def dcgan(seed: int = 0, **config: Any) -> DCGAN:
    """A DCGAN; by default 32 px and very small."""

    def fill(name: str, tensor: Tensor, rng: torch.Generator) -> None:
        if name.endswith(("norm.weight", "running_var")):
            tensor.uniform_(0.5, 1.5, generator=rng)
        elif name.endswith("conv.weight"):
            # A pixel sees 4 of the 16 taps, the first layer's pixels one.
            taps = 1 if name.startswith("layers.0.") else 4
            tensor.normal_(0, 1 / math.sqrt(taps * tensor.shape[0]), generator=rng)
        else:
            tensor.normal_(0, 0.1, generator=rng)

    small: dict[str, Any] = {"z_dim": 16, "channels": [16, 12, 8]}
    return _filled(DCGAN(**(small | config)), seed, fill)


def srvgg(seed: int = 0, **config: Any) -> SRVGG:
    """A compact upscaler; by default x2 and very small."""

    def fill(name: str, tensor: Tensor, rng: torch.Generator) -> None:
        if tensor.ndim == 4:
            tensor.normal_(0, 1 / math.sqrt(tensor[0].numel()), generator=rng)
        elif name.endswith("weight"):
            tensor.uniform_(0.1, 0.4, generator=rng)
        else:
            tensor.normal_(0, 0.1, generator=rng)

    small: dict[str, Any] = {"num_feat": 8, "num_conv": 2, "scale": 2}
    return _filled(SRVGG(**(small | config)), seed, fill)


def _filled(network: N, seed: int, fill: Callable[[str, Tensor, torch.Generator], None]) -> N:
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            fill(name, tensor, rng)
    network.requires_grad_(False).eval()
    network.prepare()
    return network
