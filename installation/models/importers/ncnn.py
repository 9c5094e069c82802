"""ncnn .param (text) and .bin (weights) files, given as bytes: a strict reader of the few layers that our networks need.

Numpy only. The graph comes back as plain records; what network it is, importers/ncnn_srvgg.py decides. Quantised weights and unknown
layers are refused by name. Formats: the ncnn project's wiki, "param and model file structure".
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from installation.errors import CheckpointError

MAGIC = "7767517"
MAX_LAYERS = 1024
MAX_WEIGHTS = 64 * 2**20

_FP32, _FP16 = 0, 0x01306B47
_QUANTISED = {0x000D4B38: "int8", 0x0002C056: "scaled fp32"}
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")

# Per layer type: fewest and most inputs, fewest and most outputs, and the parameters it may carry with the value each takes when it is
# not written.
_ONE = (1, 1)
_LAYERS: dict[str, tuple[tuple[int, int], tuple[int, int], dict[int, float]]] = {
    "Input": ((0, 0), _ONE, {0: 0, 1: 0, 2: 0}),
    "Split": (_ONE, (2, 64), {}),
    # 0 axis
    "Concat": ((2, 64), _ONE, {0: 0}),
    # 0 kind (1 sum); array 1: a factor for each input
    "Eltwise": ((2, 2), _ONE, {0: 0}),
    # 0 outputs, 1 kernel, 2 dilation, 3 stride, 4 padding, 5 bias, 6 weight count, 8 int8, 9 activation (2 leaky ReLU); 11-16 the other
    # sides; array 10: the activation's numbers
    "Convolution": (_ONE, _ONE, {0: 0, 1: 0, 2: 1, 3: 1, 4: 0, 5: 0, 6: 0, 8: 0, 9: 0}),
    "PReLU": (_ONE, _ONE, {0: 0}),
    "PixelShuffle": (_ONE, _ONE, {0: 1, 1: 0}),
    # 0 kind (1 nearest), 1 and 2 scales, 3 and 4 fixed size, 6 align corners
    "Interp": (_ONE, _ONE, {0: 0, 1: 1, 2: 1, 3: 0, 4: 0, 6: 0}),
    # 0 kind (0 add), 1 with a scalar
    "BinaryOp": ((2, 2), _ONE, {0: 0, 1: 0}),
}
_ARRAYS = {"Convolution": 10, "Eltwise": 1}
_ARRAY_KEY = -23300  # minus the parameter's number: how a file writes an array


@dataclass(frozen=True, slots=True)
class Layer:
    """One line of the .param. params: every parameter of its type, defaults filled in. array: the one its type may have, or empty."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    params: Mapping[int, float]
    array: tuple[float, ...] = ()

    def whole(self, index: int, *, lo: int, hi: int, where: str) -> int:
        """Parameter `index` as a whole number within lo..hi; CheckpointError otherwise."""
        value = self.params[index]
        if value != int(value) or not lo <= value <= hi:
            raise CheckpointError(
                f"parameter {index}={value:g} of {self.kind} {self.name} is not in {lo}..{hi}", where=where
            )
        return int(value)


@dataclass(frozen=True, slots=True)
class Weights:
    """What the .bin holds for one layer. weight: float16 or float32 as stored, bias: float32; flat, in file order."""

    weight: np.ndarray
    bias: np.ndarray | None


