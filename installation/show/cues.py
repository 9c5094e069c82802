"""Cues: moments of the day that press a scene, in local time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from installation.show.config import WEEKDAYS, Cue

_WEEK = 8  # days to look back: a cue of one weekday, later in the day than now, was due seven days ago


@dataclass(frozen=True, slots=True)
class Due:
    """A cue's moment, in local time without a zone, and the scene that it presses."""

    moment: datetime
    scene: str


def latest(cues: Sequence[Cue], now: datetime) -> Due | None:
    """The newest moment that is not after `now`; of two cues of one moment, the later in the file. None without cues.

    now: local time without a zone. A moment that a clock leaps over in spring is due when the clock is past it.
    """
    moments = [
        (moment, number)
        for number, cue in enumerate(cues)
        for back in range(_WEEK)
        for day in (now.date() - timedelta(days=back),)
        if WEEKDAYS[day.weekday()] in cue.days and (moment := datetime.combine(day, time.fromisoformat(cue.at))) <= now
    ]
    if not moments:
        return None
    moment, number = max(moments)
    return Due(moment, cues[number].scene)
