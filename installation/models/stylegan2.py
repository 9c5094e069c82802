"""StyleGAN2-family generator: mapping, w, psi, skip synthesis; any widths, size and aspect. Tensor names are those of StyleGAN2-ADA.

The fast path modulates activations, not weights: y = d * conv(W, x * s) with d = rsqrt((sum_k W^2) @ s^2 + 1e-8), which is the same
algebra with one plain convolution per layer for any batch. `stylegan2_reference.py` is its slow twin.
Karras et al. 2020 (arXiv:1912.04958, arXiv:2006.06676).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from installation.models.network import Generator, flag, keep, no_state_dict, real, whole, wholes
from installation.models.stylegan2_layers import EPS, SQRT2, FullyConnected, ModulatedConv, ToRGB, blur_kernel, upsample

MAPPING_LR = 0.01
# Half precision is used above this resolution only: below it a layer is bound by its launch, and rounding there moves whole features.
FULL_PRECISION_UP_TO = 32


class StyleGAN2(Generator):
    """See the module. Constructor arguments are what a checkpoint's header keeps as `config`.

    channels: width of each resolution from the constant up, so len(channels) - 1 doublings. base: height and width of the constant
    (4x4 in square networks). conv_clamp: largest absolute activation, None in networks trained without one. noise: whether the
    layers have constant noise maps. c_dim: classes of a conditional network, else 0. mapping_width: of the hidden layers, w_dim if None.
    joint_norm: z and a class's vector, of z_dim, are normalised as one (TensorFlow's StyleGAN2), not each alone, of w_dim (ADA's).
    """

    arch = "stylegan2"
    mapping: StyleMapping
    synthesis: Synthesis
    cpu_channels_last = (
        True  # two threads, 256 px: 11 against 23 ms (widths to 128), 37 against 133 (256), 115 against 127 (512)
    )

    def __init__(
        self,
        *,
        z_dim: int,
        w_dim: int,
        channels: Sequence[int],
        mapping_layers: int = 8,
        mapping_width: int | None = None,
        c_dim: int = 0,
        base: Sequence[int] = (4, 4),
        conv_clamp: float | None = None,
        noise: bool = True,
        joint_norm: bool = False,
    ) -> None:
        super().__init__()
        self.z_dim, self.w_dim = whole("z_dim", z_dim, 1, 8192), whole("w_dim", w_dim, 1, 8192)
        channels = wholes("channels", channels, 1, 8192, least=1, most=10)
        base = wholes("base", base, 1, 64, least=2, most=2)
        layers, c_dim = whole("mapping_layers", mapping_layers, 1, 64), whole("c_dim", c_dim, 0, 65536)
        self.c_dim = c_dim
        width = w_dim if mapping_width is None else whole("mapping_width", mapping_width, 1, 8192)
        clamp = None if conv_clamp is None else real("conv_clamp", conv_clamp, 1e-3, 60000)
        self.config = {
            "z_dim": z_dim,
            "w_dim": w_dim,
            "channels": channels,
            "mapping_layers": layers,
            "mapping_width": width,
            "c_dim": c_dim,
            "base": base,
            "conv_clamp": clamp,
            "noise": flag("noise", noise),
            "joint_norm": flag("joint_norm", joint_norm),
        }
        self.num_ws = 2 * len(channels)
        self.shape = (base[0] << len(channels) - 1, base[1] << len(channels) - 1)
        self.mapping = StyleMapping(z_dim, c_dim, w_dim, layers, width, self.num_ws, joint_norm=joint_norm)
        self.synthesis = Synthesis(w_dim, channels, (base[0], base[1]), clamp=clamp, noise=noise)

    def truncate(self, ws: Tensor, psi: Tensor | float) -> Tensor:
        return self.mapping.w_avg + psi * (ws - self.mapping.w_avg)

    def style_weights(self) -> list[list[Tensor]]:
        """Of the 3x3 convolutions; the colour layers, which share a w with one of them, only where they have it to themselves."""
        blocks = self.synthesis.blocks
        layers: list[Tensor] = [blocks[0].conv1.affine.weight]
        for block in blocks[1:]:
            assert block.conv0 is not None
            layers += [block.conv0.affine.weight, block.conv1.affine.weight]
        return [[layer] for layer in (*layers, blocks[-1].torgb.affine.weight)]

    def prepare(self) -> None:
        self.mapping.prepare()
        self.synthesis.prepare(self.compute, self.memory_format)

    @staticmethod
    def config_of(
        tensors: Mapping[str, Tensor], *, conv_clamp: float | None = None, joint_norm: bool = False
    ) -> dict[str, Any]:
        """The constructor arguments, read from the shapes of a state dict with StyleGAN2-ADA's names. conv_clamp and joint_norm are not
        in the shapes.

        ModelError if a tensor that tells a size is missing.
        """
        try:
            const = tensors["synthesis.b4.const"]
            channels = [const.shape[0]]
            while (name := f"synthesis.b{4 << len(channels)}.conv1.weight") in tensors:
                channels.append(tensors[name].shape[0])
            layers = sum(1 for i in range(64) if f"mapping.fc{i}.weight" in tensors)
            w_dim = tensors["mapping.w_avg"].shape[0]
            embed = tensors.get("mapping.embed.weight")
            z_dim = tensors["mapping.fc0.weight"].shape[1] - (0 if embed is None else embed.shape[0])
            width = tensors["mapping.fc0.weight"].shape[0]
            c_dim = 0 if embed is None else embed.shape[1]
        except (KeyError, IndexError) as error:
            raise no_state_dict("a StyleGAN2", error) from error
        return {
            "z_dim": z_dim,
            "w_dim": w_dim,
            "channels": channels,
            "mapping_layers": layers,
            "mapping_width": width,
            "c_dim": c_dim,
            "base": list(const.shape[1:]),
            "conv_clamp": conv_clamp,
            "noise": "synthesis.b4.conv1.noise_const" in tensors,
            "joint_norm": joint_norm,
        }


class StyleMapping(nn.Module):
    """z [N, z_dim] and a class -> ws [N, num_ws, w_dim], before truncation. float32 on every device."""

    w_avg: Tensor

    def __init__(
        self, z_dim: int, c_dim: int, w_dim: int, layers: int, width: int, num_ws: int, *, joint_norm: bool = False
    ) -> None:
        super().__init__()
        self.c_dim, self.num_ws, self.joint_norm = c_dim, num_ws, joint_norm
        self.register_buffer("w_avg", torch.empty(w_dim))
        embedding = 0 if not c_dim else z_dim if joint_norm else w_dim
        if c_dim:
            self.embed = FullyConnected(c_dim, embedding)
        widths = [z_dim + embedding, *[width] * (layers - 1), w_dim]
        self.layers = [FullyConnected(widths[i], widths[i + 1], lr=MAPPING_LR) for i in range(layers)]
        for i, layer in enumerate(self.layers):
            self.add_module(f"fc{i}", layer)

    def prepare(self) -> None:
        for layer in [*self.layers, *([self.embed] if self.c_dim else [])]:
            layer.prepare()

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """c: [N, c_dim] weights of the classes (one-hot, or mixed); None is the first class. Ignored where c_dim is 0."""
        parts = [z]
        if self.c_dim:
            if c is None:
                c = torch.eye(1, self.c_dim, device=z.device).expand(len(z), -1)
            parts.append(self.embed(c))
        if self.joint_norm:
            parts = [torch.cat(parts, dim=1)]
        x = torch.cat([normalise(part) for part in parts], dim=1)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2) * SQRT2
        return x[:, None, :].expand(-1, self.num_ws, -1)


class Synthesis(nn.Module):
    """ws [N, num_ws, w_dim] float32 -> img [N, 3, height, width] float32.

    Blocks b4, b8, ... are named by a square network's resolution, whatever the shape of the constant.
    """

    fir: Tensor

    def __init__(
        self, w_dim: int, channels: Sequence[int], base: tuple[int, int], *, clamp: float | None, noise: bool
    ) -> None:
        super().__init__()
        self.blocks: list[Block] = []
        for i, outputs in enumerate(channels):
            shape = (base[0] << i, base[1] << i)
            self.blocks.append(Block(channels[i - 1] if i else 0, outputs, w_dim, shape, clamp=clamp, noise=noise))
            self.add_module(f"b{4 << i}", self.blocks[i])

    def prepare(self, dtype: torch.dtype, memory_format: torch.memory_format) -> None:
        for block in self.blocks:
            block.prepare(dtype if max(block.shape) > FULL_PRECISION_UP_TO else torch.float32, memory_format)
        device = self.blocks[0].torgb.weight.device
        keep(self, "fir", blur_kernel(device, gain=4.0).expand(3, 1, 4, 4).contiguous())

    def forward(self, ws: Tensor) -> Tensor:
        x = self.blocks[0].start(len(ws))
        img: Tensor | None = None
        for i, block in enumerate(self.blocks):
            x = block(x, ws[:, max(2 * i - 1, 0)], ws[:, 2 * i])
            rgb = block.torgb(x, ws[:, 2 * i + 1])  # the next block's first layer uses this w too
            img = rgb if img is None else upsample(img, self.fir).add_(rgb)
        assert img is not None
        return img


class Block(nn.Module):
    """One resolution: conv0 (doubles the size; not in the first block), conv1, torgb. The first block (inputs 0) owns the constant."""

    def __init__(
        self, inputs: int, outputs: int, w_dim: int, shape: tuple[int, int], *, clamp: float | None, noise: bool
    ) -> None:
        super().__init__()
        self.shape = shape
        self.conv0: ModulatedConv | None = None
        if inputs:
            self.conv0 = ModulatedConv(inputs, outputs, w_dim, shape, up=True, noise=noise, clamp=clamp)
        else:
            self.const = nn.Parameter(torch.empty(outputs, *shape))
        self.conv1 = ModulatedConv(outputs, outputs, w_dim, shape, up=False, noise=noise, clamp=clamp)
        self.torgb = ToRGB(outputs, w_dim, clamp)

    def prepare(self, dtype: torch.dtype, memory_format: torch.memory_format) -> None:
        if self.conv0 is not None:
            self.conv0.prepare(dtype, memory_format)
        else:
            keep(self, "first", self.const[None].contiguous(memory_format=memory_format))
        self.conv1.prepare(dtype, memory_format)
        self.torgb.prepare()

    def start(self, n: int) -> Tensor:
        """The learned input as [n, channels, h, w]; first block only."""
        return self.get_buffer("first").expand(n, -1, -1, -1).clone()

    def forward(self, x: Tensor, w0: Tensor, w1: Tensor) -> Tensor:
        """w0: for conv0 (unused in the first block). w1: for conv1. x is overwritten."""
        return self.conv1(x if self.conv0 is None else self.conv0(x, w0), w1)


def normalise(x: Tensor) -> Tensor:
    """Each row scaled to a mean square of 1."""
    return x * (x.square().mean(dim=1, keepdim=True) + EPS).rsqrt()