def read_param(data: bytes, *, where: str) -> tuple[Layer, ...]:
    """The layers of a text .param in file order. Every blob is made once, before use, and used once at most.

    Raises CheckpointError for binary or damaged text, layer types and parameters outside the table, or a broken graph.
    """
    try:
        lines = [line for line in data.decode("ascii").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise CheckpointError(
            "not a text .param", where=where, fix="The binary kind, .param.bin, cannot be read"
        ) from None
    if len(lines) < 2 or lines[0].strip() != MAGIC:
        raise CheckpointError(f"does not begin with {MAGIC}, so it is no ncnn .param", where=where)
    counts = lines[1].split()
    if len(counts) != 2 or not all(count.isdecimal() and len(count) < 7 for count in counts):
        raise CheckpointError(f"layer and blob counts expected, found {lines[1][:80]!r}", where=where)
    if int(counts[0]) > MAX_LAYERS or int(counts[0]) != len(lines) - 2:
        raise CheckpointError(f"says {counts[0]} layers, holds {len(lines) - 2} (limit {MAX_LAYERS})", where=where)
    layers = tuple(_layer(line.split(), where) for line in lines[2:])
    ready: set[str] = set()
    made: set[str] = set()
    for layer in layers:
        for blob in layer.inputs:
            if blob not in ready:
                raise CheckpointError(
                    f"{layer.name} reads {blob}, which nothing made or something used before", where=where
                )
            ready.remove(blob)
        for blob in layer.outputs:
            if blob in made:
                raise CheckpointError(f"{layer.name} makes {blob} a second time", where=where)
            made.add(blob)
            ready.add(blob)
    if len(made) != int(counts[1]):
        raise CheckpointError(f"says {counts[1]} blobs, makes {len(made)}", where=where)
    return layers


def read_bin(data: bytes, layers: tuple[Layer, ...], *, where: str) -> dict[str, Weights]:
    """The weights of each Convolution and PReLU by layer name, read to exactly the end of the file.

    Raises CheckpointError for quantised weights, numbers that are not finite, and a file too short or too long.
    """
    offset = 0

    def take(layer: Layer, count: int, dtype: str) -> np.ndarray:
        nonlocal offset
        stored = (count * np.dtype(dtype).itemsize + 3) & ~3  # each array is padded to four bytes
        if offset + stored > len(data):
            raise CheckpointError(f"ends inside the weights of {layer.name}", where=where)
        values = np.frombuffer(data, dtype, count, offset)
        offset += stored
        if not np.isfinite(values).all():
            raise CheckpointError(f"weights of {layer.name} are not finite", where=where)
        return values

    found: dict[str, Weights] = {}
    for layer in layers:
        if layer.kind == "Convolution":
            outputs = layer.whole(0, lo=1, hi=4096, where=where)
            count = layer.whole(6, lo=1, hi=MAX_WEIGHTS, where=where)
            if offset + 4 > len(data):
                raise CheckpointError(f"ends before the weights of {layer.name}", where=where)
            (flag,) = struct.unpack_from("<I", data, offset)
            offset += 4
            if flag not in (_FP32, _FP16):
                raise CheckpointError(
                    f"weights of {layer.name} are {_QUANTISED.get(flag, f'quantised (flag {flag:#010x})')}",
                    where=where,
                    fix="Only fp16 and fp32 files can be read",
                )
            weight = take(layer, count, "<f2" if flag == _FP16 else "<f4")
            bias = take(layer, outputs, "<f4") if layer.whole(5, lo=0, hi=1, where=where) else None
            found[layer.name] = Weights(weight, bias)
        elif layer.kind == "PReLU":
            found[layer.name] = Weights(take(layer, layer.whole(0, lo=1, hi=4096, where=where), "<f4"), None)
    if offset != len(data):
        raise CheckpointError(f"{len(data) - offset} bytes left over after the last layer", where=where)
    return found


def _layer(fields: list[str], where: str) -> Layer:
    kind, name = fields[0], fields[1] if len(fields) > 1 else "?"
    if kind not in _LAYERS:
        raise CheckpointError(f"layer {name[:80]} is of type {kind[:80]!r}, which no network here has", where=where)
    (least_in, most_in), (least_out, most_out), defaults = _LAYERS[kind]
    counts = [int(count) if count.isdecimal() and len(count) < 4 else -1 for count in fields[2:4]]
    n_inputs, n_outputs = counts if len(counts) == 2 else (-1, -1)
    fits = least_in <= n_inputs <= most_in and least_out <= n_outputs <= most_out
    if not fits or len(fields) < 4 + n_inputs + n_outputs:
        want_in, want_out = _span(least_in, most_in), _span(least_out, most_out)
        raise CheckpointError(f"{kind} {name[:80]} has not {want_in} inputs and {want_out} outputs", where=where)
    params: dict[int, float] = dict(defaults)
    array: tuple[float, ...] = ()
    for field in fields[4 + n_inputs + n_outputs :]:
        key, _, value = field.partition("=")
        if kind in _ARRAYS and key == str(_ARRAY_KEY - _ARRAYS[kind]):
            count, *numbers = value.split(",")
            good = count == str(len(numbers)) and len(numbers) <= 8 and all(_NUMBER.fullmatch(n) for n in numbers)
            if good and all(math.isfinite(float(n)) for n in numbers):
                array = tuple(float(n) for n in numbers)
                continue
        known = key.isdecimal() and len(key) < 4 and int(key) in defaults
        if not (known and _NUMBER.fullmatch(value) and math.isfinite(float(value))):
            raise CheckpointError(f"parameter {field[:80]!r} of {kind} {name[:80]} is not understood", where=where)
        params[int(key)] = float(value)
    blobs = fields[4 : 4 + n_inputs + n_outputs]
    return Layer(kind, name, tuple(blobs[:n_inputs]), tuple(blobs[n_inputs:]), params, array)


def _span(least: int, most: int) -> str:
    return str(least) if least == most else f"{least} to {most}"
