"""Starting GLFW, and what it complains about. The one place that turns a missing display into a DisplayError. Main
thread only.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from types import ModuleType

from installation.errors import DisplayError

log = logging.getLogger(__name__)

PACKAGES = "libegl1 libgl1 libx11-6 libxrandr2 libxcursor1 libxi6 libxinerama1"


def text(raw: bytes | str | None) -> str:
    """A string from GLFW: the wheel gives bytes for some calls and str for others."""
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else (raw or "")


class ErrorLog:
    """Counts what GLFW reports and logs each code at most once in ten seconds: a fault in the loop must not fill the
    disk.
    """

    EVERY_S = 10.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._logged: dict[int, float] = {}
        self.count = 0
        self.last = ""

    def __call__(self, code: int, description: bytes | str) -> None:
        self.count += 1
        self.last = text(description)
        now = self._clock()
        if now - self._logged.get(code, float("-inf")) >= self.EVERY_S:
            self._logged[code] = now
            log.warning("GLFW %#x: %s (%d reports so far)", code, self.last, self.count)


errors = ErrorLog()


def start_glfw() -> ModuleType:
    """Import and initialise GLFW with its reports going to `errors`. DisplayError when there is no display to open."""
    try:
        import glfw
    except ImportError as error:
        raise DisplayError(f"GLFW does not load ({error})", where="display", fix=_fix()) from error
    errors.last = ""
    # Collected quietly: that there is no display is an answer here, raised below, and no fault to log.
    glfw.set_error_callback(_quiet)
    glfw.init_hint(glfw.COCOA_CHDIR_RESOURCES, glfw.FALSE)
    started = glfw.init()
    glfw.set_error_callback(errors)
    if not started:
        raise DisplayError(f"no display ({errors.last or 'GLFW does not start'})", where="display", fix=_fix())
    return glfw


def _quiet(_code: int, description: bytes | str) -> None:
    errors.last = text(description)


def _fix() -> str:
    advice = "Start it from the desktop session, or run headless"
    if sys.platform.startswith("linux"):
        advice += f"; a window needs the packages {PACKAGES}"
    return advice
