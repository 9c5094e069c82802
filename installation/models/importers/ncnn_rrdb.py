"""The ESRGAN network (RRDB) out of ncnn files, as Real-ESRGAN's x4plus: proves that the graph is this network, then names its weights.

input - conv_first - [blocks of three dense blocks] - conv_body - + - x2 - conv_up1 - x2 - conv_up2 - conv_hr - conv_last - output
                   `----------------------------------------------'
A dense block has five convolutions, each over all before it; 0.2 times its last is added to its input, and so is 0.2 times a block.
Wang et al. 2018 (arXiv:1809.00219). Numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from installation.errors import CheckpointError
from installation.models.importers.ncnn import Layer, Weights, read_bin, read_param

_RESIDUAL = (0.2, 1.0)
_SLOPE = (0.2,)


def read_rrdb(param: bytes, weights: bytes, *, where: str) -> dict[str, np.ndarray]:
    """The weights by Real-ESRGAN's own names, in the type they are stored in. CheckpointError where anything is odd or another graph."""
    layers = read_param(param, where=where)
    return _Walk(layers, read_bin(weights, layers, where=where), where).network()


class _Walk:
    """The layers in file order, each expected to be the next of the network; splits are seen through."""

    def __init__(self, layers: Sequence[Layer], weights: dict[str, Weights], where: str) -> None:
        self._source = {blob: layer.inputs[0] for layer in layers if layer.kind == "Split" for blob in layer.outputs}
        self._layers = [layer for layer in layers if layer.kind != "Split"]
        self._weights, self._where = weights, where
        self._at = 0
        self._tensors: dict[str, np.ndarray] = {}
        if len(weights) != sum(layer.kind == "Convolution" for layer in self._layers):
            raise CheckpointError("two layers have one name", where=where)

    def network(self) -> dict[str, np.ndarray]:
        blocks, rest = divmod(sum(layer.kind == "Eltwise" for layer in self._layers), 4)
        if rest or not blocks:
            raise CheckpointError("not an ESRGAN: its sums do not make blocks of four", where=self._where)
        picture = self._next("Input", []).outputs[0]
        x = first = self._conv("conv_first", picture, active=False)
        for i in range(blocks):
            y = x
            for j in (1, 2, 3):
                y = self._dense(f"body.{i}.rdb{j}", y)
            x = self._sum(y, x)
        x = self._conv("conv_body", x, active=False)
        add = self._next("BinaryOp", [first, x])
        self._check(add, add.params == {0: 0, 1: 0}, "a sum")
        x = add.outputs[0]
        for name in ("conv_up1", "conv_up2"):
            resize = self._next("Interp", [x])
            self._check(resize, resize.params == {0: 1, 1: 2, 2: 2, 3: 0, 4: 0, 6: 0}, "nearest-neighbour x2")
            x = self._conv(name, resize.outputs[0], active=True)
        x = self._conv("conv_hr", x, active=True)
        self._conv("conv_last", x, active=False)
        if self._at != len(self._layers):
            raise CheckpointError(
                f"{len(self._layers) - self._at} layers after the end of an ESRGAN", where=self._where
            )
        return self._tensors

    def _dense(self, name: str, x: str) -> str:
        features = [x]
        for k in range(1, 6):
            joined = x
            if k > 1:
                layer = self._next("Concat", features)
                self._check(layer, layer.params == {0: 0}, "joined by channels")
                joined = layer.outputs[0]
            features.append(self._conv(f"{name}.conv{k}", joined, active=k < 5))
        return self._sum(features[-1], x)

    def _sum(self, y: str, x: str) -> str:
        layer = self._next("Eltwise", [y, x])
        near = len(layer.array) == 2 and all(abs(a - b) < 1e-6 for a, b in zip(layer.array, _RESIDUAL, strict=True))
        self._check(layer, layer.params == {0: 1} and near, "0.2 times one and the other")
        return layer.outputs[0]

    def _conv(self, name: str, x: str, *, active: bool) -> str:
        layer = self._next("Convolution", [x])
        found = self._weights[layer.name]
        outputs = int(layer.params[0])
        inputs, rest = divmod(found.weight.size, outputs * 9)
        expected = {0: outputs, 1: 3, 2: 1, 3: 1, 4: 1, 5: 1, 6: found.weight.size, 8: 0, 9: 2 if active else 0}
        slope = len(layer.array) == 1 and abs(layer.array[0] - _SLOPE[0]) < 1e-6 if active else not layer.array
        good = layer.params == expected and slope and not rest and found.bias is not None
        self._check(layer, good, "a 3x3 convolution" + (" with a leaky ReLU of 0.2" if active else ""))
        assert found.bias is not None
        self._tensors[f"{name}.weight"] = found.weight.reshape(outputs, inputs, 3, 3)
        self._tensors[f"{name}.bias"] = found.bias
        return layer.outputs[0]

    def _next(self, kind: str, inputs: list[str]) -> Layer:
        """The next layer, which must be of that kind and read those blobs in that order."""
        if self._at == len(self._layers):
            raise CheckpointError(f"not an ESRGAN: it ends where a {kind} must come", where=self._where)
        layer = self._layers[self._at]
        self._at += 1
        reads = [self._source.get(blob, blob) for blob in layer.inputs]
        self._check(layer, layer.kind == kind and reads == inputs, f"the {kind} that must come there")
        return layer

    def _check(self, layer: Layer, good: bool, want: str) -> None:
        if not good:
            raise CheckpointError(f"not an ESRGAN: {layer.kind} {layer.name[:80]} is not {want}", where=self._where)
