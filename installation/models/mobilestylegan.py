"""MobileStyleGAN generator: a StyleGAN2 distilled into separable convolutions that predict wavelet bands, not pixels; 1024 px on a CPU.

Belousov 2021 (arXiv:2104.04767), without demodulation at run time, as its author exports it. Every layer modulates its input by an affine
of its own row of ws; a block doubles the size by an inverse Haar transform, which turns 4C channels into C of twice the size, and then
runs two layers of depthwise 3x3, pointwise 1x1, constant noise, bias and leaky ReLU. Only the last level makes colours: the four bands
of the finished picture.

The fast path is its twin `synthesis_slow` by exact algebra: channels innermost, styles folded into the transform and the depthwise
kernels. On a CPU each block is worked off in bands of rows that stay in the cache: on whole pictures the page faults of fresh 64 MB
tensors were measured to cost more than the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from installation.errors import ModelError
from installation.models.network import Generator, keep, no_state_dict, whole, wholes
from installation.models.stylegan2 import normalise
from installation.models.stylegan2_layers import SQRT2

SLOPE = 0.2
BAND_ROWS = 32  # of a block's output on a CPU; always even. 64 channels of 512 px: 4 MB


class MobileStyleGAN(Generator):
    """See the module. channels: width of each resolution from 4x4 up; the picture is twice the size of the last.

    ws has one row per affine: the first layer's; three per block (the transform's, and each layer's); the colours'.
    """

    arch = "mobilestylegan"
    mapping: PlainMapping
    synthesis: MobileSynthesis

    def __init__(self, *, z_dim: int, w_dim: int, channels: Sequence[int], mapping_layers: int = 8) -> None:
        super().__init__()
        self.z_dim, self.w_dim = whole("z_dim", z_dim, 1, 8192), whole("w_dim", w_dim, 1, 8192)
        channels = wholes("channels", channels, 1, 8192, least=2, most=9)
        if any(width % 4 for width in channels[:-1]):
            raise ModelError(f"channels must be multiples of 4 but for the last, not {channels}")
        layers = whole("mapping_layers", mapping_layers, 1, 64)
        self.config = {"z_dim": z_dim, "w_dim": w_dim, "channels": channels, "mapping_layers": layers}
        self.num_ws = 3 * len(channels) - 1
        self.shape = (8 << len(channels) - 1, 8 << len(channels) - 1)
        self.mapping = PlainMapping(z_dim, w_dim, layers, self.num_ws)
        self.synthesis = MobileSynthesis(w_dim, channels)

    def truncate(self, ws: Tensor, psi: Tensor | float) -> Tensor:
        return self.mapping.w_avg + psi * (ws - self.mapping.w_avg)

    def style_weights(self) -> list[list[Tensor]]:
        blocks = self.synthesis.blocks
        middle = [[part.weight] for b in blocks for part in (b.up, b.conv0.affine, b.conv1.affine)]
        return [[self.synthesis.b4.affine.weight], *middle, [self.synthesis.torgb.affine.weight]]

    def prepare(self) -> None:
        self.synthesis.prepare(self.compute)

    def synthesis_slow(self, ws: Tensor) -> Tensor:
        """The equations one by one, float32."""
        return self.synthesis.slow(ws)

    @staticmethod
    def config_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """The constructor arguments, read from the shapes of a state dict with our names. ModelError if one is missing."""
        try:
            channels = [tensors["synthesis.b4.const"].shape[0]]
            while (name := f"synthesis.b{4 << len(channels)}.conv1.pointwise") in tensors:
                channels.append(tensors[name].shape[0])
            layers = sum(1 for i in range(64) if f"mapping.fc{i}.weight" in tensors)
            z_dim, w_dim = tensors["mapping.fc0.weight"].shape[1], tensors["mapping.w_avg"].shape[0]
        except (KeyError, IndexError) as error:
            raise no_state_dict("a MobileStyleGAN", error) from error
        return {"z_dim": z_dim, "w_dim": w_dim, "channels": channels, "mapping_layers": layers}


class PlainMapping(nn.Module):
    """z [N, z_dim] -> ws [N, num_ws, w_dim]: StyleGAN2's mapping with its learning rate already multiplied into the weights."""

    w_avg: Tensor

    def __init__(self, z_dim: int, w_dim: int, layers: int, num_ws: int) -> None:
        super().__init__()
        self.num_ws = num_ws
        self.register_buffer("w_avg", torch.empty(w_dim))
        self.layers = [nn.Linear(w_dim if i else z_dim, w_dim) for i in range(layers)]
        for i, layer in enumerate(self.layers):
            self.add_module(f"fc{i}", layer)

    def forward(self, z: Tensor) -> Tensor:
        x = normalise(z)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE) * SQRT2
        return x[:, None, :].expand(-1, self.num_ws, -1)


