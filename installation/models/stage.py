"""Our own upscaling stage: a small anti-aliased pyramid at the input's size, pixel shuffle, and the exact low-res projection.

Made for steadiness on a walk: convolutions only, no noise, nothing that depends on where the picture lies; sizes change through blurs
(Zhang 2019, arXiv:1904.11486); no pattern of the input's pixels is drawn, and nothing where the input is even; and the small version of
what comes out is the input itself (projection.py), so that all motion at the input's scale is the previous stage's own. While training
(`train()`) it runs on its parameters, with gradients; in `eval()` on what `prepare` made of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from installation.models import projection
from installation.models.network import Upscaler, check_faults, keep, real, whole, wholes
from installation.models.stylegan2_layers import blur_kernel

SLOPE = 0.2  # of the leaky ReLU for negative values
_AROUND = 2  # input px on each side of which `Phases` takes the mean


class Stage(Upscaler):
    """widths: channels at the input's size, at half of it, a quarter, ... blocks: residual blocks at each. scale: 2 or 4.

    w_dim: size of a latent that may modulate the blocks' activations (style by activation); 0 for none.
    calm: root mean square step between neighbouring input pixels (of -1..1) at which half of the detail is drawn; 0 draws all everywhere.
    Any height and width that are multiples of 2^(levels - 1). On CUDA float32 convolutions may run in TF32; then the small version is
    exact to 1e-3 instead of 1e-5.
    """

    arch = "stage"
    cpu_channels_last = (
        True  # 16, 48, 64 with 0, 1, 2 blocks, x4, two threads, before `Phases`: 23 against 45 ms at 256 px
    )

    def __init__(
        self, *, widths: Sequence[int], blocks: Sequence[int], scale: int, w_dim: int = 0, calm: float = 0.0
    ) -> None:
        super().__init__()
        widths = wholes("widths", widths, 1, 4096, least=1, most=6)
        blocks = wholes("blocks", blocks, 0, 256, least=1, most=6)
        self.scale, self.w_dim = whole("scale", scale, 2, 4), whole("w_dim", w_dim, 0, 65536)
        self.calm = real("calm", calm, 0.0, 1.0)
        faults = [] if len(widths) == len(blocks) else [f"{len(widths)} widths but {len(blocks)} numbers of blocks"]
        faults += [] if scale in projection.SCALES else [f"scale must be one of {projection.SCALES}, not {scale}"]
        check_faults(faults)
        self.config = {"widths": widths, "blocks": blocks, "scale": scale, "w_dim": w_dim, "calm": self.calm}
        self.input_multiple = 2 ** (len(widths) - 1)
        self.min_input = max(projection.MIN_SIDE, self.input_multiple)
        self.receptive_field = _receptive_field(blocks, self.scale)
        self.head = Conv(3, widths[0])
        self.steps = nn.ModuleList(Down(a, b) for a, b in itertools.pairwise(widths))
        self.lifts = nn.ModuleList(Conv(b, a, size=1) for a, b in itertools.pairwise(widths))
        self.bodies = nn.ModuleList(
            nn.ModuleList(Block(width, w_dim) for _ in range(count))
            for width, count in zip(widths, blocks, strict=True)
        )
        self.last = Phases(widths[0], scale)

    def prepare(self) -> None:
        for module in self.modules():
            if isinstance(module, (Conv, Down)):
                module.place_kernel(self.compute, self.memory_format)

    def forward(self, img: Tensor, w: Tensor | None = None) -> Tensor:
        """w: [N, w_dim] float32, or None for the neutral style. Not looked at where w_dim is 0."""
        lo = img.float()
        x = _activate(self.head(lo.to(self.compute, memory_format=self.memory_format)))
        skips = []
        for step in self.steps:
            skips.append(x)
            x = _activate(step(x))
        x = self._refine(len(skips), x, w)
        for level in range(len(skips) - 1, -1, -1):
            # Bilinear doubling is zero-stuffing and a [1,3,3,1] filter: as anti-aliased as the way down.
            x = F.interpolate(self.lifts[level](x), scale_factor=2, mode="bilinear", align_corners=False)
            x = self._refine(level, _activate(x + skips[level]), w)
        y = self.last(x).float()
        with projection.exact(y.device):
            if self.calm:
                much = liveliness(lo, self.calm)
                y = y * much if y.requires_grad else y.mul_(much)
            y = projection.project_phases(y, lo.contiguous(), self.scale)
        return shuffle(y, self.scale)

    def _refine(self, level: int, x: Tensor, w: Tensor | None) -> Tensor:
        for block in self.bodies[level]:  # pyright: ignore[reportGeneralTypeIssues]
            x = block(x, w)
        return x


class Conv(nn.Module):
    """Convolution with zero padding that keeps the size. Runs on its parameters while training, else on prepared copies."""

    def __init__(self, inputs: int, outputs: int, size: int = 3) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, size, size))
        self.bias = nn.Parameter(torch.empty(outputs))

    def place_kernel(self, dtype: torch.dtype, memory_format: torch.memory_format) -> None:
        keep(self, "kernel", self.weight.to(dtype).contiguous(memory_format=memory_format))
        keep(self, "shift", self.bias.to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        kernel, shift = (
            (self.weight, self.bias) if self.training else (self.get_buffer("kernel"), self.get_buffer("shift"))
        )
        return F.conv2d(x, kernel, shift, padding=kernel.shape[2] // 2)


class Phases(Conv):
    """The last convolution, to the phases of the large picture, without what all pixels around draw in the same phase.

    Such a pattern repeats with the pixels of the input: a net on the screen, which no critic minds, and all that a convolution can draw
    on even ground. Taken away is the mean of 5 x 5 neighbours, as far as it differs from phase to phase; that mean is taken of the
    features, which is less work and, but for the picture's border, the same.
    """

    def __init__(self, inputs: int, scale: int) -> None:
        super().__init__(inputs, 3 * scale * scale)
        self.phases = scale * scale

    def place_kernel(self, dtype: torch.dtype, memory_format: torch.memory_format) -> None:
        super().place_kernel(dtype, memory_format)
        alike, shift = self._alike()
        keep(self, "alike", alike.to(dtype).contiguous(memory_format=memory_format))
        keep(self, "shift", shift.to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        # All of what differs from the mean around, and of that mean what all phases share: a convolution to 3 channels. As all of x less
        # the other share of the mean it takes 34 instead of 19 ms (x4 at 256 px, 16 channels, one thread), and in half precision the
        # pattern is left by rounding.
        around = F.avg_pool2d(x, 2 * _AROUND + 1, stride=1, padding=_AROUND, count_include_pad=False)
        if self.training:
            alike, shift = self._alike()
            y, shared = F.conv2d(x - around, self.weight, padding=1), F.conv2d(around, alike, shift, padding=1)
            return (y.unflatten(1, (3, self.phases)) + shared[:, :, None]).flatten(1, 2)
        y = F.conv2d(x - around, self.get_buffer("kernel"), padding=1)
        shared = F.conv2d(around, self.get_buffer("alike"), self.get_buffer("shift"), padding=1)
        y.unflatten(1, (3, self.phases)).add_(shared[:, :, None])
        return y

    def _alike(self) -> tuple[Tensor, Tensor]:
        """(weights [3, inputs, 3, 3], biases [3]): their means over the phases."""
        weight, bias = (p.unflatten(0, (3, self.phases)).mean(dim=1) for p in (self.weight, self.bias))
        return weight, bias


class Down(nn.Module):
    """Half the size: the [1,3,3,1] blur at every second pixel, then a convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = Conv(inputs, outputs)

    def place_kernel(self, dtype: torch.dtype, memory_format: torch.memory_format) -> None:
        inputs = self.conv.weight.shape[1]
        keep(self, "fir", blur(inputs, self.conv.weight.device).to(dtype).contiguous(memory_format=memory_format))

    def forward(self, x: Tensor) -> Tensor:
        inputs = x.shape[1]
        fir = blur(inputs, x.device) if self.training else self.get_buffer("fir")
        return self.conv(F.conv2d(x, fir.to(x.dtype), stride=2, padding=1, groups=inputs))


