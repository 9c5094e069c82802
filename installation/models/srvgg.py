"""Compact upscaler (SRVGG type): 3x3 convolutions with PReLU at the small size, then pixel shuffle, plus the enlarged input.

Tensor names are those of Real-ESRGAN's SRVGGNetCompact: `body.0` first convolution, `body.1` its PReLU, ... `body.{2n+2}` the last
convolution. Wang et al. 2021 (arXiv:2107.10833). A network may draw larger than its scale, and shrink what it drew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from installation.errors import ModelError
from installation.models.network import Upscaler, flag, keep, whole


class SRVGG(Upscaler):
    """num_feat: width. num_conv: convolutions between the first and the last. scale: 1..8.

    drawn_scale: the network's own, from scale to 8; None is scale. Where it is larger, the picture is brought to scale by a bicubic
    resize (a = -0.75, pixel centres at halves, borders repeated), as ncnn's realesr-animevideov3-x2 and -x3 do with the ×4 network.
    unit_range: the weights were trained on pictures in 0..1 (as Real-ESRGAN's are), not -1..1. The conversion is exact: zero padding
    stands for black there and mid-grey here, so the input is converted as a picture, and only the output's factor 2 is folded.
    """

    arch = "srvgg"
    cpu_channels_last = True  # 16 x 64, x4, two threads: 11 against 15 ms at 64 px, 262 against 352 ms at 256 px

    def __init__(
        self, *, num_feat: int, num_conv: int, scale: int, unit_range: bool = False, drawn_scale: int | None = None
    ) -> None:
        super().__init__()
        num_feat, num_conv = whole("num_feat", num_feat, 1, 4096), whole("num_conv", num_conv, 0, 256)
        self.scale, self.unit_range = whole("scale", scale, 1, 8), flag("unit_range", unit_range)
        drawn = self.drawn_scale = whole("drawn_scale", scale if drawn_scale is None else drawn_scale, scale, 8)
        self.config = {"num_feat": num_feat, "num_conv": num_conv, "scale": scale, "unit_range": unit_range}
        self.config["drawn_scale"] = drawn
        # The resize looks one drawn pixel beyond an input pixel's own.
        self.receptive_field = num_conv + 2 + (drawn > scale)
        layers: list[nn.Module] = [nn.Conv2d(3, num_feat, 3, padding=1), nn.PReLU(num_feat)]
        for _ in range(num_conv):
            layers += [nn.Conv2d(num_feat, num_feat, 3, padding=1), nn.PReLU(num_feat)]
        self.body = nn.ModuleList([*layers, nn.Conv2d(num_feat, 3 * drawn * drawn, 3, padding=1)])

    def prepare(self) -> None:
        last = len(self.body) - 1
        for i, layer in enumerate(self.body):
            gain = 2.0 if self.unit_range and i == last else 1.0
            weight, bias = layer.get_parameter("weight") * gain, getattr(layer, "bias", None)
            if bias is None:
                keep(layer, "slope", weight.to(self.compute))
            else:
                keep(layer, "kernel", weight.to(self.compute).contiguous(memory_format=self.memory_format))
                keep(layer, "shift", (bias * gain).to(self.compute))
        if self.drawn_scale > self.scale:
            keep(self, "taps", cubic_taps(self.drawn_scale, self.scale).to(self.body[0].get_parameter("weight")))

    def forward(self, img: Tensor) -> Tensor:
        x = img.to(self.compute, memory_format=self.memory_format)
        if self.unit_range:
            x = x * 0.5 + 0.5
        *hidden, last = self.body
        for conv, prelu in zip(hidden[::2], hidden[1::2], strict=True):
            x = F.conv2d(x, conv.get_buffer("kernel"), conv.get_buffer("shift"), padding=1)
            x = F.prelu(x, prelu.get_buffer("slope"))
        x = F.conv2d(x, last.get_buffer("kernel"), last.get_buffer("shift"), padding=1)
        # Contiguous first: pixel shuffle of channels_last gives channels_last, which the packing after the last stage reads slowly.
        x = F.pixel_shuffle(x.float().contiguous(), self.drawn_scale)
        n, _, height, width = img.shape
        x.view(n, 3, height, self.drawn_scale, width, self.drawn_scale).add_(img.float()[:, :, :, None, :, None])
        return x if self.drawn_scale == self.scale else self._shrunk(x)

    def _shrunk(self, x: Tensor) -> Tensor:
        """What was drawn, at `scale`. As torch's own resize, whose places in float32 drift over a wide picture, so that tiles would not
        equal the whole."""
        x, taps = F.pad(x, (1, 1, 1, 1), mode="replicate"), self.get_buffer("taps")
        window = taps.shape[1], self.drawn_scale
        x = torch.einsum("nchwk,sk->nchsw", x.unfold(2, *window), taps).flatten(2, 3)
        return torch.einsum("nchwk,sk->nchws", x.unfold(3, *window), taps).flatten(3)

    def forward_slow(self, img: Tensor) -> Tensor:
        """The network as published, on its own range of values. float32."""
        img = (img + 1) / 2 if self.unit_range else img
        x = img
        for layer in self.body:
            x = layer(x)
        x = F.pixel_shuffle(x, self.drawn_scale) + F.interpolate(img, scale_factor=self.drawn_scale, mode="nearest")
        if self.drawn_scale != self.scale:
            x = F.interpolate(x.double(), scale_factor=self.scale / self.drawn_scale, mode="bicubic").float()
        return x * 2 - 1 if self.unit_range else x

    @staticmethod
    def config_of(tensors: Mapping[str, Tensor], *, unit_range: bool, scale: int | None = None) -> dict[str, Any]:
        """The constructor arguments, read from the shapes of a state dict. ModelError if it is none. scale: None is that of the shapes."""
        count = 1 + max(
            (int(name.split(".")[1]) for name in tensors if name.startswith("body.") and name.split(".")[1].isdigit()),
            default=-1,
        )
        last = tensors.get(f"body.{count - 1}.weight")
        if count < 3 or count % 2 == 0 or last is None or last.ndim != 4:
            raise ModelError("not an SRVGG state dict: body.0.weight, body.1.weight, ... expected")
        drawn = round((last.shape[0] / 3) ** 0.5)
        if 3 * drawn * drawn != last.shape[0]:
            raise ModelError(f"not an SRVGG state dict: {last.shape[0]} outputs are not 3 * scale^2")
        sizes = {"num_feat": last.shape[1], "num_conv": (count - 3) // 2, "scale": scale or drawn}
        return {**sizes, "unit_range": unit_range, "drawn_scale": drawn}


def cubic_taps(drawn: int, scale: int) -> Tensor:
    """[scale, drawn + 2] float64, scale < drawn: how the pixels that become of one input pixel are weighted sums of the drawn ones, from
    one before it to one after it."""
    taps, a = torch.zeros(scale, drawn + 2, dtype=torch.float64), -0.75
    for i in range(scale):
        place = (i + 0.5) * drawn / scale - 0.5
        for tap in range(int(place), int(place) + 4):
            x = abs(place - (tap - 1))
            near, far = (a + 2) * x**3 - (a + 3) * x**2 + 1, a * (x**3 - 5 * x**2 + 8 * x - 4)
            taps[i, tap] = near if x < 1 else far
    return taps
