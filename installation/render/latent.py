"""From a state to the latents the generator is given, as tensors on its device, without waiting for the device.

A walk in z is joined on the sphere, in numpy: a few hundred numbers. A walk in w is joined in the generator's own w:
each keyframe is mapped once and kept. Then come, in this order, the second portrait's layers, psi, and the axes, which
so act alike whatever psi is.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from installation.errors import ModelError
from installation.latent.latents import key_z, place
from installation.latent.layers import layer_weights
from installation.latent.walk import Key, blend
from installation.models.network import Generator
from installation.models.transform import transform
from installation.render.axes import AxisBank
from installation.render.device import to_device
from installation.show.config import Show
from installation.show.picks import shares
from installation.show.state import ShowState, Strand

# Four strands use 16 keyframes at most, four seeds of the mix, each in up to four classes; the rest spares the mapping
# when the walk turns back.
_KEPT = 128

Classes = list[tuple[int, float]]


class Latents:
    """The latents of one show for one generator, whose weights lie on `device`. ModelError where they do not fit.

    model: what the show calls this generator; None = the show's first. checkpoint: its file, beside which its axes are
    kept.
    """

    def __init__(
        self,
        show: Show,
        generator: Generator,
        device: torch.device,
        *,
        model: str | None = None,
        checkpoint: Path | None = None,
    ) -> None:
        self._show = show
        self._generator = generator
        self._device = device
        self._mapped: OrderedDict[tuple[Key, int], Tensor] = OrderedDict()
        model = model or show.cascade.name
        if show.walk.space == "w" and not generator.w_dim:
            raise ModelError("has no w to walk in", where=f"the model {model}", fix='Use space = "z" in [walk]')
        for number, stop in enumerate(show.walk.tour):
            if stop.latent is not None:
                self._check_saved(Key(stop=number))
        for name, number in show.classes.items():
            if 0 < generator.c_dim <= number:
                what = f"is class {number}, but the network's classes are 0 to {generator.c_dim - 1}"
                raise ModelError(what, where=f"classes.{name}")
        self._axes = AxisBank(show, model, generator, checkpoint, device)

    def ws(self, state: ShowState) -> Tensor:
        """ws [1, num_ws, w_dim] float32 of the state, psi applied."""
        classes = self._classes(state)
        if self._show.walk.space == "w":
            ws = self._strand_w(state.strands[0], classes)
            for strand in state.strands[1:]:
                ws = torch.lerp(ws, self._strand_w(strand, classes), strand.fade.at(state.t))
        else:
            ws = self._map(place(state, self._show, self._generator.z_dim), classes)
        ws = self._mixed(ws, state, classes)
        return self._axes.moved(self._generator.truncate(ws, self._psi(state)), state)

    def transform(self, state: ShowState) -> Tensor | None:
        """[3, 3] float32 for a generator that takes one: where on its plane the picture lies."""
        if not self._generator.has_transform:
            return None
        x, y, turn = (state.value(f"transform/{name}") for name in ("x", "y", "turn"))
        return self._tensor(transform(x, y, turn).numpy())

    def synthesise(self, state: ShowState) -> tuple[Tensor, Tensor]:
        """The generator's own img of the state, by a plain call, and the ws it was made from."""
        ws, plane = self.ws(state), self.transform(state)
        return self._generator.synthesis(ws, *(() if plane is None else (plane,))), ws

    def _mixed(self, ws: Tensor, state: ShowState, classes: Classes) -> Tensor:
        """ws with the second portrait in its layers. A network without w has no layers to mix."""
        mix, generator = state.value("style/mix"), self._generator
        if mix <= 0.0 or not generator.w_dim:
            return ws
        weights = mix * layer_weights(state.value("style/first"), state.value("style/last"), generator.num_ws)
        seeds = shares(state.picks["style/seed"], state.t)
        second = self._sum([(self._key_w(Key(int(seed)), classes), share) for seed, share in seeds])
        return torch.lerp(ws, second[None], self._tensor(weights)[:, None])

    def _psi(self, state: ShowState) -> Tensor | float:
        psi, cutoff, num_ws = state.value("latent/psi"), state.value("latent/cutoff"), self._generator.num_ws
        if cutoff >= num_ws:
            return psi
        return self._tensor(1.0 + (psi - 1.0) * layer_weights(0.0, cutoff - 1.0, num_ws))[:, None]

    def _classes(self, state: ShowState) -> Classes:
        """(class, share): more than one while a class fades into another. A number beyond the last class is the last."""
        last = max(self._generator.c_dim - 1, 0)
        chosen = shares(state.picks["class/select"], state.t)
        return [(min(self._show.class_number(value), last), share) for value, share in chosen]

    def _check_saved(self, key: Key) -> None:
        """ModelError now, not in the middle of a show, where a saved latent does not fit the network."""
        if self._show.walk.space == "z" or self._saved_w(key) is None:
            key_z(key, self._show, self._generator.z_dim)

    def _strand_w(self, strand: Strand, classes: Classes) -> Tensor:
        mixture = blend(strand, self._show)
        keys = [self._key_w(key, classes) for key in mixture.keys]
        return self._sum(list(zip(keys, mixture.weights, strict=True)))[None]

    def _sum(self, parts: list[tuple[Tensor, float]]) -> Tensor:
        """The weighted sum of tensors of one shape."""
        if len(parts) == 1 and parts[0][1] == 1.0:
            return parts[0][0]
        weights = self._tensor(np.array([weight for _, weight in parts]))
        return torch.einsum("k,knw->nw", weights, torch.stack([part for part, _ in parts]))

    def _key_w(self, key: Key, classes: Classes) -> Tensor:
        """[num_ws, w_dim] of a keyframe, in the mixture of classes."""
        return self._sum([(self._key_class_w(key, number), share) for number, share in classes])

    def _key_class_w(self, key: Key, number: int) -> Tensor:
        if (key, number) in self._mapped:
            self._mapped.move_to_end((key, number))
            return self._mapped[key, number]
        ws = self._saved_w(key) if key.stop is not None else None
        if ws is None:
            ws = self._map(key_z(key, self._show, self._generator.z_dim), [(number, 1.0)])[0]
        self._mapped[key, number] = ws
        if len(self._mapped) > _KEPT:
            self._mapped.popitem(last=False)
        return ws

    def _map(self, z: np.ndarray, classes: Classes) -> Tensor:
        """ws [1, num_ws, w_dim] of one z [z_dim]: the w's of its classes, mixed."""
        generator = self._generator
        if not generator.c_dim:
            return generator.mapping(self._tensor(z[None]))
        c = np.zeros((len(classes), generator.c_dim))
        c[np.arange(len(classes)), [number for number, _ in classes]] = 1.0
        ws = generator.mapping(self._tensor(np.repeat(z[None], len(classes), axis=0)), self._tensor(c))
        return self._sum([(one, share) for one, (_, share) in zip(ws, classes, strict=True)])[None]

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
        return to_device(array, self._device)
