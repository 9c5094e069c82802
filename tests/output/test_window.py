"""Real windows on a real X server: what is on the screen, keys, monitors that go and come back, and servers that die."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Iterator

import glfw
import numpy as np
import pytest

from installation.errors import DisplayError
from installation.output.glfw_library import ErrorLog
from installation.output.monitors import read_monitors
from installation.output.pacing import Pacer
from installation.output.surface import Event
from installation.output.window import GlfwSurface
from tests.xserver import Hand, XServer, until, xvfb

SIZE = (320, 200)
WINDOWED = (160, 100)

_VERTEX = """
#version 330 core
void main() { gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0.0, 1.0); }
"""
_FRAGMENT = """
#version 330 core
uniform sampler2D u_tex0;
out vec4 colour;
void main() {
    ivec2 size = textureSize(u_tex0, 0);
    colour = texelFetch(u_tex0, ivec2(gl_FragCoord.x, size.y - 1 - int(gl_FragCoord.y)), 0);
}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[XServer]:
    with xvfb(*SIZE) as running:
        yield running


@pytest.fixture(autouse=True)
def _display(server: XServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", server.display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)


@pytest.fixture
def wall(server: XServer) -> Iterator[GlfwSurface]:
    surface = GlfwSurface("wall", windowed_size=WINDOWED)
    yield surface
    surface.close()
    server.plug()


@pytest.fixture
def hand(server: XServer) -> Iterator[Hand]:
    made = Hand(server.display)
    yield made
    made.release()


def card(size: tuple[int, int] = SIZE) -> np.ndarray:
    """A Frame in which every pixel is its own, so that a shift, a flip or a conversion shows."""
    frame = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 4), np.uint8)
    frame[..., 3] = 255
    return frame


class Painter:
    """Draws one Frame to a surface, pixel by pixel."""

    def __init__(self, surface: GlfwSurface, frame: np.ndarray) -> None:
        ctx = surface.ctx
        self.surface, self.frame = surface, frame
        self.texture = ctx.texture((frame.shape[1], frame.shape[0]), 4, frame.tobytes())
        program = ctx.program(_VERTEX, _FRAGMENT)
        self.triangle = ctx.vertex_array(program, [])

    def paint(self) -> None:
        self.surface.framebuffer.use()
        self.texture.use(0)
        self.triangle.render(vertices=3)

    def shown(self, server: XServer) -> bool:
        """Paint, present, poll; whether the screen shows the frame now."""
        self.surface.poll()
        self.paint()
        self.surface.present()
        self.surface.ctx.finish()
        screen = server.screenshot()
        return screen.shape[:2] == self.frame.shape[:2] and bool((screen == self.frame[..., :3]).all())


def gather(surface: GlfwSurface, count: int) -> list[Event]:
    """Poll until `count` keys, closes or monitor events came."""
    found: list[Event] = []

    def enough() -> bool:
        found.extend(event for event in surface.poll() if event.kind != "resize")
        return len(found) >= count

    assert until(enough), found
    return found


def in_state(surface: GlfwSurface, state: str) -> bool:
    def reached() -> bool:
        surface.poll()
        surface.present()
        return surface.state == state

    return until(reached)


def test_the_screen_shows_exactly_what_was_drawn_and_read_back(wall: GlfwSurface, server: XServer) -> None:
    painter = Painter(wall, card())
    painter.paint()
    assert (wall.read() == painter.frame).all()
    assert until(lambda: painter.shown(server))


