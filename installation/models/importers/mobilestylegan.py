"""MobileStyleGAN out of OpenVINO IR files: proves that the two graphs are this network, then names its weights.

Both graphs are followed backwards from their result. The arithmetic on shapes, which keeps the batch free, is left out: a Reshape gives
what its stated output shape says. Numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from installation.errors import CheckpointError
from installation.models.importers.openvino_ir import Node, read_ir

Tensors = dict[str, np.ndarray]

MAX_LAYERS = 64  # of the mapping
MAX_SIDE = 2048  # of the picture

_SQRT_HALF = 0.5**0.5
_PLAIN = {"pads_begin": "0, 0", "pads_end": "0, 0", "strides": "1, 1", "dilations": "1, 1"}
_PADDED = _PLAIN | {"pads_begin": "1, 1", "pads_end": "1, 1"}


def read_mobilestylegan(
    mapping_xml: bytes, mapping_bin: bytes, synthesis_xml: bytes, synthesis_bin: bytes, *, where: str
) -> Tensors:
    """The weights by the names of our MobileStyleGAN, float32, without `mapping.w_avg`, which the files do not hold.

    CheckpointError where anything is odd or a graph is another one.
    """
    mapping = _Graph(read_ir(mapping_xml, mapping_bin, where=where), where)
    synthesis = _Graph(read_ir(synthesis_xml, synthesis_bin, where=where), where)
    return _mapping(mapping) | _synthesis(synthesis)


class _Graph:
    """Questions to a graph, each answered or refused with the name of the node that is not as it must be."""

    def __init__(self, nodes: Mapping[str, Node], where: str) -> None:
        self._nodes, self._where = nodes, where

    def refuse(self, node: Node, want: str) -> CheckpointError:
        """What to raise for a node that is not what it must be."""
        return CheckpointError(f"no MobileStyleGAN: {node.kind} {node.name} is not {want}", where=self._where)

    def the(self, kind: str) -> Node:
        """The only node of a kind."""
        found = [node for node in self._nodes.values() if node.kind == kind]
        if len(found) != 1:
            raise CheckpointError(f"no MobileStyleGAN: {len(found)} nodes of kind {kind}, not one", where=self._where)
        return found[0]

    def inputs(self, node: Node, kind: str, count: int) -> list[Node]:
        """The nodes that feed `node`, which must be of that kind with so many inputs."""
        if node.kind != kind or len(node.inputs) != count or (len(node.shapes) > 1 and kind != "VariadicSplit"):
            raise self.refuse(node, f"a {kind} of {count}")
        return [self._nodes[key] for key, _ in node.inputs]

    def constant(self, node: Node, *shape: int | None) -> np.ndarray:
        """A Const of float32 numbers with that shape; None stands for any size."""
        values = node.values
        fits = values is not None and values.dtype == np.float32 and values.ndim == len(shape)
        if values is None or not fits or any(n not in (None, m) for n, m in zip(shape, values.shape, strict=True)):
            raise self.refuse(node, f"float32 numbers of shape {list(shape)}")
        return values

    def scalar(self, node: Node, value: float | None = None) -> float:
        """The one number of a Const; `value`, where it must be that."""
        values = node.values
        if values is None or values.size != 1 or (value is not None and abs(float(values.item()) - value) > 1e-6):
            raise self.refuse(node, f"the number {value}" if value is not None else "one number")
        return float(values.item())

    def with_constant(self, node: Node, kind: str) -> tuple[Node, Node]:
        """The two inputs of a node, the constant one last."""
        first, second = self.inputs(node, kind, 2)
        return (second, first) if first.kind == "Const" else (first, second)

    def leaky(self, node: Node) -> Node:
        """What a leaky ReLU of 0.2 is applied to."""
        source, slope = self.inputs(node, "PReLU", 2)
        self.scalar(slope, 0.2)
        return source

    def attributes(self, node: Node, want: Mapping[str, str]) -> None:
        """CheckpointError where a node's attributes are others than these."""
        if any(node.attributes.get(key) != value for key, value in want.items()):
            raise self.refuse(node, f"one with {want}")

    def linear(self, node: Node, parameter: Node) -> tuple[np.ndarray, np.ndarray]:
        """Weight [outputs, inputs] and bias [outputs] of MatMul + Add on the graph's parameter."""
        product, bias = self.with_constant(node, "Add")
        source, weight = self.inputs(product, "MatMul", 2)
        self.attributes(product, {"transpose_a": "false", "transpose_b": "true"})
        if source is not parameter:
            raise self.refuse(product, "applied to w")
        matrix = self.constant(weight, None, None)
        return matrix, self.constant(bias, 1, len(matrix)).reshape(-1)

    def reshaped(self, node: Node, rank: int) -> tuple[Node, tuple[int, ...]]:
        """What a Reshape is applied to, and the shape it gives."""
        source, _ = self.inputs(node, "Reshape", 2)
        return source, self.shape(node, rank)

    def shape(self, node: Node, rank: int) -> tuple[int, ...]:
        """What the file says of the size of a node's first output."""
        if not node.shapes or len(node.shapes[0]) != rank:
            raise self.refuse(node, f"of {rank} dimensions")
        return node.shapes[0]


