"""Ticks: the turns of the loop. The live clock follows a monotonic clock; the frame clock counts frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

# A stalled loop (a suspended machine, a debugger) must not fling the walk when it comes back.
LONGEST_TICK_S = 0.1

MICRO = 1_000_000
"""Microseconds of a second."""


def microseconds(seconds: float) -> int:
    return round(seconds * MICRO)


@dataclass(frozen=True, slots=True)
class Tick:
    """One turn of the loop.

    t: show time in seconds, 64-bit. dt: seconds of show time since the tick before. hold: the engine is away, so
    the walk waits (faders go on working); it then goes on where it was. between: a look on the way to the next tick
    of a take. What was said then is part of the show; where nothing was said, the next tick goes on from the state before.
    """

    index: int
    t: float
    dt: float
    hold: bool = False
    between: bool = False


class LiveClock:
    """Show time that follows `now()` (seconds, monotonic) from `start_s`, at most LONGEST_TICK_S a tick.

    Its times are whole microseconds, so that a take can write them down and give the very same numbers back.
    """

    def __init__(self, now: Callable[[], float], *, start_s: float = 0.0, index: int = 0) -> None:
        self._now = now
        self._last_us: int | None = None
        self._t_us = microseconds(start_s)
        self._index = index

    @property
    def now_s(self) -> float:
        """Seconds for what moves even while the show waits; here the show time itself."""
        return self._t_us / MICRO

    def tick(self, *, hold: bool = False) -> Tick:
        now_us = microseconds(self._now())
        dt_us = 0 if self._last_us is None else min(max(now_us - self._last_us, 0), microseconds(LONGEST_TICK_S))
        self._last_us = now_us
        self._t_us += dt_us
        self._index += 1
        return Tick(self._index, self._t_us / MICRO, dt_us / MICRO, hold)

    def ticks(self, *, hold: bool = False) -> Iterator[Tick]:
        """The ticks of this turn of the loop: one."""
        yield self.tick(hold=hold)


class FrameClock:
    """Show time of frame n at a rational rate: exactly n / fps after start_s, however many frames. Offline and tests."""

    def __init__(self, fps: Fraction | int, *, start_s: float = 0.0) -> None:
        self._fps = Fraction(fps)
        self._start_s = start_s
        self._index = 0
        self._t = start_s

    def tick(self, *, hold: bool = False) -> Tick:
        t = self._start_s + float(self._index / self._fps)
        dt = t - self._t
        self._t = t
        self._index += 1
        return Tick(self._index, t, dt, hold)
