"""DCGAN generator: transposed 4x4 convolutions from 1x1, batch norm and ReLU between, tanh at the end. It has no w: ws is z.

Radford et al. 2015 (arXiv:1511.06434). Tensor names: `layers.{i}.conv.weight` [in, out, 4, 4], and for all but the last layer
`layers.{i}.norm.weight | bias | running_mean | running_var`; the last layer has `layers.{i}.conv.bias` (zeros where the source has none).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from installation.errors import ModelError
from installation.models.network import ZGenerator, keep, whole, wholes

BN_EPS = 1e-5


class DCGAN(ZGenerator):
    """z [N, z_dim] -> img of 4 * 2^len(channels) px. channels: widths after each hidden layer, from 4x4 up.

    The fast path has the batch norm folded into the convolutions, and the first layer, which sees one pixel, as a matrix product;
    `synthesis_slow` is its twin.
    """

    arch = "dcgan"
    cpu_channels_last = True  # 100 -> 64 px, two threads: 1.9 against 2.4 ms

    def __init__(self, *, z_dim: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.z_dim = whole("z_dim", z_dim, 1, 8192)
        channels = wholes("channels", channels, 1, 8192, least=1, most=9)
        self.config = {"z_dim": z_dim, "channels": channels}
        self.shape = (4 << len(channels), 4 << len(channels))
        self.depth = len(channels)
        widths = [z_dim, *channels, 3]
        self.layers = nn.ModuleList(
            Layer(widths[i], widths[i + 1], i, last=i == self.depth) for i in range(self.depth + 1)
        )

    def prepare(self) -> None:
        for layer in self.layers:
            assert isinstance(layer, Layer)
            layer.prepare(self.compute, self.memory_format)

    def synthesis(self, ws: Tensor) -> Tensor:
        """ws [N, 1, z_dim] float32 -> img [N, 3, size, size] float32, -1..1."""
        x = ws[:, 0, :, None, None].to(self.compute)
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i < self.depth:
                x = x.relu_()
        return x.float().tanh_()

    def synthesis_slow(self, ws: Tensor) -> Tensor:
        """As trained: convolution, batch norm over the running statistics, ReLU. float32."""
        x = ws[:, 0, :, None, None]
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            x = layer.conv(x)
            if layer.norm is not None:
                x = layer.norm(x)
            x = torch.relu(x) if i < self.depth else torch.tanh(x)
        return x

    @staticmethod
    def config_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """The constructor arguments, read from the shapes of a state dict with our names. ModelError if it is none."""
        shapes = []
        while (name := f"layers.{len(shapes)}.conv.weight") in tensors:
            shapes.append(tuple(tensors[name].shape))
        if len(shapes) < 2 or any(len(shape) != 4 for shape in shapes):
            raise ModelError(
                "not a DCGAN state dict: no tensors layers.0.conv.weight, layers.1.conv.weight, ... of four dimensions"
            )
        return {"z_dim": shapes[0][0], "channels": [shape[1] for shape in shapes[:-1]]}


class BatchNorm(nn.Module):
    """Batch norm over the running statistics; torch's own also wants a counter of training batches in every state dict."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(channels)), nn.Parameter(torch.empty(channels))
        self.register_buffer("running_mean", torch.empty(channels))
        self.register_buffer("running_var", torch.empty(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=BN_EPS)


class Layer(nn.Module):
    """One transposed convolution, 4x4: index 0 turns 1x1 into 4x4, the others double the size."""

    kernel: Tensor
    shift: Tensor

    def __init__(self, inputs: int, outputs: int, index: int, *, last: bool) -> None:
        super().__init__()
        self.first = index == 0
        stride, padding = (1, 0) if self.first else (2, 1)
        self.conv = nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=last)
        self.norm = None if last else BatchNorm(outputs)

    def prepare(self, dtype: torch.dtype, memory_format: torch.memory_format) -> None:
        kernel, shift = self.conv.weight, self.conv.bias
        if self.norm is not None:
            scale = self.norm.weight / (self.norm.running_var + BN_EPS).sqrt()
            kernel = kernel * scale[None, :, None, None]
            shift = self.norm.bias - self.norm.running_mean * scale
        assert shift is not None
        if self.first:
            kernel = kernel.flatten(1).T  # [outputs * 16, inputs]
            shift = shift.repeat_interleave(16)
        else:
            kernel = kernel.contiguous(memory_format=memory_format)
        keep(self, "kernel", kernel.to(dtype).clone())
        keep(self, "shift", shift.to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        if self.first:
            return F.linear(x.flatten(1), self.kernel, self.shift).unflatten(1, (-1, 4, 4))
        return F.conv_transpose2d(x, self.kernel, self.shift, stride=2, padding=1)
