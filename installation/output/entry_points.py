"""The driver's functions, called past moderngl: for what it does not offer, and to wait without the interpreter's lock."""

import ctypes
import sys
from collections.abc import Callable, Mapping

import moderngl


def entry_points(ctx: moderngl.Context, signatures: Mapping[str, tuple]) -> dict[str, Callable[..., int]] | None:
    """The functions by name, for calls while a context is current. signatures: result type and argument types, as ctypes has them.

    None where moderngl or the driver does not say where they are.
    """
    load = getattr(getattr(ctx.mglo, "_context", None), "load", None)
    if load is None:
        return None
    make = ctypes.WINFUNCTYPE if sys.platform == "win32" else ctypes.CFUNCTYPE
    found = {name: load(name) for name in signatures}
    if not all(found.values()):
        return None
    return {name: make(*signatures[name])(address) for name, address in found.items()}
