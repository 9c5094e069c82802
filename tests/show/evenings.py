"""Evenings for the tests: a performance with an uneven clock, stalls, waits for the engine and real messages."""

from __future__ import annotations

import random
from collections.abc import Iterator

from installation.show.clock import LiveClock
from installation.show.config import Show
from installation.show.messages import ControlMessage
from installation.show.state import ShowState, first_state
from installation.show.step import step
from installation.show.take import Scribe
from tests.show.shows import make_show

SHOW = make_show(
    looks={"neutral": {}, "silver": {"saturation": 0}},
    walk={"tour": [{"seed": 5}, {"seed": 6}, {"seed": 7, "hold_s": 1}], "repeat": False},
)


def messages_of(chance: random.Random, show: Show) -> tuple[ControlMessage, ...]:
    """What a restless artist does in one tick: mostly nothing."""
    if chance.random() > 0.06:
        return ()
    table = show.table()
    rows = [row for row in table if row.name != "walk/fade_s"]
    said = []
    for row in chance.choices(rows, k=chance.choice((1, 1, 2, 5))):
        value = None if row.kind == "button" else row.from_norm(chance.random())
        ramp_s = chance.choice((None, 0.0, 0.7, 5.0)) if row.kind != "button" else None
        said.append(ControlMessage(row.name, value, ramp_s, "osc:127.0.0.1"))
    return tuple(said)


def evening(
    seconds: float, *, fps: float = 30.0, seed: int = 0, show: Show = SHOW, state: ShowState | None = None
) -> tuple[list[ShowState], list[bytes], ShowState]:
    """(the states of every tick, the lines of the take, the state before the first tick)."""
    chance, scribe = random.Random(seed), Scribe(show.table())
    start = state = state or first_state(show)
    clock = LiveClock(_nows(chance, fps), start_s=state.t, index=state.index)
    lines, states = [scribe.begin(state)], []
    end = state.t + seconds
    while state.t < end:
        hold = len(states) < 40 or (len(states) // 50) % 7 == 3
        tick, said = clock.tick(hold=hold), messages_of(chance, show)
        state = step(state, said, tick, show)
        states.append(state)
        if line := scribe.add(tick, said):
            lines += line.splitlines(keepends=True)
    if line := scribe.close():
        lines.append(line)
    return states, lines, start


def _nows(chance: random.Random, fps: float):
    def times() -> Iterator[float]:
        now = 1234.5678
        while True:
            yield now
            # An uneven display; now and then a stall, now and then a machine that slept.
            now += chance.choice((1.0, 1.0, 1.0, 1.04, 0.93)) / fps
            if chance.random() < 0.01:
                now += chance.choice((0.08, 0.4, 3600.0))

    ticks = times()
    return lambda: next(ticks)


def numbered(lines: list[bytes]) -> Iterator[tuple[str, bytes]]:
    return ((f"line {i}", line) for i, line in enumerate(lines, start=1))
