"""Starting GLFW, and what it complains about. The one place that turns a missing display into a DisplayError. Main
thread only.
"""

from __future__ import annotations

import sys
from types import ModuleType

from installation.counted_log import CountedLog
from installation.errors import DisplayError

PACKAGES = "libegl1 libgl1 libx11-6 libxrandr2 libxcursor1 libxi6 libxinerama1"


def text(raw: bytes | str | None) -> str:
    """A string from GLFW: the wheel gives bytes for some calls and str for others."""
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else (raw or "")


class ErrorLog:
    """What GLFW reports: the last of it, and a line for each kind now and then. A fault in the loop must not fill the disk."""

    def __init__(self) -> None:
        self.last = ""
        self._log = CountedLog(__name__)

    def __call__(self, code: int, description: bytes | str) -> None:
        self.last = text(description)
        self._log.say(hex(code), f"GLFW {code:#x}: {self.last}")


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
