"""The surface without a display: pixels in, pixels out, and one clear line where there is no GL."""

from __future__ import annotations

from collections.abc import Iterator

import moderngl
import numpy as np
import pytest

from installation.errors import DisplayError
from installation.output import headless
from installation.output.headless import HeadlessSurface, read_frame


@pytest.fixture
def screen() -> Iterator[HeadlessSurface]:
    surface = HeadlessSurface((33, 17))
    yield surface
    surface.close()


def test_it_begins_black(screen: HeadlessSurface) -> None:
    frame = screen.read()
    assert frame.shape == (17, 33, 4)
    assert not frame[..., :3].any()


def test_values_are_stored_without_conversion(screen: HeadlessSurface) -> None:
    screen.framebuffer.clear(200 / 255, 60 / 255, 30 / 255, 0.0)
    assert (screen.read() == (200, 60, 30, 255)).all()


def test_the_frame_begins_at_the_top_left(screen: HeadlessSurface) -> None:
    screen.framebuffer.clear(0.0, 0.0, 0.0, 1.0)
    # GL counts rows from the bottom: this is the top left corner.
    screen.framebuffer.clear(1.0, 0.0, 0.0, 1.0, viewport=(0, 15, 5, 2))
    red = screen.read()[..., 0] == 255
    assert red[:2, :5].all()
    assert red.sum() == 10


def test_a_frame_is_its_own_memory(screen: HeadlessSurface) -> None:
    frame = screen.read()
    screen.framebuffer.clear(1.0, 1.0, 1.0, 1.0)
    screen.present()
    assert frame.flags.c_contiguous
    assert frame.flags.writeable
    assert not frame[..., :3].any()


def test_part_of_a_framebuffer_can_be_read(screen: HeadlessSurface) -> None:
    assert read_frame(screen.framebuffer, (4, 3)).shape == (3, 4, 4)


def test_the_rate_is_unknown_and_the_renderer_is_named(screen: HeadlessSurface) -> None:
    assert screen.refresh_hz == 0.0
    assert screen.ctx.info["GL_RENDERER"] in screen.describe()


@pytest.mark.parametrize("size", [(0, 100), (100, 0), (1_000_000, 100), (-1, 5)])
def test_a_size_gl_cannot_do_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(DisplayError, match="each side must be 1 to"):
        HeadlessSurface(size)


def test_without_gl_the_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(**_: object) -> moderngl.Context:
        raise Exception("libGL.so not loaded")

    monkeypatch.setattr(headless.sys, "platform", "linux")
    monkeypatch.setattr(headless.moderngl, "create_context", missing)
    with pytest.raises(DisplayError, match=r"libGL\.so not loaded.*apt-get install .*libegl1 libgl1"):
        HeadlessSurface((8, 8))


def test_two_can_follow_each_other() -> None:
    for value in (0.0, 1.0):
        surface = HeadlessSurface((4, 4))
        surface.framebuffer.clear(value, value, value, 1.0)
        assert np.unique(surface.read()[..., :3]).tolist() == [int(255 * value)]
        surface.close()