def test_it_opens_where_a_context_without_a_window_is_current(server: XServer) -> None:
    """Without care Xlib ends the process here, without a word: so in one of its own."""
    code = """
from installation.output.headless import HeadlessSurface
from installation.output.window import GlfwSurface
first = HeadlessSurface((16, 16))
surface = GlfwSurface("wall", windowed_size=(160, 100))
surface.close()
first.ctx.__enter__()
first.framebuffer.clear(1.0, 0.0, 0.0, 1.0)
print(first.read()[0, 0].tolist())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=server.environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[255, 0, 0, 255]"


def test_it_covers_its_monitor_at_the_monitors_own_mode(wall: GlfwSurface, server: XServer) -> None:
    assert (wall.size, wall.state, wall.refresh_hz) == (SIZE, "fullscreen", 0.0)
    assert "current 320 x 200" in server.xrandr()
    assert wall.describe().startswith("fullscreen 320x200 on screen, unknown rate, ")


def test_it_keeps_covering_it_without_touching_the_window_again(wall: GlfwSurface) -> None:
    time.sleep(0.4)  # past the moment at which a failed placement would be tried again
    assert [event for event in wall.poll() if event.kind == "monitor"] == []


def test_the_cursor_is_hidden_and_focus_loss_does_not_minimise(wall: GlfwSurface) -> None:
    window = glfw.get_current_context()
    assert glfw.get_input_mode(window, glfw.CURSOR) == glfw.CURSOR_HIDDEN
    assert not glfw.get_window_attrib(window, glfw.AUTO_ICONIFY)


def test_the_screen_saver_is_off_while_it_is_full_screen(wall: GlfwSurface, server: XServer) -> None:
    wall.poll()
    asked = subprocess.run(["xset", "q"], env=server.environment(), capture_output=True, text=True, check=True)
    assert "timeout:  0" in asked.stdout


def test_keys_arrive_by_name_and_in_order(wall: GlfwSurface, hand: Hand) -> None:
    hand.press("space", "Left", "Right", "Up", "Down", "n", "p", "b", "h", "s", "F5", "Shift_L", "7")
    expected = ["space", "left", "right", "up", "down", "n", "p", "b", "h", "s", "7"]
    assert [event.name for event in gather(wall, len(expected))] == expected


def test_escape_once_is_a_key_and_twice_closes(wall: GlfwSurface, hand: Hand) -> None:
    hand.press("Escape")
    assert gather(wall, 1) == [Event("key", "escape")]
    hand.press("Escape")
    assert gather(wall, 1) == [Event("close")]
    assert wall.closed


def test_f_leaves_full_screen_and_takes_it_back(wall: GlfwSurface, server: XServer, hand: Hand) -> None:
    painter = Painter(wall, card())
    hand.press("f")
    assert in_state(wall, "windowed")
    assert until(lambda: (wall.poll(), wall.size)[1] == WINDOWED)
    assert wall.framebuffer.viewport == (0, 0, *WINDOWED)
    hand.press("f")
    assert in_state(wall, "fullscreen")
    assert until(lambda: painter.shown(server))


def test_a_window_managers_close_is_told_once(wall: GlfwSurface, hand: Hand) -> None:
    hand.close_window(glfw.get_x11_window(glfw.get_current_context()))
    assert gather(wall, 1) == [Event("close")]
    assert wall.closed
    assert wall.poll() == []


def test_unplugged_it_goes_on_drawing_and_plugged_in_it_covers_the_monitor_again(
    wall: GlfwSurface, server: XServer
) -> None:
    painter = Painter(wall, card())
    assert until(lambda: painter.shown(server))
    server.unplug()
    assert in_state(wall, "waiting")
    for _ in range(20):
        wall.poll()
        wall.framebuffer.use()
        wall.framebuffer.clear(0.5, 0.5, 0.5, 1.0)
        wall.present()
    assert wall.refresh_hz == 0.0
    server.plug()
    assert in_state(wall, "fullscreen")
    assert until(lambda: painter.shown(server))
    assert glfw.get_input_mode(glfw.get_current_context(), glfw.CURSOR) == glfw.CURSOR_HIDDEN


def test_it_survives_a_loose_cable(wall: GlfwSurface, server: XServer) -> None:
    for _ in range(4):
        for change in (server.unplug, server.plug):
            change()
            wall.poll()
            wall.present()
    painter = Painter(wall, card())
    assert until(lambda: painter.shown(server))
    assert in_state(wall, "fullscreen")


def test_a_monitor_that_goes_while_it_is_asked_is_passed_over(wall: GlfwSurface, server: XServer) -> None:
    assert read_monitors()
    # GLFW knows of the cable only once it is polled, and asks the server for the mode at once.
    server.unplug()
    assert read_monitors() == []
    wall.poll()
    server.plug()
    assert in_state(wall, "fullscreen")


def test_started_without_a_monitor_it_waits_for_one(server: XServer) -> None:
    server.unplug()
    try:
        surface = GlfwSurface("early", monitor="screen", windowed_size=WINDOWED)
        try:
            assert surface.state == "waiting"
            surface.present()
            server.plug()
            assert in_state(surface, "fullscreen")
            painter = Painter(surface, card())
            assert until(lambda: painter.shown(server))
        finally:
            surface.close()
    finally:
        server.plug()


def test_a_resize_moves_the_framebuffer_with_it(server: XServer) -> None:
    surface = GlfwSurface("window", fullscreen=False, windowed_size=WINDOWED)
    try:
        assert (surface.size, surface.state) == (WINDOWED, "windowed")
        glfw.set_window_size(glfw.get_current_context(), 200, 120)
        assert until(lambda: Event("resize") in surface.poll())
        assert surface.size == (200, 120)
        painter = Painter(surface, card((200, 120)))

        def drawn() -> bool:
            painter.paint()
            same = bool((surface.read() == painter.frame).all())
            surface.present()  # Mesa takes up the new size with a swap
            return same

        assert until(drawn)
    finally:
        surface.close()


def test_a_window_of_no_size_is_neither_drawn_nor_swapped(wall: GlfwSurface, monkeypatch: pytest.MonkeyPatch) -> None:
    swaps: list[object] = []
    monkeypatch.setattr(glfw, "swap_buffers", swaps.append)
    # What GLFW reports for a minimised window on Windows; X11 has no windows of no size.
    wall._on_resize(None, 0, 0)
    assert wall.size == (0, 0)
    wall.present()
    assert swaps == []
    wall._on_resize(None, *SIZE)
    wall.present()
    assert (wall.size, len(swaps)) == (SIZE, 1)


def test_losing_focus_and_being_minimised_leave_it_running(wall: GlfwSurface, server: XServer) -> None:
    painter = Painter(wall, card())
    window = glfw.get_current_context()
    glfw.iconify_window(window)
    for _ in range(5):
        wall.poll()
        wall.present()
    glfw.restore_window(window)
    assert until(lambda: painter.shown(server))


def test_under_xvfb_the_pacer_waits_because_the_swap_does_not(wall: GlfwSurface) -> None:
    pacer = Pacer(wall.refresh_hz)
    began = time.perf_counter()
    for _ in range(31):
        wall.poll()
        pacer.frame(wall.present)
    assert time.perf_counter() - began >= 0.5
    assert pacer.paced_by == "own"


def test_an_unknown_monitor_is_refused_and_the_next_window_opens() -> None:
    with pytest.raises(DisplayError, match=r"no monitor 'scren'; did you mean 'screen'\?"):
        GlfwSurface("lost", monitor="scren")
    GlfwSurface("found", monitor="SCREEN").close()


def test_without_a_display_it_says_to_run_headless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY")
    with pytest.raises(DisplayError, match="run headless") as caught:
        GlfwSurface("nowhere")
    assert caught.value.exit_code == 3


def test_a_display_without_gl_is_refused_with_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    with xvfb(64, 48, "-extension", "GLX") as bare:
        monkeypatch.setenv("DISPLAY", bare.display)
        with pytest.raises(DisplayError, match=r"GLX.*libgl1"):
            GlfwSurface("no GL")


def test_faults_that_glfw_reports_are_logged_now_and_then(wall: GlfwSurface, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(100):
            glfw.get_window_attrib(glfw.get_current_context(), 0x7FFF)
    assert len(caplog.records) <= 1


def test_each_kind_of_fault_has_a_line_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    errors = ErrorLog()
    for _ in range(3):
        errors(0x10008, b"a monitor \xff broke")
    errors(0x10001, "another kind")
    assert caplog.messages == ["GLFW 0x10008: a monitor \ufffd broke", "GLFW 0x10001: another kind"]
    assert errors.last == "another kind"


_LOOP = """
import time
from installation.output.window import GlfwSurface
surface = GlfwSurface("wall")
print("up", flush=True)
try:
    while not surface.closed:
        surface.poll()
        surface.present()
        time.sleep(0.01)
finally:
    print("cleaned up", flush=True)
"""


def test_when_the_x_server_dies_the_process_dies_at_once() -> None:
    with xvfb(64, 48) as doomed:
        process = subprocess.Popen(
            [sys.executable, "-c", _LOOP],
            env=doomed.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "up\n"
            doomed.end()
            # Xlib ends it: neither `finally` nor atexit runs, which is why nothing that must last lives in it.
            assert process.wait(60) != 0
            assert process.stdout.read() == ""
        finally:
            process.kill()
            process.wait(60)
            process.stdout.close()