class Block(nn.Module):
    """x + conv(lrelu(conv(x)) · style): a residual block; with w the style is 1 + affine(w), a factor a channel."""

    def __init__(self, width: int, w_dim: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = Conv(width, width), Conv(width, width)
        self.affine = nn.Parameter(torch.empty(width, w_dim)) if w_dim else None

    def forward(self, x: Tensor, w: Tensor | None) -> Tensor:
        y = _activate(self.conv1(x))
        if w is not None and self.affine is not None:
            y = y * (1 + F.linear(w, self.affine)).to(y.dtype)[:, :, None, None]
        return x + self.conv2(y)


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # kept for training too, whoever asks first
def blur(channels: int, device: torch.device) -> Tensor:
    """`blur_kernel`, one for each channel: [channels, 1, 4, 4] float32."""
    return blur_kernel(device).expand(channels, 1, 4, 4)


def shuffle(phases: Tensor, scale: int) -> Tensor:
    """Pixel shuffle, contiguous whatever the layout of phases [N, 3·scale², h, w]: torch's gives channels_last for channels_last, which the
    packing after the last stage reads slowly. ×4 at 256 px: 2 ms, and 9 by way of contiguous phases."""
    if phases.is_contiguous():
        return F.pixel_shuffle(phases, scale)
    n, _, h, w = phases.shape
    split = phases.permute(0, 2, 3, 1).reshape(n, h, w, 3, scale, scale)  # a view of channels_last
    return split.permute(0, 3, 1, 4, 2, 5).reshape(n, 3, scale * h, scale * w)


def liveliness(lo: Tensor, calm: float) -> Tensor:
    """[N, 1, h, w], 0 on even ground and towards 1 where much happens: s² / (s² + calm²) for the mean square step s over 5 x 5 px.

    A critic wants detail everywhere; where the input says nothing a stage can only draw on the pixel grid, which `Phases` takes away but
    for what changes from pixel to pixel.
    """
    p = F.pad(lo, (1, 1, 1, 1), mode="replicate")
    steps = (p[..., 1:-1, 2:] - p[..., 1:-1, :-2]).square() + (p[..., 2:, 1:-1] - p[..., :-2, 1:-1]).square()
    # Two pixels apart in two directions: an eighth of their sum is the mean square of one step.
    mean = F.avg_pool2d(steps.mean(dim=1, keepdim=True) / 8, 5, stride=1, padding=2, count_include_pad=False)
    return mean / (mean + calm**2)


def _activate(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE) if x.requires_grad else F.leaky_relu_(x, SLOPE)


def _receptive_field(blocks: Sequence[int], scale: int) -> int:
    """Input pixels on each side. A pixel of level i is a block of 2^i input pixels; counted is how far beyond it one looks."""
    way_down = [1]  # the head
    for level in range(len(blocks) - 1):
        way_down.append(way_down[-1] + 2**level + 2 ** (level + 1))  # the blur's outer taps, then the convolution
    reach = way_down[-1] + 2 * blocks[-1] * 2 ** (len(blocks) - 1)
    for level in range(len(blocks) - 2, -1, -1):
        reach += 2 ** (level + 1) + 2 * blocks[level] * 2**level  # the doubling, then the blocks
    return reach + 1 + _AROUND + projection.reach(scale)
