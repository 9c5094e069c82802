"""Networks with the exact tensor names of other people's training code, written from the equations with torch's own layers: slow,
readable and independent of the package's networks. For families of which no file can be had here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

State = dict[str, Tensor]
FIR = torch.outer(*[torch.tensor([1.0, 3.0, 3.0, 1.0])] * 2) / 64


def rosinality(channels: Sequence[int], style: int = 8, layers: int = 3, seed: int = 0) -> State:
    """A `g_ema` of rosinality's stylegan2-pytorch."""
    rng = torch.Generator().manual_seed(seed)
    state: State = {}

    def put(name: str, *shape: int, offset: float = 0.0, scale: float = 1.0) -> None:
        state[name] = torch.randn(*shape, generator=rng) * scale + offset

    def modulation(name: str, width: int) -> None:
        put(f"{name}.modulation.weight", width, style)
        put(f"{name}.modulation.bias", width, offset=1.0, scale=0.1)

    def layer(name: str, inputs: int, outputs: int) -> None:
        put(f"{name}.conv.weight", 1, outputs, inputs, 3, 3)
        modulation(f"{name}.conv", inputs)
        put(f"{name}.noise.weight", 1, scale=0.1)
        put(f"{name}.activate.bias", outputs, scale=0.1)

    def colours(name: str, inputs: int) -> None:
        put(f"{name}.bias", 1, 3, 1, 1, scale=0.1)
        put(f"{name}.conv.weight", 1, 3, inputs, 1, 1)
        modulation(f"{name}.conv", inputs)

    for i in range(layers):
        put(f"style.{i + 1}.weight", style, style, scale=100.0)
        put(f"style.{i + 1}.bias", style, scale=10.0)
    put("input.input", 1, channels[0], 4, 4)
    layer("conv1", channels[0], channels[0])
    colours("to_rgb1", channels[0])
    put("noises.noise_0", 1, 1, 4, 4)
    for m, outputs in enumerate(channels[1:]):
        layer(f"convs.{2 * m}", channels[m], outputs)
        state[f"convs.{2 * m}.conv.blur.kernel"] = FIR * 4
        layer(f"convs.{2 * m + 1}", outputs, outputs)
        colours(f"to_rgbs.{m}", outputs)
        state[f"to_rgbs.{m}.upsample.kernel"] = FIR * 4
        for k in (1, 2):
            put(f"noises.noise_{2 * m + k}", 1, 1, 8 << m, 8 << m)
    return state


def rosinality_w(state: State, z: Tensor) -> Tensor:
    x = z / z.square().mean(dim=1, keepdim=True).add(1e-8).sqrt()
    i = 1
    while f"style.{i}.weight" in state:
        weight = state[f"style.{i}.weight"]
        x = F.linear(x, weight * 0.01 / math.sqrt(weight.shape[1]), state[f"style.{i}.bias"] * 0.01)
        x, i = F.leaky_relu(x, 0.2) * math.sqrt(2), i + 1
    return x


