"""StyleGAN3 generator, configurations T and R: an alias-free network whose picture can be moved and turned as live input.

Tensor names are those of the original. The fast path modulates activations, computes the input's waves from sums of angles, folds the
gains into the filters and runs these one axis after the other, as depthwise convolutions or, on CUDA up to MOST_SIDE, as matrix products;
`stylegan3_reference.py` is its slow twin.
Karras et al. 2021 (arXiv:2106.12423).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from installation.errors import ModelError
from installation.models.network import Generator, flag, keep, no_state_dict, real, whole, wholes
from installation.models.stylegan2 import StyleMapping
from installation.models.stylegan2_layers import EPS, SQRT2, FullyConnected
from installation.models.stylegan3_plan import Bands, LayerPlan, plan

CLAMP = 256.0
OUTPUT_SCALE = 0.25
# The layers of the highest four octaves may run in half precision, as in training.
HALF_OCTAVES = 4
# Filters as products: measured up to this side. Their work grows with its cube, that of depthwise convolutions with its square.
MOST_SIDE = 640
MOST_BETWEEN = 1 << 28  # numbers between the two products of a filter: half a GiB in half precision
_FILTERS = ("up_y", "up_x", "up", "down_y", "down_x", "down", "across", "down_round")  # the buffers of both ways
_NAME = re.compile(r"synthesis\.L(\d+)_(\d+)_(\d+)\.weight")


class StyleGAN3(Generator):
    """See the module. Constructor arguments are what a checkpoint's header keeps as `config`.

    channels: widths of the hidden layers from the input up, 14 in the published networks. kernel: 3 (T) or 1 (R). radial: whether the
    down filters are round (R). bands: what shapes the layer table, where it is not the published (see `Bands`).
    """

    arch = "stylegan3"
    mapping: StyleMapping
    synthesis: Synthesis
    has_transform = True
    cpu_channels_last = True  # depthwise filters, 150 px and up: two to four times faster

    def __init__(
        self,
        *,
        z_dim: int,
        w_dim: int,
        resolution: int,
        channels: Sequence[int],
        kernel: int = 3,
        radial: bool = False,
        mapping_layers: int = 2,
        mapping_width: int | None = None,
        c_dim: int = 0,
        bands: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.z_dim, self.w_dim = whole("z_dim", z_dim, 1, 8192), whole("w_dim", w_dim, 1, 8192)
        self.c_dim = whole("c_dim", c_dim, 0, 65536)
        resolution = whole("resolution", resolution, 16, 4096)
        if resolution & (resolution - 1):
            raise ModelError(f"resolution must be a power of two, not {resolution}")
        channels = wholes("channels", channels, 1, 8192, least=4, most=64)
        if whole("kernel", kernel, 1, 3) == 2:
            raise ModelError("kernel must be 1 or 3")
        layers = whole("mapping_layers", mapping_layers, 1, 64)
        width = w_dim if mapping_width is None else whole("mapping_width", mapping_width, 1, 8192)
        shaped = _bands(bands or {}, len(channels))
        self.config = {
            "z_dim": z_dim,
            "w_dim": w_dim,
            "resolution": resolution,
            "channels": channels,
            "kernel": kernel,
            "radial": flag("radial", radial),
            "mapping_layers": layers,
            "mapping_width": width,
            "c_dim": c_dim,
            "bands": asdict(shaped),
        }
        self.plan = plan(resolution, channels, kernel=kernel, radial=radial, bands=shaped)
        self.num_ws = len(self.plan) + 1
        self.shape = (resolution, resolution)
        self.mapping = StyleMapping(z_dim, c_dim, w_dim, layers, width, self.num_ws)
        self.synthesis = Synthesis(w_dim, self.plan, kernel)

    def truncate(self, ws: Tensor, psi: Tensor | float) -> Tensor:
        return self.mapping.w_avg + psi * (ws - self.mapping.w_avg)

    def style_weights(self) -> list[list[Tensor]]:
        """The first is that of the waves' place and turn."""
        return [[self.synthesis.input.affine.weight], *([layer.affine.weight] for layer in self.synthesis.layers)]

    def prepare(self) -> None:
        self.mapping.prepare()
        self.synthesis.prepare(self.compute, self.memory_format)

    @staticmethod
    def config_of(tensors: Mapping[str, Tensor], *, bands: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The constructor arguments, read from the names and shapes of a state dict with the original's names.

        ModelError if a tensor that tells a size is missing.
        """
        layers = sorted(
            ((int(m[1]), int(m[2]), name) for name in tensors if (m := _NAME.fullmatch(name))), key=lambda row: row[0]
        )
        try:
            weights = [tensors[name] for _, _, name in layers]
            embed = tensors.get("mapping.embed.weight")
            w_dim = tensors["mapping.w_avg"].shape[0]
            width, first = tensors["mapping.fc0.weight"].shape
            return {
                "z_dim": first - (0 if embed is None else w_dim),
                "w_dim": w_dim,
                "resolution": layers[-1][1],
                "channels": [weight.shape[0] for weight in weights[:-1]],
                "kernel": weights[0].shape[2],
                "radial": any(name.endswith("down_filter") and t.ndim == 2 for name, t in tensors.items()),
                "mapping_layers": sum(1 for i in range(64) if f"mapping.fc{i}.weight" in tensors),
                "mapping_width": width,
                "c_dim": 0 if embed is None else embed.shape[1],
                "bands": dict(bands or {}),
            }
        except (KeyError, IndexError, ValueError) as error:
            raise no_state_dict("a StyleGAN3", error) from error


def _bands(given: Mapping[str, Any], count: int) -> Bands:
    """Bands with the given fields. ModelError for any that is unknown or out of range."""
    limits = {
        "critical": (0, count - 1),
        "cutoff": (0.1, 64),
        "stopband": (0.1, 64),
        "last_stopband": (1, 4),
        "margin": (0, 64),
        "taps": (1, 32),
        "oversampling": (1, 8),
    }
    if not isinstance(given, Mapping) or not given.keys() <= limits.keys():
        raise ModelError("bands must be a table of " + ", ".join(limits))
    checks: dict[str, Any] = {field.name: whole if field.type == "int" else real for field in fields(Bands)}
    return Bands(**{name: checks[name](f"bands.{name}", value, *limits[name]) for name, value in given.items()})


class Synthesis(nn.Module):
    """ws [N, num_ws, w_dim] float32, transform [3, 3], [N, 3, 3] or None -> img [N, 3, size, size] float32."""

    def __init__(self, w_dim: int, layers: Sequence[LayerPlan], kernel: int) -> None:
        super().__init__()
        self.input = WaveInput(w_dim, layers[0])
        self.layers = [FilteredLayer(w_dim, layer, 1 if layer.colours else kernel) for layer in layers]
        for layer in self.layers:
            self.add_module(layer.plan.name, layer)

    def prepare(self, dtype: torch.dtype, memory_format: torch.memory_format, *, products: bool | None = None) -> None:
        """products: filters as matrix products; None leaves it to the device."""
        self.input.prepare()
        last = self.layers[-1].plan.rate
        products = self.input.weight.is_cuda if products is None else products
        for layer in self.layers:
            half = layer.plan.rate << HALF_OCTAVES > last
            layer.prepare(dtype if half else torch.float32, memory_format, products)

    def forward(self, ws: Tensor, transform: Tensor | None = None) -> Tensor:
        x = self.input(ws[:, 0], transform)
        for i, layer in enumerate(self.layers):
            x = layer(x, ws[:, i + 1])
        return x.float() * OUTPUT_SCALE


class WaveInput(nn.Module):
    """The first picture: one wave a channel over the plane, moved and turned by w and by the user. float32 on every device."""

    transform: Tensor
    freqs: Tensor
    phases: Tensor
    grid: Tensor  # [size]: places of the samples on an axis; the picture is -0.5..0.5
    mix: Tensor

    def __init__(self, w_dim: int, layer: LayerPlan) -> None:
        super().__init__()
        self.layer = layer
        self.weight = nn.Parameter(torch.empty(layer.inputs, layer.inputs))
        self.affine = FullyConnected(w_dim, 4)
        self.register_buffer("transform", torch.empty(3, 3))
        self.register_buffer("freqs", torch.empty(layer.inputs, 2))
        self.register_buffer("phases", torch.empty(layer.inputs))

    def prepare(self) -> None:
        self.affine.prepare()
        size, device = self.layer.size, self.weight.device
        places = (torch.arange(size, device=device) + 0.5) / size * 2 - 1
        keep(self, "grid", places * (0.5 * size / self.layer.rate))
        keep(self, "mix", self.weight / math.sqrt(self.layer.inputs))

    def forward(self, w: Tensor, transform: Tensor | None) -> Tensor:
        """w [N, w_dim], transform as for the synthesis -> [N, channels, size, size], channels last in memory."""
        matrix = placed(self.affine(w), self.transform if transform is None else self.transform @ transform)
        freqs = self.freqs @ matrix[:, :2, :2]  # [N, C, 2]
        phases = self.phases + (self.freqs @ matrix[:, :2, 2:])[:, :, 0]
        cutoff, rate = self.layer.cutoff, self.layer.rate
        # A wave that was turned or stretched beyond what the grid can hold fades out.
        fade = (1 - (freqs.norm(dim=2) - cutoff) / (rate / 2 - cutoff)).clamp(0, 1)
        # sin(a + b) from the sines of a row's and a column's angles: 2 n C of them instead of n^2 C.
        across = self.grid[:, None] * freqs[:, None, :, 0] * math.tau
        down = (self.grid[:, None] * freqs[:, None, :, 1] + phases[:, None, :]) * math.tau
        sin_d, cos_d = down.sin() * fade[:, None], down.cos() * fade[:, None]
        x = sin_d[:, :, None] * across.cos()[:, None] + cos_d[:, :, None] * across.sin()[:, None]
        return F.linear(x, self.mix).permute(0, 3, 1, 2)


class FilteredLayer(nn.Module):
    """Modulated convolution, bias, then the leaky ReLU at a higher sampling rate between two low-pass filters; or, last, colours alone."""

    magnitude_ema: Tensor
    kernel: Tensor
    square_sum: Tensor
    gain: Tensor  # []: what the input's magnitude is divided by
    shift: Tensor
    up_y: Tensor
    up_x: Tensor
    up: Tensor  # for products, as `_padded` says
    down_y: Tensor
    down_x: Tensor
    down: Tensor
    across: Tensor
    down_round: Tensor

    def __init__(self, w_dim: int, layer: LayerPlan, side: int) -> None:
        super().__init__()
        self.plan, self.side = layer, side
        self.compute, self.products = torch.float32, False
        self.weight = nn.Parameter(torch.empty(layer.outputs, layer.inputs, side, side))
        self.bias = nn.Parameter(torch.empty(layer.outputs))
        self.affine = FullyConnected(w_dim, layer.inputs)
        self.register_buffer("magnitude_ema", torch.empty(()))
        if layer.up_taps > 1:
            self.register_buffer("up_filter", torch.empty(layer.up_taps))
        if layer.down_taps > 1:
            self.register_buffer("down_filter", torch.empty([layer.down_taps] * (2 if layer.radial else 1)))

    def prepare(self, dtype: torch.dtype, memory_format: torch.memory_format, products: bool) -> None:
        """dtype: of this layer's convolution and filters; styles and demodulation stay float32. products: filters as matrices."""
        products = products and self._raised <= MOST_SIDE
        self.compute, self.products = dtype, products
        for name in _FILTERS:  # what another device's way needed
            self._buffers.pop(name, None)
        self.affine.prepare()
        layer, weight = self.plan, self.weight
        if layer.colours:
            weight = weight / math.sqrt(weight[0].numel())
        elif dtype != torch.float32:
            # Demodulation divides it out again; without it, sums of 4,608 products overflow half.
            largest = weight.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(EPS)
            weight = weight / (largest * math.sqrt(weight[0].numel()))
        keep(self, "square_sum", weight.square().sum(dim=(2, 3)))
        keep(self, "kernel", weight.to(dtype).contiguous(memory_format=memory_format))
        keep(self, "gain", self.magnitude_ema.rsqrt())
        keep(self, "shift", self.bias.to(dtype)[None, :, None, None])
        # leaky ReLU is homogeneous, so its gain sqrt(2) rides in the filter before it, with the gain of up-sampling.
        if layer.up_taps > 1:
            taps = self.get_buffer("up_filter") * (layer.up * math.sqrt(SQRT2))
            if products:
                keep(self, "up", _padded(self._raise_axis(taps)).to(dtype))
            else:
                keep(self, "up_y", taps[None, None, :, None].to(dtype).expand(layer.outputs, 1, -1, 1).contiguous())
                keep(self, "up_x", taps[None, None, None, :].to(dtype).expand(layer.outputs, 1, 1, -1).contiguous())
        if layer.radial:
            taps = self.get_buffer("down_filter").flip((0, 1))
            if products:
                down, across = self._lower_plane(taps, torch.finfo(dtype).eps / 10)
                keep(self, "down", _padded(down).to(dtype))
                keep(self, "across", _padded(across).to(dtype))
            else:
                keep(self, "down_round", taps[None, None].to(dtype).expand(layer.outputs, 1, -1, -1).contiguous())
        elif layer.down_taps > 1:
            taps = self.get_buffer("down_filter").flip(0)
            if products:
                keep(self, "down", _padded(self._lower_axis(taps)).to(dtype))
                keep(self, "across", self.down)
            else:
                taps = taps.to(dtype)
                keep(self, "down_y", taps[None, None, :, None].expand(layer.outputs, 1, -1, 1).contiguous())
                keep(self, "down_x", taps[None, None, None, :].expand(layer.outputs, 1, 1, -1).contiguous())

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """x [N, inputs, h, w] in the previous layer's dtype, w [N, w_dim] float32 -> [N, outputs, size, size] in this layer's dtype.

        x is overwritten, as in StyleGAN2.
        """
        s = self.affine(w)
        if self.plan.colours:
            x = x.to(self.compute).mul_((s * self.gain).to(self.compute)[:, :, None, None])
            return (F.conv2d(x, self.kernel) + self.shift).clamp_(-CLAMP, CLAMP)
        if self.compute != torch.float32:
            s = s / s.abs().amax(dim=1, keepdim=True).clamp_min(EPS)
        d = (F.linear(s.square(), self.square_sum) + EPS).rsqrt() * self.gain
        x = x.to(self.compute).mul_(s.to(self.compute)[:, :, None, None])
        x = F.conv2d(x, self.kernel, padding=self.side - 1)
        x = torch.addcmul(self.shift, x, d.to(self.compute)[:, :, None, None], out=x)
        x = F.leaky_relu_(self._raise(x), 0.2).clamp_(-CLAMP, CLAMP)
        return self._lower(x)

    @property
    def _raised(self) -> int:
        """The side of the up-sampled signal: what `_lower` needs for `size`."""
        return (self.plan.size - 1) * self.plan.down + self.plan.down_taps

    def _raise(self, x: Tensor) -> Tensor:
        """Up-sampled and low-pass filtered. A transposed convolution is zero-stuffing and filter in one, and its ends are cropped."""
        layer, channels = self.plan, self.plan.outputs
        if layer.up_taps == 1:
            return F.pad(x, [*layer.pad, *layer.pad]) * SQRT2
        if self.products:
            return _product(x, self.up, self.up, self._raised)
        length, begin = self._raised, layer.up_taps - 1 - layer.pad[0]
        x = F.conv_transpose2d(x, self.up_x, stride=(1, layer.up), groups=channels)
        x = _window(x, 3, begin, length)
        x = F.conv_transpose2d(x, self.up_y, stride=(layer.up, 1), groups=channels)
        return _window(x, 2, begin, length)

    def _lower(self, x: Tensor) -> Tensor:
        layer, channels = self.plan, self.plan.outputs
        if layer.down_taps == 1:
            return x
        if self.products:
            return _product(x, self.down, self.across, layer.size)
        if layer.radial:
            return F.conv2d(x, self.down_round, stride=layer.down, groups=channels)
        x = F.conv2d(x, self.down_x, stride=(1, layer.down), groups=channels)
        return F.conv2d(x, self.down_y, stride=(layer.down, 1), groups=channels)

    def _raise_axis(self, taps: Tensor) -> Tensor:
        """What `_raise` does along one axis, as a matrix [side before, side after]: its answers to single samples."""
        layer = self.plan
        side = (self._raised - sum(layer.pad) + layer.up_taps - 1) // layer.up
        samples = torch.eye(side, device=taps.device)[:, None, None]
        raised = F.conv_transpose2d(samples, taps[None, None, None], stride=(1, layer.up))
        return _window(raised, 3, layer.up_taps - 1 - layer.pad[0], self._raised)[:, 0, 0]

    def _lower_axis(self, taps: Tensor) -> Tensor:
        samples = torch.eye(self._raised, device=taps.device)[:, None, None]
        return F.conv2d(samples, taps[None, None, None], stride=(1, self.plan.down))[:, 0, 0]

    def _lower_plane(self, taps: Tensor, least: float) -> tuple[Tensor, Tensor]:
        """A round filter [t, t] as a sum of products of one filter down and one across: as many as it has singular values above `least`
        times the first, t/2 at most."""
        u, s, vh = torch.linalg.svd(taps.double())
        some = s >= least * s[0]  # all, of a filter of zeros
        weights = s[some].sqrt()[:, None]
        terms = [
            torch.stack([self._lower_axis(one.float()) for one in weights * rows[some]], dim=2) for rows in (u.t(), vh)
        ]
        down, across = terms  # [raised, size, terms]
        return down.flatten(1), across.permute(2, 0, 1).flatten(0, 1)


def _padded(matrix: Tensor) -> Tensor:
    """With zero columns up to a multiple of 8: tensor cores read rows that are aligned."""
    return F.pad(matrix, [0, -matrix.shape[1] % 8])


def _product(x: Tensor, down: Tensor, across: Tensor, side: int) -> Tensor:
    """x [N, C, h, h] -> [N, C, side, side], channels last in memory: filtered down the columns, then across the rows.

    down [h, side * terms], across [terms * h, side], or a little wider, of x's dtype: the filter as a sum of products. They are mostly
    zeros, and many times the arithmetic of a depthwise convolution; at 276 px an H200 does it in a tenth of that one's time (float16).
    """
    n, channels, h, w = x.shape
    terms = across.shape[0] // w
    some = max(MOST_BETWEEN // (n * side * terms * w), 1)
    if some < channels:  # the round filter's terms would take gigabytes at 1024 px
        return torch.cat([_product(part, down, across, side) for part in x.split(some, dim=1)], dim=1)
    y = torch.bmm(down[:, : side * terms].t().expand(n, -1, -1), x.permute(0, 2, 3, 1).reshape(n, h, w * channels))
    y = torch.bmm(across[:, :side].t().expand(n * side, -1, -1), y.view(n * side, terms * w, channels))
    return y.view(n, side, side, channels).permute(0, 3, 1, 2)


def placed(t: Tensor, transform: Tensor) -> Tensor:
    """[N, 3, 3] from the network's own turn and place t [N, 4] (cosine, sine, x, y of any length) and the user's transform."""
    cos, sin, x, y = (t / t[:, :2].norm(dim=1, keepdim=True)).unbind(dim=1)
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    # The turn after a move by (-x, -y), as one matrix.
    rows = [[cos, -sin, sin * y - cos * x], [sin, cos, -(sin * x + cos * y)], [zero, zero, one]]
    own = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
    return own @ transform


def _window(x: Tensor, dim: int, begin: int, length: int) -> Tensor:
    """x from `begin` on along one axis, `length` long: cropped, and zeros where the window reaches beyond."""
    if begin >= 0 and begin + length <= x.shape[dim]:
        return x.narrow(dim, begin, length)
    before, after = -begin, begin + length - x.shape[dim]
    return F.pad(x, [before, after] if dim == 3 else [0, 0, before, after])
