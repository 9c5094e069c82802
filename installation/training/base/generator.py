"""The generator while it is trained: same tensor names and same pictures as `models.stylegan2.StyleGAN2`, with gradients.

That one computes from tensors prepared once, which is right for a wall and wrong for weights that move at every step. A test holds
the two together. No noise inputs: a walk through w stands still where w does. Karras et al. 2020 (arXiv:1912.04958).
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from installation.models.stylegan2 import FULL_PRECISION_UP_TO, MAPPING_LR, StyleGAN2, normalise
from installation.models.stylegan2_layers import blur_kernel
from installation.training.base.config import BaseConfig
from installation.training.base.layers import EPS, SQRT2, Linear, lrelu

# Pictures from which w_avg is taken; its error is 1/64 of the spread of w.
_CENTRE_FROM = 4096


class Generator(nn.Module):
    """z [N, z_dim] float32 -> img [N, 3, size, size] float32, about -1..1.

    half: dtype of resolutions above 32 px (bfloat16 on CUDA), None for float32 throughout. layout: memory format of weights and features.
    """

    def __init__(
        self,
        config: BaseConfig,
        half: torch.dtype | None = None,
        layout: torch.memory_format = torch.channels_last,
    ) -> None:
        super().__init__()
        self.z_dim, self.w_dim = config.z_dim, config.w_dim
        self.num_ws = 2 * len(config.channels)
        self.mapping = Mapping(config)
        self.synthesis = Synthesis(config, half, layout)
        self.to(memory_format=layout)  # pyright: ignore[reportCallIssue] - not in torch's stubs

    def forward(self, z: Tensor) -> Tensor:
        w = self.mapping(z)
        return self.synthesis(w[:, None].expand(-1, self.num_ws, -1))

    @torch.no_grad()
    def take(self, tensors: dict[str, Tensor]) -> None:
        """Copy tensors of any float dtype into the parameters. KeyError if one is missing, ValueError if it has another shape."""
        for name, parameter in self.named_parameters():
            tensor = tensors[name]
            # copy_ would spread a smaller tensor over a larger one.
            if tensor.shape != parameter.shape:
                raise ValueError(f"{name} has shape {list(tensor.shape)}, {list(parameter.shape)} expected")
            parameter.copy_(tensor)

    @torch.no_grad()
    def centre(self) -> None:
        """Set mapping.w_avg to the mean w of fixed latents.

        Computed when it is wanted: a running mean would trail behind the mapping, and would be one more thing to resume exactly.
        """
        rng = torch.Generator().manual_seed(0)
        z = torch.randn(_CENTRE_FROM, self.z_dim, generator=rng)
        self.mapping.w_avg.copy_(self.mapping(z.to(self.mapping.w_avg.device)).mean(dim=0))


def exported_config(config: BaseConfig) -> dict[str, Any]:
    """Constructor arguments of the StyleGAN2 that this generator becomes."""
    return {
        "z_dim": config.z_dim,
        "w_dim": config.w_dim,
        "channels": list(config.channels),
        "mapping_layers": config.mapping_layers,
        "noise": False,
    }


def exported(generator: Generator, config: BaseConfig) -> StyleGAN2:
    """The generator as the wall runs it, on the CPU, ready; it shares nothing with the one in training."""
    network = StyleGAN2(**exported_config(config))
    network.load_state_dict(generator.state_dict())
    network.requires_grad_(False).eval()
    network.prepare()
    return network


class Mapping(nn.Module):
    """z -> w [N, w_dim] float32 on every device."""

    w_avg: Tensor

    def __init__(self, config: BaseConfig) -> None:
        super().__init__()
        self.register_buffer("w_avg", torch.zeros(config.w_dim))
        widths = [config.z_dim, *[config.w_dim] * config.mapping_layers]
        self.layers = config.mapping_layers
        for i in range(self.layers):
            self.add_module(f"fc{i}", Linear(widths[i], widths[i + 1], lr=MAPPING_LR))

    def forward(self, z: Tensor) -> Tensor:
        x = normalise(z)
        for i in range(self.layers):
            x = lrelu(self.get_submodule(f"fc{i}")(x)) * SQRT2
        return x


class Synthesis(nn.Module):
    """ws [N, num_ws, w_dim] float32 -> img float32. Blocks b4, b8, ... by resolution."""

    fir: Tensor

    def __init__(self, config: BaseConfig, half: torch.dtype | None, layout: torch.memory_format) -> None:
        super().__init__()
        self.sizes = [4 << i for i in range(len(config.channels))]
        self.register_buffer("fir", blur_kernel(torch.device("cpu"), gain=4.0), persistent=False)
        for i, size in enumerate(self.sizes):
            inputs = config.channels[i - 1] if i else 0
            dtype = half if half is not None and size > FULL_PRECISION_UP_TO else torch.float32
            self.add_module(f"b{size}", Block(inputs, config.channels[i], config.w_dim, dtype, layout))

    def forward(self, ws: Tensor) -> Tensor:
        x: Tensor | None = None
        img: Tensor | None = None
        for i, size in enumerate(self.sizes):
            x, rgb = self.get_submodule(f"b{size}")(
                x, ws[:, max(2 * i - 1, 0)], ws[:, 2 * i], ws[:, 2 * i + 1], self.fir
            )
            if img is not None:
                grown = F.conv_transpose2d(img, self.fir.expand(3, 1, 4, 4), stride=2, padding=1, groups=3)
                rgb = grown + rgb
            img = rgb
        assert img is not None
        return img


class Block(nn.Module):
    """One resolution: conv0 (doubles the size; not in the first), conv1, torgb. The first owns the constant."""

    def __init__(self, inputs: int, outputs: int, w_dim: int, dtype: torch.dtype, layout: torch.memory_format) -> None:
        super().__init__()
        self.dtype, self.layout = dtype, layout
        self.conv0 = ModulatedConv(inputs, outputs, w_dim, up=True) if inputs else None
        if not inputs:
            self.const = nn.Parameter(torch.randn(outputs, 4, 4))
        self.conv1 = ModulatedConv(outputs, outputs, w_dim, up=False)
        self.torgb = ToRGB(outputs, w_dim)

    def forward(self, x: Tensor | None, w0: Tensor, w1: Tensor, w2: Tensor, fir: Tensor) -> tuple[Tensor, Tensor]:
        """-> features in this block's dtype, colour float32."""
        if self.conv0 is None or x is None:
            y = self.const[None].expand(len(w1), -1, -1, -1)
            y = y.to(self.dtype).contiguous(memory_format=self.layout)
        else:
            y = self.conv0(x.to(self.dtype), w0, fir)
        y = self.conv1(y, w1, fir)
        return y, self.torgb(y, w2)