def rosinality_picture(state: State, w: Tensor) -> Tensor:
    """w [1, style] -> the picture, with weights modulated and demodulated as its own code does."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    fir = (taps[:, None] * taps / 64)[None, None]

    def blur(x: Tensor, pad: tuple[int, int, int, int], gain: float) -> Tensor:
        n, c, h, width = x.shape
        y = F.conv2d(F.pad(x.reshape(n * c, 1, h, width), pad), fir * gain)
        return y.view(n, c, *y.shape[2:])

    def modulated(name: str, *, demodulate: bool) -> Tensor:
        weight, mod = state[f"{name}.weight"][0], state[f"{name}.modulation.weight"]
        s = F.linear(w, mod / math.sqrt(mod.shape[1]), state[f"{name}.modulation.bias"])[0]
        weight = weight * s[None, :, None, None] / math.sqrt(weight[0].numel())
        return weight * weight.square().sum(dim=(1, 2, 3), keepdim=True).add(1e-8).rsqrt() if demodulate else weight

    def layer(x: Tensor, name: str, noise: int, *, up: bool) -> Tensor:
        weight = modulated(f"{name}.conv", demodulate=True)
        if up:
            x = blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), (1, 1, 1, 1), 4.0)
        else:
            x = F.conv2d(x, weight, padding=1)
        x = x + state[f"{name}.noise.weight"] * state[f"noises.noise_{noise}"]
        return F.leaky_relu(x + state[f"{name}.activate.bias"][:, None, None], 0.2) * math.sqrt(2)

    def colours(x: Tensor, name: str) -> Tensor:
        return F.conv2d(x, modulated(f"{name}.conv", demodulate=False)) + state[f"{name}.bias"]

    x = layer(state["input.input"], "conv1", 0, up=False)
    img = colours(x, "to_rgb1")
    m = 0
    while f"to_rgbs.{m}.bias" in state:
        x = layer(layer(x, f"convs.{2 * m}", 2 * m + 1, up=True), f"convs.{2 * m + 1}", 2 * m + 2, up=False)
        stuffed = img.new_zeros(1, 3, 2 * img.shape[2], 2 * img.shape[3])
        stuffed[:, :, ::2, ::2] = img
        img, m = blur(stuffed, (2, 1, 2, 1), 4.0) + colours(x, f"to_rgbs.{m}"), m + 1
    return img


class _Scaled(nn.Module):
    """pytorch_GAN_zoo's equalised layer: the factor multiplies the output."""

    def __init__(self, module: nn.Conv2d | nn.Linear) -> None:
        super().__init__()
        self.module = module
        nn.init.normal_(module.weight)
        assert module.bias is not None
        nn.init.normal_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x) * math.sqrt(2 / math.prod(self.module.weight.shape[1:]))


class ProgressiveGAN(nn.Module):
    """The layout of pytorch_GAN_zoo's GNet."""

    def __init__(self, z_dim: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.scaleLayers, self.toRGBLayers = nn.ModuleList(), nn.ModuleList()
        self.formatLayer = _Scaled(nn.Linear(z_dim, 16 * channels[0]))
        self.groupScale0 = nn.ModuleList([_Scaled(nn.Conv2d(channels[0], channels[0], 3, padding=1))])
        self.toRGBLayers.append(_Scaled(nn.Conv2d(channels[0], 3, 1)))
        for a, b in pairwise(channels):
            pair = [_Scaled(nn.Conv2d(a, b, 3, padding=1)), _Scaled(nn.Conv2d(b, b, 3, padding=1))]
            self.scaleLayers.append(nn.ModuleList(pair))
            self.toRGBLayers.append(_Scaled(nn.Conv2d(b, 3, 1)))

    def forward(self, z: Tensor) -> Tensor:
        def norm(x: Tensor) -> Tensor:
            return x / x.square().mean(dim=1, keepdim=True).add(1e-8).sqrt()

        x = norm(F.leaky_relu(self.formatLayer(norm(z)), 0.2).view(len(z), -1, 4, 4))
        x = norm(F.leaky_relu(self.groupScale0[0](x), 0.2))
        for pair in self.scaleLayers:
            x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
            assert isinstance(pair, nn.ModuleList)
            for conv in pair:
                x = norm(F.leaky_relu(conv(x), 0.2))
        return self.toRGBLayers[-1](x)


class _Noise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.3]))
        self.map: Tensor | None = None  # given by the test: the same constant map that the importer makes

    def forward(self, x: Tensor) -> Tensor:
        assert self.map is not None
        return x + self.weight * self.map


def give_noise(original: nn.Module, maps: Mapping[str, Tensor]) -> None:
    """The importer's constant maps, by the names of the layers that add them."""
    for name, constant in maps.items():
        place, _, number = name.rpartition(".")
        block = original.get_submodule(place)
        if isinstance(block, _ClassBlock):
            block.maps[number] = constant
            continue
        layer = original.get_submodule(name)
        assert isinstance(layer, _Noise)
        layer.map = constant


def settle(original: nn.Module) -> None:
    """Move spectral norm's vectors from where they began, as training does."""
    for module in original.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            for hook in module._forward_pre_hooks.values():
                hook(module, ())


