"""One picture of a show, made as the wall makes it: the same step, Renderer and look pass."""

from __future__ import annotations

import logging

import numpy as np

from installation.output.compositor import Compositor
from installation.output.headless import HeadlessSurface
from installation.render.switch import Switch
from installation.resources import shaders_dir
from installation.session import Session
from installation.show.clock import Tick
from installation.show.config import Show
from installation.show.state import ShowState, first_state
from installation.show.step import step

log = logging.getLogger(__name__)


def state_at(show: Show, at_s: float) -> ShowState:
    """The state of a show nobody touches at show time at_s."""
    # Positions are integrals in closed form, so one long tick lands where thousands of short ones do.
    return step(first_state(show), (), Tick(1, at_s, at_s), show)


def picture(session: Session, state: ShowState, size: tuple[int, int] | None, *, rotate: int) -> np.ndarray:
    """The Frame of a state, at `size` (width, height) or the cascade's own, turned by `rotate` degrees.

    EngineError when the networks make no finite picture; DisplayError without GL.
    """
    show = session.show
    renderer = Switch(show, session.files, session.size, wait=True)
    frame = np.empty((session.size[1], session.size[0], 4), np.uint8)
    renderer.draw(state, frame)
    surface = HeadlessSurface(size or session.size)
    try:
        compositor = Compositor(surface.ctx, shaders_dir(), size=session.size)
        compositor.upload(0, frame)
        compositor.show(state, show)
        compositor.mount(surface.framebuffer, surface.size, fit=show.screen.fit, rotate=rotate, hud=None)
        return surface.read()
    finally:
        surface.close()
