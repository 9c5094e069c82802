"""The layers of a StyleGAN2 generator, fast path. Weights are stored unscaled ("equalised learning rate") and scaled in `prepare`."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from installation.models.network import keep

SQRT2 = math.sqrt(2)
EPS = 1e-8
# Largest value kept in half precision by a network that was trained without a clamp; half ends at 65504.
HALF_CLAMP = 30000.0


class FullyConnected(nn.Module):
    """Linear layer: x [N, inputs] -> x @ (weight * lr / sqrt(inputs)).T + bias * lr."""

    scaled: Tensor
    offset: Tensor

    def __init__(self, inputs: int, outputs: int, lr: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.lr = lr

    def prepare(self) -> None:
        keep(self, "scaled", self.weight * (self.lr / math.sqrt(self.weight.shape[1])))
        keep(self, "offset", self.bias * self.lr)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.scaled, self.offset)


class ModulatedConv(nn.Module):
    """3x3 modulated, demodulated convolution with noise, bias, leaky ReLU and clamp. shape: output height and width.

    up: doubles the size: transposed convolution on the small side, then the [1,3,3,1] blur.
    noise: whether the layer has a constant noise map. clamp: largest absolute output, None for none.
    """

    kernel: (
        Tensor  # what the convolution runs on: prepared dtype and memory format, inputs and outputs swapped where `up`
    )
    square_sum: Tensor  # [outputs, inputs] float32: kernel squared, summed over the 3x3
    shift: Tensor  # [1, outputs, 1, 1]: bias * sqrt(2)
    grain: Tensor  # [1, 1, height, width]: noise * strength * sqrt(2)
    fir: Tensor  # [outputs, 1, 4, 4]

    def __init__(
        self,
        inputs: int,
        outputs: int,
        w_dim: int,
        shape: tuple[int, int],
        *,
        up: bool,
        noise: bool,
        clamp: float | None,
    ) -> None:
        super().__init__()
        self.up, self.noise, self.clamp = up, noise, clamp
        self.compute = torch.float32
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.affine = FullyConnected(w_dim, inputs)
        if noise:
            self.register_buffer("noise_const", torch.empty(shape))
            self.noise_strength = nn.Parameter(torch.empty(()))

    def prepare(self, dtype: torch.dtype, memory_format: torch.memory_format) -> None:
        """dtype: of this layer's convolution; styles and demodulation stay float32."""
        self.compute = dtype
        self.affine.prepare()
        weight = self.weight
        if dtype != torch.float32:
            # Demodulation divides any constant factor out again; without this one, sums of 4,608 products overflow half.
            fan_in = weight[0].numel()
            largest = weight.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(EPS)
            weight = weight / (largest * math.sqrt(fan_in))
        keep(self, "square_sum", weight.square().sum(dim=(2, 3)))
        kernel = weight.transpose(0, 1) if self.up else weight
        keep(self, "kernel", kernel.to(dtype).contiguous(memory_format=memory_format))
        keep(self, "shift", (self.bias * SQRT2).to(dtype)[None, :, None, None])
        if self.noise:
            grain = self.get_buffer("noise_const") * (self.noise_strength * SQRT2)
            keep(self, "grain", grain.to(dtype)[None, None])
        if self.up:
            keep(
                self,
                "fir",
                blur_kernel(self.weight.device, gain=4.0).to(dtype).expand(len(weight), 1, 4, 4).contiguous(),
            )

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """x [N, inputs, h, w] in the previous layer's dtype, w [N, w_dim] float32 -> [N, outputs, height, width] in this layer's dtype.

        x is overwritten. On a CPU a fresh tensor of 33 MB (128 channels of 256 px) costs 10 ms of page faults, a pass in place 0.5 ms.
        """
        s = self.affine(w)
        if self.compute != torch.float32:
            s = s / s.abs().amax(dim=1, keepdim=True).clamp_min(EPS)
        d = (F.linear(s.square(), self.square_sum) + EPS).rsqrt() * SQRT2
        x = x.to(self.compute).mul_(s.to(self.compute)[:, :, None, None])
        if self.up:
            x = F.conv_transpose2d(x, self.kernel, stride=2)
            x = F.conv2d(x, self.fir, padding=1, groups=x.shape[1])
        else:
            x = F.conv2d(x, self.kernel, padding=1)
        # leaky ReLU is homogeneous, so its gain sqrt(2) rides in d, shift and grain.
        x = torch.addcmul(self.shift, x, d.to(self.compute)[:, :, None, None], out=x)
        if self.noise:
            x = x.add_(self.grain)
        x = F.leaky_relu_(x, 0.2)
        clamp = HALF_CLAMP if self.clamp is None and self.compute != torch.float32 else self.clamp
        return x if clamp is None else x.clamp_(-clamp, clamp)


class ToRGB(nn.Module):
    """1x1 modulated convolution to three channels, without demodulation; always gives float32."""

    scaled: Tensor
    shift: Tensor

    def __init__(self, inputs: int, w_dim: int, clamp: float | None) -> None:
        super().__init__()
        self.clamp = clamp
        self.weight = nn.Parameter(torch.empty(3, inputs, 1, 1))
        self.bias = nn.Parameter(torch.empty(3))
        self.affine = FullyConnected(w_dim, inputs)

    def prepare(self) -> None:
        self.affine.prepare()
        keep(self, "scaled", self.weight[None, :, :, 0, 0] / math.sqrt(self.weight.shape[1]))
        keep(self, "shift", self.bias[None, :, None, None])

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """x [N, inputs, h, w], w [N, w_dim] -> [N, 3, h, w] float32.

        Here the weights are modulated: they are 3 * inputs numbers, a pass over x would be more.
        """
        weight = (self.scaled * self.affine(w)[:, None, :]).to(x.dtype)
        y = mixed(x, weight).float() + self.shift
        return y if self.clamp is None else y.clamp_(-self.clamp, self.clamp)


def mixed(x: Tensor, weight: Tensor) -> Tensor:
    """A 1x1 convolution with weights for each picture: x [N, inputs, h, w], weight [N, outputs, inputs] -> [N, outputs, h, w].

    A matrix product, because x flattens to one in either memory format without a copy.
    """
    return torch.matmul(weight, x.flatten(2)).unflatten(2, x.shape[2:])


def blur_kernel(device: torch.device, gain: float = 1.0) -> Tensor:
    """[1,3,3,1] x [1,3,3,1] as [1, 1, 4, 4] float32, with sum `gain`."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], device=device)
    return (taps[:, None] * taps[None, :] * (gain / 64))[None, None]


def upsample(img: Tensor, fir: Tensor) -> Tensor:
    """img [N, 3, h, w] -> [N, 3, 2h, 2w]. fir: blur_kernel of gain 4 as [3, 1, 4, 4]. Zero-stuffing, padding and filter in one call."""
    return F.conv_transpose2d(img, fir, stride=2, padding=1, groups=3)
