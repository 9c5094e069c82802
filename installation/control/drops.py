"""Counting what is dropped, and saying so in one log line at a time.

A flood of bad input must neither fill the disk nor go unnoticed: each drop is counted under its reason; the log gets
the first at once and then a summary, at first every ten seconds, then ever more seldom while the drops go on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

_FIRST_S, _LONGEST_S = 10.0, 600.0
_MOST_NAMED = 6


class Drops:
    """Counts by reason, and the log line. One thread writes; any may read `counts`."""

    def __init__(
        self, name: str, logger: logging.Logger, reasons: tuple[str, ...], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """name: begins the log line. reasons: every reason there is; the counters are complete from the start."""
        self.counts: dict[str, int] = dict.fromkeys(reasons, 0)
        self._name, self._logger, self._clock = name, logger, clock
        self._unsaid = 0
        self._last = ("", "", "")
        self._others: dict[str, None] = {}  # a few of what was dropped besides, each once
        self._interval = _FIRST_S
        self._next = float("-inf")

    def note(self, reason: str) -> None:
        """Counts without logging: nothing was lost."""
        self.counts[reason] += 1

    def drop(self, reason: str, detail: str, origin: str) -> None:
        """Counts one dropped thing and logs it now or in a later summary. Detail and origin are cut and escaped."""
        self.counts[reason] += 1
        self._unsaid += 1
        if len(self._others) < _MOST_NAMED:
            self._others[_line(detail, 80)] = None
        self._last = (reason, detail, origin)
        self.flush()

    def flush(self) -> None:
        """Logs the summary when it is due; to be called now and then."""
        if not self._unsaid:
            return
        now = self._clock()
        if now < self._next:
            return
        if now > self._next + _LONGEST_S:
            self._interval = _FIRST_S
        reason, detail, origin = self._last
        noun = "message" if self._unsaid == 1 else "messages"
        self._others.pop(_line(detail, 80), None)
        self._logger.warning(
            "%s: dropped %d %s, the last from %s: %s: %s%s",
            *(self._name, self._unsaid, noun, origin, reason.replace("_", " "), _line(detail, 120)),
            "".join(f"; also {other}" for other in self._others),
        )
        self._unsaid = 0
        self._others.clear()
        self._next = now + self._interval
        self._interval = min(self._interval * 2.0, _LONGEST_S)


def _line(detail: str, longest: int) -> str:
    return ascii(detail)[1:-1][:longest]
