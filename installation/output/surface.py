"""What a place to show pictures promises: a GL context, a framebuffer, a swap and what happened since the last look.

`GlfwSurface` (window.py) and `HeadlessSurface` (headless.py) keep the promise; one list of contract tests runs on
both. A surface belongs to the thread that made it, the wall's main thread. It knows nothing about pictures, time or
parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import moderngl
    import numpy as np

EventKind = Literal["key", "close", "resize", "monitor"]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a surface.

    key: `name` is one of "space" "left" "right" "up" "down" "escape" or a lower-case letter or digit. close: somebody
    wants the show to end. resize: `Surface.size` changed. monitor: `name` is the new placement, "fullscreen",
    "windowed" or "waiting" (for its monitor).
    """

    kind: EventKind
    name: str = ""


@runtime_checkable
class Surface(Protocol):
    """Somewhere to show. Every method is called from the thread that made it and none blocks, except `present` for at
    most a swap.
    """

    @property
    def ctx(self) -> moderngl.Context:
        """The current GL context, 3.3 core or newer."""
        ...

    @property
    def framebuffer(self) -> moderngl.Framebuffer:
        """What is shown at the next `present`. Holds display-referred sRGB: no conversion on write.

        Its `viewport` and `scissor` follow the window; take sizes from `size`, for moderngl never updates a window's
        `framebuffer.size`, and never set `scissor` to None, which means that old size.
        """
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Framebuffer (width, height) in pixels. (0, 0) while there is nothing to draw on: skip drawing, still call
        `present`.
        """
        ...

    @property
    def refresh_hz(self) -> float:
        """Refresh rate of the monitor that shows it; 0 when unknown."""
        ...

    @property
    def closed(self) -> bool:
        """True once somebody closed the window or `close` was called."""
        ...

    def poll(self) -> list[Event]:
        """What happened since the last call, oldest first. Also where a lost monitor is noticed and taken back."""
        ...

    def present(self) -> None:
        """Show what was drawn. May block until the monitor's next refresh; does nothing when closed or when `size` is
        zero.
        """
        ...

    def read(self) -> np.ndarray:
        """The drawn picture as a Frame (uint8 [H, W, 4], sRGB, origin top left). Call it between drawing and
        `present`. Slow: read-back.
        """
        ...

    def describe(self) -> str:
        """One line for log and HUD."""
        ...

    def close(self) -> None:
        """Give everything back. Safe to call twice."""
        ...


class EscTwice:
    """Two presses of escape within a second mean quit: one alone is too easily hit in front of an audience."""

    WITHIN_S = 1.0

    def __init__(self) -> None:
        self._last = float("-inf")

    def press(self, now: float) -> bool:
        """True when this press, at `now` seconds, is the second one. A third press starts afresh."""
        second = now - self._last <= self.WITHIN_S
        self._last = float("-inf") if second else now
        return second
