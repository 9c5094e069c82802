"""FastGAN generator: nearest-neighbour doubling, gated convolutions, and small layers that gate large ones. It has no w: ws is z.

Liu et al. 2021 (arXiv:2101.04775); also the generator of Projected GAN (Sauer et al. 2021, arXiv:2111.01007), which scales z to a mean
square of 1 and can have classes, which scale and shift every layer. Spectral norm and batch norm are multiplied into the convolutions
when a file is imported; the noise that the original draws for every picture is one constant map a layer. Tensor names: `start`,
`blocks.{i}.layers.{j}`, `gates.{k}`, `final`, `embed` in a conditional network.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from installation.errors import ModelError
from installation.models.network import ZGenerator, flag, keep, whole, wholes
from installation.models.stylegan2 import normalise

MAX_LEVELS = 9  # 1024 px


class FastGAN(ZGenerator):
    """channels: width of each resolution from 4x4 up. double: for each doubling, whether it has two convolutions with noise, or one
    without. gates: pairs of resolutions, as positions in `channels`: the first one's features gate the second's. normalise: scale z to a
    mean square of 1. tanh: at the end. c_dim, embedding: classes of a conditional network and the width of their embedding, else 0.
    """

    arch = "fastgan"
    cpu_channels_last = True

    def __init__(
        self,
        *,
        z_dim: int,
        channels: Sequence[int],
        double: Sequence[bool],
        gates: Sequence[Sequence[int]],
        normalise: bool,
        tanh: bool,
        c_dim: int = 0,
        embedding: int = 0,
    ) -> None:
        super().__init__()
        self.z_dim, self.c_dim = whole("z_dim", z_dim, 1, 8192), whole("c_dim", c_dim, 0, 65536)
        if bool(c_dim) != bool(whole("embedding", embedding, 0, 8192)):
            raise ModelError("c_dim and embedding are both 0 or neither")
        channels = wholes("channels", channels, 1, 8192, least=2, most=MAX_LEVELS)
        if not isinstance(double, (list, tuple)) or len(double) != len(channels) - 1:
            raise ModelError(f"double must be a list of {len(channels) - 1} truths")
        if not isinstance(gates, (list, tuple)) or len(gates) > 9:
            raise ModelError("gates must be a list of at most 9 pairs")
        pairs = [wholes("a gate", pair, 0, len(channels) - 1, least=2, most=2) for pair in gates]
        if any(small >= large for small, large in pairs) or len({large for _, large in pairs}) < len(pairs):
            raise ModelError(f"gates must lead from a smaller resolution to a larger one, one each, not {pairs}")
        self.normalise, self.tanh = flag("normalise", normalise), flag("tanh", tanh)
        self.config = {
            "z_dim": z_dim,
            "channels": channels,
            "double": [flag("double", two) for two in double],
            "gates": pairs,
            "normalise": normalise,
            "tanh": tanh,
            "c_dim": c_dim,
            "embedding": embedding,
        }
        self.shape = (4 << len(channels) - 1, 4 << len(channels) - 1)
        self.start = nn.Linear(z_dim, 32 * channels[0])
        self.blocks = nn.ModuleList(
            Block(channels[i], channels[i + 1], 8 << i, embedding, two=two)
            for i, two in enumerate(self.config["double"])
        )
        self.gates = nn.ModuleList(Gate(channels[small], channels[large]) for small, large in pairs)
        self.sources = {large: (small, gate) for (small, large), gate in zip(pairs, self.gates, strict=True)}
        self.final = nn.Conv2d(channels[-1], 3, 3, padding=1)
        if c_dim:
            self.embed = nn.Linear(c_dim, embedding, bias=False)

    def mapping(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """z [N, z_dim] -> ws [N, 1, z_dim + embedding]."""
        return super().mapping(normalise(z) if self.normalise else z, c)

    def prepare(self) -> None:
        for module in self.modules():
            if isinstance(module, (GatedConv, Gate)):
                module.prepare(self.compute, self.memory_format)
        keep(self, "kernel", self.final.weight.to(self.compute).contiguous(memory_format=self.memory_format).clone())
        assert self.final.bias is not None
        keep(self, "shift", self.final.bias.to(self.compute))

    def synthesis(self, ws: Tensor) -> Tensor:
        """ws [N, 1, z_dim + embedding] float32 -> img [N, 3, size, size] float32."""
        z, of_class = ws[:, 0, : self.z_dim], ws[:, 0, self.z_dim :]
        x = F.glu(self.start(z).unflatten(1, (-1, 4, 4)), dim=1)
        features = [x.to(self.compute, memory_format=self.memory_format)]
        for i, block in enumerate(self.blocks):
            x = block(features[-1], of_class)
            if i + 1 in self.sources:
                small, gate = self.sources[i + 1]
                x = x * gate(features[small])
            features.append(x)
        img = F.conv2d(features[-1], self.get_buffer("kernel"), self.get_buffer("shift"), padding=1).float()
        return img.tanh() if self.tanh else img


class Block(nn.Module):
    """Twice the size, then one or two gated convolutions."""

    def __init__(self, inputs: int, outputs: int, resolution: int, embedding: int, *, two: bool) -> None:
        super().__init__()
        layers = [GatedConv(inputs, outputs, resolution if two else 0, embedding)]
        if two:
            layers.append(GatedConv(outputs, outputs, resolution, embedding))
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, of_class: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2.0)
        for layer in self.layers:
            x = layer(x, of_class)
        return x


class GatedConv(nn.Module):
    """3x3 convolution to twice the outputs, one half of which gates the other. resolution: of its noise map, 0 for none. embedding: width
    of what the class is told by, 0 for none; it scales and shifts what the convolution and the noise make.
    """

    kernel: Tensor
    shift: Tensor

    def __init__(self, inputs: int, outputs: int, resolution: int, embedding: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(2 * outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.empty(2 * outputs))
        self.has_noise = resolution > 0
        if self.has_noise:
            self.gain = nn.Parameter(torch.empty(2 * outputs))
            self.noise = nn.Parameter(torch.empty(resolution, resolution))
        self.affine = nn.Linear(embedding, 4 * outputs) if embedding else None

    def prepare(self, dtype: torch.dtype, memory_format: torch.memory_format) -> None:
        keep(self, "kernel", self.weight.to(dtype).contiguous(memory_format=memory_format).clone())
        keep(self, "shift", self.bias.to(dtype))
        if self.has_noise:
            keep(self, "grain", self.noise.to(dtype))
            keep(self, "spread", self.gain[:, None, None].to(dtype))

    def forward(self, x: Tensor, of_class: Tensor) -> Tensor:
        """of_class: [N, embedding] float32."""
        x = F.conv2d(x, self.kernel, self.shift, padding=1)
        if self.has_noise:
            x = torch.addcmul(x, self.get_buffer("spread"), self.get_buffer("grain"))
        if self.affine is not None:
            gain, shift = self.affine(of_class).to(x.dtype)[:, :, None, None].chunk(2, dim=1)
            x = torch.addcmul(shift, x, gain)
        return F.glu(x, dim=1)


class Gate(nn.Module):
    """Skip-layer excitation: small features, averaged to 4x4 -> a factor 0..1 for each channel of the large ones, [N, outputs, 1, 1]."""

    kernel: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.squeeze = nn.Parameter(torch.empty(outputs, inputs, 4, 4))
        self.excite = nn.Parameter(torch.empty(outputs, outputs, 1, 1))

    def prepare(self, dtype: torch.dtype, memory_format: torch.memory_format) -> None:
        keep(self, "kernel", self.squeeze.to(dtype).clone())
        keep(self, "mix", self.excite[:, :, 0, 0].to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(F.conv2d(F.adaptive_avg_pool2d(x, 4), self.kernel)).flatten(1)
        return F.linear(x, self.get_buffer("mix")).sigmoid()[:, :, None, None]
