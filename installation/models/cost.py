"""What one run of a network costs, told from its checkpoint's tensor shapes alone. Imports no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from installation.models.header import Header, TensorInfo

UPSCALER_INPUT = 256
_LEVEL = re.compile(r"(steps|lifts|bodies)\.(\d+)\.")
_SIDE = re.compile(r"synthesis\.b(\d+)\.")
_RESOLUTION = re.compile(r"synthesis\.b(\d+)\.(\w+)\.weight")


def macs(header: Header, tensors: Mapping[str, TensorInfo], side: int = UPSCALER_INPUT) -> int | None:
    """Multiply-adds of one picture: a generator's own size, an upscaler's for an input of side x side px. None where it cannot be told.

    Convolutions only, which are all but a thousandth of the work. A transposed convolution counts at its input's size.
    """
    kernels = {name: info.shape for name, info in tensors.items() if len(info.shape) == 4}
    if header.arch == "srvgg":
        return side * side * sum(math.prod(shape) for shape in kernels.values())
    if header.arch == "stage":
        # Level i of the pyramid has 1/4^i of the pixels; `steps` and `lifts` run on the smaller side of theirs.
        levels = {name: _LEVEL.match(name) for name in kernels}
        halvings = {name: int(m[2]) + (m[1] != "bodies") if m else 0 for name, m in levels.items()}
        return sum(math.prod(shape) * side * side >> 2 * halvings[name] for name, shape in kernels.items())
    if header.arch == "dcgan":
        total, width = 0, 1
        for _, shape in sorted(kernels.items(), key=lambda row: _order(row[0])):
            total += math.prod(shape) * width * width
            width = 4 if width == 1 else 2 * width
        return total
    if header.arch == "mobilestylegan":
        # The colours are made at half the picture's size.
        sides = {name: int(m[1]) if (m := _SIDE.match(name)) else header.size // 2 for name in kernels}
        return sum(math.prod(shape) * sides[name] ** 2 for name, shape in kernels.items())
    if header.arch == "stylegan2":
        # The constant is 4 x 4 in a square network and sets the aspect of all that follows.
        const = next((info.shape for name, info in tensors.items() if name == "synthesis.b4.const"), (0, 4, 4))
        total = 0
        for name, shape in kernels.items():
            if found := _RESOLUTION.fullmatch(name):
                resolution = int(found[1]) // (2 if found[2] == "conv0" else 1)
                total += math.prod(shape) * resolution * resolution
        return total * math.prod(const[1:]) // 16 or None
    return None


def describe(header: Header, tensors: Mapping[str, TensorInfo]) -> str:
    """The cost as text: "0.42 GFLOP a picture", "81.2 GFLOP a picture of 256 × 256 px in", "not known"."""
    count = macs(header, tensors)
    if count is None:
        return "not known"
    of = f" of {UPSCALER_INPUT} × {UPSCALER_INPUT} px in" if header.role == "upscaler" else ""
    return f"{2 * count / 1e9:.3g} GFLOP a picture{of}"


def _order(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]