class MobileSynthesis(nn.Module):
    """ws [N, num_ws, w_dim] float32 -> img [N, 3, size, size] float32."""

    def __init__(self, w_dim: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.b4 = FirstBlock(w_dim, channels[0])
        self.blocks = [UpBlock(w_dim, channels[i - 1], channels[i], 4 << i) for i in range(1, len(channels))]
        for i, block in enumerate(self.blocks):
            self.add_module(f"b{8 << i}", block)
        self.torgb = ToBands(w_dim, channels[-1])

    def prepare(self, dtype: torch.dtype) -> None:
        self.b4.prepare(dtype)
        for block in self.blocks:
            block.prepare(dtype, sort=block is not self.blocks[-1])
        self.torgb.prepare()

    def forward(self, ws: Tensor) -> Tensor:
        return torch.stack([self.one(rows) for rows in ws])

    def one(self, ws: Tensor) -> Tensor:
        """ws [num_ws, w_dim] -> img [3, size, size]. Each picture has kernels of its own, so a batch would gain nothing."""
        x = self.b4(ws[0])
        for i, block in enumerate(self.blocks[:-1]):
            x = torch.cat(list(block(x, ws[3 * i + 1 : 3 * i + 4])))
        paint = self.torgb.painter(ws[-1])
        return torch.cat([paint(band) for band in self.blocks[-1](x, ws[-4:-1])], dim=1)

    def slow(self, ws: Tensor) -> Tensor:
        x = self.b4.slow(ws[:, 0])
        for i, block in enumerate(self.blocks):
            x = block.slow(x, ws[:, 3 * i + 1 : 3 * i + 4])
        return transform_slow(self.torgb.slow(x, ws[:, -1]))


class FirstBlock(nn.Module):
    """The learned 4x4 input and one full 3x3 convolution, float32: it is small."""

    order: Tensor

    def __init__(self, w_dim: int, channels: int) -> None:
        super().__init__()
        self.const = nn.Parameter(torch.empty(channels, 4, 4))
        self.affine = nn.Linear(w_dim, channels)
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        self.bias = nn.Parameter(torch.empty(channels))
        self.noise = nn.Parameter(torch.empty(4, 4))

    def prepare(self, dtype: torch.dtype) -> None:
        self.compute = dtype
        keep(self, "order", by_band(len(self.bias), self.bias.device))

    def forward(self, w: Tensor) -> Tensor:
        """w [w_dim] -> x [4, 4, channels], by band."""
        return self.slow(w[None])[0, self.order].permute(1, 2, 0).to(self.compute)

    def slow(self, w: Tensor) -> Tensor:
        """w [N, w_dim] -> x [N, channels, 4, 4]."""
        x = self.const * self.affine(w)[:, :, None, None]
        return F.leaky_relu(F.conv2d(x, self.weight, self.bias, padding=1) + self.noise, SLOPE)


class UpBlock(nn.Module):
    """Twice the size: inverse Haar transform of the inputs' 4C channels to C, then two layers.

    In the fast path x is [h, w, channels], and channels that a transform will take lie band by band.
    """

    order: Tensor

    def __init__(self, w_dim: int, inputs: int, outputs: int, resolution: int) -> None:
        super().__init__()
        self.up = nn.Linear(w_dim, inputs)
        self.conv0 = SeparableConv(inputs // 4, outputs, w_dim, resolution)
        self.conv1 = SeparableConv(outputs, outputs, w_dim, resolution)

    def prepare(self, dtype: torch.dtype, *, sort: bool) -> None:
        """sort: whether the outputs are to lie band by band."""
        keep(self, "order", by_band(self.up.out_features, self.up.weight.device))
        self.conv0.prepare(dtype, sort=False)
        self.conv1.prepare(dtype, sort=sort)

    def forward(self, x: Tensor, ws: Tensor) -> Iterator[Tensor]:
        """x [h, w, 4C], ws [3, w_dim] -> bands of [2h, 2w, outputs] from top to bottom."""
        height = 2 * len(x)
        factors = self.up(ws[0])[self.order].view(4, -1) * self.conv0.affine(ws[1]) * 0.5
        factors, kernel0 = factors.to(x.dtype), self.conv0.depthwise.to(x.dtype)
        kernel1 = (self.conv1.depthwise * self.conv1.affine(ws[2])[:, None, None, None]).to(x.dtype)
        rows = height if x.is_cuda else BAND_ROWS
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            # Each layer spoils one row at a cut through the picture: two rows more are computed there, and cropped again.
            above, below = int(top > 0), int(bottom < height)
            y = transform(x[top // 2 - above : bottom // 2 + below], factors)
            y = self.conv0(y, kernel0, top - above, above, below)
            yield self.conv1(y, kernel1, top, above, below)

    def slow(self, x: Tensor, ws: Tensor) -> Tensor:
        x = transform_slow(x * self.up(ws[:, 0])[:, :, None, None])
        return self.conv1.slow(self.conv0.slow(x, ws[:, 1]), ws[:, 2])


class SeparableConv(nn.Module):
    """Modulation, depthwise 3x3, pointwise 1x1, constant noise, bias, leaky ReLU."""

    kernel: Tensor
    shift: Tensor
    grain: Tensor

    def __init__(self, inputs: int, outputs: int, w_dim: int, resolution: int) -> None:
        super().__init__()
        self.affine = nn.Linear(w_dim, inputs)
        self.depthwise = nn.Parameter(torch.empty(inputs, 1, 3, 3))
        self.pointwise = nn.Parameter(torch.empty(outputs, inputs, 1, 1))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.noise = nn.Parameter(torch.empty(resolution, resolution))

    def prepare(self, dtype: torch.dtype, *, sort: bool) -> None:
        kernel, shift = self.pointwise, self.bias
        if sort:
            order = by_band(len(shift), shift.device)
            kernel, shift = kernel[order], shift[order]
        keep(self, "kernel", kernel[:, :, 0, 0].T.to(dtype).contiguous())
        keep(self, "shift", shift.to(dtype))
        keep(self, "grain", self.noise[:, :, None].to(dtype))

    def forward(self, x: Tensor, depthwise: Tensor, top: int, above: int, below: int) -> Tensor:
        """x [h, w, inputs], already modulated or with its modulation in `depthwise` -> [h - above - below, w, outputs].

        top: the first row of the result in the picture. above, below: rows cropped there, else the picture's border is padded with zeros.
        """
        x = F.conv2d(x[None].permute(0, 3, 1, 2), depthwise, padding=1, groups=x.shape[2])
        x = x[0, :, above : x.shape[2] - below].permute(1, 2, 0)
        y = torch.addmm(self.shift, x.flatten(0, 1), self.kernel).unflatten(0, x.shape[:2])
        return F.leaky_relu_(y.add_(self.grain[top : top + len(y)]), SLOPE)

    def slow(self, x: Tensor, w: Tensor) -> Tensor:
        x = x * self.affine(w)[:, :, None, None]
        x = F.conv2d(x, self.depthwise, padding=1, groups=x.shape[1])
        x = F.conv2d(x, self.pointwise) + self.noise
        return F.leaky_relu(x + self.bias[:, None, None], SLOPE)


class ToBands(nn.Module):
    """The last modulation and 1x1 convolution: features -> the four bands of red, green and blue. float32."""

    order: Tensor

    def __init__(self, w_dim: int, inputs: int) -> None:
        super().__init__()
        self.affine = nn.Linear(w_dim, inputs)
        self.weight = nn.Parameter(torch.empty(12, inputs, 1, 1))
        self.bias = nn.Parameter(torch.empty(12))

    def prepare(self) -> None:
        keep(self, "order", by_band(12, self.bias.device))

    def painter(self, w: Tensor) -> Callable[[Tensor], Tensor]:
        """w [w_dim] -> a function of features [h, w, inputs] that gives the picture [3, 2h, 2w]."""
        kernel = (self.weight[:, :, 0, 0] * self.affine(w) * 0.5)[self.order]
        shift = (self.bias * 0.5)[self.order, None]

        def paint(x: Tensor) -> Tensor:
            height, width, _ = x.shape
            bands = torch.addmm(shift, kernel, x.float().flatten(0, 1).T).view(4, 3, height, width)
            img = bands.new_empty(3, height, 2, width, 2)
            merge(bands, (img[:, :, 0, :, 0], img[:, :, 0, :, 1], img[:, :, 1, :, 0], img[:, :, 1, :, 1]))
            return img.view(3, 2 * height, 2 * width)

        return paint

    def slow(self, x: Tensor, w: Tensor) -> Tensor:
        """x [N, inputs, h, w] -> bands [N, 12, h, w]."""
        return F.conv2d(x * self.affine(w)[:, :, None, None], self.weight, self.bias)


def by_band(channels: int, device: torch.device) -> Tensor:
    """The order that sorts channels, stored as C low ones and then three high ones of each, by band."""
    order = torch.arange(channels, device=device)
    return torch.cat([order[: channels // 4], order[channels // 4 :].view(-1, 3).T.flatten()])


def transform(x: Tensor, factors: Tensor) -> Tensor:
    """Inverse Haar transform of x [h, w, 4C], by band, times factors [4, C] (with the transform's 1/2) -> [2h, 2w, C]."""
    height, width, channels = x.shape
    bands = (x.unflatten(2, (4, channels // 4)) * factors).unbind(2)
    out = x.new_empty(height, 2, width, 2, channels // 4)
    merge(bands, (out[:, 0, :, 0], out[:, 0, :, 1], out[:, 1, :, 0], out[:, 1, :, 1]))
    return out.view(2 * height, 2 * width, channels // 4)


def merge(bands: Sequence[Tensor] | Tensor, out: Sequence[Tensor]) -> None:
    """Sums and differences of the bands (low; high down the columns, along the rows, both) into the four pixels of each square."""
    low, down, along, both = bands
    even, odd = low + down, low - down
    even_slope, odd_slope = along + both, along - both
    torch.add(even, even_slope, out=out[0])
    torch.sub(even, even_slope, out=out[1])
    torch.add(odd, odd_slope, out=out[2])
    torch.sub(odd, odd_slope, out=out[3])


def transform_slow(bands: Tensor) -> Tensor:
    """The inverse Haar transform step by step: down the columns, then along the rows. As `transform` with HAAR for every channel."""
    channels = bands.shape[1] // 4
    low, high = bands[:, :channels], bands[:, channels:].unflatten(1, (channels, 3))

    def merge(average: Tensor, detail: Tensor, dim: int) -> Tensor:
        return torch.stack([average + detail, average - detail], dim + 1).flatten(dim, dim + 1) / SQRT2

    left, right = merge(low, high[:, :, 0], 2), merge(high[:, :, 1], high[:, :, 2], 2)
    return merge(left, right, 3)
