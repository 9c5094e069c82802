"""lucidrains' stylegan2-pytorch generator: StyleGAN2 in spirit, another network in detail.

Modulation is by (style + 1); noise is one uniform map for all layers, spread by a linear layer; doubling is bilinear; colours are doubled
bilinearly and, since 1.1, blurred by [1, 2, 1] after they are added; pictures are 0..1, cut there. Only the layout of its 1.x releases.
The mapping scales z to length 1, and its layers have no gain. Tensor names: `mapping.fc{i}`, `noise`, `const` or `input`, `first`,
`attentions.{k}`, `blocks.{i}`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from installation.errors import ModelError
from installation.models.attention import NORMS, AttentionLayer
from installation.models.network import Generator, flag, keep, whole, wholes
from installation.models.stylegan2_layers import EPS, mixed

SLOPE = 0.2
BLUR = ((1, 2, 1), (2, 4, 2), (1, 2, 1))


class LucidrainsStyleGAN2(Generator):
    """channels: width of each resolution from 4x4 up. ws has one row for each. constant: whether all pictures start from one tensor;
    otherwise from the mean of the rows of ws. attention: the resolutions with attention before them, as positions in `channels`.
    attention_norm: one of attention.NORMS. blur: of the doubled colours. colours: 4 where the last is how opaque the picture is.
    """

    arch = "lucidrains"
    cpu_channels_last = True
    mapping: LucidrainsMapping

    def __init__(
        self,
        *,
        z_dim: int,
        channels: Sequence[int],
        mapping_layers: int = 8,
        constant: bool = True,
        attention: Sequence[int] = (),
        attention_norm: str = "variance",
        blur: bool = True,
        colours: int = 3,
    ) -> None:
        super().__init__()
        self.z_dim = self.w_dim = whole("z_dim", z_dim, 1, 8192)
        channels = wholes("channels", channels, 1, 8192, least=1, most=9)
        attention = wholes("attention", attention, 0, len(channels) - 1, least=0, most=len(channels))
        if len(set(attention)) < len(attention):
            raise ModelError(f"attention must name each resolution once, not {attention}")
        if attention_norm not in NORMS:
            raise ModelError(f"attention_norm must be one of {', '.join(NORMS)}, not {str(attention_norm)[:40]}")
        self.constant, self.blur = flag("constant", constant), flag("blur", blur)
        self.config = {
            "z_dim": z_dim,
            "channels": channels,
            "mapping_layers": whole("mapping_layers", mapping_layers, 1, 64),
            "constant": constant,
            "attention": attention,
            "attention_norm": attention_norm,
            "blur": blur,
            "colours": whole("colours", colours, 3, 4),
        }
        self.num_ws = len(channels)
        size = 4 << len(channels) - 1
        self.shape = (size, size)
        inputs = [channels[0], *channels[:-1]]
        self.mapping = LucidrainsMapping(z_dim, mapping_layers, self.num_ws)
        if constant:
            self.const = nn.Parameter(torch.empty(channels[0], 4, 4))
        else:
            self.input = nn.Linear(z_dim, 16 * channels[0], bias=False)
        self.noise = nn.Parameter(torch.empty(size, size))
        self.first = nn.Conv2d(channels[0], channels[0], 3, padding=1)
        self.attentions = nn.ModuleList(AttentionLayer(inputs[i], attention_norm) for i in attention)
        self.attention_before = dict(zip(attention, self.attentions, strict=True))
        self.blocks = nn.ModuleList(
            Block(inputs[i], width, z_dim, colours, up=i > 0) for i, width in enumerate(channels)
        )

    def truncate(self, ws: Tensor, psi: Tensor | float) -> Tensor:
        return self.mapping.w_avg + psi * (ws - self.mapping.w_avg)

    def style_weights(self) -> list[list[Tensor]]:
        """Of both convolutions of each resolution."""
        return [[block.conv0.affine.weight, block.conv1.affine.weight] for block in self.blocks]  # pyright: ignore[reportReturnType, reportAttributeAccessIssue]

    def prepare(self) -> None:
        if self.constant:
            start = F.conv2d(self.const[None], self.first.weight, self.first.bias, padding=1)
            keep(self, "start", start.contiguous(memory_format=self.memory_format))
        for i, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            block.prepare(self.noise[: 4 << i, : 4 << i], self.compute, self.memory_format)
        blur = torch.tensor(BLUR, dtype=torch.float32, device=self.noise.device) / 16
        keep(self, "smooth", blur.expand(self.config["colours"], 1, 3, 3).contiguous())

    def synthesis(self, ws: Tensor) -> Tensor:
        """ws [N, num_ws, w_dim] float32 -> img [N, 3, size, size] float32, -1..1."""
        x = self._start(ws).to(self.compute, memory_format=self.memory_format, copy=True)
        img: Tensor | None = None
        for i, block in enumerate(self.blocks):
            if i in self.attention_before:
                x = self.attention_before[i](x.float()).to(self.compute, memory_format=self.memory_format)
            x, rgb = block(x, ws[:, i])
            img = rgb if img is None else self._doubled(img) + rgb
        assert img is not None
        return opaque(img.clamp(0, 1)) * 2 - 1

    def _start(self, ws: Tensor) -> Tensor:
        """[N, C, 4, 4] float32."""
        if self.constant:
            return self.get_buffer("start").expand(len(ws), -1, -1, -1)
        return self.first(self.input(ws.mean(dim=1)).unflatten(1, (-1, 4, 4)))

    def _doubled(self, img: Tensor) -> Tensor:
        img = F.interpolate(img, scale_factor=2.0, mode="bilinear", align_corners=False)
        if not self.blur:
            return img
        return F.conv2d(F.pad(img, (1, 1, 1, 1), mode="reflect"), self.get_buffer("smooth"), groups=img.shape[1])


def opaque(img: Tensor) -> Tensor:
    """img [N, 3 or 4, h, w], 0..1 -> [N, 3, h, w]: what is transparent lies on white, as in the films that lucidrains' code makes."""
    return img if img.shape[1] == 3 else torch.lerp(torch.ones_like(img[:, :3]), img[:, :3], img[:, 3:])


