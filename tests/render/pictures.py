"""A Renderer's picture as a Frame."""

from __future__ import annotations

import numpy as np

from installation.models.pack import Packer
from installation.render.renderer import Renderer
from installation.show.state import ShowState


def frame_of(renderer: Renderer, state: ShowState) -> np.ndarray:
    """uint8 [height, width, 4], packed as the engine packs it."""
    frame = np.zeros((renderer.size[1], renderer.size[0], 4), np.uint8)
    assert Packer(*renderer.size, renderer.device).pack(renderer.img(state), frame)
    return frame
