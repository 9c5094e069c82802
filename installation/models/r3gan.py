"""R3GAN generator: residual blocks of grouped convolutions from a learned 4x4 basis up. It has no mapping and no w: ws is z.

Huang et al. 2024 (arXiv:2501.05441). Tensor names: `stages.{s}.basis` [C, 4, 4] and `.linear.weight` in the first stage, `stages.{s}.taps`
[4, 4] and, where the width changes, `.mix.weight` in the others, `stages.{s}.blocks.{b}.conv{1,2,3}.weight` and `.bias{1,2}` in all;
`colours.weight`; `embed.weight` in a conditional network.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from installation.errors import ModelError
from installation.models.network import ZGenerator, keep, no_state_dict, whole, wholes

SLOPE = 0.2
# The stages that were trained in half precision; those before are bound by their launches.
HALF_STAGES = 4


class R3GAN(ZGenerator):
    """z [N, z_dim] -> img of 4 * 2^(len(widths) - 1) px.

    widths: of each stage from 4x4 up. groups: of its 3x3 convolutions ("cardinality"). blocks: residual blocks a stage. expansion: how
    much wider a block is inside. c_dim, embedding: classes of a conditional network and the width of their embedding, else 0.
    `synthesis_slow` is the fast path's twin.
    """

    arch = "r3gan"
    cpu_channels_last = True

    def __init__(
        self,
        *,
        z_dim: int,
        widths: Sequence[int],
        groups: Sequence[int],
        blocks: Sequence[int],
        expansion: int = 2,
        c_dim: int = 0,
        embedding: int = 0,
    ) -> None:
        super().__init__()
        self.z_dim, self.c_dim = whole("z_dim", z_dim, 1, 8192), whole("c_dim", c_dim, 0, 65536)
        widths = wholes("widths", widths, 1, 8192, least=1, most=10)
        groups = wholes("groups", groups, 1, 8192, least=len(widths), most=len(widths))
        blocks = wholes("blocks", blocks, 1, 64, least=len(widths), most=len(widths))
        expansion, embedding = whole("expansion", expansion, 1, 16), whole("embedding", embedding, 0, 8192)
        if any(width * expansion % group for width, group in zip(widths, groups, strict=True)):
            raise ModelError("groups must divide the widths of their stages")
        if bool(c_dim) != bool(embedding):
            raise ModelError("c_dim and embedding are both 0 or neither")
        self.config = {
            "z_dim": z_dim,
            "widths": widths,
            "groups": groups,
            "blocks": blocks,
            "expansion": expansion,
            "c_dim": c_dim,
            "embedding": embedding,
        }
        self.shape = (4 << len(widths) - 1, 4 << len(widths) - 1)
        before = [None, *widths[:-1]]
        self.stages = nn.ModuleList(
            Resolution(before[i], z_dim + embedding, width, groups[i], blocks[i], expansion)
            for i, width in enumerate(widths)
        )
        self.colours = nn.Conv2d(widths[-1], 3, 1, bias=False)
        if c_dim:
            self.embed = nn.Linear(c_dim, embedding, bias=False)

    def prepare(self) -> None:
        # Trained in bfloat16, whose range is float32's: float16 might overflow.
        half = torch.float32 if self.compute == torch.float32 else torch.bfloat16
        for i, stage in enumerate(self.stages):
            assert isinstance(stage, Resolution)
            late = i >= max(len(self.stages) - HALF_STAGES, 1)
            stage.prepare(half if late else torch.float32, self.memory_format)

    def synthesis(self, ws: Tensor) -> Tensor:
        """ws [N, 1, z_dim + embedding] float32 -> img [N, 3, size, size] float32."""
        x = ws[:, 0]
        for stage in self.stages:
            x = stage(x)
        return F.conv2d(x.float(), self.colours.weight)

    def synthesis_slow(self, ws: Tensor) -> Tensor:
        """As published: zero-stuffing and filtering as two steps, biases and activations apart. float32, from the stored weights."""
        weights, x = self.state_dict(), ws[:, 0]
        for s, groups in enumerate(self.config["groups"]):
            name = f"stages.{s}"
            if s == 0:
                x = weights[f"{name}.basis"] * (x @ weights[f"{name}.linear.weight"].T)[:, :, None, None]
            else:
                if f"{name}.mix.weight" in weights:
                    x = F.conv2d(x, weights[f"{name}.mix.weight"])
                stuffed = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
                stuffed[:, :, ::2, ::2] = x
                rows = F.pad(stuffed, (2, 1, 2, 1)).flatten(0, 1)[:, None]
                x = F.conv2d(rows, 4 * weights[f"{name}.taps"].flip((0, 1))[None, None]).unflatten(0, x.shape[:2])[
                    :, :, 0
                ]
            for b in range(self.config["blocks"][s]):
                block = f"{name}.blocks.{b}"
                y = F.conv2d(x, weights[f"{block}.conv1.weight"]) + weights[f"{block}.bias1"][:, None, None]
                y = torch.where(y >= 0, y, SLOPE * y)
                y = F.conv2d(y, weights[f"{block}.conv2.weight"], padding=1, groups=groups)
                y = y + weights[f"{block}.bias2"][:, None, None]
                x = x + F.conv2d(torch.where(y >= 0, y, SLOPE * y), weights[f"{block}.conv3.weight"])
        return F.conv2d(x, weights["colours.weight"])

    @staticmethod
    def config_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """The constructor arguments, read from the shapes of a state dict with our names. ModelError if it is none."""
        try:
            linear, embed = tensors["stages.0.linear.weight"], tensors.get("embed.weight")
            widths, groups, blocks = [], [], []
            while (name := f"stages.{len(widths)}.blocks") and f"{name}.0.conv1.weight" in tensors:
                grouped = tensors[f"{name}.0.conv2.weight"]
                widths.append(tensors[f"{name}.0.conv3.weight"].shape[0])
                groups.append(grouped.shape[0] // grouped.shape[1])
                blocks.append(next(b for b in itertools.count() if f"{name}.{b}.conv1.weight" not in tensors))
            embedding = 0 if embed is None else embed.shape[0]
            return {
                "z_dim": linear.shape[1] - embedding,
                "widths": widths,
                "groups": groups,
                "blocks": blocks,
                "expansion": tensors["stages.0.blocks.0.conv1.weight"].shape[0] // widths[0],
                "c_dim": 0 if embed is None else embed.shape[1],
                "embedding": embedding,
            }
        except (KeyError, IndexError, ZeroDivisionError) as error:
            raise no_state_dict("an R3GAN", error) from error


class Resolution(nn.Module):
    """One resolution: the basis (first stage) or a doubling, then residual blocks."""

    start: Tensor  # [1, C, 4, 4]
    fir: Tensor  # [C, 1, 4, 4]

    def __init__(self, before: int | None, z_dim: int, width: int, groups: int, blocks: int, expansion: int) -> None:
        super().__init__()
        self.first, self.width, self.compute = before is None, width, torch.float32
        self.mix: nn.Conv2d | None = None
        if before is None:
            self.basis = nn.Parameter(torch.empty(width, 4, 4))
            self.linear = nn.Linear(z_dim, width, bias=False)
        else:
            self.register_buffer("taps", torch.empty(4, 4))
            if before != width:
                self.mix = nn.Conv2d(before, width, 1, bias=False)
        self.blocks = nn.ModuleList(Block(width, groups, expansion) for _ in range(blocks))

    def prepare(self, dtype: torch.dtype, memory_format: torch.memory_format) -> None:
        self.compute = dtype
        if self.first:
            keep(self, "start", self.basis[None].contiguous(memory_format=memory_format))
        else:
            taps = (self.get_buffer("taps") * 4).to(dtype)
            keep(self, "fir", taps[None, None].expand(self.width, 1, 4, 4).contiguous())
        if self.mix is not None:
            keep(self, "mixing", self.mix.weight.to(dtype).contiguous(memory_format=memory_format))
        for block in self.blocks:
            assert isinstance(block, Block)
            block.prepare(dtype, memory_format)

    def forward(self, x: Tensor) -> Tensor:
        """x: z [N, z_dim] float32 for the first stage, else [N, before, h, w] -> [N, width, 2h, 2w] in this stage's dtype."""
        if self.first:
            x = self.start * self.linear(x)[:, :, None, None]
        else:
            x = x.to(self.compute)
            if self.mix is not None:
                x = F.conv2d(x, self.get_buffer("mixing"))
            # Zero-stuffing, padding and filter in one call.
            x = F.conv_transpose2d(x, self.fir, stride=2, padding=1, groups=self.width)
        for block in self.blocks:
            x = block(x)
        return x


