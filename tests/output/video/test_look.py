"""The film's look is the wall's, pixel for pixel, and finer where the file is."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from installation.output.compositor import Compositor
from installation.output.headless import HeadlessSurface
from installation.output.placement import shown_size
from installation.output.video.look import FilmLook
from installation.output.video.presets import PRESETS
from installation.output.video.spec import VideoSpec
from installation.show.state import ShowState, first_state
from tests.show.shows import make_show

LOOKS = {"neutral": {}, "silver": {"saturation": 0.2, "contrast": 1.2, "tint": [1, 0.9, 0.8], "vignette": 0.4}}


def picture(size: tuple[int, int]) -> np.ndarray:
    """A Frame without symmetry."""
    y, x = np.mgrid[: size[1], : size[0]]
    frame = np.stack([x * 255 // size[0], y * 255 // size[1], (x + y) * 3 % 256, np.full(x.shape, 255)], -1)
    return frame.astype(np.uint8)


def light(frame: np.ndarray) -> np.ndarray:
    c = frame.astype(float) / 255
    out = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    out[..., 3] = 1
    return out.astype(np.float16)


def filmed(show, state: ShowState, frame: np.ndarray, size, preset: str, shaders) -> np.ndarray:
    spec = VideoSpec.of(size, Fraction(25), PRESETS[preset])
    look = FilmLook(show, spec, (frame.shape[1], frame.shape[0]), shaders)
    out = np.empty(spec.frame_shape, np.uint8 if spec.depth == 8 else np.uint16)
    look.draw(state, light(frame), out)
    look.close()
    return out


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize(("fit", "rotate"), [("contain", 0), ("cover", 0), ("fill", 90), ("native", 180)])
def test_it_is_the_walls_picture(look, fit, rotate, shaders):
    show = make_show(looks=LOOKS, screen={"fit": fit, "rotate": rotate}, params={"look": {"select": look}})
    state, size = first_state(show), (96, 64)
    frame = picture(shown_size((40, 40), size, fit=fit, rotate=rotate))
    surface = HeadlessSurface(size)
    compositor = Compositor(surface.ctx, shaders, size=(frame.shape[1], frame.shape[0]))
    compositor.upload(0, frame)
    compositor.show(state, show)
    compositor.mount(surface.framebuffer, size, fit=fit, rotate=rotate, hud=None, dither=False)
    wall = surface.read().astype(float)[..., :3]
    surface.close()
    film = filmed(show, state, frame, size, "prores-422hq", shaders) / 257
    assert np.abs(film - wall).max() < 0.9
    eight = filmed(show, state, frame, size, "hap-q", shaders).astype(float)[..., :3]
    assert np.abs(eight - wall).max() <= 2  # with the wall's dither
    assert abs((eight - wall).mean()) < 0.1


def test_sixteen_bits_come_through_a_graded_look(shaders):
    show = make_show(looks=LOOKS, params={"look": {"select": "silver"}})
    ramp = np.zeros((16, 512, 4), np.float16)
    ramp[..., :3] = np.linspace(0.1, 0.3, 512)[None, :, None]
    ramp[..., 3] = 1
    spec = VideoSpec.of((512, 16), Fraction(25), PRESETS["png"])
    look = FilmLook(show, spec, (512, 16), shaders)
    out = np.empty(spec.frame_shape, np.uint16)
    look.draw(first_state(show), ramp, out)
    look.close()
    assert len(np.unique(out[8, :, 1])) > 400


def test_a_blackout_is_black_in_the_film(shaders):
    show = make_show()
    state = first_state(show)
    dark = replace(state, values={**state.values, "look/blackout": True}, glides={})
    assert filmed(show, dark, picture((96, 64)), (96, 64), "png", shaders).max() == 0


def test_a_light_frame_is_not_scaled(shaders):
    surface = HeadlessSurface((96, 64))
    compositor = Compositor(surface.ctx, shaders, size=(64, 64))
    with pytest.raises(ValueError, match="only Frames are scaled"):
        compositor.upload(0, light(picture((32, 32))))
    surface.close()
