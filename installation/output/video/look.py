"""FilmLook: light frame in, finished frame of the film out, by the same look and mount passes as on the wall.

Off-screen, in a GL context of its own, which belongs to the thread that made it. A film of 8 bits a channel is dithered as the wall
is; one of 16 needs none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from installation.output.compositor import Compositor
from installation.output.headless import HeadlessSurface
from installation.output.video.spec import VideoSpec
from installation.show.config import Show
from installation.show.state import ShowState


class FilmLook:
    """picture: (width, height) of the light frames, as `placement.shown_size` says. DisplayError without GL."""

    def __init__(self, show: Show, spec: VideoSpec, picture: tuple[int, int], shaders: Path) -> None:
        self._show, self._dither = show, spec.depth == 8
        self._surface = HeadlessSurface(spec.size, depth=spec.depth)
        try:
            self._compositor = Compositor(self._surface.ctx, shaders, size=picture, history=1)
        except BaseException:
            self._surface.close()
            raise

    def draw(self, state: ShowState, light: np.ndarray, out: np.ndarray) -> None:
        """out: a frame as the VideoSpec says, complete on return."""
        show, compositor = self._show, self._compositor
        compositor.upload(0, light)
        compositor.show(state, show)
        compositor.mount(
            self._surface.framebuffer,
            self._surface.size,
            fit=show.screen.fit,
            rotate=show.screen.rotate,
            hud=None,
            dither=self._dither,
        )
        self._surface.read_into(out)

    def close(self) -> None:
        self._compositor.release()
        self._surface.close()
