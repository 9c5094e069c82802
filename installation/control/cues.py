"""The cues of a show as a control source: presses a scene when its moment has come. Asks the machine's clock, once a second."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from installation.files import write_whole
from installation.show.config import Cue
from installation.show.cues import latest
from installation.show.messages import ControlMessage
from installation.show.params import SCENE, Value

log = logging.getLogger(__name__)

# A clock that goes back an hour in autumn has the moments of that hour twice; one that goes back further was wrong before.
_AUTUMN = timedelta(hours=2)


class CueSource:
    """A `Source`. The cue before the start counts at once: a show that is started at night is as it should be at night.

    kept: a file that says which cue was the last. A wall that is started again presses what fell due meanwhile, and nothing
    else: what was set by hand since the last cue stays. None keeps nothing. now: local time without a zone.
    """

    name = "cues"

    def __init__(
        self, cues: Sequence[Cue], *, kept: Path | None = None, now: Callable[[], datetime] = datetime.now
    ) -> None:
        self._cues, self._kept, self._now = tuple(cues), kept, now
        self._looked: datetime | None = None
        self._last = None if kept is None else _read(kept)
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
        if self._kept is not None:
            with suppress(OSError):  # then a wall that is started again presses this cue once more
                write_whole(self._kept, due.moment.isoformat().encode())
        self._pressed += 1
        log.info("cue of %s: scene %s", due.moment.strftime("%a %H:%M"), due.scene)
        return [ControlMessage(SCENE + due.scene, None, at_once, self.name)]

    def publish(self, values: Mapping[str, Value]) -> None:
        del values

    def counters(self) -> Mapping[str, int]:
        return {"pressed": self._pressed}

    def close(self) -> None:
        self._closed = True


def _read(path: Path) -> datetime | None:
    try:
        return datetime.fromisoformat(path.read_text(encoding="ascii")[:40]).replace(tzinfo=None)
    except (OSError, ValueError):
        return None