class _Start(nn.Module):
    def __init__(self, z_dim: int, width: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        conv = spectral_norm(nn.ConvTranspose2d(z_dim, 2 * width, 4, bias=False))
        self.init = nn.Sequential(conv, norm(2 * width), nn.GLU(dim=1))

    def forward(self, z: Tensor) -> Tensor:
        return self.init(z[:, :, None, None])


class _Gate(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        squeeze, excite = nn.Conv2d(inputs, outputs, 4, bias=False), nn.Conv2d(outputs, outputs, 1, bias=False)
        self.main = nn.Sequential(
            nn.AdaptiveAvgPool2d(4), spectral_norm(squeeze), nn.SiLU(), spectral_norm(excite), nn.Sigmoid()
        )


class _ClassNorm(nn.Module):
    """Batch norm that is done learning; scale and shift are spectrally normed layers of the class's embedding."""

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.gain, self.bias = (spectral_norm(nn.Linear(embedding, width)) for _ in range(2))
        self.register_buffer("stored_mean", torch.randn(width) * 0.3)
        self.register_buffer("stored_var", torch.rand(width) * 1.5 + 0.5)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        mean, var = (self.get_buffer(name)[:, None, None] for name in ("stored_mean", "stored_var"))
        x = (x - mean) / (var + 1e-5).sqrt()
        return x * (1 + self.gain(e))[:, :, None, None] + self.bias(e)[:, :, None, None]


class _ClassBlock(nn.Module):
    """One resolution of Projected GAN's conditional FastGAN: two layers that share the strength of their noise, or one without noise."""

    def __init__(self, inputs: int, outputs: int, embedding: int, *, lite: bool) -> None:
        super().__init__()
        self.maps: State = {}
        self.lite = lite
        for k, width in ((1, inputs), (2, outputs)) if not lite else (("", inputs),):
            conv = spectral_norm(nn.Conv2d(width, 2 * outputs, 3, padding=1, bias=False))
            self.add_module(f"conv{k}", conv)
            self.add_module(f"bn{k}", _ClassNorm(2 * outputs, embedding))
        if not lite:
            self.noise = _Noise()

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        for k, number in (("1", "2"), ("2", "6")) if not self.lite else (("", ""),):
            x = self.get_submodule(f"conv{k}")(x)
            if number:
                self.noise.map = self.maps[number]
                x = self.noise(x)
            norm = self.get_submodule(f"bn{k}")
            assert isinstance(norm, _ClassNorm)
            a, b = norm(x, e).chunk(2, dim=1)
            x = a * b.sigmoid()
        return x


class FastGAN(nn.Module):
    """The layout of FastGAN's generator, and with `projected` of Projected GAN's synthesis. Batch norm averages over all batches.

    Of Projected GAN's alone: classes, 0 for none; lite; idle: the last of `channels` is there, and not run.
    """

    def __init__(
        self,
        z_dim: int,
        channels: Sequence[int],
        *,
        projected: bool,
        classes: int = 0,
        lite: bool = False,
        idle: bool = False,
    ) -> None:
        super().__init__()
        self.projected, self.sides = projected, [4 << i for i in range(len(channels))]

        def norm(width: int) -> nn.Module:
            layer = nn.BatchNorm2d(width, momentum=None)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.3)
            return layer

        def conv(inputs: int, outputs: int) -> nn.Module:
            return spectral_norm(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False))

        def block(side: int, a: int, b: int) -> nn.Module:
            if classes:
                return _ClassBlock(a, b, z_dim, lite=lite)
            parts: list[nn.Module] = [nn.Upsample(scale_factor=2), conv(a, 2 * b)]
            if (projected and not lite) or (not projected and side in (8, 32, 128, 512)):
                parts += [_Noise(), norm(2 * b), nn.GLU(dim=1), conv(b, 2 * b), _Noise()]
            return nn.Sequential(*parts, norm(2 * b), nn.GLU(dim=1))

        self.init = _Start(z_dim, channels[0], norm)
        for i, side in enumerate(self.sides[1:]):
            self.add_module(f"feat_{side}", block(side, channels[i], channels[i + 1]))
            if i >= 3:
                self.add_module(f"se_{side}", _Gate(channels[i - 3], channels[i + 1]))
        if idle:
            channels = channels[:-1]
            self.sides.pop()
        if not projected:
            self.to_128 = spectral_norm(nn.Conv2d(channels[-1], 3, 1, bias=False))
        self.to_big = spectral_norm(nn.Conv2d(channels[-1], 3, 3, padding=1, bias=projected))
        if classes:
            self.embed = nn.Embedding(classes, z_dim)

    def forward(self, z: Tensor, e: Tensor | None = None) -> Tensor:
        """z [N, z_dim], e [N, z_dim]: the embedding of the class of each, where there are classes."""
        if self.projected:
            z = z / z.square().mean(dim=1, keepdim=True).add(1e-8).sqrt()
        features = [self.init(z)]
        for i, side in enumerate(self.sides[1:]):
            block = self.get_submodule(f"feat_{side}")
            x = block(features[-1]) if e is None else block(features[-1], e)
            if i >= 3:
                gate = self.get_submodule(f"se_{side}")
                assert isinstance(gate, _Gate)
                x = x * gate.main(features[i - 3])
            features.append(x)
        return self.to_big(features[-1])


