"""ONNX files as data: what a generator's graph takes and gives, and that nothing outside the file is read.

A walk over the protobuf wire format, without the package onnx: tensors that lie in another file (`external_data`), operators outside the
standard, those that may never end or that draw chance, and functions of the file's own are refused before any runtime sees the bytes.
Numbers of more bits than protobuf keeps are refused: it would cut them, and read another field than this walk. How much a graph computes
is not looked at: that hangs on shapes, which only the runtime finds out. No numpy, no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from installation.errors import CheckpointError

MAX_DEPTH = 24
MAX_FIELDS = 4_000_000
MAX_NUMBERS = 1 << 40
STANDARD = ("", "ai.onnx")
_ENDLESS = ("Loop", "Scan")
_RANDOM = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli")

# Message -> field number -> the message it holds: only what leads to tensors and nodes (onnx.proto, IR version 13).
_MESSAGES: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 25: "Function", 20: "Training"},
    "Graph": {1: "Node", 5: "Tensor", 11: "Value", 12: "Value", 15: "Sparse"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
}
_OPERATOR, _DOMAIN = 4, 7  # NodeProto
_DIMS, _TYPE, _EXTERNAL, _LOCATION = 1, 2, 13, 14  # TensorProto
_FLOATS = (1, 10, 11, 16)  # of 32, 16 and 64 bits, and bfloat16


@dataclass(frozen=True, slots=True)
class Value:
    """An input or output: element type (1 is float32), sides; 0 for a side that is free."""

    name: str
    element: int
    shape: tuple[int, ...]


@dataclass(slots=True)
class Signature:
    """inputs: without the graph's own weights. parameters: how many numbers those are, without whole ones."""

    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    parameters: int = 0


def signature(data: bytes | bytearray | memoryview, *, where: str) -> Signature:
    """What the graph takes and gives. CheckpointError for a damaged file, external data, or operators that are refused."""
    view = memoryview(data)
    found, weights = Signature(), set[str]()
    budget = [MAX_FIELDS]

    def walk(message: str, content: memoryview, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise CheckpointError("graphs nested too deeply", where=where)
        if message == "Tensor":
            found.parameters += _parameters(content, budget, where)
            return
        for number, value in _fields(content, budget, where):
            if message == "Node":
                _check_operator(number, _text(value), where)
            inner = _MESSAGES.get(message, {}).get(number)
            if inner in ("Function", "Training"):
                raise CheckpointError(f"a {inner.lower()} part, which no generator needs", where=where)
            if inner == "Value" and depth == 1:
                (found.inputs if number == 11 else found.outputs).append(_value(_bytes(value, where), budget, where))
            elif inner and inner != "Value":
                part = _bytes(value, where)
                if message == "Graph" and inner == "Tensor" and depth == 1:
                    weights.update(_text(v) for n, v in _fields(part, budget, where) if n == 8)
                walk(inner, part, depth + 1)

    walk("Model", view, 0)
    found.inputs = [value for value in found.inputs if value.name not in weights]
    if not found.outputs:
        raise CheckpointError("not an ONNX model: it has no output", where=where)
    return found


def _check_operator(number: int, text: str, where: str) -> None:
    """CheckpointError where this field of a node names an operator that is refused."""
    if number == _DOMAIN and text not in STANDARD:
        raise CheckpointError(f"an operator of {text[:60]!r}, which is not standard", where=where)
    if number == _OPERATOR and text in _ENDLESS:
        raise CheckpointError(f"an operator {text}, which may never end", where=where)
    if number == _OPERATOR and text in _RANDOM:
        fix = "Export it with constant noise (of StyleGAN2: noise_mode='const')"
        raise CheckpointError(f"an operator {text}: the same z would give other pictures", where=where, fix=fix)


def _parameters(tensor: memoryview, budget: list[int], where: str) -> int:
    """How many floating-point numbers a tensor has. CheckpointError where they lie in another file."""
    count, kind = 1, 0
    for number, value in _fields(tensor, budget, where):
        if number == _EXTERNAL or (number == _LOCATION and value not in (0, b"")):
            fix = "Save the model as one file, with its weights in it"
            raise CheckpointError("weights that lie in another file, which is not read", where=where, fix=fix)
        if number == _TYPE:
            kind = value
        elif number == _DIMS:
            for side in [value] if isinstance(value, int) else _varints(value, where):
                count *= side
                if count > MAX_NUMBERS:  # and not a number of a million digits, which takes for ever
                    raise CheckpointError("a tensor of more numbers than any file holds", where=where)
    return count if kind in _FLOATS else 0


def _value(content: memoryview, budget: list[int], where: str) -> Value:
    """ValueInfoProto: name 1, type 2 -> tensor_type 1 -> element 1, shape 2 -> dim 1 -> value 1."""

    def first(message: memoryview, number: int) -> memoryview:
        return next((_bytes(v, where) for n, v in _fields(message, budget, where) if n == number), memoryview(b""))

    name = _text(first(content, 1))
    tensor = first(first(content, 2), 1)
    element = next((v for n, v in _fields(tensor, budget, where) if n == 1 and isinstance(v, int)), 0)
    sides = [_bytes(v, where) for n, v in _fields(first(tensor, 2), budget, where) if n == 1]
    shape = tuple(
        next((v for n, v in _fields(side, budget, where) if n == 1 and isinstance(v, int)), 0) for side in sides
    )
    return Value(name, element, shape)


def _fields(content: memoryview, budget: list[int], where: str) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of one message: an int, or the bytes of a length-delimited field."""
    at = 0
    while at < len(content):
        budget[0] -= 1
        if budget[0] < 0:
            raise CheckpointError("more parts than any network has", where=where)
        key, at = _varint(content, at, where, bits=32)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise CheckpointError("not an ONNX file, or a damaged one", where=where)
        if kind == 0:
            value, at = _varint(content, at, where)
            yield number, value
            continue
        length = {1: 8, 5: 4}.get(kind)
        if kind == 2:
            length, at = _varint(content, at, where, bits=32)
        if length is None or at + length > len(content):
            raise CheckpointError("not an ONNX file, or a damaged one", where=where)
        yield number, content[at : at + length]
        at += length


def _varint(content: memoryview, at: int, where: str, *, bits: int = 64) -> tuple[int, int]:
    """The number at a position, seven bits a byte, and the position behind it. CheckpointError for one of more bits."""
    value = 0
    for shift in range(0, bits, 7):
        if at >= len(content):
            break
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80 and value < 1 << bits:
            return value, at
    raise CheckpointError("not an ONNX file, or a damaged one", where=where)


def _varints(content: memoryview, where: str) -> Iterator[int]:
    """Numbers one behind the other: a repeated field that was packed."""
    at = 0
    while at < len(content):
        value, at = _varint(content, at, where)
        yield value


def _bytes(value: int | memoryview, where: str) -> memoryview:
    if isinstance(value, int):
        raise CheckpointError("not an ONNX file, or a damaged one", where=where)
    return value


def _text(value: int | memoryview) -> str:
    return "" if isinstance(value, int) else bytes(value[:256]).decode("utf-8", "replace")
