"""pytorch_GAN_zoo's progressive GAN `.pth` files (PGAN of its hub) -> our PGGAN. Only the sizes that were grown to the end."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from installation.errors import ModelError
from installation.models.importers.state import nothing_left, state_under, take
from installation.models.pggan import PGGAN

_KEYS = ("avgG", "netG")


def matches(value: Any) -> bool:
    """Whether what `read_pickle` gave has the names of pytorch_GAN_zoo's generator. CheckpointError as `state.check_claims`."""
    state = state_under(value, _KEYS)
    return state is not None and {"formatLayer.module.weight", "groupScale0.0.module.weight"} <= state.keys()


def convert(value: Any, *, where: str) -> tuple[type[PGGAN], dict[str, Any], dict[str, Tensor], str]:
    """Kind, config, tensors, title. The averaged weights where there are some. ModelError for another layout."""
    state = state_under(value, _KEYS)
    if state is None:
        raise ModelError("no state dict under 'avgG' or 'netG'")
    found: dict[str, Tensor] = {}

    def layer(old: str, new: str, *shape: int | None) -> None:
        weight = take(state, f"{old}.module.weight", *shape)
        # The equalised learning rate multiplies a layer's whole output, its bias too.
        factor = math.sqrt(2 / math.prod(weight.shape[1:]))
        found[f"{new}.weight"] = weight * factor
        found[f"{new}.bias"] = take(state, f"{old}.module.bias", weight.shape[0]) * factor

    layer("formatLayer", "linear", None, None)
    layer("groupScale0.0", "first", None, None, 3, 3)
    blocks = 0
    while f"scaleLayers.{blocks}.0.module.weight" in state:
        for k in (0, 1):
            layer(f"scaleLayers.{blocks}.{k}", f"blocks.{blocks}.conv{k}", None, None, 3, 3)
        blocks += 1
    for scale in range(blocks):  # what the smaller sizes were made with while the network grew
        for part in ("weight", "bias"):
            state.pop(f"toRGBLayers.{scale}.module.{part}", None)
    layer(f"toRGBLayers.{blocks}", "torgb", 3, None, 1, 1)
    nothing_left(state)
    return PGGAN, PGGAN.config_of(found), found, f"progressive GAN (pytorch_GAN_zoo), {4 << blocks} px"