def _mapping(graph: _Graph) -> Tensors:
    """z / rms(z), then so many times: linear, leaky ReLU, times the square root of 2."""
    parameter = graph.the("Parameter")
    (node,) = graph.inputs(graph.the("Result"), "Result", 1)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    while True:
        gained, factor = graph.with_constant(node, "Multiply")
        if factor.kind != "Const":
            break  # z times its reciprocal root mean square: no constant there
        graph.scalar(factor, 2**0.5)
        total = graph.leaky(gained)
        product, bias = graph.inputs(total, "Add", 2)
        bias = graph.reshaped(bias, 2)[0] if bias.kind == "Reshape" else bias
        node, weight = graph.inputs(product, "MatMul", 2)
        graph.attributes(product, {"transpose_a": "false", "transpose_b": "true"})
        matrix = graph.constant(weight, None, None)
        if bias.values is None or bias.values.size != len(matrix):
            raise graph.refuse(bias, f"a bias of {len(matrix)}")
        found.append((matrix, bias.values.reshape(-1)))
        if len(found) > MAX_LAYERS:
            raise graph.refuse(node, f"one of at most {MAX_LAYERS} layers")
    _normalised(graph, node, parameter)
    tensors: Tensors = {}
    for i, (weight, bias) in enumerate(reversed(found)):
        tensors[f"mapping.fc{i}.weight"], tensors[f"mapping.fc{i}.bias"] = weight, bias
    return tensors


def _normalised(graph: _Graph, node: Node, parameter: Node) -> None:
    """z * (1 / sqrt(mean(z^2) + 1e-8)), with reciprocal and root as powers."""
    z, reciprocal = graph.inputs(node, "Multiply", 2)
    power, one = graph.with_constant(reciprocal, "Multiply")
    graph.scalar(one, 1)
    for exponent in (-1, 0.5):
        power, factor = graph.inputs(power, "Power", 2)
        graph.scalar(factor, exponent)
    mean, eps = graph.with_constant(power, "Add")
    if not 0 < graph.scalar(eps) < 1e-7:
        raise graph.refuse(eps, "1e-8")
    square, axis = graph.inputs(mean, "ReduceMean", 2)
    graph.scalar(axis, 1)
    source, two = graph.inputs(square, "Power", 2)
    graph.scalar(two, 2)
    if z is not parameter or source is not parameter:
        raise graph.refuse(node, "z scaled to a mean square of 1")


def _synthesis(graph: _Graph) -> Tensors:
    """From the picture back to the constant: transform, colours, then blocks of two layers and a transform."""
    style = graph.the("Parameter")
    (node,) = graph.inputs(graph.the("Result"), "Result", 1)
    node = _transformed(graph, node)
    convolved, bias = graph.with_constant(node, "Add")
    graph.attributes(convolved, _PLAIN)
    source, weight = graph.inputs(convolved, "Convolution", 2)
    tensors: Tensors = {
        "synthesis.torgb.weight": graph.constant(weight, 12, None, 1, 1),
        "synthesis.torgb.bias": graph.constant(bias, 1, 12, 1, 1).reshape(-1),
    }
    node = _modulated(graph, source, style, tensors, "synthesis.torgb.affine")
    resolution = min(graph.shape(node, 4)[-1], MAX_SIDE)
    while resolution > 4:
        block = f"synthesis.b{resolution}"
        for name in ("conv1", "conv0"):
            node = _separable(graph, node, style, tensors, f"{block}.{name}", resolution)
        node = _modulated(graph, _transformed(graph, node), style, tensors, f"{block}.up")
        resolution //= 2
    _first_layer(graph, node, style, tensors, "synthesis.b4")
    return tensors


def _modulated(graph: _Graph, node: Node, style: Node, tensors: Tensors, name: str) -> Node:
    """x times an affine of w, which may have a constant factor: named into `tensors`. Gives x."""
    first, second = graph.inputs(node, "Multiply", 2)
    for vector, x in ((first, second), (second, first)):
        factor = 1.0
        if vector.kind == "Multiply":
            inner, number = graph.inputs(vector, "Multiply", 2)
            if number.values is None:
                continue
            vector, factor = inner, graph.scalar(number)
        if vector.kind != "Reshape":
            continue
        affine, shape = graph.reshaped(vector, 4)
        weight, bias = graph.linear(affine, style)
        if shape != (1, len(weight), 1, 1):
            raise graph.refuse(vector, "a factor for each channel")
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = weight * np.float32(factor), bias * np.float32(factor)
        return x
    raise graph.refuse(node, "a modulation by w")


