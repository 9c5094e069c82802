"""The states of a film's frames: exact count, exact times, loops that close."""

from __future__ import annotations

from fractions import Fraction

import pytest

from installation.errors import ConfigError
from installation.show.film import Film, loop_of
from installation.show.messages import ControlMessage
from installation.show.state import ShowState
from tests.show.shows import make_show


def states(film: Film, show, **more) -> list[ShowState | None]:
    return list(film.states(show, **more))


def test_frames_are_exactly_one_over_fps_apart_however_many():
    film = Film(Fraction(30000, 1001), 3000, start_s=2.0)
    show = make_show(params={"drift": {"speed": 0.5}})
    times = [state.t for state in states(film, show) if state]
    assert times == [2.0 + float(n * Fraction(1001, 30000)) for n in range(3000)]


def test_the_first_frame_is_the_show_at_its_start_time():
    show = make_show(params={"drift": {"speed": 0.5}})
    first = states(Film(Fraction(25), 1, start_s=3.0), show)[0]
    assert first is not None
    assert first.strands[0].position == pytest.approx(1.5)


def test_black_stands_before_and_after_and_is_not_counted():
    film = Film(Fraction(25), 4, leader_frames=3)
    shown = states(film, make_show())
    assert film.total == len(shown) == 10
    assert [state is None for state in shown] == [True] * 3 + [False] * 4 + [True] * 3
    assert shown[3] is not None
    assert shown[3].t == 0.0


def test_what_was_said_is_heard_at_its_tick():
    film = Film(Fraction(10), 4)

    def messages(tick):
        return [ControlMessage("latent/psi", 0.25, 0.0)] if tick.index == 3 else []

    shown = states(film, make_show(params={"latent": {"psi": 0.5}}), messages=messages)
    assert [state.value("latent/psi") for state in shown if state] == [0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize("speed", [0.3, -0.3])
@pytest.mark.parametrize("frames", [None, 333])
def test_the_frame_after_the_last_of_a_loop_would_be_the_first(speed, frames):
    show = make_show(walk={"loop_keyframes": 4}, params={"drift": {"speed": speed}})
    looped, count = loop_of(show, Fraction(30000, 1001), frames)
    assert count == (frames or round(4 / 0.3 * 30000 / 1001))
    shown = states(Film(Fraction(30000, 1001), count + 1), looped)
    first, last = shown[0], shown[-1]
    assert first is not None
    assert last is not None
    assert first.strands[0].mode == "loop"
    distance = abs(last.strands[0].position - first.strands[0].position)
    assert min(distance, 4 - distance) < 1e-9


def test_a_tour_that_repeats_stays_a_tour():
    show = make_show(walk={"tour": [{"seed": 1}, {"seed": 2}]}, params={"walk": {"mode": "tour"}})
    assert loop_of(show, Fraction(25), 100)[0].first_value("walk/mode") == "tour"


@pytest.mark.parametrize(
    ("tables", "wrong"),
    [
        ({"params": {"drift": {"speed": 0.0}}}, "stands still"),
        ({"params": {"drift": {"pause": True}}}, "stands still"),
        ({"walk": {"tour": [{"seed": 1}], "repeat": False}, "params": {"walk": {"mode": "tour"}}}, "does not repeat"),
        ({"walk": {"loop_keyframes": 1000}}, "more than"),
    ],
)
def test_what_cannot_close_is_refused(tables, wrong):
    with pytest.raises(ConfigError, match=wrong):
        loop_of(make_show(**tables), Fraction(25), 10)
