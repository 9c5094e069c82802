"""The show's named axes on one network: how far each fader moves w, layer by layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from installation.errors import ModelError
from installation.latent.layers import layer_weights
from installation.models import axes
from installation.models.network import Generator
from installation.render.device import to_device
from installation.show.config import Axis, Show
from installation.show.params import MAX_LAYERS
from installation.show.state import ShowState


class AxisBank:
    """The axes of the show that belong to `model`. ModelError where the network has none such.

    Axes that name no model act on every model with a w; the show's first model must have one for them.
    """

    def __init__(
        self, show: Show, model: str, generator: Generator, checkpoint: Path | None, device: torch.device
    ) -> None:
        mine = show.axes_of(model)
        if not generator.w_dim:
            named = next((axis for axis in mine if axis.model or model == show.cascade.name), None)
            if named is not None:
                what = f"the network of {model} has no w, and so no axes"
                raise ModelError(what, where=f"axes.{named.name}", fix="Take another network, or leave the axis out")
            mine = ()
        self._names = [f"axis/{axis.name}" for axis in mine]
        self._device = device
        if mine:
            spread = axes.spread_of(generator, checkpoint)
            rows = [direction(axis, generator, spread) for axis in mine]
            self._directions = torch.stack(rows).to(device)

    def moved(self, ws: Tensor, state: ShowState) -> Tensor:
        """ws [1, num_ws, w_dim] moved along every axis by its fader."""
        amounts = np.array([state.value(name) for name in self._names])
        if not amounts.any():
            return ws
        return ws + torch.einsum("a,anw->nw", to_device(amounts, self._device), self._directions)


def direction(axis: Axis, generator: Generator, spread: axes.Spread) -> Tensor:
    """[num_ws, w_dim] float32 on the CPU: one standard deviation along the axis in its layers, 0 in the others."""
    where = f"axes.{axis.name}"
    first, last = axis.layers or (0, MAX_LAYERS)
    if first >= generator.num_ws:
        raise ModelError(f"layer {first} is beyond the network's last, {generator.num_ws - 1}", where=where)
    if axis.source == "sefa":
        found = axes.sefa(generator, axis.layers)
    else:
        found = spread.axes
    if axis.index >= len(found):
        raise ModelError(f"index {axis.index} is beyond the network's last axis, {len(found) - 1}", where=where)
    weights = torch.from_numpy(layer_weights(first, last, generator.num_ws)).float()
    return weights[:, None] * axes.along(spread, found[axis.index])
