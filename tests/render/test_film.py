"""The film's pictures: the wall's, at another size, in light."""

from __future__ import annotations

import numpy as np
import pytest

from installation.errors import EngineError
from installation.models import random_weights
from installation.render.film import FilmRenderer
from installation.render.renderer import Renderer
from installation.show.state import first_state
from tests.render.pictures import frame_of
from tests.render.test_renderer import make_show


def light(size, network=None, **tables) -> np.ndarray:
    show = make_show(**tables)
    renderer = FilmRenderer(Renderer(show, network or random_weights.stylegan2(1), ()), size)
    out = np.zeros((size[1], size[0], 4), np.float16)
    renderer.draw(first_state(show), out)
    return out


def code(light: np.ndarray) -> np.ndarray:
    x = light[..., :3].astype(float)
    return 255 * np.where(x <= 0.0031308, x * 12.92, 1.055 * x ** (1 / 2.4) - 0.055)


def test_at_the_cascades_size_it_is_the_walls_picture():
    show = make_show()
    frame = frame_of(Renderer(show, random_weights.stylegan2(1), ()), first_state(show))
    assert np.abs(code(light((32, 32))) - frame[..., :3]).max() < 0.6


def test_it_is_finer_than_the_walls_eight_bits():
    values = code(light((32, 32)))
    assert np.abs(values - values.round()).mean() > 0.1


@pytest.mark.parametrize("size", [(96, 96), (16, 16), (80, 32)])
def test_another_size_keeps_the_picture(size):
    own, other = light((32, 32)), light(size)
    assert other.shape == (size[1], size[0], 4)
    assert own[..., :3].mean((0, 1)) == pytest.approx(other[..., :3].mean((0, 1)), abs=0.02)
    assert other.max() <= 1.0


def test_a_picture_that_is_not_finite_ends_the_recording():
    network = random_weights.dcgan(1)
    tensors = network.state_dict()
    tensors["layers.0.norm.weight"] *= 1e38
    tensors["layers.1.norm.weight"] *= 1e-38
    network.prepare()
    with pytest.raises(EngineError, match="NaN or infinite"):
        light((32, 32), network, params={"latent": {"psi": 1.5}})
