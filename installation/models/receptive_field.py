"""How far a foreign convolutional network looks around a pixel: read off the operations it runs, on tensors without data."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Operations that move values only within a pixel, or a block of pixels the input multiple already covers.
_LOCAL = {
    *(
        "cat",
        "stack",
        "slice",
        "select",
        "split",
        "split_with_sizes",
        "chunk",
        "unbind",
        "clone",
        "_to_copy",
        "detach",
        "alias",
    ),
    *(
        "pixel_shuffle",
        "pixel_unshuffle",
        "constant_pad_nd",
        "reflection_pad2d",
        "replication_pad2d",
        "view",
        "_unsafe_view",
    ),
    *(
        "permute",
        "transpose",
        "reshape",
        "unsqueeze",
        "squeeze",
        "expand",
        "repeat",
        "channel_shuffle",
        "native_batch_norm",
    ),
    *(
        "_native_batch_norm_legit_no_training",
        "cudnn_batch_norm",
        "empty",
        "zeros",
        "ones",
        "full",
        "empty_like",
        "zeros_like",
    ),
    *("lift_fresh", "lift_fresh_copy", "_prelu_kernel", "scalar_tensor", "arange"),
}
_INTERPOLATION = {
    "upsample_nearest2d": 0,
    "_upsample_nearest_exact2d": 0,
    "upsample_bilinear2d": 1,
    "upsample_bicubic2d": 2,
}


@torch.inference_mode(False)  # it would show composite operations, whose parts are what is measured
def trace(model: nn.Module, size: int, channels: int = 3) -> int | None:
    """Input pixels on each side that an output pixel can depend on (an upper bound, taking every operation as one chain).

    model: takes [1, channels, h, w]; any device, it is not run. size: a side it accepts. None if an operation may look further than
    a convolution does (attention, pooling over the picture), or the model cannot run without data.
    """
    ghost = copy.deepcopy(model).to(
        "meta"
    )  # a copy: some networks keep tensors of the last picture's device in themselves
    picture = torch.empty(1, channels, size, size, device="meta")
    ruler = _Ruler(picture)
    try:
        with torch.no_grad(), ruler:
            ghost(picture)
    except (RuntimeError, NotImplementedError, TypeError, ValueError):
        return None
    return None if ruler.unbounded else math.ceil(ruler.reach) + ruler.slack


class _Ruler(TorchDispatchMode):
    """Adds up the reach of every operation on something made from the picture, in input pixels. Sums over weights do not count."""

    def __init__(self, picture: Tensor) -> None:
        super().__init__()
        self.size, self.reach, self.slack, self.unbounded = picture.shape[-1], 0.0, 0, False
        self._made_from_it = {id(picture): picture}  # held, so that no id is used again

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not any(id(leaf) in self._made_from_it for leaf in tree_leaves((args, kwargs))):
            return out
        self._made_from_it.update((id(leaf), leaf) for leaf in tree_leaves(out) if isinstance(leaf, Tensor))
        name = func.overloadpacket.__name__.rstrip("_")
        if name == "convolution":
            self._convolution(args, out)
        elif name in ("avg_pool2d", "max_pool2d_with_indices"):
            self.reach += max(args[1]) * self._pixels(args[0])
        elif name in _INTERPOLATION:
            # A place between two pixels: what lies left and right of it rounds differently from pixel to pixel.
            self.reach += _INTERPOLATION[name] * self._pixels(args[0])
            self.slack = max(self.slack, 1)
        elif name not in _LOCAL and torch.Tag.pointwise not in func.tags:
            self.unbounded = True
        return out

    def _convolution(self, args: Any, out: Tensor) -> None:
        x, weight, _, _, _, dilation, transposed = args[:7]
        if weight.ndim != 4:
            self.unbounded = True
            return
        pixels = self._pixels(out if transposed else x)
        self.slack = max(self.slack, math.ceil(pixels) - 1, 1 if transposed else 0)
        # A kernel of even size looks one pixel further to one side.
        self.reach += (
            max(d * (k // 2) for d, k in zip(dilation, weight.shape[2:], strict=True))
            * pixels
            * (2 if transposed else 1)
        )

    def _pixels(self, x: Tensor) -> float:
        """Input pixels per pixel of x. Padding makes x a little larger or smaller than a whole ratio."""
        ratio = self.size / max(x.shape[-1], 1)
        return round(ratio) if ratio >= 1 else 1 / round(1 / ratio)
