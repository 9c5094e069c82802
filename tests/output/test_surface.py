"""The contract of `Surface`, kept by every surface there is; and escape twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from installation.output.headless import HeadlessSurface
from installation.output.surface import EscTwice, Event, Surface
from installation.output.window import GlfwSurface
from tests.xserver import XServer, xvfb

SIZE = (64, 48)


@pytest.fixture(scope="module")
def small_server() -> Iterator[XServer]:
    with xvfb(*SIZE) as server:
        yield server


@pytest.fixture(params=["headless", "window"])
def surface(
    request: pytest.FixtureRequest, small_server: XServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Surface]:
    if request.param == "headless":
        made: Surface = HeadlessSurface(SIZE)
    else:
        monkeypatch.setenv("DISPLAY", small_server.display)
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        made = GlfwSurface("contract")
    yield made
    made.close()


def test_it_is_a_surface(surface: Surface) -> None:
    assert isinstance(surface, Surface)


def test_its_size_is_its_framebuffers(surface: Surface) -> None:
    assert surface.size == SIZE
    assert surface.framebuffer.viewport == (0, 0, *SIZE)


def test_what_is_drawn_is_read(surface: Surface) -> None:
    surface.framebuffer.use()
    surface.framebuffer.clear(10 / 255, 128 / 255, 250 / 255, 1.0)
    frame = surface.read()
    surface.present()
    assert (frame.dtype, frame.shape) == (np.uint8, (SIZE[1], SIZE[0], 4))
    assert (frame == (10, 128, 250, 255)).all()


def test_rows_run_from_the_top(surface: Surface) -> None:
    surface.framebuffer.use()
    surface.framebuffer.clear(0.0, 0.0, 0.0, 1.0)
    surface.framebuffer.clear(1.0, 1.0, 1.0, 1.0, viewport=(0, SIZE[1] - 1, SIZE[0], 1))
    frame = surface.read()
    assert (frame[0, :, 0] == 255).all()
    assert not frame[1:, :, :3].any()


def test_its_context_is_gl_3_3_or_newer(surface: Surface) -> None:
    assert surface.ctx.version_code >= 330


def test_polling_a_quiet_surface_gives_nothing(surface: Surface) -> None:
    for _ in range(5):
        assert [event for event in surface.poll() if event.kind in ("key", "close", "monitor")] == []
    assert not surface.closed


def test_an_unknown_rate_is_zero(surface: Surface) -> None:
    assert surface.refresh_hz >= 0.0


def test_it_describes_itself_in_one_line(surface: Surface) -> None:
    assert "64x48" in surface.describe()
    assert "\n" not in surface.describe()


def test_closing_twice_and_using_it_afterwards_is_harmless(surface: Surface) -> None:
    surface.close()
    surface.close()
    assert surface.closed
    surface.present()
    assert surface.poll() == []


def test_events_are_values() -> None:
    assert Event("key", "space") == Event("key", "space") != Event("close")


def test_escape_quits_when_pressed_twice_within_a_second() -> None:
    escape = EscTwice()
    assert [escape.press(t) for t in (0.0, 1.0)] == [False, True]


def test_escape_pressed_slowly_never_quits() -> None:
    escape = EscTwice()
    assert not any(escape.press(1.1 * t) for t in range(10))


def test_a_third_press_starts_afresh() -> None:
    escape = EscTwice()
    assert [escape.press(0.1 * t) for t in range(4)] == [False, True, False, True]
