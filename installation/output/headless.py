"""A surface without a display: an off-screen framebuffer of an EGL context (Mesa's llvmpipe suffices) stands for the
screen.

The wall runs the same loop on it as on a window; what it would show goes to the preview page. Also used by `still`
and by pixel tests.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Literal

import moderngl
import numpy as np

from installation.errors import DisplayError
from installation.output.entry_points import entry_points
from installation.output.surface import Event

PACKAGES = "libegl1 libgl1"


def create_context() -> moderngl.Context:
    """A context of its own, GL 3.3 core or newer, current in this thread. DisplayError when this machine has no
    usable GL.
    """
    try:
        if sys.platform.startswith("linux"):
            return moderngl.create_context(require=330, standalone=True, backend="egl")  # pyright: ignore[reportArgumentType]
        return moderngl.create_context(require=330, standalone=True)
    except Exception as error:  # glcontext raises bare Exception for a missing library, device or version alike
        fix = f"Install the GL libraries: apt-get install --no-install-recommends {PACKAGES}"
        if not sys.platform.startswith("linux"):
            fix = "Install the graphics driver; OpenGL 3.3 is needed"
        raise DisplayError(f"no GL context without a display ({error})", where="headless", fix=fix) from error


class HeadlessSurface:
    """`Surface` of a fixed size in pixels, with an unknown refresh rate and no events. DisplayError: no GL, or larger
    than GL allows. depth: bits a channel, 8, or 16 for a recording.
    """

    def __init__(self, size: tuple[int, int], *, depth: Literal[8, 16] = 8) -> None:
        self.ctx = create_context()
        limit = int(self.ctx.info["GL_MAX_TEXTURE_SIZE"])
        if min(size) < 1 or max(size) > limit:
            self.ctx.release()
            raise DisplayError(
                f"cannot show {size[0]} x {size[1]} px: each side must be 1 to {limit} px here",
                where="headless",
                fix="Choose a smaller size",
            )
        self.size = size
        self.refresh_hz = 0.0
        self.closed = False
        self._screen = self.ctx.texture(size, 4, dtype="f1" if depth == 8 else "nu2")
        self.framebuffer = self.ctx.framebuffer([self._screen])
        self.framebuffer.clear(0.0, 0.0, 0.0, 1.0)
        self._read: np.ndarray | None = None
        gl = entry_points(self.ctx, {"glFinish": (None,)})
        self._finish = self.ctx.finish if gl is None else gl["glFinish"]

    def poll(self) -> list[Event]:
        """Nothing ever happens to it."""
        return []

    def present(self) -> None:
        """Wait until everything is drawn: without a swap to block on, unfinished work would queue up without bound."""
        if not self.closed:
            self.ctx.finish()

    def read(self) -> np.ndarray:
        """What the wall shows, as a Frame of its own."""
        return read_frame(self.framebuffer, self.size)

    def read_into(self, out: np.ndarray) -> None:
        """The same without memory of its own: uint8 [H, W, 4], or uint16 [H, W, 3] code values of a surface of 16 bits."""
        dtype = "f1" if out.dtype == np.uint8 else "nu2"
        components = out.shape[2]
        if self._read is None or self._read.shape != out.shape or self._read.dtype != out.dtype:
            self._read = np.empty_like(out)
        # Else moderngl waits for the drawing while it reads, and keeps the interpreter's lock: under llvmpipe 50 ms at 960 x 960,
        # in which the thread that draws the next picture stands still.
        self._finish()
        self.framebuffer.read_into(
            self._read, viewport=(0, 0, *self.size), components=components, alignment=1, dtype=dtype
        )
        np.copyto(out, self._read[::-1])

    def describe(self) -> str:
        """Size and GL renderer in one line."""
        return f"headless {self.size[0]}x{self.size[1]}, {self.ctx.info['GL_RENDERER']}"

    def close(self) -> None:
        """Release the framebuffer and the context."""
        if self.closed:
            return
        self.closed = True
        self.framebuffer.release()
        self._screen.release()
        self.ctx.release()
        release_egl()


def release_egl() -> None:
    """Leave this thread without a current EGL context, which releasing the context alone does not.

    While there is one, making a window's GLX context current is refused, and Xlib then ends the process.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        egl = ctypes.CDLL("libEGL.so.1", mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    except OSError:  # not loaded: nothing can be current
        return
    egl.eglReleaseThread()


def read_frame(framebuffer: moderngl.Framebuffer, size: tuple[int, int]) -> np.ndarray:
    """Read `size` pixels of a framebuffer back as a Frame: uint8 [H, W, 4], contiguous, origin top left, alpha 255."""
    width, height = size
    raw = framebuffer.read(viewport=(0, 0, width, height), components=4, alignment=1)
    frame = np.frombuffer(raw, np.uint8).reshape(height, width, 4)[::-1].copy()
    frame[..., 3] = 255
    return frame
