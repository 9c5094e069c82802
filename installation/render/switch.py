"""Switch: the models of a show, one or two at work. A new one is loaded while the old one goes on drawing.

Runs on the engine's thread, with one thread beside it while a model is being loaded. At most two models are in memory on
the wall: the next one is loaded only after a crossfade has ended. A renderer that waits has as many as the state mixes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from installation.errors import InstallationError, ModelError
from installation.models.pack import Packer
from installation.render.renderer import Renderer, not_finite
from installation.show.config import Show
from installation.show.messages import SELECT
from installation.show.picks import Pick, Picks, choose, only, settled, shares
from installation.show.state import ShowState

log = logging.getLogger(__name__)

_LEAVE_S = 5.0

Request = tuple[str, float]
"""A model's name, and the show time at which it was chosen."""
_Open = Callable[[str], Renderer]


class Switch:
    """files: of each model of the show its checkpoints, generator first. size: (width, height) of the pictures, px.

    first: the model to begin with; the show's own first one where that one cannot be loaded.
    wait: for renderers without an audience. Models are loaded when they are chosen, everything stands still meanwhile,
    crossfades are where the state has them, and a fault is an error. Otherwise a crossfade begins when its model is
    ready, and a model that cannot be loaded or shown is one line in the log: the one before stays.
    tell(shown, refused): hears which model is drawn, whenever that changes, and the last request that was refused.
    """

    def __init__(
        self,
        show: Show,
        files: Mapping[str, Sequence[Path]],
        size: tuple[int, int],
        *,
        first: str | None = None,
        wait: bool = False,
        tell: Callable[[str, Request | None], None] = lambda shown, refused: None,
    ) -> None:
        self._show, self._files, self.size, self._wait = show, files, size, wait
        self._tell = tell
        self._loading: _Loading | None = None
        self._refused: Request | None = None
        wanted = first or str(show.first_value(SELECT))
        name, renderer = self._first(list(dict.fromkeys((wanted, show.cascade.name))))
        # The log has said that it is missing; it is tried again when it is chosen again.
        self._missing = wanted if name != wanted else None
        self._renderers = {name: renderer}
        self._picks: Picks = only(name)
        self._tell(name, None)
        self.device = renderer.cascade.placement.device
        self._packer = Packer(*size, self.device)

    def render(self, state: ShowState, out: np.ndarray) -> bool:
        """Draws the state into `out`, a Frame of `size`, complete on return. False when the picture is not finite."""
        return self._packer.pack(self.img(state), out)

    def draw(self, state: ShowState, out: np.ndarray) -> None:
        """`render` for whoever cannot go on without a picture: EngineError when it is not finite."""
        if not self.render(state, out):
            raise not_finite(state)

    @torch.inference_mode()
    def img(self, state: ShowState) -> Tensor:
        """The picture as an img [1, 3, height, width] float32, models mixed. Valid until the next call."""
        if self._wait:
            self._follow(state)
        else:
            self._attend(state)
        (name, total), *others = shares(self._picks, state.t)
        img = self._drawn(str(name), state)
        for name, share in others:
            total += share
            # As they would be seen: what a network draws beyond white would outshine the other picture.
            img = torch.lerp(img.clamp(-1.0, 1.0), self._drawn(str(name), state).clamp(-1.0, 1.0), share / total)
        return img

    def prove(self, names: Collection[str], state: ShowState) -> None:
        """Opens each of these models and makes a picture of the state with it: a fault is an error now, and not when
        the model is chosen. One after the other, so that no more are in memory than before and one."""
        for name in names:
            if name not in self._renderers:
                self._open(name).prove(state)

    def close(self) -> None:
        """Waits a moment for a model that is being loaded: a process that ends meanwhile would fall over it."""
        if self._loading is not None:
            self._loading.thread.join(_LEAVE_S)

    def describe(self) -> str:
        """One line for the log."""
        name = str(self._picks[-1].value)
        what = self._renderers[name].describe()
        return f"{name}: {what}" if len(self._files) > 1 else what

    def _first(self, names: list[str]) -> tuple[str, Renderer]:
        """The first of the names that can be loaded. The last one's fault is the caller's."""
        for name in names[:-1]:
            try:
                return name, self._open(name)
            except InstallationError as error:
                if self._wait:
                    raise
                log.warning("the model %s is not shown, %s is: %s", name, names[-1], error)
        return names[-1], self._open(names[-1])

    def _open(self, name: str) -> Renderer:
        if name not in self._files:
            raise ModelError("its networks are not on this machine", where=f"the model {name}")
        base, *stages = self._files[name]
        return Renderer.open(self._show, base, stages, model=name)

    def _follow(self, state: ShowState) -> None:
        """Exactly the models of the state, loaded now."""
        self._picks = state.picks[SELECT]
        wanted = {str(pick.value) for pick in self._picks}
        self._renderers = {name: renderer for name, renderer in self._renderers.items() if name in wanted}
        for name in wanted - self._renderers.keys():
            self._renderers[name] = self._open(name)

    def _attend(self, state: ShowState) -> None:
        """One look at what is wanted and what is there. Never waits."""
        self._picks = settled(self._picks, state.t)
        self._renderers = {str(pick.value): self._renderers[str(pick.value)] for pick in self._picks}
        wanted = state.picks[SELECT][-1]
        name, request = str(wanted.value), _request(wanted)
        if self._missing is not None:
            if name == self._missing:
                self._refuse(request)
            self._missing = None
        if self._loading is not None:
            if not self._loading.thread.is_alive():
                done, self._loading = self._loading, None
                self._take(done, wanted, state)
        elif name == self._picks[-1].value:
            return
        elif name in self._renderers:  # back, in the middle of a crossfade
            self._picks = choose(self._picks, name, state.t, wanted.weight.span_s)
            self._tell(name, self._refused)
        elif len(self._picks) == 1 and request != self._refused:
            self._loading = _Loading(name, request, self._open, state)

    def _take(self, done: _Loading, wanted: Pick, state: ShowState) -> None:
        if done.renderer is None:
            log.warning("the model %s cannot be shown, %s stays: %s", done.name, self._picks[-1].value, done.fault)
            self._refuse(done.request)
        elif done.name == wanted.value:
            self._renderers[done.name] = done.renderer
            self._picks = choose(self._picks, done.name, state.t, wanted.weight.span_s)
            self._tell(done.name, self._refused)
            log.info("the model on the wall: %s", self.describe())

    def _refuse(self, request: Request) -> None:
        self._refused = request
        self._tell(str(self._picks[-1].value), request)

    def _drawn(self, name: str, state: ShowState) -> Tensor:
        return fitted(self._renderers[name].img(state), self.size)


