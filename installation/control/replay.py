"""ReplaySource: a take played on the wall. It is the clock of the loop and one of its sources.

As the clock it gives the evening's ticks one by one as their time comes, and for each picture one more between two of
them, which leaves nothing behind: so what the evening's ticks decided, such as when a waiting jump begins, is decided
again as it was, at any rate of the display. As a source it says at each what was said then. Other sources are heard too.
While the engine is away the take waits. After its end the walk goes on by itself.

The wall's loop alone calls it; no thread. The disk is read a part at a time, a few lines a second.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from installation.errors import TakeError
from installation.show.clock import MICRO, LiveClock, Tick, microseconds
from installation.show.messages import ControlMessage
from installation.show.params import ParamTable, Value
from installation.show.replay import timed
from installation.show.state import ShowState
from installation.show.take import Beat, Record

log = logging.getLogger(__name__)


class ReplaySource:
    """records: of the take, from its beginning. now: monotonic seconds.

    resume: the state that a wall before this one had come to; None begins at the beginning.
    """

    name = "take"

    def __init__(
        self,
        table: ParamTable,
        records: Iterable[Record],
        now: Callable[[], float],
        *,
        resume: ShowState | None = None,
    ) -> None:
        self._local_names = frozenset(row.name for row in table if row.local)
        # As they were said: to merge two of one name, as a queue of live packets does, would be another performance.
        self._said: list[ControlMessage] = []
        self._clock = LiveClock(now)
        self._records = timed(records)
        self._t_us = 0  # of the take's last tick
        self._gone_us = 0  # since then
        self._last_us = 0  # of the tick last given
        self._index = 0
        self._messages = self._ticks = 0
        self._begun = self._closed = False
        self._local: Mapping[str, Value] = {}
        self._next = self._pull()
        if resume is not None:
            self._seek(resume)

    @property
    def now_s(self) -> float:
        """Seconds for what moves even while the show waits."""
        return self._clock.now_s

    def ticks(self, *, hold: bool = False) -> Iterator[Tick | ShowState]:
        """This turn's ticks, at least one. A ShowState among them is where the take begins, or begins anew after a hole.

        `poll` gives the messages of the tick last given. hold: the engine is away, and the take waits.
        """
        passed_us = microseconds(self._clock.tick().dt)
        if not (hold and self._begun):
            self._begun = True
            self._gone_us += passed_us
            yield from self._due()
        upcoming = self._next[0] if self._next is not None else None
        if upcoming is None:
            self._t_us, self._gone_us = self._t_us + self._gone_us, 0
        waits = isinstance(upcoming, Beat) and upcoming.hold
        yield self._tick(hold=waits or (hold and upcoming is None), between=upcoming is not None)

    def _due(self) -> Iterator[Tick | ShowState]:
        """The take's own ticks whose time has come."""
        while self._next is not None:
            record, us = self._next
            if isinstance(record, ShowState):
                self._t_us = microseconds(record.t)
                yield replace(record, index=self._index, values={**record.values, **self._local})
            elif us <= self._gone_us:
                # Ticks before the first picture take none of the wall's time, but of the show's.
                self._gone_us -= us
                self._t_us += record.us
                self._hear(record.messages)
                yield self._tick(hold=record.hold)
            else:
                break
            self._next = self._pull()

    def poll(self) -> list[ControlMessage]:
        said, self._said = self._said, []
        return [] if self._closed else said

    def publish(self, values: Mapping[str, Value]) -> None:
        self._local = {name: values[name] for name in self._local_names if name in values}

    def counters(self) -> Mapping[str, int]:
        return {"messages": self._messages, "ticks": self._ticks}

    def close(self) -> None:
        self._closed = True

    def _tick(self, *, hold: bool, between: bool = False) -> Tick:
        t_us = self._t_us + (self._gone_us if between else 0)
        before_us, self._last_us = self._last_us, t_us
        self._index += 1
        return Tick(self._index, t_us / MICRO, max(t_us - before_us, 0) / MICRO, hold, between)

    def _hear(self, messages: Iterable[ControlMessage]) -> None:
        heard = [
            replace(message, source=f"{self.name}:{message.source}")
            for message in messages
            if message.name not in self._local_names
        ]
        self._messages += len(heard)
        self._said += heard

    def _pull(self) -> tuple[Record, int] | None:
        """The next record; None at the end, and for a take that can be read no further."""
        try:
            found = next(self._records, None)
        except TakeError as error:
            log.warning("the take ends here: %s", error)
            found = None
        if found is None:
            log.info("the take is over; the walk goes on by itself")
        else:
            self._ticks += 1
        return found

    def _seek(self, state: ShowState) -> None:
        """Passes over what an earlier wall has played: on to the first tick that ends after the state's time."""
        until_us = microseconds(state.t)
        while self._next is not None:
            record = self._next[0]
            if isinstance(record, ShowState):
                self._t_us = microseconds(record.t)
            elif self._t_us + record.us > until_us:
                break
            else:
                self._t_us += record.us
            self._next = self._pull()
        self._gone_us = max(until_us - self._t_us, 0)
        self._index, self._last_us, self._begun = state.index, until_us, True
