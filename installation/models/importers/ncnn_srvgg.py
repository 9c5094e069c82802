"""The compact Real-ESRGAN network (SRVGG) out of ncnn files: proves that the graph is this network, then names its weights.

input ── Split ─┬─ Conv ─ PReLU ─ ... ─ Conv ─ PReLU ─ Conv ─ PixelShuffle ─┐
                └─────────────────── Interp (nearest) ──────────────────── Add ── (Interp, bicubic) ── output
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from installation.errors import CheckpointError
from installation.models.importers.ncnn import Layer, Weights, read_bin, read_param


@dataclass(frozen=True, slots=True)
class Srvgg:
    """The network as data. tensors: `body.{i}.weight/.bias` as in Real-ESRGAN's own files (PReLU: `body.{i}.weight`).

    Convolution weights [out, in, 3, 3] in the type they are stored in (float16 or float32), all else float32.
    num_conv: convolutions between the first and the last. drawn_scale: before the last Interp; scale where there is none.
    """

    scale: int
    drawn_scale: int
    num_feat: int
    num_conv: int
    tensors: dict[str, np.ndarray]


def read_srvgg(param: bytes, weights: bytes, *, where: str) -> Srvgg:
    """The network in a .param and its .bin. CheckpointError where anything is odd or the graph is another one."""
    layers = read_param(param, where=where)
    body, drawn_scale, scale = _body(layers, where)
    by_name = read_bin(weights, layers, where=where)
    if len(by_name) != len(body):
        raise CheckpointError("two layers have one name", where=where)
    tensors: dict[str, np.ndarray] = {}
    channels = 3
    num_feat = body[0].whole(0, lo=1, hi=1024, where=where)
    for index, layer in enumerate(body):
        found = by_name[layer.name]
        if layer.kind == "PReLU":
            if found.weight.shape != (channels,):
                raise CheckpointError(
                    f"{layer.name} has {found.weight.size} slopes for {channels} channels", where=where
                )
            tensors[f"body.{index}.weight"] = found.weight
            continue
        outputs = 3 * drawn_scale**2 if index == len(body) - 1 else num_feat
        weight, bias = _convolution(layer, found, inputs=channels, outputs=outputs, where=where)
        tensors[f"body.{index}.weight"], tensors[f"body.{index}.bias"] = weight, bias
        channels = outputs
    return Srvgg(scale, drawn_scale, num_feat, (len(body) - 3) // 2, tensors)


def _body(layers: tuple[Layer, ...], where: str) -> tuple[list[Layer], int, int]:
    """The chain Conv, PReLU, ..., Conv in order, and the scale that is drawn and the one of the output, once every layer is found in its
    place."""
    maker = {blob: layer for layer in layers for blob in layer.outputs}
    unread = maker.keys() - {blob for layer in layers for blob in layer.inputs}

    def end(reason: str) -> CheckpointError:
        return CheckpointError(f"not a compact Real-ESRGAN (SRVGG) network: {reason}", where=where)

    if len(unread) != 1:
        raise end(f"{len(unread)} outputs, not one")
    last = add = maker[unread.pop()]
    if last.kind == "Interp":
        add = maker[last.inputs[0]]
    if add.kind != "BinaryOp" or add.params[0] != 0 or add.params[1] != 0:
        raise end(f"ends in {add.kind} {add.name}, not in the sum of two pictures")
    sides = {maker[blob].kind: maker[blob] for blob in add.inputs}
    if sides.keys() != {"PixelShuffle", "Interp"}:
        raise end(
            f"{add.name} adds {' and '.join(maker[blob].kind for blob in add.inputs)}, not PixelShuffle and Interp"
        )
    shuffle, interp = sides["PixelShuffle"], sides["Interp"]
    drawn = scale = shuffle.whole(0, lo=1, hi=8, where=where)
    if shuffle.params[1] != 0 or interp.params != {0: 1, 1: drawn, 2: drawn, 3: 0, 4: 0, 6: 0}:
        raise end(f"{interp.name} is not nearest-neighbour x{drawn} beside {shuffle.name}")
    if last is not add:
        shrunk = ({0: 3, 1: smaller / drawn, 2: smaller / drawn, 3: 0, 4: 0, 6: 0} for smaller in range(drawn))
        scale = next((smaller for smaller, params in enumerate(shrunk) if last.params == params), 0)
        if scale == 0:
            raise end(f"{last.name} is not a bicubic resize of x{drawn} to a smaller whole scale")
    body: list[Layer] = []
    layer = maker[shuffle.inputs[0]]
    while layer.kind in ("Convolution", "PReLU"):
        body.insert(0, layer)
        layer = maker[layer.inputs[0]]
    split = maker[interp.inputs[0]]
    if layer is not split or split.kind != "Split" or len(split.outputs) != 2 or maker[split.inputs[0]].kind != "Input":
        raise end(f"{body[0].name if body else shuffle.name} and {interp.name} do not read the same input picture")
    kinds = [layer.kind for layer in body]
    if len(kinds) < 3 or len(kinds) % 2 == 0 or kinds != (["Convolution", "PReLU"] * len(kinds))[: len(kinds)]:
        raise end("convolutions and PReLUs do not take turns")
    around = 5 if last is add else 6
    if len(body) + around != len(layers):
        raise end(f"{len(layers) - len(body) - around} layers beside the chain")
    return body, drawn, scale


def _convolution(
    layer: Layer, found: Weights, *, inputs: int, outputs: int, where: str
) -> tuple[np.ndarray, np.ndarray]:
    """Weight [outputs, inputs, 3, 3] and bias [outputs]; the layer must be a plain 3x3 of that width."""
    expected = {0: outputs, 1: 3, 2: 1, 3: 1, 4: 1, 5: 1, 6: outputs * inputs * 9, 8: 0, 9: 0}
    if layer.params != expected or layer.array or found.bias is None:
        raise CheckpointError(
            f"{layer.name} is no plain 3x3 convolution from {inputs} to {outputs} channels with a bias", where=where
        )
    return found.weight.reshape(outputs, inputs, 3, 3), found.bias