class Block(nn.Module):
    """x + conv3(act(conv2(act(conv1(x))))): 1x1 to wider, grouped 3x3, 1x1 back."""

    kernel1: Tensor
    kernel2: Tensor
    kernel3: Tensor
    shift1: Tensor
    shift2: Tensor

    def __init__(self, width: int, groups: int, expansion: int) -> None:
        super().__init__()
        inside = width * expansion
        self.groups = groups
        self.conv1 = nn.Conv2d(width, inside, 1, bias=False)
        self.conv2 = nn.Conv2d(inside, inside, 3, padding=1, groups=groups, bias=False)
        self.conv3 = nn.Conv2d(inside, width, 1, bias=False)
        self.bias1, self.bias2 = nn.Parameter(torch.empty(inside)), nn.Parameter(torch.empty(inside))

    def prepare(self, dtype: torch.dtype, memory_format: torch.memory_format) -> None:
        for i, conv in enumerate((self.conv1, self.conv2, self.conv3), start=1):
            keep(self, f"kernel{i}", conv.weight.to(dtype).contiguous(memory_format=memory_format))
        keep(self, "shift1", self.bias1.to(dtype))
        keep(self, "shift2", self.bias2.to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu_(F.conv2d(x, self.kernel1, self.shift1), SLOPE)
        y = F.leaky_relu_(F.conv2d(y, self.kernel2, self.shift2, padding=1, groups=self.groups), SLOPE)
        return F.conv2d(y, self.kernel3).add_(x)
