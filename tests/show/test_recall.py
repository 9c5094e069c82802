"""What a picture says of its making: read back as the very state, and nothing else read at all."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from installation.errors import ConfigError
from installation.show.clock import Tick
from installation.show.messages import ControlMessage
from installation.show.recall import NOTE, notes, recalled, seen
from installation.show.state import ShowState, first_state
from installation.show.step import step
from tests.show.shows import make_show
from tests.show.test_kept_state import JSON

TABLES = {
    "title": "Früh ☃",
    "looks": {"neutral": {}, "silver": {"saturation": 0}},
    "models": [{"name": "b", "base": "b"}],
}
SHOW = make_show(**TABLES)


def moved() -> tuple[ShowState, ShowState]:
    """A state in the middle of everything, and one a second later under another look."""
    sets = [
        ControlMessage(name, value)
        for name, value in {
            "walk/seed": 7,
            "style/seed": 9,
            "latent/psi": 0.1,
            "look/select": "silver",
            "model/select": "b",
            "drift/speed": 2.0,
        }.items()
    ]
    state = step(step(first_state(SHOW), (), Tick(1, 5.0, 5.0), SHOW), sets, Tick(2, 5.1, 0.1), SHOW)
    drawn = step(state, (), Tick(3, 5.4, 0.3), SHOW)
    return drawn, step(drawn, [ControlMessage("look/brightness", 0.5)], Tick(4, 6.4, 1.0), SHOW)


def test_what_was_seen_is_read_back_as_it_was() -> None:
    drawn, graded = moved()
    state = seen(drawn, graded)
    back = recalled(notes(state, SHOW, rotate=90)[NOTE], SHOW, "a.png")
    assert back.state == state
    assert (back.rotate, back.same) == (90, True)


def test_what_was_seen_is_the_drawing_of_then_under_the_look_of_now() -> None:
    drawn, graded = moved()
    state = seen(drawn, graded)
    assert [strand.position for strand in state.strands] == [strand.position for strand in drawn.strands]
    assert [strand.fade.at(state.t) for strand in state.strands] == [
        strand.fade.at(drawn.t) for strand in drawn.strands
    ]
    assert state.value("latent/psi") == drawn.value("latent/psi")
    assert state.grade(SHOW) == graded.grade(SHOW)
    assert seen(drawn, graded, "cascade").values["model/select"] == "cascade"


def test_first_values_may_change_and_what_draws_is_told() -> None:
    text = notes(seen(*moved()), SHOW)[NOTE]
    assert recalled(text, make_show(**TABLES, params={"latent": {"psi": 0.2}}), "").same
    other = make_show(**TABLES, walk={"space": "w"})
    assert not recalled(text, other, "").same


@pytest.mark.parametrize("tables", [{"title": "another"}, {"looks": {"neutral": {}}}, {"models": []}])
def test_another_show_is_refused(tables: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"a\.png"):
        recalled(notes(seen(*moved()), SHOW)[NOTE], make_show(**(TABLES | tables)), "a.png")


GOOD = json.loads(notes(seen(*moved()), SHOW)[NOTE])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 100_000,
        "null",
        "[]",
        "1" * 5000,
        json.dumps(GOOD | {"rotate": 45}),
        json.dumps({**GOOD, "state": []}),
    ],
)
def test_something_else_is_one_clear_error(text: str) -> None:
    with pytest.raises(ConfigError, match=r"a\.png"):
        recalled(text, SHOW, "a.png")


@given(key=st.sampled_from(sorted(GOOD)), inner=st.sampled_from(sorted(GOOD["state"])), value=JSON)
def test_whatever_stands_in_it_nothing_but_a_clear_error_comes(key: str, inner: str, value: object) -> None:
    for tree in (GOOD | {key: value}, GOOD | {"state": GOOD["state"] | {inner: value}}):
        try:
            assert recalled(json.dumps(tree), SHOW, "a.png").state.strands
        except ConfigError:
            continue
