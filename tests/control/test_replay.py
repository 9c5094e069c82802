"""A take on the wall: the evening's motion at the display's own rate, under hands that may still touch it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from installation.control.replay import ReplaySource
from installation.show.messages import ControlMessage
from installation.show.params import Value
from installation.show.replay import Replay, extent
from installation.show.state import ShowState, from_json, to_json
from installation.show.step import step
from installation.show.take import read_lines
from tests.show.evenings import SHOW, evening, numbered


class Wall:
    """The loop of the wall, without pictures: steps through the ticks of a take."""

    def __init__(self, lines: list[bytes], resume: ShowState | None = None) -> None:
        self.now_s = 100.0
        self.source = ReplaySource(SHOW.table(), read_lines(numbered(lines), SHOW), lambda: self.now_s, resume=resume)
        self.state = self.settled = resume

    def turn(self, dt: float, *live: ControlMessage, hold: bool = False) -> ShowState:
        self.now_s += dt
        said = list(live)
        for tick in self.source.ticks(hold=hold):
            if isinstance(tick, ShowState):
                self.state = self.settled = tick
                continue
            assert self.state is not None
            assert self.settled is not None
            assert tick.index == self.state.index + 1
            messages = [*said, *self.source.poll()]
            self.state = step(self.settled, messages, tick, SHOW)
            if messages or not tick.between:
                self.settled = self.state
            said = []
        assert self.state is not None
        self.source.publish(self.state.values)
        return self.state


def place(state: ShowState) -> list[tuple[str, int, float]]:
    return [(strand.mode, strand.seed, round(strand.position, 6)) for strand in state.strands]


def performed(state: ShowState) -> dict[str, Value]:
    return {name: value for name, value in state.values.items() if not SHOW.table()[name].local}


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5, 6])
def test_the_wall_shows_the_evening_at_its_own_rate(seed: int) -> None:
    _, lines, _ = evening(40, fps=30, seed=seed)
    wall, film, chance = Wall(lines), Replay(read_lines(numbered(lines), SHOW), SHOW), random.Random(seed)
    wall.turn(0.0)
    passed = 0.0
    while passed < 35.0:
        dt = round(chance.choice((1.0, 1.02, 0.97, 3.0)) / 60, 6)
        passed += dt
        state, wanted = wall.turn(dt), film.at(passed)
        assert state.t == wanted.t
        assert performed(state) == performed(wanted)
        assert place(state) == place(wanted)


def test_while_the_engine_is_away_the_take_waits() -> None:
    _, lines, _ = evening(10)
    wall = Wall(lines)
    wall.turn(0.0)
    before = wall.turn(0.05)
    during = [wall.turn(0.05, hold=True) for _ in range(40)]
    assert {state.t for state in during} == {before.t}
    assert wall.source.now_s == pytest.approx(2.05)
    assert wall.turn(0.05).t == pytest.approx(before.t + 0.05, abs=1e-5)


def test_hands_on_the_wall_are_heard_and_its_own_figures_stay() -> None:
    states, lines, _ = evening(3)
    wall = Wall(lines + evening(3, seed=9, state=replace(states[-1], pressed=()))[1])
    wall.turn(0.0)
    wall.turn(0.02, ControlMessage("hud/show", True), ControlMessage("look/select", "silver"))
    assert wall.state is not None
    assert wall.state.values["look/select"] == "silver"
    while wall.state.t < states[-1].t + 1.0:
        wall.turn(0.05)
    assert wall.state.values["hud/show"] is True


def test_a_wall_that_was_started_again_goes_on_in_the_take() -> None:
    _, lines, _ = evening(20, seed=4)
    whole, killed = Wall(lines), Wall(lines)
    for wall in (whole, killed):
        wall.turn(0.0)
        for _ in range(200):
            wall.turn(0.02)
    assert killed.state is not None
    again = Wall(lines, resume=from_json(to_json(killed.state)))
    again.turn(0.0)
    for _ in range(200):
        assert place(again.turn(0.02)) == place(whole.turn(0.02))


def test_after_the_take_the_walk_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    states, lines, _ = evening(2)
    wall = Wall(lines)
    wall.turn(0.0)
    with caplog.at_level("INFO"):
        for _ in range(200):
            wall.turn(0.05)
    assert wall.state is not None
    assert wall.state.t > states[-1].t + 5.0
    assert caplog.text.count("the take is over") == 1


def test_a_take_that_is_damaged_during_the_show_ends_there(caplog: pytest.LogCaptureFixture) -> None:
    _, lines, _ = evening(10)
    wall = Wall([*lines[:8], b"garbage\n"])
    wall.turn(0.0)
    last = [wall.turn(0.05).t for _ in range(200)][-1]
    assert last > extent(read_lines(numbered(lines[:8]), SHOW)).duration_s
    assert "line 9" in caplog.text
