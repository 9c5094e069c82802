"""Choices that melt into one another: shares are a mixture at every moment and never jump."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from installation.show.clock import FrameClock
from installation.show.messages import ControlMessage
from installation.show.picks import MOST_PICKS, choose, only, settled, shares
from installation.show.state import first_state, from_json, resumed, to_json
from installation.show.step import step
from tests.show.shows import make_show


def test_a_choice_melts_in_and_then_stands_alone():
    picks = choose(only(3), 7, 10.0, 2.0)
    assert shares(picks, 10.0) == [(3, 1.0)]
    assert dict(shares(picks, 11.0)) == pytest.approx({3: 0.5, 7: 0.5})
    assert settled(picks, 12.0) == picks[-1:]
    assert shares(settled(picks, 12.0), 12.0) == [(7, 1.0)]


def test_a_fade_of_zero_cuts():
    assert shares(choose(only(3), 7, 10.0, 0.0), 10.0) == [(7, 1.0)]


def test_what_is_chosen_and_replaced_at_once_leaves_nothing():
    picks = only(0)
    for value in range(1, 100):
        picks = choose(picks, value, 5.0, 1.0)
    assert [pick.value for pick in picks] == [0, 99]


def test_going_back_in_the_middle_does_not_jump():
    there = choose(only("a"), "b", 0.0, 2.0)
    back = choose(there, "a", 0.7, 2.0)
    assert dict(shares(back, 0.7)) == pytest.approx(dict(shares(there, 0.7)))
    assert shares(settled(back, 3.0), 3.0) == [("a", 1.0)]


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0.01, 3.0)), max_size=30), st.floats(0.05, 5.0))
def test_shares_are_a_mixture_and_memory_is_bounded(chosen, fade_s):
    picks, t = only(0), 0.0
    for value, wait in chosen:
        t += wait
        picks = choose(settled(picks, t), value, t, fade_s)
        assert len(picks) <= MOST_PICKS
        found = shares(picks, t)
        assert sum(share for _, share in found) == pytest.approx(1.0)
        assert all(share > 0.0 for _, share in found)
    end = t + fade_s * 1.001
    assert shares(settled(picks, end), end) == [(picks[-1].value, 1.0)]


SHOW = make_show(models=[{"name": "other", "base": "x"}], classes={"cat": 3, "dog": 5})


@pytest.mark.parametrize(
    ("name", "value", "span"),
    [("style/seed", 9, 2.0), ("class/select", "dog", 2.0), ("model/select", "other", 3.0)],
)
def test_each_takes_its_own_fade_or_the_ramp_of_the_message(name, value, span):
    clock, state = FrameClock(10), first_state(SHOW)
    state = step(state, [ControlMessage(name, value)], clock.tick(), SHOW)
    assert state.picks[name][-1].value == value
    assert state.picks[name][-1].weight.span_s == span
    state = step(state, [ControlMessage(name, state.picks[name][0].value, 0.5)], clock.tick(), SHOW)
    assert state.picks[name][-1].weight.span_s == 0.5


def test_choices_survive_the_way_to_the_next_run():
    state = step(first_state(SHOW), [ControlMessage("model/select", "other", 9.0)], FrameClock(10).tick(), SHOW)
    again = from_json(to_json(state))
    assert again == state
    assert resumed(again, SHOW) is not None


def test_a_show_with_other_models_begins_anew():
    other = make_show(models=[{"name": "other", "base": "y"}], classes={"cat": 3, "dog": 5})
    assert resumed(from_json(to_json(first_state(SHOW))), other) is None
