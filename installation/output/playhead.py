"""Which two frames the wall blends at a moment, and how far.

The engine delivers frames at its own uneven pace, sometimes not at all; the display asks sixty times a second. The
playhead is the position between them: it follows the show one engine frame late, so that the frame it moves towards
is always already here, and its motion is continuous whatever the engine does.

Positions live on a *strip*, a line of seconds on which every frame has a place: the stamps' own distances, except
that a hole (the engine was away, stamps stood still) is no longer than `_hole_s`, because crossing an hour's outage
at the speed of the show would take an hour. The playhead is a point on the strip with a speed. In normal running the
speed stays within 0.25..2 strip seconds a second and changes by at most 4/s²; it brakes before the newest frame, and
when no frame follows it glides back and forth over the frames it holds until one does.

Pure Python; runs in the wall process, one thread. Knows no pixels: it hands out history slots and the caller fills
them.
"""

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from statistics import median_low

RATE_MIN, RATE_MAX = 0.25, 2.0
"""Strip seconds per second in normal running."""
GLIDE_RATE = 0.5
"""Speed over the held frames while the engine is away."""
GLIDE_SPAN_S = 4.0
"""How far back the glide goes, and how old a held frame may grow."""
ACCELERATION = 4.0
"""1/s². A turn from +0.5 to -0.5 takes a quarter of a second: soft, and never 0.2 s without motion."""

_PULL_S = 1.0  # time constant of closing in on the wanted latency: a tenth of a second off bends the speed by 10 %
_SUBSTEP_S = 1 / 240  # 1.5 of it is shorter than the shortest braking distance, so the braking law is stable
_STALL_CAP_S = 0.25  # a display that stood still does not fling the playhead
_TURN_AFTER_S = 0.08  # stopped at the newest frame for so long: the next one is not merely a little late
_STOPPED = 0.05  # strip seconds per second
_SAME_STAMP_S = 1e-4
_SETTLE = 0.05  # share of surplus latency given back per arrival
_JITTER_WINDOW = 12  # arrivals; with fewer, uneven engines (intervals ±40 %) ran the playhead into the brake


@dataclass(frozen=True, slots=True)
class View:
    """Frames a and b of the moment and their blend: 0 shows a, 1 shows b. Slots say where the two lie."""

    a_index: int
    b_index: int
    mix: float
    a_slot: int
    b_slot: int


@dataclass(frozen=True, slots=True)
class _Held:
    index: int
    stamp: float
    place: float  # on the strip, s
    slot: int