def lucidrains(
    channels: Sequence[int],
    z_dim: int = 12,
    layers: int = 3,
    seed: int = 0,
    *,
    attention: Sequence[int] = (),
    norm: str = "variance",
    constant: bool = True,
    colours: int = 3,
    blur: bool = True,
) -> State:
    """The `GAN` of lucidrains' stylegan2-pytorch 1.x, its averaged halves, scaled so that most of a picture lies within 0..1.

    attention: blocks with attention before them. norm: of it, as our network names it.
    """
    rng = torch.Generator().manual_seed(seed)
    state: State = {}

    def put(name: str, *shape: int, scale: float = 1.0, offset: float = 0.0) -> None:
        state[name] = torch.randn(*shape, generator=rng) * scale + offset

    def linear(name: str, inputs: int, outputs: int, scale: float) -> None:
        put(f"{name}.weight", outputs, inputs, scale=scale)
        put(f"{name}.bias", outputs, scale=scale)

    def pointwise(name: str, inputs: int, outputs: int, *, bias: bool = True) -> None:
        put(f"{name}.weight", outputs, inputs, 1, 1, scale=1 / math.sqrt(inputs))
        if bias:
            put(f"{name}.bias", outputs, scale=0.1)

    def attend(name: str, width: int) -> None:
        pointwise(f"{name}.0.fn.fn.to_q", width, 512, bias=False)
        put(f"{name}.0.fn.fn.to_kv.net.0.weight", width, 1, 3, 3)
        pointwise(f"{name}.0.fn.fn.to_kv.net.1", width, 1024, bias=False)
        pointwise(f"{name}.0.fn.fn.to_out", 512, width)
        pointwise(f"{name}.1.fn.fn.0", width, 2 * width)
        pointwise(f"{name}.1.fn.fn.2", 2 * width, width)
        for k in range(2):
            stem, shape = f"{name}.{k}.fn", (1, width, 1, 1)
            if norm == "scale":
                put(f"{stem}.g", *shape, offset=1)
            else:
                gain, shift = ("weight", "bias") if norm == "places" else ("g", "b")
                shape = (width,) if norm == "places" else shape
                put(f"{stem}.norm.{gain}", *shape, scale=0.3, offset=1)
                put(f"{stem}.norm.{shift}", *shape, scale=0.3)

    for i in range(layers):
        linear(f"SE.net.{2 * i}", z_dim, z_dim, 10 / math.sqrt(z_dim))
    if constant:
        put("GE.initial_block", 1, channels[0], 4, 4)
    else:
        put("GE.to_initial_block.weight", z_dim, channels[0], 4, 4)
    put("GE.initial_conv.weight", channels[0], channels[0], 3, 3, scale=0.1)
    put("GE.initial_conv.bias", channels[0], scale=0.1)
    for i, outputs in enumerate(channels):
        name, inputs = f"GE.blocks.{i}", channels[max(i - 1, 0)]
        for k, width in ((1, inputs), (2, outputs)):
            linear(f"{name}.to_style{k}", z_dim, width, 1 / math.sqrt(z_dim))
            linear(f"{name}.to_noise{k}", 1, outputs, 0.3)
            put(f"{name}.conv{k}.weight", outputs, width, 3, 3)
        linear(f"{name}.to_rgb.to_style", z_dim, outputs, 1 / math.sqrt(z_dim))
        put(f"{name}.to_rgb.conv.weight", colours, outputs, 1, 1, scale=0.3 / math.sqrt(outputs))
        if blur and i < len(channels) - 1:
            state[f"{name}.to_rgb.upsample.1.f"] = torch.tensor([1.0, 2.0, 1.0])
        if i in attention:
            attend(f"GE.attns.{i}", inputs)
    return state


