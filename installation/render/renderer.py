"""Renderer: ShowState -> img, by the networks of one model. The same one live and offline; Switch and FilmRenderer make frames of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from installation import machine
from installation.errors import EngineError
from installation.models import checkpoint
from installation.models.cascade import Cascade
from installation.models.network import Network
from installation.render.latent import Latents
from installation.show.config import Show
from installation.show.state import ShowState


class Renderer:
    """size: (width, height) of its pictures, px. One thread, one device."""

    def __init__(
        self,
        show: Show,
        generator: Network,
        stages: Sequence[Network],
        *,
        model: str | None = None,
        checkpoint: Path | None = None,
    ) -> None:
        """model: what the show calls these networks; None = its first. checkpoint: the generator's file."""
        config = show.cascade
        tile = show.tile_of(model) or None
        self.cascade = Cascade(generator, stages, tile=tile, device=config.device, dtype=config.dtype)
        self.device = device = self.cascade.placement.device
        if device.type == "cpu":
            torch.set_num_threads(config.threads or machine.cores())
        self.size = self.cascade.size
        self._latents = Latents(show, self.cascade.generator, device, model=model, checkpoint=checkpoint)

    @classmethod
    def open(cls, show: Show, base: Path, stages: Sequence[Path], *, model: str | None = None) -> Renderer:
        """The renderer of a show from checkpoint files. ModelError where they do not fit."""
        networks = [checkpoint.load(path) for path in stages]
        return cls(show, checkpoint.load(base), networks, model=model, checkpoint=base)

    @torch.inference_mode()
    def img(self, state: ShowState) -> Tensor:
        """The picture as an img [1, 3, height, width] float32 on the cascade's device. Valid until the next call."""
        return self.cascade(self._latents.ws(state), self._latents.transform(state))

    @torch.inference_mode()
    def prove(self, state: ShowState) -> None:
        """One picture of the state, not recorded for replay, on whatever thread: EngineError when it is not finite."""
        img = self.cascade.enlarge(*self._latents.synthesise(state))
        if not bool(img.isfinite().all()):
            raise EngineError("its first picture has NaN or infinite values", where=self.cascade.generator.arch)

    def describe(self) -> str:
        """One line for the log."""
        networks = [self.cascade.generator, *self.cascade.stages]
        chain = " → ".join(
            f"{network.arch} {height}" for network, (_, height) in zip(networks, self.cascade.sizes, strict=True)
        )
        return f"{chain} px on {self.cascade.placement}"


def not_finite(state: ShowState) -> EngineError:
    """What is said of a state whose picture holds NaN or infinity."""
    return EngineError(
        "the networks made a picture with NaN or infinite values",
        where=f"show time {state.t:g} s",
        fix="Lower latent.psi, or set cascade.dtype to float32",
    )
