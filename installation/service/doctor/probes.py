"""What the doctor asks of drivers. Each function runs alone in a child process, may hang or crash there, and prints one JSON line.

GL, GLFW, torch and MIDI are imported inside, and nowhere else in the service room.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import moderngl


def offscreen() -> None:
    """A GL context without a window, as a headless show makes it: {"renderer", "version", "vendor"}."""
    import moderngl

    backend: dict[str, Any] = {"backend": "egl"} if sys.platform.startswith("linux") else {}
    _say(_describe(moderngl.create_context(standalone=True, require=330, **backend)))


def window() -> None:
    """Monitors and a hidden window's GL context: {"monitors": [[name, w, h, hz], ...], "renderer", "version", "vendor"}."""
    import glfw
    import moderngl

    glfw.ERROR_REPORTING = "raise"
    glfw.init()
    monitors = []
    for monitor in glfw.get_monitors():
        mode = glfw.get_video_mode(monitor)
        name: str | bytes = glfw.get_monitor_name(monitor)  # its annotation says str, its code gives bytes
        text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
        monitors.append([text, *mode.size, mode.refresh_rate])
    for hint, value in (
        (glfw.VISIBLE, False),
        (glfw.CONTEXT_VERSION_MAJOR, 3),
        (glfw.CONTEXT_VERSION_MINOR, 3),
        (glfw.OPENGL_PROFILE, glfw.OPENGL_CORE_PROFILE),
        (glfw.OPENGL_FORWARD_COMPAT, True),
    ):
        glfw.window_hint(hint, value)
    handle = glfw.create_window(64, 64, "installation doctor", None, None)
    glfw.make_context_current(handle)
    found = _describe(moderngl.create_context(require=330))
    glfw.terminate()
    _say({"monitors": monitors, **found})


def torch() -> None:
    """What torch computes on: {"version", "cuda": its CUDA release or None, "device", "memory_gib", "mps", "fault"}."""
    import warnings

    import torch

    found: dict[str, object] = {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "device": "",
        "memory_gib": 0,
        "fault": "",
    }
    with warnings.catch_warnings(record=True) as remarks:
        warnings.simplefilter("always")
        try:
            if torch.cuda.is_available():
                # One kernel for certain: a card that is too old or new for this build is "available" and then fails.
                torch.ones(8, device="cuda").add_(1).sum().item()
                found["device"] = torch.cuda.get_device_name()
                found["memory_gib"] = round(torch.cuda.get_device_properties(0).total_memory / 2**30)
        except RuntimeError as fault:
            found["fault"] = str(fault).splitlines()[0]
    if not found["fault"] and remarks:
        found["fault"] = str(remarks[-1].message).splitlines()[0]
    found["mps"] = torch.backends.mps.is_available()
    _say(found)


def midi() -> None:
    """Names of the MIDI inputs: {"inputs": [...]}."""
    import rtmidi

    _say({"inputs": rtmidi.MidiIn().get_ports()})  # pyright: ignore[reportAttributeAccessIssue] - compiled, without stubs


def _describe(context: moderngl.Context) -> dict[str, str]:
    info = context.info
    return {"renderer": info["GL_RENDERER"], "version": info["GL_VERSION"], "vendor": info["GL_VENDOR"]}


def _say(found: object) -> None:
    print(json.dumps(found), flush=True)
