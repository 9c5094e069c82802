"""step: the walk under every hand. Positions, jumps, holds, and that nothing ever jumps unasked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from installation.latent.latents import place
from installation.latent.walk import Key, nearest_key
from installation.show.clock import LONGEST_TICK_S, FrameClock, LiveClock, Tick
from installation.show.messages import ControlMessage
from installation.show.state import ShowState, first_state, from_json, resumed, to_json
from installation.show.step import MOST_STRANDS, step
from tests.show.shows import make_show

SHOW = make_show(looks={"neutral": {}, "silver": {"saturation": 0}}, walk={"tour": [{"seed": 5}, {"seed": 6}]})
Z_DIM = 32


def run(show, seconds, fps=60, script=(), state: ShowState | None = None, t0=0.0) -> list[ShowState]:
    """States of every tick; script: (time, message) pairs."""
    state = state or replace(first_state(show), t=t0)
    clock = FrameClock(fps, start_s=t0)
    script = sorted(script, key=lambda row: row[0])
    states = []
    for _ in range(round(seconds * fps) + 1):
        tick = clock.tick()
        due = [message for when, message in script if tick.t - tick.dt < when + t0 <= tick.t or when + t0 == tick.t]
        state = step(state, due, tick, show)
        states.append(state)
    return states


def say(name, value=None, ramp_s=None):
    return ControlMessage(name, value, ramp_s)


def path(states, show=SHOW):
    return np.array([place(state, show, Z_DIM) for state in states])


def test_position_is_the_integral_of_speed():
    show = make_show(params={"drift": {"speed": 0.25}})
    assert run(show, 8)[-1].strands[-1].position == pytest.approx(2.0)


def test_negative_speed_runs_the_same_walk_back():
    show = make_show(params={"drift": {"speed": 0.5}})
    out = run(show, 4)
    back = run(show, 6, script=[(0, say("drift/speed", -0.5, 0.0))], state=out[-1])
    assert np.allclose(path([out[0]]), path([back[240]]), atol=1e-6)


KNOB = st.lists(
    st.tuples(st.floats(0, 4), st.floats(-4, 4), st.one_of(st.none(), st.floats(0.05, 5))), min_size=1, max_size=12
)


@settings(max_examples=30)
@given(knob=KNOB, start=st.sampled_from([0.0, 1e7]))
def test_turning_the_knob_never_jumps_the_position(knob, start):
    script = [(round(when * 60) / 60, say("drift/speed", speed, ramp)) for when, speed, ramp in knob]
    positions = np.array([s.strands[-1].position for s in run(SHOW, 5, script=script, t0=start)])
    steps = np.diff(positions)
    assert np.abs(steps).max() <= 4.0 / 60 + 1e-6
    # The speed follows within the smoothing time (0.5 s) or the ramp (0.05 s at least).
    assert np.abs(np.diff(steps)).max() * 3600 <= 8.0 / 0.05 + 1e-3


@settings(max_examples=20)
@given(knob=KNOB)
def test_30_and_60_hz_agree(knob):
    script = [(round(when * 30) / 30, say("drift/speed", speed, ramp)) for when, speed, ramp in knob]
    slow, fast = run(SHOW, 5, 30, script), run(SHOW, 5, 60, script)
    assert slow[-1].strands[-1].position == pytest.approx(fast[-1].strands[-1].position, abs=1e-6)


MESSAGES = st.one_of(
    st.builds(lambda v: say("drift/speed", v), st.floats(-2, 2)),
    st.builds(lambda v, r: say("walk/seed", v, r), st.integers(0, 2**32 - 1), st.floats(0.5, 3)),
    st.sampled_from([say("walk/next"), say("walk/previous"), say("drift/pause", True), say("drift/pause", False)]),
    st.builds(lambda v: say("walk/mode", v, 1.0), st.sampled_from(["wander", "loop", "tour", "hold"])),
)


@settings(max_examples=40)
@given(script=st.lists(st.tuples(st.floats(0, 3), MESSAGES), max_size=10), start=st.sampled_from([0.0, 1e7]))
def test_the_motion_is_continuous_with_bounded_acceleration_whatever_is_played(script, start):
    points = path(run(SHOW, 6, script=script, t0=start))
    speed = np.linalg.norm(np.diff(points, axis=0), axis=1) / np.sqrt(Z_DIM) * 60
    # At most 2 keyframes/s at about 2 rad each, and three fades of half a circle in 0.5 s on top of one another.
    assert speed.max() < 45
    acceleration = np.linalg.norm(np.diff(points, 2, axis=0), axis=1) / np.sqrt(Z_DIM) * 3600
    assert acceleration.max() < 400


def test_a_keyframe_is_no_corner():
    """Across a keyframe speed and direction change no more than elsewhere."""
    show = make_show(params={"drift": {"speed": 0.5}})
    points = path(run(show, 9, fps=240), show)
    velocity = np.diff(points, axis=0) * 240
    turn = np.linalg.norm(np.diff(velocity, axis=0), axis=1) * 240
    at_keyframe = np.arange(len(turn)) % 480 < 3
    assert turn[at_keyframe].max() <= turn[~at_keyframe].max() * 1.05
    speed = np.linalg.norm(velocity, axis=1)
    assert speed.std() / speed.mean() < 0.12


def test_ten_million_seconds_in_the_motion_is_as_smooth_as_at_the_start():
    show = make_show(params={"drift": {"speed": 0.3}})
    late = replace(first_state(show), t=1e7)
    late = replace(late, strands=(replace(late.strands[0], position=3e6),))
    early, late = (
        np.linalg.norm(np.diff(path(run(show, 20, state=state, t0=state.t)), axis=0), axis=1)
        for state in (first_state(show), late)
    )
    assert late.std() / late.mean() < early.std() / early.mean() + 0.02
    assert np.abs(np.diff(late)).max() < 1.5 * np.abs(np.diff(early)).max()


def test_the_loop_closes():
    show = make_show(walk={"loop_keyframes": 5}, params={"walk": {"mode": "loop"}, "drift": {"speed": 0.5}})
    states = run(show, 10)
    assert np.allclose(path([states[0]], show), path([states[600]], show), atol=1e-9)
    points = path(states[:600], show)
    seam = np.linalg.norm(points[0] - points[-1])
    assert seam == pytest.approx(np.linalg.norm(points[1] - points[0]), rel=0.05)


def test_a_tour_rests_on_its_stops():
    show = make_show(
        params={"walk": {"mode": "tour"}, "drift": {"speed": 0.25}},
        walk={"tour": [{"seed": 1, "hold_s": 2}, {"seed": 2}, {"seed": 3}]},
    )
    points = path(run(show, 12), show)
    moved = np.linalg.norm(np.diff(points, axis=0), axis=1)
    assert moved[:119].max() == 0.0
    assert moved[130:230].min() > 0.0
    assert np.allclose(points[0], points[720], atol=1e-6)


def test_a_tour_that_does_not_repeat_ends_on_its_last_stop():
    show = make_show(
        params={"walk": {"mode": "tour"}, "drift": {"speed": 1.0}},
        walk={"tour": [{"seed": 1}, {"seed": 2}], "repeat": False},
    )
    points = path(run(show, 3), show)
    end = path(run(make_show(params={"walk": {"seed": 2}, "drift": {"pause": True}}), 0.1), show)
    assert np.allclose(points[-1], points[-60])
    assert np.allclose(points[-1], end[-1])


def test_hold_stands_still_on_the_seed():
    show = make_show(params={"walk": {"mode": "hold", "seed": 9}, "drift": {"speed": 1.0}})
    points = path(run(show, 2), show)
    assert np.abs(points - points[0]).max() == 0.0


STOPS = {"tour": [{"seed": 1}, {"seed": 2}, {"seed": 3}], "loop_keyframes": 3}


@pytest.mark.parametrize("mode", ["wander", "loop", "tour"])
def test_a_hold_stands_still_where_the_walk_was_and_lets_it_go_on_from_there(mode):
    show = make_show(params={"walk": {"mode": mode}, "drift": {"speed": 0.6}}, walk=STOPS)
    script = [(4, say("walk/mode", "hold", 0.0)), (6, say("walk/mode", mode, 0.0))]
    states = run(show, 7, script=script)
    before, held, after = states[238:240], states[240:359], states[361]
    points = path([*before, *held, after], show)
    still_there = points[2:-1]
    assert {state.values["walk/mode"] for state in held} == {"hold"}
    assert np.abs(still_there - still_there[0]).max() == 0.0
    step_by = np.linalg.norm(points[1] - points[0])
    assert np.linalg.norm(still_there[0] - points[1]) <= 3 * step_by, "it is the picture that was there"
    assert np.linalg.norm(points[-1] - still_there[0]) <= 3 * step_by, "it goes on from there"


def test_a_held_tour_is_turned_stop_by_stop_and_left_by_a_seed():
    show = make_show(params={"walk": {"mode": "tour", "fade_s": 0.0}}, walk=STOPS)
    script = [(1, say("walk/mode", "hold")), (2, say("walk/next")), (3, say("walk/seed", 9))]
    states = run(show, 4, script=script)
    assert nearest_key(states[150].strands[-1], show) == Key(2)
    assert [states[150].values["walk/mode"], states[-1].values["walk/mode"]] == ["hold", "hold"]
    assert nearest_key(states[-1].strands[-1], show) == Key(9)


def test_a_state_of_a_held_tour_comes_back_and_one_of_a_walk_that_is_none_does_not():
    show = make_show(params={"walk": {"mode": "tour"}}, walk=STOPS)
    state = run(show, 3, script=[(1, say("walk/mode", "hold", 0.0))])[-1]
    assert from_json(to_json(state)) == state
    assert resumed(state, show) == state
    assert resumed(replace(state, strands=(replace(state.strands[0], held="hold"),)), show) is None


def test_a_new_seed_arrives_in_its_fade_time_and_shows_that_portrait():
    states = run(SHOW, 4, script=[(0.5, say("drift/pause", True)), (0.5, say("walk/seed", 1234, 2.0))])
    wanted = path(run(make_show(params={"walk": {"seed": 1234}, "drift": {"pause": True}}), 0.1))[-1]
    during, after = path([states[60]])[0], path([states[-1]])[0]
    assert len(states[60].strands) == 2
    assert len(states[-1].strands) == 1
    assert not np.allclose(during, wanted, atol=0.1)
    # The drift takes a moment to stop, so the walk is a little beyond the keyframe.
    assert np.linalg.norm(after - wanted) / np.linalg.norm(wanted) < 0.15


def test_next_and_previous_turn_a_page():
    states = run(
        SHOW,
        1,
        script=[
            (0, say("walk/fade_s", 0.0)),
            (0.1, say("walk/next")),
            (0.2, say("walk/next")),
            (0.3, say("walk/previous")),
        ],
    )
    assert round(states[6].strands[-1].position) == 1
    assert round(states[12].strands[-1].position) == 2
    assert round(states[18].strands[-1].position) == 1


def test_a_storm_of_jumps_keeps_few_strands_and_ends_at_the_newest():
    script = [(0.01 * i, say("walk/seed", i, 1.0)) for i in range(1, 101)]
    states = run(SHOW, 8, script=script)
    assert max(len(state.strands) for state in states) <= MOST_STRANDS
    assert [strand.seed for strand in states[-1].strands] == [100]


def test_a_seed_leaves_the_tour():
    show = make_show(params={"walk": {"mode": "tour"}}, walk={"tour": [{"seed": 1}, {"seed": 2}]})
    state = run(show, 3, script=[(0.1, say("walk/seed", 7, 1.0))])[-1]
    assert (state.strands[-1].mode, state.strands[-1].seed, state.values["walk/mode"]) == ("wander", 7, "wander")


def test_a_tour_cannot_be_chosen_where_there_is_none():
    show = make_show()
    state = run(show, 1, script=[(0.1, say("walk/mode", "tour"))])[-1]
    assert state.strands[-1].mode == "wander"
    assert state.values["walk/mode"] == "wander"


def test_pause_glides_to_a_stop_and_on():
    states = run(SHOW, 8, script=[(1, say("drift/pause", True)), (5, say("drift/pause", False))])
    speeds = np.diff([state.strands[-1].position for state in states]) * 60
    assert speeds[290] == pytest.approx(0.0, abs=1e-4)
    assert speeds[-1] == pytest.approx(0.1, rel=0.01)
    assert np.abs(np.diff(speeds)).max() < 0.1 / 0.5 / 60 + 1e-6


def test_the_walk_waits_while_the_engine_is_away_but_faders_work():
    state = first_state(SHOW)
    for i in range(1, 61):
        state = step(state, [say("look/brightness", 0.2)] if i == 1 else [], Tick(i, i / 60, 1 / 60, hold=True), SHOW)
    assert state.strands[-1].position == 0.0
    assert state.value("look/brightness") == pytest.approx(0.2, abs=1e-3)


def test_blackout_and_looks_fade_as_their_rows_say():
    states = run(SHOW, 2, script=[(0, say("look/blackout", True)), (0, say("look/select", "silver", 1.0))])
    assert 0 < states[6].value("look/blackout") < 1
    assert states[-1].value("look/blackout") == pytest.approx(1, abs=0.01)
    assert states[30].grade(SHOW).saturation == pytest.approx(0.5, abs=0.02)
    assert states[-1].grade(SHOW).saturation == 0.0


def test_the_same_show_seed_and_messages_give_the_same_states():
    script = [(0.3, say("walk/seed", 3, 0.7)), (0.9, say("latent/psi", 0.2)), (1.5, say("walk/next"))]
    assert run(SHOW, 3, script=script) == run(SHOW, 3, script=script)


@settings(max_examples=20)
@given(script=st.lists(st.tuples(st.floats(0, 1), MESSAGES), max_size=8))
def test_a_state_comes_back_from_the_board_and_goes_on_the_same(script):
    state = run(SHOW, 1, script=script)[-1]
    back = resumed(from_json(to_json(state)), SHOW)
    assert back == replace(state, pressed=())
    assert len(to_json(state)) < 8192


@pytest.mark.parametrize(
    "edited", [{"looks": {"gold": {}}}, {"params": {"drift": {"speed": 0.3}}}, {"walk": {"space": "w"}}]
)
def test_a_state_of_a_show_that_was_edited_since_is_not_resumed(edited):
    """Or the artist would change the file and see nothing of it."""
    tables = {"looks": {"neutral": {}}, "params": {"drift": {"speed": 0.2}}, "walk": {"space": "z"}}
    state = first_state(make_show(**tables))
    assert resumed(state, make_show(**tables)) is not None
    assert resumed(state, make_show(**(tables | edited))) is None


def test_other_screens_and_ports_are_the_same_show():
    state = first_state(make_show())
    assert resumed(state, make_show(screen={"rotate": 90}, osc={"port": 9001})) is not None


def test_a_stall_cannot_fling_the_walk():
    times = iter([0.0, 0.016, 3600.0, 3600.016, 3599.0])
    clock = LiveClock(lambda: next(times))
    assert [round(clock.tick().dt, 3) for _ in range(5)] == [0.0, 0.016, LONGEST_TICK_S, 0.016, 0.0]


def test_start_and_stop_say_whether_it_records_and_touch_nothing_else():
    before = run(SHOW, 0.5)[-1]
    on = run(SHOW, 0.1, script=[(0, say("record/start"))], state=before, t0=before.t)[0]
    assert on.values["record/on"] is True
    assert on.pressed == ("record/start",)
    assert replace(on, values=before.values, pressed=(), index=before.index) == replace(before, pressed=())
    twice = [(0, say("record/stop")), (0, say("record/start")), (0, say("record/stop"))]
    assert run(SHOW, 0.1, script=twice, state=on, t0=on.t)[0].values["record/on"] is False
