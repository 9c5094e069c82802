"""The wall's window: a thin layer over GLFW that covers one monitor, keeps covering it, and hands out a GL context.

Runs in the wall's main thread, one window a process. GL 3.3 core; the monitor's own resolution and rate are never
changed. GLFW keeps the X11 and Wayland screen saver away while the window is full-screen; DPMS and a desktop's own
idle blanking are not covered and have to be switched off in the system. On Wayland the compositor places windows, so
position and index only choose the monitor to cover. If the X server dies, Xlib ends this process at once with exit
code 1, without clean-up: nothing that must last may live only here.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import moderngl

from installation.errors import DisplayError
from installation.output import glfw_library
from installation.output.headless import read_frame, release_egl
from installation.output.monitors import Monitor, MonitorWatch, Move, State, read_monitors, video_mode
from installation.output.surface import EscTwice, Event

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

_REPEATING = frozenset(("left", "right", "up", "down"))


class GlfwSurface:
    """`Surface` on a monitor.

    monitor: see `monitors.choose`. windowed_size: screen coordinates, used without full-screen and while the chosen
    monitor is missing. The key `f` toggles full-screen and is not handed out; escape twice within a second gives a
    close event, once a key event. DisplayError: no display, no GL 3.3, or no such monitor.
    """

    def __init__(
        self,
        title: str,
        *,
        monitor: str | int | None = None,
        fullscreen: bool = True,
        windowed_size: tuple[int, int] = (1280, 720),
    ) -> None:
        self.closed = False
        self.refresh_hz = 0.0
        self._events: deque[Event] = deque(maxlen=256)
        self._escape = EscTwice()
        self._windowed_size = windowed_size
        self._watch = MonitorWatch(monitor, fullscreen=fullscreen)
        self._glfw: Any = glfw_library.start_glfw()
        try:
            move = self._watch.begin(read_monitors(), time.monotonic())
            self._window = self._create(title, move.monitor)
            self.ctx = self._context()
        except BaseException:
            self._glfw.terminate()
            raise
        self._state: State = self._watch.state
        self._keys = self._key_names()
        self._glfw.swap_interval(1)
        self._glfw.set_key_callback(self._window, self._on_key)
        self._glfw.set_framebuffer_size_callback(self._window, self._on_resize)
        self._glfw.set_window_close_callback(self._window, self._on_close)
        self._glfw.set_monitor_callback(self._on_monitor)
        self._monitor = move.monitor
        self._settle()
        self.size = (0, 0)
        self._on_resize(self._window, *self._glfw.get_framebuffer_size(self._window))
        self._events.clear()
        if self._state == "waiting":
            log.warning("no monitor is connected: waiting for one")

    @property
    def framebuffer(self) -> moderngl.Framebuffer:
        """The window's back buffer."""
        return self.ctx.screen

    @property
    def state(self) -> State:
        """Whether it covers its monitor, is a window by choice, or waits as a window for its monitor."""
        return self._state

    def poll(self) -> list[Event]:
        """Keys, closing, resizes and changes of monitor since the last call, oldest first."""
        if self.closed:
            return []
        self._glfw.poll_events()
        now = time.monotonic()
        if self._watch.due(now):
            monitors = read_monitors()
            move = self._watch.decide(now, monitors, self._covered(monitors))
            if move is not None:
                self._move(move, monitors)
            self._tell_state()
        events = list(self._events)
        self._events.clear()
        return events

    def present(self) -> None:
        """Swap. A window of no size is not swapped: some drivers wait there for ever."""
        if not self.closed and 0 not in self.size:
            self._glfw.swap_buffers(self._window)

    def read(self) -> np.ndarray:
        """The back buffer as a Frame."""
        return read_frame(self.framebuffer, self.size)

    def describe(self) -> str:
        """Size, placement, rate and GL renderer in one line."""
        where = f" on {self._monitor.name}" if self._monitor else ""
        rate = f"{self.refresh_hz:g} Hz" if self.refresh_hz else "unknown rate"
        return f"{self._state} {self.size[0]}x{self.size[1]}{where}, {rate}, {self.ctx.info['GL_RENDERER']}"

    def close(self) -> None:
        """Destroy the window and end GLFW."""
        if self._window is None:
            return
        self.closed = True
        self.ctx.release()
        self._glfw.destroy_window(self._window)
        self._window = None
        self._glfw.terminate()

    def _create(self, title: str, monitor: Monitor | None) -> Any:
        glfw = self._glfw
        hints = {
            glfw.CONTEXT_VERSION_MAJOR: 3,
            glfw.CONTEXT_VERSION_MINOR: 3,
            glfw.OPENGL_PROFILE: glfw.OPENGL_CORE_PROFILE,
            glfw.OPENGL_FORWARD_COMPAT: glfw.TRUE,
            glfw.AUTO_ICONIFY: glfw.FALSE,
            # The shaders write sRGB themselves; a second conversion by the driver would wash the picture out.
            glfw.SRGB_CAPABLE: glfw.FALSE,
            glfw.DEPTH_BITS: 0,
            glfw.STENCIL_BITS: 0,
            glfw.ALPHA_BITS: 0,
        }
        size, handle = self._windowed_size, None
        if monitor is not None:
            size, handle = (monitor.width, monitor.height), glfw.get_monitors()[monitor.index]
            if (mode := video_mode(handle)) is not None:
                bits = mode.bits
                hints |= {glfw.RED_BITS: bits.red, glfw.GREEN_BITS: bits.green, glfw.BLUE_BITS: bits.blue}
            hints[glfw.REFRESH_RATE] = int(monitor.refresh_hz) or glfw.DONT_CARE
        for hint, value in hints.items():
            glfw.window_hint(hint, value)
        for hint in (glfw.X11_CLASS_NAME, glfw.X11_INSTANCE_NAME, glfw.WAYLAND_APP_ID):
            glfw.window_hint_string(hint, "installation")
        release_egl()  # GLFW makes the new window's context current already while it creates it
        window = glfw.create_window(*size, title, handle, None)
        if not window:
            raise DisplayError(
                f"no window with GL 3.3 ({glfw_library.errors.last})",
                where="display",
                fix=f"Install the graphics driver or the packages {glfw_library.PACKAGES}",
            )
        glfw.make_context_current(window)
        return window

    def _context(self) -> moderngl.Context:
        try:
            return moderngl.create_context(require=330)
        except Exception as error:  # glcontext raises bare Exception
            raise DisplayError(
                f"no GL 3.3 context in the window ({error})",
                where="display",
                fix=f"Install the graphics driver or the packages {glfw_library.PACKAGES}",
            ) from error

    def _move(self, move: Move, monitors: list[Monitor]) -> None:
        glfw, target = self._glfw, move.monitor
        if target is not None:
            rate = int(target.refresh_hz) or glfw.DONT_CARE
            handle = glfw.get_monitors()[target.index]
            glfw.set_window_monitor(self._window, handle, 0, 0, target.width, target.height, rate)
        else:
            corner = (monitors[0].x, monitors[0].y) if monitors else (0, 0)
            glfw.set_window_monitor(self._window, None, *corner, *self._windowed_size, glfw.DONT_CARE)
        # Both may be lost with the change: the interval on some drivers, the keyboard without a window manager.
        glfw.swap_interval(1)
        glfw.focus_window(self._window)
        self._monitor = target
        self._settle()

    def _settle(self) -> None:
        glfw, monitor = self._glfw, self._monitor
        glfw.set_input_mode(self._window, glfw.CURSOR, glfw.CURSOR_HIDDEN if monitor else glfw.CURSOR_NORMAL)
        shown_on = monitor or next((m for m in read_monitors() if m.primary), None)
        self.refresh_hz = shown_on.refresh_hz if shown_on else 0.0

    def _covered(self, monitors: list[Monitor]) -> Monitor | None:
        """The monitor the window covers to the pixel, or None: asking for full-screen is not yet having it."""
        glfw = self._glfw
        handle = glfw.get_window_monitor(self._window)
        if not handle:
            return None
        corner = glfw.get_monitor_pos(handle)
        monitor = next((m for m in monitors if (m.x, m.y) == tuple(corner)), None)
        if monitor is None or tuple(glfw.get_window_size(self._window)) != (monitor.width, monitor.height):
            return None
        if glfw.get_platform() == glfw.PLATFORM_WAYLAND:  # does not tell where a window is
            return monitor
        return monitor if tuple(glfw.get_window_pos(self._window)) == tuple(corner) else None

    def _tell_state(self) -> None:
        if self._watch.state == self._state:
            return
        self._state: State = self._watch.state
        self._events.append(Event("monitor", self._state))
        log.log(logging.WARNING if self._state == "waiting" else logging.INFO, "display: %s", self.describe())

    def _key_names(self) -> dict[int, str]:
        glfw = self._glfw
        named = ("space", "left", "right", "up", "down", "escape")
        letters_digits = "abcdefghijklmnopqrstuvwxyz0123456789"
        return {getattr(glfw, f"KEY_{name.upper()}"): name for name in (*named, *letters_digits)}

    def _on_key(self, _window: Any, key: int, scancode: int, action: int, _mods: int) -> None:
        # Letters go by what is printed on the key cap, not by where it sits on a US keyboard.
        printed = glfw_library.text(self._glfw.get_key_name(key, scancode)).lower()
        name = printed if len(printed) == 1 and printed.isascii() and printed.isalnum() else self._keys.get(key)
        if name is None or action == self._glfw.RELEASE or (action == self._glfw.REPEAT and name not in _REPEATING):
            return
        if name == "f":
            self._watch.toggle()
        elif name == "escape" and self._escape.press(time.monotonic()):
            self._on_close(_window)
        else:
            self._events.append(Event("key", name))

    def _on_resize(self, _window: Any, width: int, height: int) -> None:
        self.size = (width, height) if width > 0 and height > 0 else (0, 0)
        if 0 not in self.size:
            # moderngl keeps the size and the scissor that the window had when the context was made.
            self.framebuffer.viewport = self.framebuffer.scissor = (0, 0, width, height)
        self._events.append(Event("resize"))

    def _on_close(self, _window: Any) -> None:
        self.closed = True
        self._events.append(Event("close"))

    def _on_monitor(self, _handle: Any, _event: int) -> None:
        self._watch.changed(time.monotonic())