def _activated(graph: _Graph, node: Node, tensors: Tensors, name: str, resolution: int) -> Node:
    """leaky ReLU of (x + noise + bias): noise and bias named. Gives x."""
    total, bias = graph.with_constant(graph.leaky(node), "Add")
    x, noise = graph.with_constant(total, "Add")
    tensors[f"{name}.bias"] = graph.constant(bias, 1, None, 1, 1).reshape(-1)
    tensors[f"{name}.noise"] = graph.constant(noise, 1, 1, resolution, resolution)[0, 0]
    return x


def _separable(graph: _Graph, node: Node, style: Node, tensors: Tensors, name: str, resolution: int) -> Node:
    x = _activated(graph, node, tensors, name, resolution)
    graph.attributes(x, _PLAIN)
    x, pointwise = graph.inputs(x, "Convolution", 2)
    tensors[f"{name}.pointwise"] = graph.constant(pointwise, None, None, 1, 1)
    graph.attributes(x, _PADDED)
    x, depthwise = graph.inputs(x, "GroupConvolution", 2)
    tensors[f"{name}.depthwise"] = graph.constant(depthwise, None, 1, 1, 3, 3)[:, 0]
    return _modulated(graph, x, style, tensors, f"{name}.affine")


def _first_layer(graph: _Graph, node: Node, style: Node, tensors: Tensors, name: str) -> None:
    x = _activated(graph, node, tensors, name, 4)
    graph.attributes(x, _PADDED)
    x, weight = graph.inputs(x, "Convolution", 2)
    tensors[f"{name}.weight"] = graph.constant(weight, None, None, 3, 3)
    const = _modulated(graph, x, style, tensors, f"{name}.affine")
    for kind in ("Tile", "Broadcast"):  # to the batch: the number of pictures
        if graph.shape(const, 4)[0] != 1:
            raise graph.refuse(const, "for one picture")
        const = graph.inputs(const, kind, 2)[0]
    tensors[f"{name}.const"] = graph.constant(const, 1, None, 4, 4)[0]


def _transformed(graph: _Graph, node: Node) -> Node:
    """The 4C channels that an inverse Haar transform turned into the C channels of `node`, twice the size."""
    left, right = (_filtered(graph, side, axis=1) for side in _pair(graph, node, axis=1))
    low, first = (_filtered(graph, band, axis=0) for band in _pair(graph, left, axis=0))
    second, third = (_filtered(graph, band, axis=0) for band in _pair(graph, right, axis=0))
    return _split_bands(graph, low, (first, second, third))


def _pair(graph: _Graph, node: Node, axis: int) -> tuple[Node, Node]:
    """The two filtered halves whose sum `node` is: the low one first."""
    halves = graph.inputs(node, "Add", 2)
    by_sign = {_sign(graph, half, axis): half for half in halves}
    if by_sign.keys() != {1, -1}:
        raise graph.refuse(node, "the sum of a low and a high band")
    return by_sign[1], by_sign[-1]


def _sign(graph: _Graph, node: Node, axis: int) -> int:
    """1 or -1: the sign of the second tap of the Haar filter that `node` enlarges by along the axis (0 down, 1 across)."""
    strides, shape = ("2, 1", (2, 1)) if axis == 0 else ("1, 2", (1, 2))
    kernel = graph.constant(graph.inputs(node, "GroupConvolutionBackpropData", 2)[1], None, 1, 1, *shape)
    graph.attributes(node, _PLAIN | {"strides": strides, "output_padding": "0, 0"})
    taps = kernel.reshape(-1, 2)
    sign = 1 if taps[0, 1] > 0 else -1
    if not np.allclose(taps, (_SQRT_HALF, sign * _SQRT_HALF), rtol=0, atol=1e-6):
        raise graph.refuse(node, "a Haar filter")
    return sign


def _filtered(graph: _Graph, node: Node, axis: int) -> Node:
    """What the Haar filter is applied to."""
    _sign(graph, node, axis)
    return graph.inputs(node, "GroupConvolutionBackpropData", 2)[0]


def _split_bands(graph: _Graph, low: Node, high: tuple[Node, Node, Node]) -> Node:
    """The node whose first quarter of channels is `low`, and whose others are, channel by channel, the three high bands."""
    source, axis, lengths = graph.inputs(low, "VariadicSplit", 3)
    graph.scalar(axis, 1)
    channels = graph.shape(source, 4)[1]
    if lengths.values is None or lengths.values.tolist() != [channels // 4, channels - channels // 4]:
        raise graph.refuse(low, "a split into a quarter and three")
    for k, band in enumerate(high):
        split, dim = graph.inputs(band, "Squeeze", 2)
        graph.scalar(dim, 2)
        if band.inputs[0][1] != k:
            raise graph.refuse(band, f"high band {k}")
        stacked, axis, lengths = graph.inputs(split, "VariadicSplit", 3)
        graph.scalar(axis, 2)
        whole, shape = graph.reshaped(stacked, 5)
        one_each = lengths.values is not None and lengths.values.tolist() == [1, 1, 1]
        if whole is not low or stacked.inputs[0][1] != 1 or shape[1:3] != (channels // 4, 3) or not one_each:
            raise graph.refuse(stacked, "the high bands of each channel")
    return source
