"""How a physical knob takes over a parameter that stands elsewhere. Pure; positions are 0..1.

`pickup`: the knob does nothing until it reaches or crosses the parameter's position. A fast sweep gives few positions,
perhaps only the two ends, so the crossing between two of them counts, not only a meeting.
`scale`: the parameter moves at once, by the share of the way that is left in the knob's direction, so that both reach
the end together and agree from there on.
`jump`: the parameter follows at once.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

TakeoverKind = Literal["pickup", "scale", "jump"]

_SAME = 1e-6
# Two steps of a 7-bit knob: a knob set by eye to the parameter's place counts as there.
_NEAR = 2.0 / 127.0
_UNSEEN_KEPT = 512


class Takeover:
    """One knob on one parameter."""

    __slots__ = ("_engaged", "_kind", "_knob", "_known", "_target", "_unseen")

    def __init__(self, kind: TakeoverKind) -> None:
        self._kind: TakeoverKind = kind
        self._unseen: deque[float] = deque(maxlen=_UNSEEN_KEPT)
        self._known: float | None = None
        self._target = 0.0
        self.release()

    def release(self) -> None:
        """Forgets where the knob stands (it may have been turned while unplugged)."""
        self._knob: float | None = None
        self._engaged = False

    def move(self, knob: float, current: float) -> float | None:
        """The knob came to `knob`; the parameter's newest published position is `current`.

        The position to set, or None while the knob has not taken over. `sent` is to be called with what came of it.
        """
        self._observe(current)
        before, self._knob = self._knob, knob
        if self._kind == "jump" or self._engaged:
            self._engaged = True
            return knob
        if self._kind == "pickup":
            reached = abs(knob - self._target) <= _NEAR
            crossed = before is not None and (before - self._target) * (knob - self._target) <= 0.0
            self._engaged = reached or crossed
            return knob if self._engaged else None
        if before is None or knob == before:
            return None
        return self._scaled(before, knob)

    def _scaled(self, before: float, knob: float) -> float:
        if knob > before:
            position = self._target + (1.0 - self._target) * (knob - before) / (1.0 - before)
        else:
            position = self._target - self._target * (before - knob) / before
        if abs(position - knob) <= _SAME:
            self._engaged = True
            return knob
        return position

    def sent(self, position: float, seen: float) -> None:
        """The position just sent, and how `current` will show it: a whole number or a choice rounds."""
        self._target = position
        self._unseen.append(seen)

    def _observe(self, current: float) -> None:
        """Tells our own moves coming back from somebody else's: only those end the takeover.

        The published position lags by up to a tick, and of several moves in one tick only the last is ever seen.
        """
        if self._known is not None and abs(current - self._known) <= _SAME:
            return
        self._known = current
        for count, position in enumerate(self._unseen, 1):
            if abs(current - position) <= _SAME:
                for _ in range(count):
                    self._unseen.popleft()
                return
        self._unseen.clear()
        self._target = current
        self._engaged = False
