"""Which monitor, and what to do when it goes away: the list, the choice, and the small state machine that keeps the
wall on it.

Everything but `list_monitors` and `read_monitors` is pure. GLFW's calls belong to the main thread.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from installation.errors import DisplayError, did_you_mean
from installation.output.glfw_library import start_glfw, text

State = Literal["fullscreen", "windowed", "waiting"]


@dataclass(frozen=True, slots=True)
class Monitor:
    """One connected monitor. Position and size in screen coordinates of its current mode; refresh_hz 0 and mm (0, 0)
    when unknown.
    """

    index: int
    name: str
    x: int
    y: int
    width: int
    height: int
    refresh_hz: float
    mm: tuple[int, int]
    primary: bool

    @property
    def place(self) -> str:
        """The top left corner as it is typed: "+1920+0"."""
        return f"{self.x:+d}{self.y:+d}"

    def __str__(self) -> str:
        rate = f"{self.refresh_hz:g} Hz" if self.refresh_hz else "unknown rate"
        primary = " primary" if self.primary else ""
        return f"{self.index} {self.name!r} {self.width}x{self.height}{self.place} {rate}{primary}"


def list_monitors() -> list[Monitor]:
    """The connected monitors, for the `monitors` verb. Starts and ends GLFW: not for use beside an open window.
    DisplayError: no display.
    """
    glfw = start_glfw()
    try:
        return read_monitors()
    finally:
        glfw.terminate()


def read_monitors() -> list[Monitor]:
    """The connected monitors in GLFW's order; [] when none is. GLFW must be running. About 0.2 ms under X11: asks the
    server.
    """
    import glfw

    primary = glfw.get_primary_monitor()
    monitors = []
    for index, handle in enumerate(glfw.get_monitors()):
        mode = video_mode(handle)
        if mode is None:  # unplugged between the two calls
            continue
        (x, y), mm = glfw.get_monitor_pos(handle), glfw.get_monitor_physical_size(handle)
        monitors.append(
            Monitor(
                index=index,
                name=text(glfw.get_monitor_name(handle)),
                x=x,
                y=y,
                width=mode.size.width,
                height=mode.size.height,
                refresh_hz=float(max(mode.refresh_rate, 0)),
                mm=(mm[0], mm[1]),
                primary=bool(primary) and glfw.get_monitor_pos(primary) == (x, y),
            )
        )
    return monitors


def video_mode(handle: Any) -> Any:
    """glfw.get_video_mode, and None for a monitor that is gone: the package reads through GLFW's null pointer and stumbles."""
    import glfw

    try:
        return glfw.get_video_mode(handle)
    except ValueError:
        return None


def choose(monitors: Sequence[Monitor], wanted: str | int | None) -> Monitor:
    """The monitor that `wanted` means: None or "primary", an index, "left", "right", a corner "+1920+0", or part of a
    name.

    A whole name wins over part of one. DisplayError lists what there is when nothing or more than one fits.
    """
    if not monitors:
        raise DisplayError("no monitor is connected", where="monitor", fix="Connect one, or run headless")
    if wanted is None or wanted in ("", "primary"):
        return next((m for m in monitors if m.primary), monitors[0])
    word = str(wanted).strip()
    if word == "left":
        return min(monitors, key=lambda m: m.x)
    if word == "right":
        return max(monitors, key=lambda m: m.x + m.width)
    folded = word.casefold()
    found = (
        [m for m in monitors if str(m.index) == word]
        or [m for m in monitors if m.place == word]
        or [m for m in monitors if m.name.casefold() == folded]
        or [m for m in monitors if folded in m.name.casefold() and not re.fullmatch(r"[+-]?\d+([+-]\d+)?", word)]
    )
    if len(found) == 1:
        return found[0]
    listing = "; ".join(map(str, monitors))
    if found:
        raise DisplayError(
            f"{word!r} fits {len(found)} monitors", where="monitor", fix=f"Use an index or corner: {listing}"
        )
    what = f"there is no monitor {word!r}{did_you_mean(word, [m.name for m in monitors])}"
    raise DisplayError(what, where="monitor", fix=f"There are: {listing}")


