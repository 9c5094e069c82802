"""lucidrains' lightweight-gan generator: FastGAN's idea with pixel shuffle, blur, 4x4 convolutions and channel gates. It has no w.

Batch norm is multiplied into the convolutions at import; noise is one constant map a layer; pictures are 0..1, cut there. Tensor names:
`start`, `layers.{i}`, `gates.{k}`, `attentions.{k}`, `final`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from installation.errors import ModelError
from installation.models.attention import HEADS, channel_norm, linear_attention
from installation.models.lucidrains import BLUR, opaque
from installation.models.network import ZGenerator, flag, keep, whole, wholes

WINDOW = 3
# How its releases double: by pixel shuffle after a 1x1 convolution, of as many channels as the layer's inputs (1.1 and later) or outputs
# (1.0); by repeating pixels (before).
DOUBLINGS = ("inputs", "outputs", "repeat")


class LightweightGAN(ZGenerator):
    """channels: widths of the doublings, from 8x8 up; the 4x4 start has z_dim. gates: for each, the layer it looks at, and the layer it
    gates. frequencies: gates weigh places by cosines, not by their content. attention: layers with attention before them.
    heads_width: channels of one head of the attention. colours: 4 where the last is how opaque the picture is.
    doubling: one of DOUBLINGS.
    """

    arch = "lightweightgan"
    cpu_channels_last = True

    def __init__(
        self,
        *,
        z_dim: int,
        channels: Sequence[int],
        gates: Sequence[Sequence[int]],
        gate_widths: Sequence[int],
        frequencies: bool,
        attention: Sequence[int],
        heads_width: int,
        colours: int = 3,
        doubling: str = "inputs",
    ) -> None:
        super().__init__()
        self.z_dim = whole("z_dim", z_dim, 1, 8192)
        channels = wholes("channels", channels, 1, 8192, least=1, most=8)
        attention = wholes("attention", attention, 0, len(channels) - 1, least=0, most=len(channels))
        if not isinstance(gates, (list, tuple)) or len(gates) > 8:
            raise ModelError("gates must be a list of at most 8 pairs")
        pairs = [wholes("a gate", pair, 0, len(channels) - 1, least=2, most=2) for pair in gates]
        if any(small >= large for small, large in pairs) or len({large for _, large in pairs}) < len(pairs):
            raise ModelError(f"gates must lead from a smaller layer to a larger one, one each, not {pairs}")
        widths = wholes("gate_widths", gate_widths, 1, 8192, least=len(pairs), most=len(pairs))
        if doubling not in DOUBLINGS:
            raise ModelError(f"doubling must be one of {', '.join(DOUBLINGS)}, not {str(doubling)[:40]}")
        self.config = {
            "z_dim": z_dim,
            "channels": channels,
            "gates": pairs,
            "gate_widths": widths,
            "frequencies": flag("frequencies", frequencies),
            "attention": attention,
            "heads_width": whole("heads_width", heads_width, 1, 1024),
            "colours": whole("colours", colours, 3, 4),
            "doubling": doubling,
        }
        self.shape = (4 << len(channels), 4 << len(channels))
        inputs = [z_dim, *channels]
        self.start = nn.Linear(z_dim, 32 * z_dim)
        self.layers = nn.ModuleList(Layer(inputs[i], width, 8 << i, doubling) for i, width in enumerate(channels))
        self.gates = nn.ModuleList(
            Gate(channels[small], width, channels[large], 8 << small if frequencies else 0)
            for (small, large), width in zip(pairs, widths, strict=True)
        )
        self.attentions = nn.ModuleList(Attention(inputs[i], heads_width) for i in attention)
        self.final = nn.Conv2d(channels[-1], colours, 3, padding=1)
        self.gate_from = {small: (large, gate) for (small, large), gate in zip(pairs, self.gates, strict=True)}
        self.attention_before = dict(zip(attention, self.attentions, strict=True))

    def prepare(self) -> None:
        for layer in self.layers:
            assert isinstance(layer, Layer)
            layer.prepare(self.compute, self.memory_format)

    def synthesis(self, ws: Tensor) -> Tensor:
        """ws [N, 1, z_dim] float32 -> img [N, 3, size, size] float32, -1..1."""
        x = F.normalize(F.glu(self.start(ws[:, 0]).unflatten(1, (-1, 4, 4)), dim=1), dim=1)
        waiting: dict[int, Tensor] = {}
        for i, layer in enumerate(self.layers):
            if i in self.attention_before:
                x = self.attention_before[i](x.float()) + x
            x = layer(x.to(self.compute, memory_format=self.memory_format))
            if i in self.gate_from:
                large, gate = self.gate_from[i]
                waiting[large] = gate(x.float())
            if i in waiting:
                x = x * waiting[i].to(x.dtype)
        return opaque(self.final(x.float()).clamp(0, 1)) * 2 - 1


class Layer(nn.Module):
    """1x1 convolution, SiLU and pixel shuffle; blur; 4x4 convolution to twice the outputs, noise; one half gates the other."""

    def __init__(self, inputs: int, outputs: int, resolution: int, doubling: str) -> None:
        super().__init__()
        width = outputs if doubling == "outputs" else inputs
        self.enlarge = nn.Conv2d(inputs, 4 * width, 1) if doubling != "repeat" else None
        self.conv = nn.Conv2d(width, 2 * outputs, 4)
        self.gain = nn.Parameter(torch.empty(2 * outputs))
        self.noise = nn.Parameter(torch.empty(resolution, resolution))

    def prepare(self, dtype: torch.dtype, memory_format: torch.memory_format) -> None:
        for name, conv in (("enlarge", self.enlarge), ("conv", self.conv)):
            if conv is None:
                continue
            assert conv.bias is not None
            keep(self, f"{name}_kernel", conv.weight.to(dtype).contiguous(memory_format=memory_format).clone())
            keep(self, f"{name}_shift", conv.bias.to(dtype))
        keep(
            self,
            "grain",
            (self.gain[:, None, None] * self.noise).to(dtype)[None].contiguous(memory_format=memory_format),
        )
        blur = torch.tensor(BLUR, device=self.noise.device).to(dtype) / 16
        keep(self, "blur", blur.expand(self.conv.in_channels, 1, 3, 3).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        buffer = self.get_buffer
        if self.enlarge is None:
            x = F.interpolate(x, scale_factor=2.0)
        else:
            x = F.pixel_shuffle(F.silu(F.conv2d(x, buffer("enlarge_kernel"), buffer("enlarge_shift"))), 2)
        x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), buffer("blur"), groups=x.shape[1])
        x = F.conv2d(F.pad(x, (2, 1, 2, 1)), buffer("conv_kernel"), buffer("conv_shift"))
        return F.glu(x + buffer("grain"), dim=1)


class Gate(nn.Module):
    """Small features -> a factor 0..1 for each channel of the large ones. side: of the small features, for frequencies; else 0."""

    def __init__(self, inputs: int, width: int, outputs: int, side: int) -> None:
        super().__init__()
        self.side = side
        if side:
            self.cosines = nn.Parameter(torch.empty(inputs, side, side))
        else:
            self.key = nn.Conv2d(inputs, 1, 1)
        self.squeeze = nn.Linear(inputs, width)
        self.excite = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        if self.side:
            pooled = (x * self.cosines).sum(dim=(2, 3))
        else:
            pooled = (x.flatten(2) @ self.key(x).flatten(2).softmax(dim=2).transpose(1, 2))[:, :, 0]
        return self.excite(F.leaky_relu(self.squeeze(pooled), 0.1)).sigmoid()[:, :, None, None]


class Attention(nn.Module):
    """Linear attention over the picture beside attention within a window of 3x3, after a norm over the channels."""

    def __init__(self, channels: int, heads_width: int) -> None:
        super().__init__()
        inner = HEADS * heads_width
        self.heads_width = heads_width
        self.gain, self.shift = nn.Parameter(torch.empty(channels)), nn.Parameter(torch.empty(channels))
        self.far_q = nn.Conv2d(channels, inner, 1, bias=False)
        self.far_depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.far_kv = nn.Conv2d(channels, 2 * inner, 1, bias=False)
        self.near_q = nn.Conv2d(channels, inner, 1, bias=False)
        self.near_kv = nn.Conv2d(channels, 2 * inner, 1, bias=False)
        self.out = nn.Conv2d(2 * inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, channels, h, w] -> the same shape."""
        n, _, height, width = x.shape
        x = channel_norm(x) * self.gain[:, None, None] + self.shift[:, None, None]
        far = linear_attention(self.far_q(x), *self.far_kv(self.far_depthwise(x)).chunk(2, dim=1))
        q, k, v = self._heads(self.near_q(x)), *(self._windows(part) for part in self.near_kv(x).chunk(2, dim=1))
        weights = torch.einsum("nhdp,nhdjp->nhjp", q * self.heads_width**-0.5, k).softmax(dim=2)
        near = torch.einsum("nhjp,nhdjp->nhdp", weights, v).reshape(n, -1, height, width)
        return self.out(torch.cat([F.gelu(far), near], dim=1))

    def _heads(self, x: Tensor) -> Tensor:
        """[N, inner, h, w] -> [N, heads, heads_width, h*w]."""
        return x.reshape(len(x), HEADS, self.heads_width, -1)

    def _windows(self, x: Tensor) -> Tensor:
        """[N, inner, h, w] -> [N, heads, heads_width, 9, h*w]: each place's neighbours, zeros beyond the border."""
        return F.unfold(x, WINDOW, padding=1).reshape(len(x), HEADS, self.heads_width, WINDOW**2, -1)
