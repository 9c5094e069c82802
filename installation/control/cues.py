"""The cues of a show as a control source: presses a scene when its moment has come. Asks the machine's clock, once a second."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from installation.show.config import Cue
from installation.show.cues import latest
from installation.show.messages import ControlMessage
from installation.show.params import SCENE, Value

log = logging.getLogger(__name__)

# A clock that goes back an hour in autumn has the moments of that hour twice; one that goes back further was wrong before.
_AUTUMN = timedelta(hours=2)


class CueSource:
    """A `Source`. running: the show was there before this source (a wall that was started again): what came since the last cue
    stays. Otherwise that cue counts at once, so a show that is started at night is as it should be at night.

    now: local time without a zone.
    """

    name = "cues"

    def __init__(
        self, cues: Sequence[Cue], *, running: bool = False, now: Callable[[], datetime] = datetime.now
    ) -> None:
        self._cues, self._now = tuple(cues), now
        self._looked: datetime | None = None
        due = latest(self._cues, now()) if running else None
        self._last = None if due is None else due.moment
        self._pressed = 0
        self._closed = False

    def poll(self) -> list[ControlMessage]:
        now = self._now()
        if self._closed or now.replace(microsecond=0) == self._looked:
            return []
        self._looked = now.replace(microsecond=0)
        due = latest(self._cues, now)
        if due is None or (self._last is not None and due.moment <= self._last < now + _AUTUMN):
            return []
        at_once = 0.0 if self._last is None else None
        self._last = due.moment
        self._pressed += 1
        log.info("cue of %s: scene %s", due.moment.strftime("%a %H:%M"), due.scene)
        return [ControlMessage(SCENE + due.scene, None, at_once, self.name)]

    def publish(self, values: Mapping[str, Value]) -> None:
        del values

    def counters(self) -> Mapping[str, int]:
        return {"pressed": self._pressed}

    def close(self) -> None:
        self._closed = True