@dataclass(frozen=True, slots=True)
class Move:
    """What the window should do now: cover `monitor`, or be an ordinary window when None."""

    monitor: Monitor | None


class MonitorWatch:
    """Keeps a window on its monitor. Asked each poll, answers with a Move when something must change.

    The window says what it covers; this says what it should cover. A lost monitor leaves the window waiting; when the
    same one is back (by name and corner, else by a name that was its alone, else by what was asked for) it is full-screen
    again. A move that did not take, because a window manager or the monitor itself was not ready, is tried again with growing
    pauses.
    """

    SETTLE_S = 0.1  # monitors come and go in bursts of events
    CHECK_S = 2.0  # a mode changed by another program raises no event
    FIRST_RETRY_S = 0.25
    # Some 16 s; then not until the next event: a system that never reports what was asked for would flicker for ever.
    TRIES = 6

    def __init__(self, wanted: str | int | None, *, fullscreen: bool) -> None:
        self.fullscreen = fullscreen
        self.state: State = "windowed"
        self._wanted = None if wanted in ("", "primary") else wanted
        self._chosen: Monitor | None = None
        self._namesakes = False
        self._count = 0
        self._next = float("-inf")
        self._tries = 0

    def begin(self, monitors: Sequence[Monitor], now: float) -> Move:
        """Where to start. No monitor at all is waited for (projectors are switched on later); a name that fits none
        is a DisplayError.
        """
        if monitors:
            self._remember(choose(monitors, self._wanted), monitors)
        target = self._chosen if self.fullscreen else None
        self.state = "fullscreen" if target else ("waiting" if self.fullscreen else "windowed")
        self._next = now + self.FIRST_RETRY_S
        return Move(target)

    def changed(self, now: float) -> None:
        """A monitor came or went."""
        self._tries = 0
        self._next = now + self.SETTLE_S

    def toggle(self) -> None:
        """Full-screen or window, as the `f` key asks."""
        self.fullscreen = not self.fullscreen
        self._tries = 0
        self._next = float("-inf")

    def due(self, now: float) -> bool:
        """True when `decide` wants to look: keeps the question to GLFW off most frames."""
        return now >= self._next

    def decide(self, now: float, monitors: Sequence[Monitor], covered: Monitor | None) -> Move | None:
        """What to do at `now` seconds, given the monitors and the one the window truly covers. None: nothing."""
        target = self._target(monitors) if self.fullscreen else None
        if target is None:
            state: State = "waiting" if self.fullscreen else "windowed"
            leave = state != self.state or covered is not None
            self.state, self._next, self._tries = state, now + self.CHECK_S, 0
            return Move(None) if leave else None
        if covered == target:
            if self._chosen is None:  # no monitor was there at the start
                self._remember(target, monitors)
            self.state, self._next, self._tries = "fullscreen", now + self.CHECK_S, 0
            return None
        if self._tries == self.TRIES:
            self._next = float("inf")
            return None
        self.state = "fullscreen"
        self._next = now + self.FIRST_RETRY_S * 2**self._tries
        self._tries += 1
        return Move(target)

    def _remember(self, monitor: Monitor, monitors: Sequence[Monitor]) -> None:
        self._chosen, self._count = monitor, len(monitors)
        self._namesakes = sum(m.name == monitor.name for m in monitors) > 1

    def _target(self, monitors: Sequence[Monitor]) -> Monitor | None:
        old = self._chosen
        if old is not None:
            same = [m for m in monitors if m.name == old.name]
            if found := next((m for m in same if m.place == old.place), None):
                return found
            # Windows and macOS name by model: where two were alike, a name alone may be the operator's.
            if same and not self._namesakes:
                return same[0]
        # Indices and outermost places shift when a monitor goes, so they are asked again only while as many are
        # connected as when they were chosen: the show must not jump onto the operator's screen.
        shifts = re.fullmatch(r"\d+|left|right", str(self._wanted).strip()) is not None
        if not monitors or (shifts and old is not None and len(monitors) != self._count):
            return None
        try:
            return choose(monitors, self._wanted)
        except DisplayError:
            return None