class LucidrainsMapping(nn.Module):
    """z [N, z_dim] -> ws [N, num_ws, z_dim], the layers' learning rate already multiplied in."""

    w_avg: Tensor

    def __init__(self, z_dim: int, layers: int, num_ws: int) -> None:
        super().__init__()
        self.num_ws = num_ws
        self.register_buffer("w_avg", torch.empty(z_dim))
        self.layers = [nn.Linear(z_dim, z_dim) for _ in range(layers)]
        for i, layer in enumerate(self.layers):
            self.add_module(f"fc{i}", layer)

    def forward(self, z: Tensor) -> Tensor:
        x = F.normalize(z, dim=1)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
        return x[:, None, :].expand(-1, self.num_ws, -1)


class Block(nn.Module):
    """One resolution: doubled but for the first, two modulated convolutions, and its share of the colours."""

    def __init__(self, inputs: int, outputs: int, w_dim: int, colours: int, *, up: bool) -> None:
        super().__init__()
        self.up = up
        self.conv0 = ModulatedConv(inputs, outputs, w_dim)
        self.conv1 = ModulatedConv(outputs, outputs, w_dim)
        self.torgb = ToRGB(outputs, w_dim, colours)

    def prepare(self, noise: Tensor, dtype: torch.dtype, memory_format: torch.memory_format) -> None:
        self.conv0.prepare(noise, dtype, memory_format)
        self.conv1.prepare(noise, dtype, memory_format)

    def forward(self, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        if self.up:
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        x = self.conv1(self.conv0(x, w), w)
        return x, self.torgb(x.float(), w)


class ModulatedConv(nn.Module):
    """3x3: y = d * conv(W, x * s) with s = affine(w) + 1 and d = rsqrt((sum_k W^2) @ s^2 + eps), noise, leaky ReLU."""

    kernel: Tensor
    energy: Tensor
    grain: Tensor

    def __init__(self, inputs: int, outputs: int, w_dim: int) -> None:
        super().__init__()
        self.affine = nn.Linear(w_dim, inputs)
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
        self.spread = nn.Linear(1, outputs)

    def prepare(self, noise: Tensor, dtype: torch.dtype, memory_format: torch.memory_format) -> None:
        keep(self, "kernel", self.weight.to(dtype).contiguous(memory_format=memory_format).clone())
        keep(self, "energy", self.weight.square().sum(dim=(2, 3)))
        # Its code turns the map on the side.
        grain = self.spread.weight[None, :, :, None] * noise.T + self.spread.bias[None, :, None, None]
        keep(self, "grain", grain.to(dtype).contiguous(memory_format=memory_format))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """x is overwritten, as in StyleGAN2."""
        s = self.affine(w) + 1
        d = (s.square() @ self.energy.T + EPS).rsqrt()
        x = F.conv2d(x.mul_(s[:, :, None, None].to(x.dtype)), self.kernel, padding=1)
        return F.leaky_relu_(torch.addcmul(self.grain, x, d[:, :, None, None].to(x.dtype), out=x), SLOPE)


class ToRGB(nn.Module):
    """1x1, modulated and not demodulated, without bias. float32."""

    def __init__(self, inputs: int, w_dim: int, colours: int) -> None:
        super().__init__()
        self.affine = nn.Linear(w_dim, inputs)
        self.weight = nn.Parameter(torch.empty(colours, inputs, 1, 1))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        # The weights are modulated, 3 * inputs numbers: a pass over x would be more.
        return mixed(x, self.weight[None, :, :, 0, 0] * (self.affine(w) + 1)[:, None, :])
