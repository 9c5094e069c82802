"""Asks the driver whether one shader compiles, and gives the object back in either case.

moderngl keeps the program and a shader of every failed compilation (5.13: one of each, some 3 KiB, until the context
ends); an artist's editor can cause thousands in an exhibition. So each shader is compiled here first, straight
through the driver's entry points. Needs a current context; runs in the wall process.
"""

import ctypes

import moderngl

from installation.output.entry_points import entry_points

VERTEX, FRAGMENT = 0x8B31, 0x8B30
_COMPILE_STATUS, _INFO_LOG_LENGTH = 0x8B81, 0x8B84
_MAX_LOG = 1 << 16

_uint, _int, _ptr = ctypes.c_uint, ctypes.c_int, ctypes.c_void_p
_ENTRY_POINTS = {
    "glCreateShader": (_uint, _uint),
    "glShaderSource": (None, _uint, _int, _ptr, _ptr),
    "glCompileShader": (None, _uint),
    "glGetShaderiv": (None, _uint, _uint, _ptr),
    "glGetShaderInfoLog": (None, _uint, _int, _ptr, ctypes.c_char_p),
    "glDeleteShader": (None, _uint),
}


class ShaderCheck:
    """Without access to the driver's entry points every check passes, and moderngl finds the fault itself."""

    def __init__(self, ctx: moderngl.Context) -> None:
        self._gl = entry_points(ctx, _ENTRY_POINTS)

    def __call__(self, kind: int, source: str) -> str | None:
        """The driver's log where `source` (kind VERTEX or FRAGMENT) does not compile, else None."""
        gl = self._gl
        if gl is None:
            return None
        text = ctypes.create_string_buffer(source.encode())
        shader = gl["glCreateShader"](kind)
        try:
            gl["glShaderSource"](shader, 1, ctypes.byref(ctypes.c_void_p(ctypes.addressof(text))), None)
            gl["glCompileShader"](shader)
            answer = ctypes.c_int(0)
            gl["glGetShaderiv"](shader, _COMPILE_STATUS, ctypes.byref(answer))
            if answer.value:
                return None
            gl["glGetShaderiv"](shader, _INFO_LOG_LENGTH, ctypes.byref(answer))
            log = ctypes.create_string_buffer(min(max(answer.value, 1), _MAX_LOG))
            gl["glGetShaderInfoLog"](shader, len(log), None, log)
            return log.value.decode(errors="replace")
        finally:
            gl["glDeleteShader"](shader)