def lucidrains_w(state: State, z: Tensor, rate: float) -> Tensor:
    x, i = z / z.norm(dim=1, keepdim=True), 0
    while f"SE.net.{i}.weight" in state:
        x = F.leaky_relu(F.linear(x, state[f"SE.net.{i}.weight"] * rate, state[f"SE.net.{i}.bias"] * rate), 0.2)
        i += 2
    return x


def lucidrains_attention(state: State, name: str, x: Tensor, norm: str) -> Tensor:
    """x [1, C, h, w] -> x: attention and the two convolutions after it, each head and each place on its own."""
    _, _, height, width = x.shape

    def pointwise(name: str, x: Tensor) -> Tensor:
        """x [C, places]."""
        y = state[f"{name}.weight"][:, :, 0, 0] @ x
        return y + state[f"{name}.bias"][:, None] if f"{name}.bias" in state else y

    def normed(k: int, x: Tensor) -> Tensor:
        if norm == "scale":
            return x
        if norm == "places":
            x = (x - x.mean(dim=1, keepdim=True)) / x.var(dim=1, unbiased=False, keepdim=True).add(1e-5).sqrt()
            return x * state[f"{name}.{k}.fn.norm.weight"][:, None] + state[f"{name}.{k}.fn.norm.bias"][:, None]
        far = x - x.mean(dim=0)
        mean_square = far.square().mean(dim=0)
        x = far / ((mean_square + 1e-5).sqrt() if norm == "variance" else mean_square.sqrt() + 1e-5)
        return x * state[f"{name}.{k}.fn.norm.g"][0, :, 0] + state[f"{name}.{k}.fn.norm.b"][0, :, 0]

    def scaled(k: int, y: Tensor) -> Tensor:
        return y * state[f"{name}.{k}.fn.g"][0, :, 0] if norm == "scale" else y

    x = x[0].flatten(1)
    y, attend = normed(0, x), f"{name}.0.fn.fn"
    spread = F.conv2d(y.view(1, -1, height, width), state[f"{attend}.to_kv.net.0.weight"], padding=1, groups=len(y))[
        0
    ].flatten(1)
    q, (k, v) = pointwise(f"{attend}.to_q", y), pointwise(f"{attend}.to_kv.net.1", spread).chunk(2)
    parts = []
    for h in range(8):
        at = slice(64 * h, 64 * h + 64)
        weights = k[at].softmax(dim=1)
        context = sum(torch.outer(v[at, p], weights[:, p]) for p in range(height * width))
        assert isinstance(context, Tensor)
        parts.append(torch.stack([context @ (q[at, p].softmax(dim=0) / 8) for p in range(height * width)], dim=1))
    x = x + scaled(0, pointwise(f"{attend}.to_out", F.gelu(torch.cat(parts))))
    y = F.leaky_relu(pointwise(f"{name}.1.fn.fn.0", normed(1, x)), 0.2)
    return (x + scaled(1, pointwise(f"{name}.1.fn.fn.2", y))).view(1, -1, height, width)


