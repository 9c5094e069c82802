"""From a state to the latents the generator is given, as tensors on its device, without waiting for the device.

A walk in z is joined on the sphere, in numpy: a few hundred numbers. A walk in w is joined in the generator's own w:
each keyframe is mapped once and kept.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch
from torch import Tensor

from installation.errors import ModelError
from installation.latent.latents import key_z, place
from installation.latent.walk import Key, blend
from installation.models.network import Generator
from installation.show.config import Show
from installation.show.state import ShowState, Strand

# Four strands use 16 keyframes at most; the rest spares the mapping when the walk turns back.
_KEPT = 64


class Latents:
    """The latents of one show for one generator, whose weights lie on `device`. ModelError where they do not fit."""

    def __init__(self, show: Show, generator: Generator, device: torch.device) -> None:
        self._show = show
        self._generator = generator
        self._device = device
        self._mapped: OrderedDict[Key, Tensor] = OrderedDict()
        if show.walk.space == "w" and not generator.w_dim:
            raise ModelError("has no w to walk in", where=show.cascade.base, fix='Use space = "z" in [walk]')
        for number, stop in enumerate(show.walk.tour):
            if stop.latent is not None:
                self._check_saved(Key(stop=number))

    def ws(self, state: ShowState) -> Tensor:
        """ws [1, num_ws, w_dim] float32 of the state, psi applied."""
        if self._show.walk.space == "w":
            ws = self._strand_w(state.strands[0])
            for strand in state.strands[1:]:
                ws = torch.lerp(ws, self._strand_w(strand), strand.fade.at(state.t))
        else:
            ws = self._generator.mapping(self._tensor(place(state, self._show, self._generator.z_dim)[None]))
        return self._generator.truncate(ws, state.value("latent/psi"))

    def _check_saved(self, key: Key) -> None:
        """ModelError now, not in the middle of a show, where a saved latent does not fit the network."""
        if self._show.walk.space == "z" or self._saved_w(key) is None:
            key_z(key, self._show, self._generator.z_dim)

    def _strand_w(self, strand: Strand) -> Tensor:
        mixture = blend(strand, self._show)
        keys = torch.stack([self._key_w(key) for key in mixture.keys])
        weights = self._tensor(np.array(mixture.weights))
        return torch.einsum("k,knw->nw", weights, keys)[None]

    def _key_w(self, key: Key) -> Tensor:
        """[num_ws, w_dim] of a keyframe."""
        if key in self._mapped:
            self._mapped.move_to_end(key)
            return self._mapped[key]
        ws = self._saved_w(key) if key.stop is not None else None
        if ws is None:
            ws = self._generator.mapping(self._tensor(key_z(key, self._show, self._generator.z_dim)[None]))[0]
        self._mapped[key] = ws
        if len(self._mapped) > _KEPT:
            self._mapped.popitem(last=False)
        return ws

    def _saved_w(self, key: Key) -> Tensor | None:
        """A stop saved as w: one row for all layers or a row a layer. None for one saved as z."""
        assert key.stop is not None
        values = np.asarray(self._show.walk.tour[key.stop].values)
        generator = self._generator
        if values.shape == (1, generator.z_dim) and generator.z_dim != generator.w_dim:
            return None
        if values.shape not in ((1, generator.w_dim), (generator.num_ws, generator.w_dim)):
            raise ModelError(
                f"has shape {list(values.shape)}, but the network's w is [{generator.num_ws}, {generator.w_dim}]",
                where=f"walk.tour[{key.stop}].latent",
            )
        return self._tensor(values).expand(generator.num_ws, generator.w_dim)

    def _tensor(self, array: np.ndarray) -> Tensor:
        """A float32 tensor on the device; the copy to a GPU does not make the host wait."""
        tensor = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
        if self._device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self._device, non_blocking=True)
