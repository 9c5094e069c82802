"""Each family of generators as a pair: our network, and a plain re-computation of the same pictures. Random weights, published widths.

The plain sides are the twins that the tests compare pictures with: `*_reference.py` and `synthesis_slow` in the package, and for other
people's training code the layouts in `tests/models/original_layouts.py`, out of which the network comes through its importer, as an
artist's file does. StyleGAN2 of TensorFlow and of rosinality become the network of `stylegan2`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from installation.models import random_weights, stylegan2_reference, stylegan3_reference
from installation.models.fastgan import FastGAN
from installation.models.importers import fastgan as fastgan_files
from installation.models.importers import lightweightgan as lightweightgan_files
from installation.models.importers import lucidrains as lucidrains_files
from installation.models.importers import pggan as pggan_files
from installation.models.network import Generator, restore
from tests.models import original_layouts


@dataclass(frozen=True, slots=True)
class Pair:
    """plain: ws [1, num_ws, w_dim] -> img [1, 3, size, size], what `network.synthesis` gives."""

    network: Generator
    plain: Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Family:
    """make: the pair of a side, px. published: the sides of the published networks that are measured; at others the family's own layout
    goes on."""

    make: Callable[[int], Pair]
    published: tuple[int, ...] = (256, 1024)


def stylegan2(size: int) -> Pair:
    """The paper's configuration F."""
    channels = [min(32768 >> level, 512) for level in range(2, size.bit_length())]
    network = random_weights.stylegan2(z_dim=512, w_dim=512, channels=channels, mapping_layers=8)
    return Pair(network, partial(stylegan2_reference.synthesis, network))


def stylegan3(size: int, *, kernel: int, base: int, most: int) -> Pair:
    """The published T (kernel 3) and R (kernel 1)."""
    channels = [min(round(base / 2 / (2 * (size / 4) ** min(i / 12, 1))), most) for i in range(14)]
    options = {"kernel": kernel, "radial": kernel == 1}
    network = random_weights.stylegan3(z_dim=512, w_dim=512, resolution=size, channels=channels, **options)
    return Pair(network, partial(stylegan3_reference.synthesis, network))


def r3gan(size: int) -> Pair:
    """FFHQ-256. A larger picture has more stages, each of half the width of the one before, as the last three of the published are."""
    widths = [768, 768, 768, 768, 384, 192, 96, 48, 24][: size.bit_length() - 2]
    groups = [max(width // 8, 1) for width in widths]
    network = random_weights.r3gan(z_dim=64, widths=widths, groups=groups, blocks=[2] * len(widths))
    return Pair(network, network.synthesis_slow)


def mobilestylegan(size: int) -> Pair:
    """The widths of `random-face` at 1024 px; smaller ones leave the last levels out."""
    channels = [512, 512, 512, 512, 512, 256, 128, 64][: size.bit_length() - 3]
    network = random_weights.mobilestylegan(z_dim=512, w_dim=512, channels=channels, mapping_layers=8)
    return Pair(network, network.synthesis_slow)


def lucidrains(size: int, *, attention: Sequence[int] = (), constant: bool = True) -> Pair:
    """stylegan2-pytorch as it is trained without options: capacity 16, at most 512 channels. The twin's attention is a loop over places."""
    channels = [min(16 * size // 2 >> level, 512) for level in range(size.bit_length() - 2)]
    state = original_layouts.lucidrains(channels, z_dim=512, layers=8, attention=attention, constant=constant)
    network, tensors = _converted(lucidrains_files.convert({"GAN": state}, where=""))

    def plain(ws: Tensor) -> Tensor:
        return original_layouts.lucidrains_picture(state, ws, tensors["noise"]) * 2 - 1

    return Pair(network, plain)


def lightweightgan(size: int) -> Pair:
    """lightweight-gan's default widths, without its attention at 32 px: the twin's is a Python loop over places, no fair comparison."""
    channels = [512, 512, 256, 128, 64, 32, 3, 3][: size.bit_length() - 3]
    torch.manual_seed(0)
    original = original_layouts.LightweightGAN(256, channels, [], frequencies=False).eval()
    state = {f"GE.{name}": tensor for name, tensor in original.state_dict().items()}
    network, tensors = _converted(lightweightgan_files.convert({"GAN": state}, where=""))
    original_layouts.give_noise(
        original, {f"layers.{i}.0.3": tensors[f"layers.{i}.noise"] for i in range(len(channels))}
    )
    return Pair(network, lambda ws: original(ws[:, 0]) * 2 - 1)


def fastgan(size: int, *, width: int, projected: bool, classes: int = 0) -> Pair:
    """FastGAN (width 64) and the generator of Projected GAN (width 128), with statistics of batch norm that nobody had to estimate."""
    share = (16, 8, 4, 2, 2, 1, 0.5, 0.25, 0.125)[: size.bit_length() - 2]
    channels = [int(width * factor) for factor in share]
    torch.manual_seed(0)
    original = original_layouts.FastGAN(256, channels, projected=projected, classes=classes)
    original_layouts.settle(original)
    original.eval()
    plain = fastgan_files.Plain(fastgan_files.numbered(original.state_dict()), normalise=projected)
    original_layouts.give_noise(original, plain.noise)
    network = restore(FastGAN(**plain.config), plain.baked())

    def slow(ws: Tensor) -> Tensor:
        # The picture is of the same z: the twin's own scaling of a scaled z changes nothing.
        z, of_class = ws[:, 0, :256], ws[:, 0, 256:]
        img = original(z, of_class if classes else None)
        return img.tanh() if network.tanh else img

    return Pair(network, slow)


def pggan(size: int) -> Pair:
    """The paper's widths for CelebA-HQ."""
    channels = [512, 512, 512, 512, 256, 128, 64, 32, 16][: size.bit_length() - 2]
    torch.manual_seed(0)
    original = original_layouts.ProgressiveGAN(512, channels)
    network, _ = _converted(pggan_files.convert({"avgG": original.state_dict()}, where=""))
    return Pair(network, lambda ws: original(ws[:, 0]))


def dcgan(size: int) -> Pair:
    """The paper's 64 px: 512 to 64 channels, half as many at each doubling. A larger picture has more layers of 512 at the beginning."""
    channels = [512 >> max(i - size.bit_length() + 7, 0) for i in range(size.bit_length() - 3)]
    network = random_weights.dcgan(z_dim=100, channels=channels)
    return Pair(network, network.synthesis_slow)


def _converted(found: Sequence[Any]) -> tuple[Generator, dict[str, Tensor]]:
    """What an importer gave -> the network, and its tensors by our names."""
    kind, config, tensors, _ = found
    return restore(kind(**config), tensors), tensors


# StyleGAN3 last: where time runs out, it does so in the plain side of the largest.
FAMILIES = {
    "stylegan2": Family(stylegan2),
    "lucidrains": Family(lucidrains),
    "lightweightgan": Family(lightweightgan),
    "fastgan": Family(partial(fastgan, width=64, projected=False)),
    "projected-gan": Family(partial(fastgan, width=128, projected=True)),
    "pggan": Family(pggan),
    "r3gan": Family(r3gan, published=(256,)),
    "mobilestylegan": Family(mobilestylegan, published=(1024,)),
    "dcgan": Family(dcgan, published=(64,)),
    "stylegan3-t": Family(partial(stylegan3, kernel=3, base=32768, most=512)),
    "stylegan3-r": Family(partial(stylegan3, kernel=1, base=65536, most=1024)),
}
