"""Progressive GAN generator: z on the hypersphere, plain 3x3 convolutions with pixel norm, nearest-neighbour doubling. It has no w.

Karras et al. 2018 (arXiv:1710.10196), as pytorch_GAN_zoo writes it: no tanh at the end. ws is z scaled to a mean square of 1; psi scales
that, which a network that normalises z itself would undo. The weights are stored with their equalised learning rate multiplied in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from installation.models.network import ZGenerator, keep, no_state_dict, whole, wholes
from installation.models.stylegan2 import normalise

SLOPE = 0.2


class PGGAN(ZGenerator):
    """channels: width of each resolution from 4x4 up. Names: `linear`, `first`, `blocks.{i}.conv0 | conv1`, `torgb`."""

    arch = "pggan"
    cpu_channels_last = True

    def __init__(self, *, z_dim: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.z_dim = whole("z_dim", z_dim, 1, 8192)
        channels = wholes("channels", channels, 1, 8192, least=1, most=9)
        self.config = {"z_dim": z_dim, "channels": channels}
        self.shape = (4 << len(channels) - 1, 4 << len(channels) - 1)
        self.linear = nn.Linear(z_dim, 16 * channels[0])
        self.first = Conv(channels[0], channels[0], 3)
        self.blocks = nn.ModuleList(Block(channels[i], channels[i + 1]) for i in range(len(channels) - 1))
        self.torgb = Conv(channels[-1], 3, 1)

    def mapping(self, z: Tensor) -> Tensor:
        """z [N, z_dim] -> ws [N, 1, z_dim]: z scaled to a mean square of 1."""
        return normalise(z)[:, None, :]

    def prepare(self) -> None:
        for module in self.modules():
            if isinstance(module, Conv):
                module.prepare(self.compute, self.memory_format)

    def synthesis(self, ws: Tensor) -> Tensor:
        """ws [N, 1, z_dim] float32 -> img [N, 3, size, size] float32."""
        x = F.leaky_relu(self.linear(ws[:, 0]), SLOPE).unflatten(1, (-1, 4, 4))
        x = normalise(x).to(self.compute, memory_format=self.memory_format)
        x = self.first.activated(x)
        for block in self.blocks:
            x = block(x)
        return self.torgb(x).float()

    @staticmethod
    def config_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """The constructor arguments, read from the shapes of a state dict with our names. ModelError if it is none."""
        try:
            channels = [tensors["first.weight"].shape[0]]
            while (name := f"blocks.{len(channels) - 1}.conv0.weight") in tensors:
                channels.append(tensors[name].shape[0])
            return {"z_dim": tensors["linear.weight"].shape[1], "channels": channels}
        except (KeyError, IndexError) as error:
            raise no_state_dict("a PGGAN", error) from error


class Block(nn.Module):
    """Twice the size, two convolutions."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv0, self.conv1 = Conv(inputs, outputs, 3), Conv(outputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv1.activated(self.conv0.activated(F.interpolate(x, scale_factor=2.0)))


class Conv(nn.Module):
    """A convolution of the same size; `activated`: with leaky ReLU and pixel norm."""

    kernel: Tensor
    shift: Tensor

    def __init__(self, inputs: int, outputs: int, side: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, side, side))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.padding = side // 2

    def prepare(self, dtype: torch.dtype, memory_format: torch.memory_format) -> None:
        keep(self, "kernel", self.weight.to(dtype).contiguous(memory_format=memory_format).clone())
        keep(self, "shift", self.bias.to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel, self.shift, padding=self.padding)

    def activated(self, x: Tensor) -> Tensor:
        """[N, inputs, h, w] -> [N, outputs, h, w] of the same dtype; each pixel has a mean square of 1."""
        x = F.leaky_relu(self(x), SLOPE)
        # Squares of half precision leave its range above 255.
        return (x.float() * (x.float().square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()).to(x.dtype)
