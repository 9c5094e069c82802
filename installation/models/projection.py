"""A fixed pair of filters between a picture and its small version: `down` and `up`, with down(up(r)) = r for every small picture r.

With it any enlargement `out` of a small picture `lo` is corrected exactly: out + up(lo − down(out)) has the small version lo, since down
of it is down(out) + (lo − down(out)). All motion and colour at the small scale is then the small picture's own.

Both filters are separable, symmetric about the middle between two pixels, and pass what the small picture can hold: at ½, ¾, 1, 1¼, 1½
times its Nyquist frequency `down` passes 0.98 0.91 0.77 0.57 0.35, `up` 1.04 0.99 0.65 0.18 −0.06 (scale 4; 2 is alike). `down` is a
Lanczos-2 kernel of 3 small pixels, its taps rounded; `up`, of 5 small pixels (7 at scale 2, where 5 would leave no choice), is the
least-squares nearest to a low-pass among all that satisfy Σ_n down[n] · up[n + k·scale] = δ_k (no more is needed: down∘up is a
convolution on the small grid with these numbers) and keep a flat picture flat and an even slope an even slope. Without the last, which
costs nothing in the other respects, slopes become stairs of one small pixel each, a sixth of a step high: a net of `scale` pixels on
skin, which a stage has to learn to undo. Of the pairs tried this one loses least: an area average (0.91 0.79 0.65 0.49 0.32) aliases as
much and blurs what the small picture could hold; the smoother tents and B-splines have duals that ring at 1.3 to 1.5.

At the border a picture goes on mirrored, edge pixel included. A symmetric `up` of a mirrored small picture is mirrored at the large border
again, so the law holds up to the last pixel.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

# Half of each symmetric filter, outermost tap first. Sum of all taps: 1 for down, the scale for up.
_DOWN = {
    2: (-0.0208, 0.0, 0.5208),
    4: (-0.0026, -0.021, -0.0237, 0.0465, 0.1892, 0.3116),
}
_UP = {
    2: (
        *(-0.0019092632010934184, 0.0, 0.05762235794565816, -0.047805013227371254),
        *(-0.2074064814030431, 0.24772047133973468, 0.951777928546115),
    ),
    4: (
        *(0.028346036995554824, 0.060215913996759574, 0.007274666265907299, -0.10069016654394303, -0.18877150732131567),
        *(-0.16642134978109618, 0.06446114568060825, 0.4443008997576796, 0.8168147371120252, 1.0344696238378197),
    ),
}  # fmt: skip
SCALES = tuple(_DOWN)
_MARGIN = {scale: len(half) // scale for scale, half in _UP.items()}  # small pixels on each side that `up` looks at
MIN_SIDE = 3  # small pixels: what is mirrored at the border must be there


def reach(scale: int) -> int:
    """Small pixels on each side that the correction of one pixel looks at: 1 by down, the others by up."""
    return 1 + _MARGIN[scale]


def taps(scale: int) -> tuple[Tensor, Tensor]:
    """(down [3·scale], up [5·scale, or 7·scale]) as float64."""
    return tuple(torch.tensor([*half, *half[::-1]], dtype=torch.float64) for half in (_DOWN[scale], _UP[scale]))  # pyright: ignore[reportReturnType]


def exact(device: torch.device) -> AbstractContextManager[object]:
    """Without autocast: half precision would end the exactness. Some devices know none."""
    known = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if known else nullcontext()


def down(img: Tensor, scale: int) -> Tensor:
    """img [N, C, h·scale, w·scale] -> its small version [N, C, h, w], float32 under autocast too."""
    n, c, height, width = img.shape
    phases = F.pixel_unshuffle(img.float().reshape(n * c, 1, height, width), scale)
    with exact(img.device):
        small = F.conv2d(_mirrored_phases(phases, scale), _down_kernel(scale, 1, img.device))
    return small.view(n, c, height // scale, width // scale)


def up(lo: Tensor, scale: int) -> Tensor:
    """lo [N, C, h, w] -> the smooth enlargement [N, C, h·scale, w·scale], float32 under autocast too."""
    n, c, height, width = lo.shape
    flat = lo.float().reshape(n * c, 1, height, width)
    with exact(lo.device):
        phases = F.conv2d(_mirrored(flat, _MARGIN[scale]), _up_kernel(scale, 1, lo.device))
    return F.pixel_shuffle(phases, scale).view(n, c, height * scale, width * scale)


def project(img: Tensor, lo: Tensor, scale: int) -> Tensor:
    """img corrected so that its small version is lo: what any picture would be as an enlargement of this one. float32."""
    return img.float() + up(lo.float() - down(img, scale), scale)


def project_phases(phases: Tensor, lo: Tensor, scale: int) -> Tensor:
    """`project` before the pixel shuffle, on the small grid: phases [N, 3·scale², h, w], lo [N, 3, h, w], both float32.

    The large picture is then never read again; and a convolution of dozens of channels is what CPUs are fast at, most of all in channels
    last, as phases come and go (×4 at 256 px on two threads: 37 ms with the whole of them mirrored and contiguous, 20 ms so).
    """
    if phases.requires_grad or phases.device.type != "cpu":
        phases = phases.contiguous()
        small = F.conv2d(_mirrored_phases(phases, scale), _down_kernel(scale, 3, lo.device))
        correction = F.conv2d(_mirrored(lo - small, _MARGIN[scale]), _up_kernel(scale, 3, lo.device))
        return phases + correction if phases.requires_grad else correction.add_(phases)
    layout = torch.channels_last
    small = _down_phases(phases.contiguous(memory_format=layout), scale)
    missing = _mirrored(lo - small, _MARGIN[scale]).contiguous(memory_format=layout)
    return F.conv2d(missing, _up_kernel(scale, 3, lo.device)).add_(phases)


def _down_phases(phases: Tensor, scale: int) -> Tensor:
    """`down` of the large picture that phases are. Only its outermost pixels look beyond the border: those alone are made from mirrored
    phases, of the two outermost rows or columns, and nothing large is copied."""
    kernel = _down_kernel(scale, 3, phases.device)
    small = F.conv2d(phases, kernel, padding=1)
    for dim in (2, 3):
        last = phases.shape[dim] - 1
        for edge, first in ((0, 0), (last, last - 1)):
            strip = F.conv2d(_mirrored_phases(phases.narrow(dim, first, 2), scale), kernel)
            small.narrow(dim, edge, 1).copy_(strip.narrow(dim, edge - first, 1))
    return small


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # kept for training too, whoever asks first
def _down_kernel(scale: int, channels: int, device: torch.device) -> Tensor:
    """down as a convolution of phases: [channels, channels·scale², 3, 3]."""
    rows = taps(scale)[0].view(3, scale)  # small pixel, phase
    kernel = torch.einsum("yp,xq->pqyx", rows, rows).reshape(scale * scale, 3, 3)
    return _block_diagonal(kernel[None], channels, device)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _up_kernel(scale: int, channels: int, device: torch.device) -> Tensor:
    """up as a convolution that gives phases: [channels·scale², channels, span, span], span 5 or 7 small pixels."""
    rows = taps(scale)[1].view(-1, scale).flip(0)  # a small pixel's tap k reaches the phases of its k-th neighbour
    kernel = torch.einsum("yp,xq->pqyx", rows, rows).reshape(scale * scale, len(rows), len(rows))
    return _block_diagonal(kernel[:, None], channels, device)


def _block_diagonal(kernel: Tensor, channels: int, device: torch.device) -> Tensor:
    """[o, i, y, x] for one channel -> [channels·o, channels·i, y, x] float32. A grouped convolution of few channels is slower on a CPU."""
    o, i, y, x = kernel.shape
    whole = kernel.new_zeros(channels, o, channels, i, y, x)
    for c in range(channels):
        whole[c, :, c] = kernel
    return whole.view(channels * o, channels * i, y, x).to(device, torch.float32)


def _mirrored(x: Tensor, margin: int) -> Tensor:
    """x with `margin` mirrored rows and columns on each side, the edge itself repeated first."""
    for dim in (2, 3):
        length = x.shape[dim]
        before = x.narrow(dim, 0, margin).flip(dim)
        after = x.narrow(dim, length - margin, margin).flip(dim)
        x = torch.cat([before, x, after], dim)
    return x


def _mirrored_phases(phases: Tensor, scale: int) -> Tensor:
    """phases with one mirrored small pixel on each side: the edge's, with its phases in reverse order along that axis."""
    for dim in (2, 3):
        length = phases.shape[dim]
        before, after = (
            _reversed_phases(phases.narrow(dim, at, 1), scale, vertical=dim == 2) for at in (0, length - 1)
        )
        phases = torch.cat([before, phases, after], dim)
    return phases


def _reversed_phases(edge: Tensor, scale: int, *, vertical: bool) -> Tensor:
    n, channels, height, width = edge.shape
    split = edge.reshape(n, channels // scale**2, scale, scale, height, width)
    return split.flip(2 if vertical else 3).reshape(n, channels, height, width)