def _request(pick: Pick) -> Request:
    return str(pick.value), pick.weight.t0


class _Loading:
    """One model on its way: loaded, and its first picture made, because a file that loads may still make no picture."""

    def __init__(self, name: str, request: Request, open_: _Open, state: ShowState) -> None:
        self.name, self.request = name, request
        self.renderer: Renderer | None = None
        self.fault = ""
        self.thread = threading.Thread(target=self._run, args=(open_, state), name=f"load {name}", daemon=True)
        self.thread.start()

    def _run(self, open_: _Open, state: ShowState) -> None:
        try:
            renderer = open_(self.name)
            renderer.prove(state)
        except InstallationError as error:
            self.fault = str(error)
        except Exception as error:  # whatever it is, the show goes on with the model it has
            log.debug("a model could not be loaded", exc_info=True)
            self.fault = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"
        else:
            self.renderer = renderer


def fitted(img: Tensor, size: tuple[int, int]) -> Tensor:
    """img [1, 3, h, w] -> [1, 3, height, width]: as it is, or scaled to lie within `size`, black around it."""
    width, height = size
    h, w = img.shape[2:]
    if (h, w) == (height, width):
        return img
    scale = min(height / h, width / w)
    inner = (min(max(round(h * scale), 1), height), min(max(round(w * scale), 1), width))
    img = F.interpolate(img, inner, mode="bicubic", antialias=True, align_corners=False)
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    return F.pad(img, (left, width - inner[1] - left, top, height - inner[0] - top), value=-1.0)
