"""The states of a take at any of its times: a performance again at another frame rate. Pure; a pull, no clock.

The evening's own ticks are gone through one by one, so the states between them are the evening's to the last bit,
whatever the frame rate of the film. A frame between two ticks is one more, shorter step away from the tick before it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from installation.errors import TakeError
from installation.show.clock import MICRO, Tick
from installation.show.config import Show
from installation.show.messages import SELECT
from installation.show.picks import only
from installation.show.state import ShowState
from installation.show.step import step
from installation.show.take import Beat, Record


@dataclass(frozen=True, slots=True)
class Extent:
    """How much there is in a take. duration_s: from its first moving tick. parts: states that it begins with, or begins
    anew with after a hole. models: those that were on the wall. refused: those that could not be shown, each with the
    show time at which it was chosen."""

    duration_s: float
    ticks: int
    messages: int
    parts: int
    models: frozenset[str] = frozenset()
    refused: tuple[tuple[str, float], ...] = ()


def extent(records: Iterable[Record]) -> Extent:
    """Goes through the whole take, so it is a check of every line too (TakeError)."""
    total_us = ticks = messages = parts = t_us = 0
    chosen: dict[tuple[str, float], None] = {}
    refused: dict[tuple[str, float], None] = {}
    for record, us in timed(records):
        if isinstance(record, ShowState):
            parts, t_us = parts + 1, round(record.t * MICRO)
            *leaving, newest = ((str(pick.value), pick.weight.t0) for pick in record.picks[SELECT])
            for request in leaving:
                # It bears the time at which another one was chosen; what became of it is told by its own last request.
                (refused if _last(refused, request[0]) > _last(chosen, request[0]) else chosen)[request] = None
            if newest not in refused:
                chosen[newest] = None
            continue
        total_us, ticks, messages = total_us + us, ticks + 1, messages + len(record.messages)
        t_us += record.us
        for message in record.messages:
            if message.name != SELECT:
                continue
            if message.refused is not None:
                model, since = message.refused
                for request in [one for one in chosen if one[0] == model and one[1] >= since]:
                    refused[request] = chosen.pop(request)
            if message.value is None:
                continue
            chosen.pop(request := (str(message.value), t_us / MICRO), None)
            chosen[request] = None
    return Extent(total_us / MICRO, ticks, messages, parts, frozenset(name for name, _ in chosen), tuple(refused))


def _last(requests: Iterable[tuple[str, float]], model: str) -> float:
    """When the model was last asked for among these; never is long ago."""
    return max((t for name, t in requests if name == model), default=-math.inf)


def granted(records: Iterable[Record], refused: Collection[tuple[str, float]]) -> Iterator[Record]:
    """The records without the models that were chosen in vain. refused: of `Extent`."""
    shown, t_us = None, 0
    for record in records:
        if isinstance(record, ShowState):
            t_us = round(record.t * MICRO)
            picks = tuple(pick for pick in record.picks[SELECT] if (pick.value, pick.weight.t0) not in refused)
            if picks != record.picks[SELECT]:
                picks = picks or only(record.picks[SELECT][-1].value if shown is None else shown)
                values = {**record.values, SELECT: picks[-1].value}
                record = replace(record, picks={**record.picks, SELECT: picks}, values=values)
            shown = picks[-1].value
        else:
            t_us += record.us
            messages = tuple(m for m in record.messages if m.name != SELECT or (m.value, t_us / MICRO) not in refused)
            shown = next((m.value for m in reversed(messages) if m.name == SELECT and m.value is not None), shown)
            record = record if messages == record.messages else replace(record, messages=messages)
        yield record


def timed(records: Iterable[Record]) -> Iterator[tuple[Record, int]]:
    """Each record and how much take time it lasts, microseconds: a state none, and neither the ticks at the very
    beginning, in which the wall waited for its first picture."""
    waiting = True
    for record in records:
        if isinstance(record, Beat):
            waiting = waiting and record.hold
            yield record, 0 if waiting else record.us
        else:
            yield record, 0


def after(state: ShowState, beat: Beat, show: Show) -> ShowState:
    """The state one tick of the take later."""
    t = (round(state.t * MICRO) + beat.us) / MICRO
    return step(state, beat.messages, Tick(state.index + 1, t, beat.us / MICRO, beat.hold), show)


class Replay:
    """The performance as a function of take time: seconds from the first moving tick, without holes. What the log does
    not hold, because the disk was full or parts of it are gone, is a cut.
    """

    def __init__(self, records: Iterable[Record], show: Show) -> None:
        self._records = timed(records)
        self._show = show
        self._us = 0
        self._state: ShowState | None = None
        self._next = next(self._records, None)

    def at(self, take_s: float) -> ShowState:
        """The state at a time not before that of the last call. After the end the walk goes on by itself. TakeError for a
        damaged line, and where there is nothing."""
        until_us = round(take_s * MICRO, 3)  # a time computed from whole microseconds is one again
        beats: list[Beat] = []
        while self._next is not None:
            record, us = self._next
            if isinstance(record, ShowState):
                # It says what the ticks before it come to: on the way to a late time they need not be gone through.
                self._state = record
                beats.clear()
            elif self._us + us <= until_us:
                beats.append(record)
                self._us += us
            else:
                break
            self._next = next(self._records, None)
        for beat in beats:
            if self._state is not None:
                self._state = after(self._state, beat, self._show)
        state = self._state
        if state is None:
            raise TakeError("the take holds nothing")
        rest_us = max(until_us - self._us, 0.0)
        t = (round(state.t * MICRO) + rest_us) / MICRO
        hold = self._next is not None and isinstance(self._next[0], Beat) and self._next[0].hold
        return step(state, (), Tick(state.index + 1, t, rest_us / MICRO, hold), self._show)
