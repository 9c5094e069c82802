"""A token bucket: how often something may happen, with a burst allowed."""

from __future__ import annotations

import time
from collections.abc import Callable


class Bucket:
    """`take()` is true at most `per_second` times a second on average, `burst` times at once. One thread."""

    __slots__ = ("_burst", "_clock", "_filled", "_per_second", "_tokens")

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._burst, self._clock = per_second, float(burst), clock
        self._tokens = float(burst)
        self._filled = clock()

    def take(self) -> bool:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._per_second)
        self._filled = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
