"""Log lines that are counted and limited: a fault that comes back a thousand times a minute gives one line, then a
number.

Any thread. Goes to the standard `logging` tree; where that writes is the command line's business.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

KEYS = 256
_REMEMBERED = 1000


@dataclass(slots=True)
class _Kind:
    times: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    said_s: float = float("-inf")
    unsaid: str = ""


class CountedLog:
    """`say("engine", "engine restarted: exit code -9")` gives that line at once; more of the same key within `quiet_s`
    give, after it, one line "engine restarted: exit code -9 (×3 in 10 min)".

    window_s: how far back the number counts. clock: monotonic seconds.
    """

    def __init__(
        self,
        name: str = "installation",
        *,
        quiet_s: float = 10.0,
        window_s: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = logging.getLogger(name)
        self._quiet_s, self._window_s, self._clock = quiet_s, window_s, clock
        self._kinds: dict[str, _Kind] = {}
        self._lock = threading.Lock()

    def say(self, key: str, text: str) -> None:
        """Counts one event of kind `key`. Keys are few and fixed; beyond 256 they share one."""
        now = self._clock()
        with self._lock:
            if key not in self._kinds and len(self._kinds) >= KEYS:
                key = ""
            kind = self._kinds.setdefault(key, _Kind())
            kind.times.append(now)
            kind.unsaid = text
            line = self._due(kind, now)
        if line:
            self._log.warning("%s", line)

    def flush(self) -> None:
        """Says what was kept back and is due: for a loop, so that the last events of a burst are not lost."""
        now = self._clock()
        with self._lock:
            lines = [line for kind in self._kinds.values() if (line := self._due(kind, now))]
        for line in lines:
            self._log.warning("%s", line)

    def _due(self, kind: _Kind, now: float) -> str:
        if not kind.unsaid or now - kind.said_s < self._quiet_s:
            return ""
        while kind.times and now - kind.times[0] > self._window_s:
            kind.times.popleft()
        count = len(kind.times)
        many = f" (×{count}{'+' if count == _REMEMBERED else ''} in {_span(self._window_s)})" if count > 1 else ""
        text, kind.unsaid, kind.said_s = kind.unsaid, "", now
        return text + many


def _span(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"
