"""State dicts of R3GAN's own code -> our R3GAN's names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from installation.errors import CheckpointError

_STAGE = re.compile(r"Model\.MainLayers\.(\d{1,3})\.Layers\.(\d{1,3})\.(.+)")
_FIRST = {
    "Basis": "basis",
    "LinearLayer.weight": "linear.weight",
    "Resampler.Kernel": "taps",
    "LinearLayer.Layer.weight": "mix.weight",
}
_BLOCK = {f"LinearLayer{i}.Layer.weight": f"conv{i}.weight" for i in (1, 2, 3)} | {
    f"NonLinearity{i}.Bias": f"bias{i}" for i in (1, 2)
}
_OUTSIDE = {"Model.AggregationLayer.Layer.weight": "colours.weight", "Model.EmbeddingLayer.weight": "embed.weight"}


def rename(state: Mapping[str, Tensor], *, where: str) -> dict[str, Tensor]:
    """`Model.MainLayers.{s}.Layers.{0}` (basis or doubling) and `.Layers.{b + 1}` (blocks) -> `stages.{s}` and `.blocks.{b}`.

    CheckpointError for a name that R3GAN does not have.
    """
    renamed = {}
    for name, tensor in state.items():
        new = _OUTSIDE.get(name)
        if found := _STAGE.fullmatch(name):
            layer = int(found[2])
            part = (_BLOCK if layer else _FIRST).get(found[3])
            if part:
                new = f"stages.{int(found[1])}." + (f"blocks.{layer - 1}." if layer else "") + part
        if new is None:
            raise CheckpointError(f"tensor {name[:80]!r} is not one of R3GAN's", where=where)
        renamed[new] = tensor
    return renamed
