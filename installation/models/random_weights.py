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
from installation.models.srvgg import SRVGG
from installation.models.stylegan2 import StyleGAN2


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