class Playhead:
    """history: number of texture slots, at least 4; one of them is always spare, so history - 1 frames are held."""

    def __init__(self, history: int = 16) -> None:
        if history < 4:
            raise ValueError(f"history is {history}; the playhead needs at least 4 slots")
        self._limit = history - 1
        self._held: list[_Held] = []  # ascending in index and place
        self._free = list(range(history - 1, -1, -1))
        self._gaps: deque[float] = deque(maxlen=8)
        self._needs: deque[float] = deque(maxlen=_JITTER_WINDOW)
        self._arrived = 0.0
        self._lag = 0.0  # now minus wanted place
        self._place = 0.0
        self._rate = 0.0
        self._clock: float | None = None
        self._gliding = 0  # 0 follows the show; +1 or -1 glides that way
        self._stopped_s = 0.0

    @property
    def spare(self) -> int:
        """The slot the next arrival will take. No view shows it: pixels may be written there before `arrive`, and
        written again if they turn out to be torn."""
        return self._free[-1]

    @property
    def position(self) -> float:
        """Place on the strip, s; only differences mean anything."""
        return self._place

    @property
    def rate(self) -> float:
        """Strip seconds per second, 1 in step with the show."""
        return self._rate

    @property
    def interval_s(self) -> float:
        """Median time between arrivals, s (the lower one, so that one long wait at the start does not count); 0 before the
        second frame."""
        return median_low(self._gaps) if self._gaps else 0.0

    @property
    def behind_s(self) -> float:
        """How far behind the newest frame the picture is, s."""
        return self._held[-1].place - self._place if self._held else 0.0

    def arrive(self, index: int, stamp: float, now: float) -> int | None:
        """Takes frame `index` (counts up, may skip), made for show time `stamp` s, at show time `now` s.

        Gives the slot that holds it, or None when the frame is not newer than the newest held: then nothing changed.
        """
        if not self._held:
            self._place = 0.0
            self._lag = now
            self._hold(index, stamp, 0.0)
            self._arrived = now
            return self._held[-1].slot
        last = self._held[-1]
        if index <= last.index:
            return None
        waited = max(now - self._arrived, 0.0)
        self._arrived = now
        step = self._strip_gap(stamp - last.stamp, waited)
        self._gaps.append(waited)
        self._hold(index, stamp, last.place + step)
        self._learn_lag(now, step)
        if self._gliding:
            self._gliding, self._stopped_s = 0, 0.0
        return self._held[-1].slot

    def view(self, now: float, *, hold: bool = False) -> View | None:
        """Moves to show time `now` s and gives what to show; None before the first frame.

        hold: the walk is paused on purpose: settle on the newest frame and stay, without gliding.
        """
        if not self._held:
            return None
        elapsed = min(max(now - self._clock, 0.0), _STALL_CAP_S) if self._clock is not None else 0.0
        self._clock = now
        if elapsed > 0.0 and len(self._held) > 1:
            steps = max(round(elapsed / _SUBSTEP_S), 1)
            dt = elapsed / steps
            for i in range(steps):
                self._advance(now - elapsed + (i + 1) * dt, dt, hold)
        return self._bracket()

    def starved(self, now: float) -> bool:
        """Whether the engine is late by more than 1 s and three intervals; True before the first frame."""
        return not self._held or now - self._arrived > max(1.0, 3.0 * self.interval_s)

    def _strip_gap(self, gap: float, waited: float) -> float:
        """Distance on the strip for a distance between stamps. Stamps that stood still, ran backwards or left a hole
        say nothing about motion; the time between the arrivals then stands in."""
        hole_s = max(1.0, 3.0 * self.interval_s)
        if gap < _SAME_STAMP_S or gap > hole_s:
            gap = waited
        return min(max(gap, _SAME_STAMP_S), hole_s)

    def _learn_lag(self, now: float, step: float) -> None:
        """The lag at which the last dozen frames would all have come just in time. A longer one is taken at once (the
        speed limit makes it smooth), a shorter one is approached, so that jitter does not breathe in the speed."""
        needed = now - self._held[-1].place + step + self._margin()
        if len(self._held) == 2:
            self._lag = needed
        elif needed - self._lag > 0.5:  # a hole: what was learned before it is measured from another origin
            self._needs.clear()
        self._needs.append(needed)
        longest = max(self._needs)
        self._lag = max(longest, self._lag + (longest - self._lag) * _SETTLE)

    def _margin(self) -> float:
        """Distance from the newest frame, s, at which braking begins; normal running stays clear of it."""
        return max(0.007, 0.25 * min(self.interval_s, 1.0))

    def _advance(self, now: float, dt: float, hold: bool) -> None:
        ahead = self._held[-1].place - self._place
        if self._gliding and not hold:
            wanted = self._glide(ahead)
        else:
            self._gliding = 0
            wanted = min(max(1.0 + (now - self._lag - self._place) / _PULL_S, RATE_MIN), RATE_MAX)
        change = ACCELERATION * dt
        self._rate += min(max(wanted - self._rate, -change), change)
        if not self._gliding:
            self._rate = min(self._rate, ahead / self._margin())
            self._stopped_s = self._stopped_s + dt if abs(self._rate) < _STOPPED and ahead < self._margin() else 0.0
            if self._stopped_s >= _TURN_AFTER_S and not hold:
                self._gliding = -1
        place = self._place + self._rate * dt
        low, high = self._held[0].place, self._held[-1].place
        self._place = min(max(place, low), high)
        if self._place != place:
            self._rate = 0.0

    def _glide(self, ahead: float) -> float:
        """Wanted speed while the engine is away. A turn begins where it can still be made at ACCELERATION."""
        newest = self._held[-1].place
        low = max(self._held[0].place, newest - GLIDE_SPAN_S)
        room = ahead if self._gliding > 0 else self._place - low
        towards = self._rate * self._gliding > 0.0
        if room <= (self._rate**2 / (2.0 * ACCELERATION) if towards else 0.0):
            self._gliding = -self._gliding
        return GLIDE_RATE * self._gliding

    def _bracket(self) -> View:
        i = self._segment()
        a = self._held[i]
        if i + 1 == len(self._held):
            return View(a.index, a.index, 0.0, a.slot, a.slot)
        b = self._held[i + 1]
        mix = max((self._place - a.place) / (b.place - a.place), 0.0)
        if mix > 1.0 - 1e-6:  # settled: the same view tick after tick, so that nothing needs to be drawn
            return View(b.index, b.index, 0.0, b.slot, b.slot)
        return View(a.index, b.index, mix, a.slot, b.slot)

    def _segment(self) -> int:
        return max(bisect_right(self._held, self._place, key=lambda held: held.place) - 1, 0)

    def _hold(self, index: int, stamp: float, place: float) -> None:
        self._held.append(_Held(index, stamp, place, self._free.pop()))
        if len(self._held) > self._limit:
            self._free.append(self._held.pop(self._least_missed()).slot)

    def _least_missed(self) -> int:
        """Which held frame to give up: never the newest nor the two on the wall, so the picture does not change.
        First one too old for the glide; else the one whose neighbours lie closest, so that a fast engine's frames
        thin out with age and the glide still has seconds to cover."""
        i = self._segment()
        on_the_wall = (i, i + 1)
        newest = len(self._held) - 1
        if 0 not in on_the_wall and self._held[newest].place - self._held[1].place > GLIDE_SPAN_S:
            return 0
        kept = self._limit // 2  # the newest frames stay whole: motion in normal running uses every frame
        choice = [k for k in range(1, newest) if k not in on_the_wall]
        older = [k for k in choice if k <= newest - kept]
        return min(older or choice or [0], key=lambda k: self._held[k + 1].place - self._held[k - 1].place)
