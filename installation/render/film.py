"""FilmRenderer: ShowState -> light frame at the size at which the picture appears in the film."""

from __future__ import annotations

import numpy as np
import torch

from installation.models.lanczos import Lanczos
from installation.models.light import LightPacker, light_from_code
from installation.render.renderer import Renderer, not_finite
from installation.render.switch import Switch
from installation.show.state import ShowState


class FilmRenderer:
    """size: (width, height) of its pictures, px; what the cascade makes is brought there by Lanczos resampling. One thread.

    Enlarged as code values, where ringing shows least; made smaller as light, as eyes and lenses do it.
    """

    def __init__(self, renderer: Renderer | Switch, size: tuple[int, int]) -> None:
        self._renderer, self.size = renderer, size
        device = renderer.device
        # Trying algorithms may choose others in the next process, and a film that was gone on with would differ.
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
        made = renderer.size
        self._shrinks = size[0] * size[1] < made[0] * made[1]
        self._resize = Lanczos((made[1], made[0]), (size[1], size[0]), device) if size != made else None
        self._packer = LightPacker(*size, device)

    @torch.inference_mode()
    def draw(self, state: ShowState, out: np.ndarray) -> None:
        """Draws the state into `out`, a light frame of `size`, complete on return. EngineError: not finite."""
        code = self._renderer.img(state) * 0.5 + 0.5
        if self._resize is not None and not self._shrinks:
            code = self._resize(code)
        light = light_from_code(code.clamp(0.0, 1.0))
        if self._resize is not None and self._shrinks:
            light = self._resize(light)
        if not self._packer.pack(light, out):
            raise not_finite(state)

    def describe(self) -> str:
        """One line for the log."""
        made = self._renderer.size
        if self._resize is None:
            return self._renderer.describe()
        word = "shrunk" if self._shrinks else "enlarged"
        return (
            f"{self._renderer.describe()}, {word} by Lanczos from {made[0]}x{made[1]} to {self.size[0]}x{self.size[1]}"
        )