def lucidrains_picture(state: State, ws: Tensor, noise: Tensor, norm: str = "variance") -> Tensor:
    """ws [1, num_ws, z_dim], noise [size, size] -> the picture, 0..1, RGB or RGBA, with modulated weights. norm: of the attention."""

    def affine(name: str, x: Tensor) -> Tensor:
        return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    if "GE.initial_block" in state:
        x = state["GE.initial_block"]
    else:
        x = F.conv_transpose2d(ws.mean(dim=1)[:, :, None, None], state["GE.to_initial_block.weight"])
    x = F.conv2d(x, state["GE.initial_conv.weight"], state["GE.initial_conv.bias"], padding=1)
    img = torch.zeros(1, len(state["GE.blocks.0.to_rgb.conv.weight"]), 4, 4)
    i = 0
    while f"GE.blocks.{i}.conv1.weight" in state:
        name, w = f"GE.blocks.{i}", ws[:, i]
        if f"GE.attns.{i}.0.fn.fn.to_q.weight" in state:
            x = lucidrains_attention(state, f"GE.attns.{i}", x, norm)
        if i:
            x = F.interpolate(x, scale_factor=2, mode="bilinear")
            img = F.interpolate(img, scale_factor=2, mode="bilinear")
        if f"GE.blocks.{i - 1}.to_rgb.upsample.1.f" in state:
            img = F.pad(img, (1, 1, 1, 1), mode="reflect")
            img = (img[..., :-2] + 2 * img[..., 1:-1] + img[..., 2:]) / 4
            img = (img[:, :, :-2] + 2 * img[:, :, 1:-1] + img[:, :, 2:]) / 4
        side = x.shape[2]
        for k in (1, 2):
            weight = state[f"{name}.conv{k}.weight"] * (affine(f"{name}.to_style{k}", w)[0, None, :, None, None] + 1)
            weight = weight / weight.square().sum(dim=(1, 2, 3), keepdim=True).add(1e-8).sqrt()
            grain = affine(f"{name}.to_noise{k}", noise[:side, :side, None]).permute(2, 1, 0)
            x = F.leaky_relu(F.conv2d(x, weight, padding=1) + grain, 0.2)
        weight = state[f"{name}.to_rgb.conv.weight"] * (
            affine(f"{name}.to_rgb.to_style", w)[0, None, :, None, None] + 1
        )
        img, i = img + F.conv2d(x, weight), i + 1
    return img.clamp(0, 1)


class _Blur(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("f", torch.tensor([1.0, 2.0, 1.0]))

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (1, 1, 1, 1), mode="reflect")
        x = (x[..., :-2] + 2 * x[..., 1:-1] + x[..., 2:]) / 4
        return (x[:, :, :-2] + 2 * x[:, :, 1:-1] + x[:, :, 2:]) / 4


