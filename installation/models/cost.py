"""What a network holds and what one run of it costs, told from its checkpoint's tensor shapes alone. Imports no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

from installation.models.header import Header, TensorInfo
from installation.models.stylegan3_plan import Bands, plan

Shapes = Mapping[str, tuple[int, ...]]

UPSCALER_INPUT = 256
_MOST = 1 << 60
_HEADS = 8  # of the attention in lucidrains' networks
# What no training moved: averages, statistics, noise that import made constant, filters, a StyleGAN3's plane.
_FIXED = frozenset(("w_avg", "running_mean", "running_var", "noise", "noise_const", "magnitude_ema"))
_FIXED |= frozenset(("taps", "up_filter", "down_filter", "transform", "freqs", "phases"))
_LEVEL = re.compile(r"(steps|lifts|bodies)\.(\d{1,2})\.")
_LAYER = re.compile(r"layers\.(\d{1,2})\.(\w+)\.")
_ATTENTION = re.compile(r"attentions\.(\d{1,2})\.")
_BLOCK = re.compile(r"blocks\.(\d{1,2})\.")
_SIDE = re.compile(r"synthesis\.b(\d{1,5})\.")
_STAGE = re.compile(r"stages\.(\d{1,2})\.(\w+)\.")
_RESOLUTION = re.compile(r"synthesis\.b(\d{1,5})\.(\w+)\.weight")


def parameters(tensors: Mapping[str, TensorInfo]) -> int:
    """How many numbers were trained."""
    return sum(math.prod(info.shape) for name, info in tensors.items() if name.rpartition(".")[2] not in _FIXED)


def macs(header: Header, tensors: Mapping[str, TensorInfo], side: int = UPSCALER_INPUT) -> int | None:
    """Multiply-adds of one picture: a generator's own size, an upscaler's for an input of side x side px. None where it cannot be told.

    Convolutions only, and the filters of a StyleGAN3. What else there is, the filters of a StyleGAN2 above all, is a hundredth of the
    work, and in networks of few channels several. A transposed convolution counts at its input's size.
    """
    try:
        count = _macs(header, tensors, side)
    except (ArithmeticError, LookupError, TypeError, ValueError):  # no network has these names and sizes
        return None
    return count if count is None or count < _MOST else None


def _macs(header: Header, tensors: Mapping[str, TensorInfo], side: int) -> int | None:
    shapes = {name: info.shape for name, info in tensors.items()}
    if header.arch in _UPSCALERS:
        return _UPSCALERS[header.arch](_kernels(shapes), side)
    count = _GENERATORS.get(header.arch)
    return count and count(header, shapes)


def _kernels(shapes: Shapes) -> Shapes:
    return {name: shape for name, shape in shapes.items() if len(shape) == 4}


def _srvgg(kernels: Shapes, side: int) -> int:
    return side * side * sum(math.prod(shape) for shape in kernels.values())


def _stage(kernels: Shapes, side: int) -> int:
    """Level i of the pyramid has 1/4^i of the pixels; `steps` and `lifts` run on the smaller side of theirs."""
    levels = {name: _LEVEL.match(name) for name in kernels}
    halvings = {name: int(m[2]) + (m[1] != "bodies") if m else 0 for name, m in levels.items()}
    total = sum(math.prod(shape) * side * side >> 2 * halvings[name] for name, shape in kernels.items())
    # What the phases share is a convolution of its own, from as many channels to 3.
    return total + 3 * math.prod(kernels["last.weight"][1:]) * side * side


def _attended(header: Header) -> list[int]:
    """Before which layers or blocks attention stands; LookupError where the header does not tell."""
    before = header.config.get("attention", [])
    if not isinstance(before, list) or not all(isinstance(i, int) and 0 <= i < 16 for i in before):
        raise LookupError("attention")
    return before


def _lightweightgan(header: Header, shapes: Shapes) -> int:
    """A layer's 1x1 convolution and the attention before it run before the doubling."""
    before = _attended(header)
    total = 0
    for name, shape in _kernels(shapes).items():
        if found := _LAYER.match(name):
            level = int(found[1]) + (found[2] == "conv")
        elif found := _ATTENTION.match(name):
            level = before[int(found[1])]
        else:
            continue
        total += math.prod(shape) * (4 << level) ** 2
        if name.endswith(".far_q.weight"):  # linear attention over the picture, and attention within 3x3
            total += 2 * shape[0] * (shape[0] // _HEADS + 9) * (4 << level) ** 2
    return total


def _lucidrains(header: Header, shapes: Shapes) -> int:
    """Attention runs before its block's doubling. The first convolution of a constant runs once and for all."""
    before = _attended(header)
    total = 0
    for name, shape in _kernels(shapes).items():
        if found := _BLOCK.match(name):
            side = 4 << int(found[1])
        elif found := _ATTENTION.match(name):
            side = 4 << max(before[int(found[1])] - 1, 0)
        else:
            side = 0 if "const" in shapes else 4
        total += math.prod(shape) * side**2
        if name.endswith(".q.weight"):
            total += 2 * shape[0] * shape[0] // _HEADS * side**2
    return total


def _of_blocks(header: Header, shapes: Shapes) -> int:
    """FastGAN and progressive GAN. Block 0 runs at 8 px; what is outside the blocks ends the network, but for `first` at 4 px and
    FastGAN's gates."""
    total = 0
    for name, shape in _kernels(shapes).items():
        if found := _BLOCK.match(name):
            resolution = 8 << int(found[1])
        else:
            resolution = 4 if name.startswith("first.") else 1 if name.startswith("gates.") else header.size
        total += math.prod(shape) * resolution**2
    return total


def _dcgan(header: Header, shapes: Shapes) -> int:
    total, width = 0, 1
    for _, shape in sorted(_kernels(shapes).items(), key=lambda row: _order(row[0])):
        total += math.prod(shape) * width * width
        width = 4 if width == 1 else 2 * width
    return total


def _mobilestylegan(header: Header, shapes: Shapes) -> int:
    """The colours are made at half the picture's size."""
    kernels = _kernels(shapes)
    sides = {name: int(m[1]) if (m := _SIDE.match(name)) else header.size // 2 for name in kernels}
    return sum(math.prod(shape) * sides[name] ** 2 for name, shape in kernels.items())


def _stylegan2(header: Header, shapes: Shapes) -> int | None:
    """The constant is 4 x 4 in a square network and sets the aspect of all that follows."""
    const = shapes.get("synthesis.b4.const", (0, 4, 4))
    total = 0
    for name, shape in _kernels(shapes).items():
        if found := _RESOLUTION.fullmatch(name):
            resolution = int(found[1]) // (2 if found[2] == "conv0" else 1)
            total += math.prod(shape) * resolution * resolution
    return total * math.prod(const[1:]) // 16 or None


def _r3gan(header: Header, shapes: Shapes) -> int:
    """A change of width runs before its stage doubles the size."""
    total = 0
    for name, shape in _kernels(shapes).items():
        stage = _STAGE.match(name)
        side = header.size if stage is None else 4 << int(stage[1]) - (stage[2] == "mix")
        total += math.prod(shape) * side * side
    return total


def _stylegan3(header: Header, shapes: Shapes) -> int:
    config = header.config
    kernel = config["kernel"]
    layers = plan(
        config["resolution"],
        config["channels"],
        kernel=kernel,
        radial=config["radial"],
        bands=Bands(**config["bands"]),
    )
    total = (layers[0].size * layers[0].inputs) ** 2
    side = layers[0].size
    for layer in layers:
        if layer.colours:
            total += layer.inputs * layer.outputs * layer.size**2
            continue
        mixed = side + kernel - 1
        raised = mixed * layer.up + sum(layer.pad) - layer.up_taps + 1
        up = (mixed * raised + raised**2) * layer.up_taps // layer.up
        if layer.radial:
            down = layer.size**2 * layer.down_taps**2
        else:
            down = (raised * layer.size + layer.size**2) * layer.down_taps
        total += layer.outputs * (layer.inputs * (mixed * kernel) ** 2 + up + down)
        side = layer.size
    return total


_UPSCALERS: Mapping[str, Callable[[Shapes, int], int]] = {"srvgg": _srvgg, "stage": _stage}
_GENERATORS: Mapping[str, Callable[[Header, Shapes], int | None]] = {
    "dcgan": _dcgan,
    "fastgan": _of_blocks,
    "lightweightgan": _lightweightgan,
    "lucidrains": _lucidrains,
    "mobilestylegan": _mobilestylegan,
    "pggan": _of_blocks,
    "r3gan": _r3gan,
    "stylegan2": _stylegan2,
    "stylegan3": _stylegan3,
}


def describe(header: Header, count: int | None) -> str:
    """Multiply-adds as text: "0.42 GFLOP a picture", "81.2 GFLOP a picture of 256 × 256 px in", "not known"."""
    if count is None:
        return "not known"
    side = header.fixed_side or UPSCALER_INPUT
    of = f" of {side} × {side} px in" if header.role == "upscaler" else ""
    return f"{2 * count / 1e9:.3g} GFLOP a picture{of}"


def _order(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]