class ModulatedConv(nn.Module):
    """3x3 modulated, demodulated convolution, bias and leaky ReLU in x's dtype; styles and demodulation in float32.

    It scales what goes in and what comes out instead of the weights: the same algebra with one plain convolution for the batch.
    """

    def __init__(self, inputs: int, outputs: int, w_dim: int, *, up: bool) -> None:
        super().__init__()
        self.up = up
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.affine = Linear(w_dim, inputs, bias=1.0)

    def forward(self, x: Tensor, w: Tensor, fir: Tensor) -> Tensor:
        dtype = x.dtype
        s = self.affine(w)
        d = (F.linear(s.square(), self.weight.square().sum(dim=(2, 3))) + EPS).rsqrt() * SQRT2
        x = x * s.to(dtype)[:, :, None, None]
        x = doubled(x, self.weight, fir) if self.up else F.conv2d(x, self.weight.to(dtype), padding=1)
        # The leaky ReLU's gain of √2 rides in d and in the bias.
        x = torch.addcmul((self.bias * SQRT2).to(dtype)[None, :, None, None], x, d.to(dtype)[:, :, None, None])
        return lrelu(x)


def doubled(x: Tensor, weight: Tensor, fir: Tensor) -> Tensor:
    """x [N, inputs, H, W] -> [N, outputs, 2H, 2W]: transposed convolution by weight [outputs, inputs, 3, 3] at stride 2, low-passed.

    A CPU does one after the other, which is least arithmetic; a GPU both at once by their product, of 6x6, which is least memory.
    """
    weight = weight.transpose(0, 1)
    if x.is_cuda:
        return F.conv_transpose2d(x, products(weight, fir).to(x.dtype), stride=2, padding=2)
    x = F.conv_transpose2d(x, weight.to(x.dtype), stride=2)
    channels = x.shape[1]
    return F.conv2d(x, fir.to(x.dtype).expand(channels, 1, 4, 4), padding=1, groups=channels)


def products(weight: Tensor, fir: Tensor) -> Tensor:
    """Kernels [A, B, 3, 3] and a filter [1, 1, 4, 4] -> their products [A, B, 6, 6]."""
    places = F.conv2d(torch.eye(9, device=fir.device).view(9, 1, 3, 3), fir, padding=3)
    return (weight.reshape(-1, 9) @ places.view(9, 36)).view(*weight.shape[:2], 6, 6)


class ToRGB(nn.Module):
    """1x1 modulated convolution to three channels, without demodulation, -> float32. As a product of matrices, one for each picture."""

    def __init__(self, inputs: int, w_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.affine = Linear(w_dim, inputs, bias=1.0)
        self.gain = 1.0 / math.sqrt(inputs)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        n, inputs, height, width = x.shape
        weight = (self.weight[None, :, :, 0, 0] * (self.affine(w) * self.gain)[:, None, :]).to(x.dtype)
        rows = x.permute(0, 2, 3, 1).reshape(n, height * width, inputs)
        y = torch.bmm(rows, weight.transpose(1, 2)).float() + self.bias
        return y.reshape(n, height, width, 3).permute(0, 3, 1, 2)
