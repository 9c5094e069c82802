"""Renderer: ShowState -> picture. The same one live, offline and in tests."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from installation.errors import EngineError
from installation.models import checkpoint
from installation.models.cascade import Cascade
from installation.models.network import Network
from installation.models.pack import Packer
from installation.render.latent import Latents
from installation.show.config import Show
from installation.show.state import ShowState


class Renderer:
    """size: (width, height) of its pictures, px. One thread, one device."""

    def __init__(self, show: Show, generator: Network, stages: Sequence[Network]) -> None:
        config = show.cascade
        self.cascade = Cascade(generator, stages, tile=config.tile or None, device=config.device, dtype=config.dtype)
        device = self.cascade.placement.device
        if device.type == "cpu":
            torch.set_num_threads(config.threads or os.cpu_count() or 1)
        self.size = self.cascade.size
        self._latents = Latents(show, self.cascade.generator, device)
        self._packer = Packer(*self.size, device)

    @classmethod
    def open(cls, show: Show, base: Path, stages: Sequence[Path]) -> Renderer:
        """The renderer of a show from checkpoint files. ModelError where they do not fit."""
        return cls(show, checkpoint.load(base), [checkpoint.load(path) for path in stages])

    @torch.inference_mode()
    def img(self, state: ShowState) -> Tensor:
        """The picture as an img [1, 3, height, width] float32 on the cascade's device. Valid until the next call."""
        return self.cascade(self._latents.ws(state))

    def render(self, state: ShowState, out: np.ndarray) -> bool:
        """Draws the state into `out`, a Frame of `size`, complete on return. False when the picture is not finite."""
        return self._packer.pack(self.img(state), out)

    def draw(self, state: ShowState, out: np.ndarray) -> None:
        """`render` for whoever cannot go on without a picture: EngineError when it is not finite."""
        if not self.render(state, out):
            raise EngineError(
                "the networks made a picture with NaN or infinite values",
                where=f"show time {state.t:g} s",
                fix="Lower latent.psi, or set cascade.dtype to float32",
            )

    def describe(self) -> str:
        """One line for the log."""
        networks = [self.cascade.generator, *self.cascade.stages]
        chain = " → ".join(
            f"{network.arch} {height}" for network, (_, height) in zip(networks, self.cascade.sizes, strict=True)
        )
        return f"{chain} px on {self.cascade.placement}"
