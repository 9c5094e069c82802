"""How a knob takes over: pickup by crossing, scaling, jumping, and who moved the parameter."""

from __future__ import annotations

import random

import pytest

from installation.control.takeover import Takeover


class Knob:
    """A knob on a parameter; the parameter publishes once a tick."""

    def __init__(self, kind: str, parameter: float) -> None:
        self.takeover = Takeover(kind)  # pyright: ignore[reportArgumentType]
        self.parameter = self.published = parameter

    def turn(self, knob: float, *, tick: bool = True) -> float | None:
        moved = self.takeover.move(knob, self.published)
        if moved is not None:
            self.takeover.sent(moved, moved)
            self.parameter = moved
        if tick:
            self.published = self.parameter
        return moved

    def others_set(self, value: float) -> None:
        self.parameter = self.published = value


def test_jump_follows_at_once() -> None:
    knob = Knob("jump", 0.5)
    assert [knob.turn(x) for x in (0.0, 1.0, 0.25)] == [0.0, 1.0, 0.25]


def test_pickup_waits_until_the_knob_arrives() -> None:
    knob = Knob("pickup", 0.5)
    assert [knob.turn(x / 100) for x in range(0, 45, 5)] == [None] * 9
    assert knob.turn(0.495) == 0.495
    assert knob.turn(0.9) == 0.9
    assert knob.turn(0.1) == 0.1


# Fault 13: a sweep of two messages crosses without ever being near.
@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (1.0, 0.0), (0.1, 0.6)])
def test_a_fast_sweep_picks_up(start: float, end: float) -> None:
    knob = Knob("pickup", 0.5)
    assert knob.turn(start) is None
    assert knob.turn(end) == end


def test_the_first_message_far_away_does_not_pick_up() -> None:
    assert Knob("pickup", 0.5).turn(1.0) is None


def test_a_knob_at_the_parameters_end_is_there() -> None:
    assert Knob("pickup", 0.0).turn(0.0) == 0.0


@pytest.mark.parametrize("kind", ["pickup", "scale"])
def test_a_parameter_moved_by_others_must_be_taken_over_again(kind: str) -> None:
    knob = Knob(kind, 0.5)
    knob.turn(0.4)
    knob.turn(1.0)
    assert knob.turn(0.6) == pytest.approx(0.6)
    knob.others_set(0.1)
    if kind == "pickup":
        assert knob.turn(0.7) is None
        assert knob.turn(0.05) == 0.05
    else:
        assert 0.1 < (knob.turn(0.7) or 0.0) < 0.5


def test_many_moves_within_a_tick_stay_taken_over() -> None:
    knob = Knob("pickup", 0.5)
    knob.turn(0.5)
    for step in range(1, 40):
        assert knob.turn(0.5 + step / 100, tick=step % 7 == 0) == 0.5 + step / 100


def test_a_lagging_publication_is_not_somebody_else() -> None:
    knob = Knob("pickup", 0.5)
    knob.turn(0.5)
    history = [0.5] * 3
    for step in range(1, 30):
        knob.published = history[-3]
        assert knob.turn(0.5 + step / 100, tick=False) is not None
        history.append(knob.parameter)


def test_scale_moves_at_once_and_meets_at_the_end() -> None:
    knob = Knob("scale", 0.8)
    assert knob.turn(0.2) is None
    assert knob.turn(0.6) == pytest.approx(0.9)
    assert knob.turn(1.0) == pytest.approx(1.0)
    assert knob.turn(0.3) == pytest.approx(0.3)


def test_scale_meets_at_the_bottom_too() -> None:
    knob = Knob("scale", 0.2)
    knob.turn(0.8)
    assert knob.turn(0.4) == pytest.approx(0.1)
    assert knob.turn(0.0) == 0.0
    assert knob.turn(0.5) == 0.5


def test_scale_never_leaves_the_range_and_never_runs_against_the_knob() -> None:
    rng = random.Random(3)
    for _ in range(300):
        knob = Knob("scale", rng.random())
        before = rng.random()
        knob.turn(before)
        for _ in range(50):
            at, value = rng.choice((0.0, 1.0, rng.random(), rng.random())), knob.parameter
            moved = knob.turn(at)
            if moved is not None:
                assert -1e-12 <= moved <= 1.0 + 1e-12
                assert (moved - value) * (at - before) >= -1e-12
            before = at


def test_a_released_knob_must_take_over_again() -> None:
    knob = Knob("pickup", 0.5)
    knob.turn(0.5)
    knob.takeover.release()
    assert knob.turn(1.0) is None
    assert knob.turn(0.2) == 0.2