class _Shuffle(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(inputs, 4 * outputs, 1), nn.SiLU(), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class _Context(nn.Module):
    def __init__(self, inputs: int, outputs: int, side: int, *, frequencies: bool) -> None:
        super().__init__()
        if frequencies:
            self.register_buffer("dct_weights", torch.randn(1, inputs, side, side) / side)
        else:
            self.to_k = nn.Conv2d(inputs, 1, 1)
        width = max(3, outputs // 2)
        self.net = nn.Sequential(
            nn.Conv2d(inputs, width, 1), nn.LeakyReLU(0.1), nn.Conv2d(width, outputs, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        if hasattr(self, "to_k"):
            weights = self.to_k(x).flatten(1).softmax(dim=1).view(len(x), 1, *x.shape[2:])
        else:
            weights = self.get_buffer("dct_weights")
        return self.net((x * weights).sum(dim=(2, 3), keepdim=True))


class _Norm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.rand(1, width, 1, 1) + 0.5)
        self.b = nn.Parameter(torch.randn(1, width, 1, 1) * 0.1)


class _TwoAttentions(nn.Module):
    """8 heads; loops over heads, places and neighbours instead of one sum over all."""

    def __init__(self, width: int, head: int = 64) -> None:
        super().__init__()
        inner, self.head = 8 * head, head
        self.to_lin_q, self.to_q = (nn.Conv2d(width, inner, 1, bias=False) for _ in range(2))
        self.to_lin_kv = nn.Module()
        depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.to_lin_kv.net = nn.Sequential(depthwise, nn.Conv2d(width, 2 * inner, 1, bias=False))
        self.to_kv = nn.Conv2d(width, 2 * inner, 1, bias=False)
        self.to_out = nn.Conv2d(2 * inner, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x [1, width, h, w]."""
        _, _, height, width = x.shape
        net = self.to_lin_kv.net
        assert isinstance(net, nn.Sequential)
        far, near = [], []
        for h in range(8):
            at = slice(h * self.head, (h + 1) * self.head)
            q, (k, v) = self.to_lin_q(x)[0, at].flatten(1), (p[0, at].flatten(1) for p in net(x).chunk(2, dim=1))
            far.append(v @ k.softmax(dim=1).T @ (q.softmax(dim=0) / math.sqrt(self.head)))
            q, (k, v) = self.to_q(x)[0, at], (F.pad(p[0, at], (1, 1, 1, 1)) for p in self.to_kv(x).chunk(2, dim=1))
            places = []
            for i in range(height):
                for j in range(width):
                    keys, values = (p[:, i : i + 3, j : j + 3].flatten(1) for p in (k, v))
                    places.append(values @ (q[:, i, j] @ keys / math.sqrt(self.head)).softmax(dim=0))
            near.append(torch.stack(places, dim=1))
        both = torch.cat([F.gelu(torch.cat(far)), torch.cat(near)]).view(1, -1, height, width)
        return self.to_out(both)


class LightweightGAN(nn.Module):
    """The layout of the generator of lucidrains' lightweight-gan 1.2. attention: layers with attention before them. doubling: as our
    network names it."""

    def __init__(
        self,
        z_dim: int,
        channels: Sequence[int],
        attention: Sequence[int],
        *,
        frequencies: bool,
        colours: int = 3,
        doubling: str = "inputs",
    ) -> None:
        super().__init__()

        def norm(width: int) -> nn.Module:
            layer = nn.BatchNorm2d(width)
            for tensor in (layer.weight, layer.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)  # pyright: ignore[reportArgumentType]
            for tensor in (layer.bias, layer.running_mean):
                nn.init.normal_(tensor, 0, 0.2)  # pyright: ignore[reportArgumentType]
            return layer

        self.initial_conv = nn.Sequential(nn.ConvTranspose2d(z_dim, 2 * z_dim, 4), norm(2 * z_dim), nn.GLU(dim=1))
        self.layers = nn.ModuleList()
        for i, (a, b) in enumerate(pairwise([z_dim, *channels])):
            width = b if doubling == "outputs" else a
            double = nn.Upsample(scale_factor=2) if doubling == "repeat" else _Shuffle(a, width)
            conv = nn.Sequential(nn.ZeroPad2d((2, 1, 2, 1)), nn.Conv2d(width, 2 * b, 4))
            parts = nn.ModuleList([nn.Sequential(double, _Blur(), conv, _Noise(), norm(2 * b), nn.GLU(dim=1))])
            if i >= 1 and i + 3 < len(channels):
                parts.add_module("1", _Context(b, channels[i + 3], 8 << i, frequencies=frequencies))
            if i in attention:
                block = nn.Module()
                block.norm, block.fn = _Norm(a), _TwoAttentions(a)
                parts.add_module("2", block)
            self.layers.append(parts)
        self.out_conv = nn.Conv2d(channels[-1], colours, 3, padding=1)
        nn.init.constant_(self.out_conv.bias, 0.5)  # pyright: ignore[reportArgumentType]

    def forward(self, z: Tensor) -> Tensor:
        """z [1, z_dim] -> the picture, 0..1."""
        x = self.initial_conv(z[:, :, None, None])
        x = x / x.norm(dim=1, keepdim=True)
        gates: dict[int, Tensor] = {}
        for i, parts in enumerate(self.layers):
            modules = dict(parts.named_children())
            if "2" in modules:
                norm, fn = modules["2"].norm, modules["2"].fn
                y = (x - x.mean(dim=1, keepdim=True)) / x.var(dim=1, unbiased=False, keepdim=True).add(1e-5).sqrt()
                x = x + fn(y * norm.g + norm.b)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
            x = modules["0"](x)
            if "1" in modules:
                gates[i + 3] = modules["1"](x)
            x = x * gates.get(i, torch.ones(()))
        return self.out_conv(x).clamp(0, 1)


def lightweight_state() -> dict[str, Tensor]:
    original = LightweightGAN(8, [6, 5, 5, 4, 4], [1], frequencies=False)
    return {f"GE.{name}": tensor for name, tensor in original.state_dict().items()}


def files() -> dict[str, dict[str, Any]]:
    """One small file of each family, as torch.load would give it."""
    torch.manual_seed(0)
    return {
        "rosinality": {"g_ema": rosinality([8, 6])},
        "lucidrains": {"GAN": lucidrains([6, 4])},
        "lucidrains, attentive": {"GAN": lucidrains([6, 4, 4], attention=[0, 2], constant=False, colours=4)},
        "lightweight-gan": {"GAN": lightweight_state()},
        "pggan": {"avgG": ProgressiveGAN(6, [6, 4]).state_dict()},
        "fastgan": {"g": FastGAN(6, [4, 4, 4], projected=False).state_dict()},
    }
