"""The residual critic of StyleGAN2 (Karras et al. 2020, arXiv:1912.04958) with its minibatch-statistics channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from installation.models.stylegan2_layers import blur_kernel
from installation.training.base.config import BaseConfig
from installation.training.base.layers import SQRT2, Conv, Linear, lrelu
from installation.training.filters import halve

# Above this resolution half precision is used where it is asked for; below it a layer is bound by its launch.
_FULL_PRECISION_UP_TO = 16


class CriticNet(nn.Module):
    """img [N, inputs, size, size] float32 -> logits [N] float32; larger for real pictures.

    Pictures are compared within groups of neighbours in the batch, never across them.
    half: dtype of resolutions above 16 px (bfloat16 on CUDA), None for float32 throughout. layout: memory format of weights and features.
    """

    fir: Tensor

    def __init__(
        self,
        config: BaseConfig,
        half: torch.dtype | None = None,
        layout: torch.memory_format = torch.channels_last,
        inputs: int = 3,
    ) -> None:
        super().__init__()
        widths = config.critic_channels[::-1]
        self.sizes = [config.size >> i for i in range(len(widths) - 1)]
        self.dtype, self.layout = half or torch.float32, layout
        self.register_buffer("fir", blur_kernel(torch.device("cpu")), persistent=False)
        self.fromrgb = Conv(inputs, widths[0], 1, gain=SQRT2)
        for i, size in enumerate(self.sizes):
            self.add_module(f"b{size}", Block(widths[i], widths[i + 1]))
        self.conv = Conv(widths[-1] + 1, widths[-1], 3, gain=SQRT2)
        self.fc = Linear(16 * widths[-1], widths[-1])
        self.out = Linear(widths[-1], 1)
        self.to(memory_format=layout)  # pyright: ignore[reportCallIssue] - not in torch's stubs

    def forward(self, img: Tensor, group: int, full: bool = False) -> Tensor:
        """group: pictures compared with each other, a divisor of N. full: float32 throughout, whatever `half` says: for penalties."""
        x = img.contiguous(memory_format=self.layout)
        for i, size in enumerate(self.sizes):
            x = x.to(torch.float32 if full or size <= _FULL_PRECISION_UP_TO else self.dtype)
            if i == 0:
                x = lrelu(self.fromrgb(x))
            x = self.get_submodule(f"b{size}")(x, self.fir)
        x = x.float()
        x = lrelu(self.conv(torch.cat([x, spread(x, group)], dim=1)))
        x = lrelu(self.fc(x.flatten(1)) * SQRT2)
        return self.out(x)[:, 0]


class Block(nn.Module):
    """x [N, inputs, H, W] -> [N, outputs, H/2, W/2]: two convolutions beside a short cut, which keeps the variance."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv0 = Conv(inputs, inputs, 3, gain=SQRT2)
        self.conv1 = Conv(inputs, outputs, 3, gain=SQRT2)
        self.skip = Conv(inputs, outputs, 1, bias=False, gain=1 / SQRT2)

    def forward(self, x: Tensor, fir: Tensor) -> Tensor:
        # Low-passed before the second convolution rather than after: its cost is a quarter, and it sees no alias.
        y = lrelu(self.conv1(halve(lrelu(self.conv0(x)), fir)))
        return torch.add(self.skip(halve(x, fir)), y, alpha=1 / SQRT2)


def spread(x: Tensor, group: int) -> Tensor:
    """[N, C, H, W] -> [N, 1, H, W]: the mean standard deviation within each group of neighbouring pictures, a hint against collapse."""
    n, channels, height, width = x.shape
    y = x.reshape(n // group, group, channels, height, width)
    y = y - y.mean(dim=1, keepdim=True)
    y = (y.square().mean(dim=1) + 1e-8).sqrt().mean(dim=(1, 2, 3))
    return y.repeat_interleave(group)[:, None, None, None].expand(n, 1, height, width)
