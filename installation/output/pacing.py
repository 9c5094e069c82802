"""When the next frame starts. Lets the swap pace the wall where it waits for the monitor and paces it by deadlines
where it does not.

Xvfb, some drivers and hidden windows ignore the swap interval (222 swaps a second measured under Xvfb) or report 0
Hz, so what the swap does is measured, never believed. Runs in the wall's loop; pure but for the clock and the sleep
handed in.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Literal

DEFAULT_FPS = 60.0
WINDOW = 600  # frames of statistics: ten seconds at 60 Hz
LATE = 1.5  # an interval over this many periods is a late frame
# A driver queues two or three frames before its swap starts to block, so the first ones say nothing.
SETTLE_FRAMES = 4
MEASURE_FRAMES = 16
WATCH_FRAMES = 64
FASTER = 0.9  # a median interval under this part of a period: the swap does not block
# A swap that takes a fifth of a period while we pace ourselves may have begun to block again: measure again, at most
# this often.
SUSPECT = 0.2
REMEASURE_S = 30.0
MAX_EARLY_S = 0.0005

PacedBy = Literal["measuring", "swap", "own"]


@dataclass(frozen=True, slots=True)
class PaceStats:
    """fps and the intervals in milliseconds are over the last `WINDOW` frames, the counts since the start."""

    fps: float
    p50_ms: float
    p99_ms: float
    frames: int
    late: int
    paced_by: PacedBy


class Pacer:
    """Calls the swap once a frame and returns when the next frame should begin.

    refresh_hz: the monitor's rate, 0 when unknown. fps: a limit of the show's own, or None for the monitor's rate (60
    when unknown). Deadlines are absolute, so nothing drifts. A frame less than a period late is made up for by a
    shorter wait; after a longer stall the deadlines start afresh, without a burst.
    """

    def __init__(
        self,
        refresh_hz: float,
        *,
        fps: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if fps is not None and not (math.isfinite(fps) and fps > 0):
            raise ValueError(f"fps must be above 0, not {fps}")
        self._fps, self._clock, self._sleep = fps, clock, sleep
        self._intervals: deque[float] = deque(maxlen=WINDOW)
        self._last_swap: float | None = None
        self._frames = self._late = 0
        self._oversleep = 0.0
        self.refresh_hz = -1.0
        self.retarget(refresh_hz)

    @property
    def paced_by(self) -> PacedBy:
        """Who makes the wall wait: the swap, or this pacer; "measuring" for the first frames."""
        return self._paced_by

    @property
    def period_s(self) -> float:
        """The wanted time between two frames."""
        return self._period

    def retarget(self, refresh_hz: float) -> None:
        """The surface is on another monitor or in another mode. Costs nothing when the rate is the same; else
        measures the swap again.
        """
        refresh_hz = refresh_hz if math.isfinite(refresh_hz) and refresh_hz > 0 else 0.0
        if refresh_hz == self.refresh_hz:
            return
        self.refresh_hz = refresh_hz
        target = min(hz for hz in (self._fps, refresh_hz or None, self._fps or refresh_hz or DEFAULT_FPS) if hz)
        self._period = 1.0 / target
        # Within 5 % the limit and the monitor mean the same rate (59.94 and 60): two pacers at once would beat.
        self._swap_may_pace = refresh_hz > 0 and target > 0.95 * refresh_hz
        if self._swap_may_pace:
            self._period = 1.0 / refresh_hz
        self._begin("measuring" if self._swap_may_pace else "own")

    def frame(self, swap: Callable[[], None]) -> None:
        """Call `swap`, count it, and wait for the next frame's start if the swap did not."""
        before = self._clock()
        swap()
        now = self._clock()
        took = now - before
        self._frames += 1
        if self._last_swap is not None:
            interval = now - self._last_swap
            self._intervals.append(interval)
            self._late += interval > LATE * self._period
            if self._swap_may_pace:
                self._watch(interval, took, now)
        self._last_swap = now
        if self._paced_by == "own":
            self._wait(now)

    def stats(self) -> PaceStats:
        """Sorts the window: about 50 µs; ask a few times a second, not each frame."""
        ordered = sorted(self._intervals)
        total = sum(ordered)

        def at(q: float) -> float:
            return 1e3 * ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0

        return PaceStats(
            fps=len(ordered) / total if total > 0 else 0.0,
            p50_ms=at(0.50),
            p99_ms=at(0.99),
            frames=self._frames,
            late=self._late,
            paced_by=self._paced_by,
        )

    def _begin(self, paced_by: PacedBy) -> None:
        self._paced_by: PacedBy = paced_by
        self._samples: list[float] = []
        self._skip = SETTLE_FRAMES if paced_by == "measuring" else 0
        self._origin = self._measured_at = self._clock()
        self._count = 0

    def _watch(self, interval: float, took: float, now: float) -> None:
        """Decide from medians who paces; one slow frame (a shader compiled) changes nothing."""
        if self._skip:
            self._skip -= 1
            return
        self._samples.append(took if self._paced_by == "own" else interval)
        if len(self._samples) < (MEASURE_FRAMES if self._paced_by == "measuring" else WATCH_FRAMES):
            return
        middle = median(self._samples)
        self._samples.clear()
        if self._paced_by == "own":
            if middle > SUSPECT * self._period and now - self._measured_at > REMEASURE_S:
                self._begin("measuring")
        elif middle < FASTER * self._period:
            self._begin("own")
        else:
            self._paced_by = "swap"

    def _wait(self, now: float) -> None:
        self._count += 1
        deadline = self._origin + self._count * self._period
        if now > deadline + self._period:
            self._origin, self._count = now, 0
            return
        # Waking up takes the system some 60 µs to a few hundred: that is learned and asked for less, instead of
        # spinning on a core the engine needs.
        asked = deadline - now - self._oversleep
        if asked <= 0:
            return
        self._sleep(asked)
        over = self._clock() - now - asked
        self._oversleep = min(max(0.9 * self._oversleep + 0.1 * over, 0.0), MAX_EARLY_S)
