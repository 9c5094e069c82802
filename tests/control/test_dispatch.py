"""From address and arguments to messages, questions and counted drops, over the whole table."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytest

from installation.control.dispatch import REASONS, Dispatcher, Get, Refresh, Say, answer
from installation.control.drops import Drops
from installation.control.osc_codec import IMPULSE, Opaque, encode, parse
from installation.show.messages import ControlMessage
from installation.show.params import ParamTable, parameter_table

ROWS = list(parameter_table(("neutral", "ember")))
NUMERIC = [row for row in ROWS if row.kind in ("float", "int")]
VALUED = [row for row in ROWS if row.kind != "button"]
BUTTONS = [row for row in ROWS if row.kind == "button"]
CHOICES = [row for row in ROWS if row.kind == "choice"]


class Desk:
    """A dispatcher with its counters at hand."""

    def __init__(self, table: ParamTable) -> None:
        self.now = 0.0
        self.drops = Drops("osc", logging.getLogger("test.dispatch"), (*REASONS, "clamped"))
        self.dispatcher = Dispatcher(table, self.drops, version="1.2.3", clock=lambda: self.now)

    def __call__(self, address: str, *args: Any) -> Any:
        actions = self.dispatcher.dispatch(f"/installation/{address}", args, "osc test")
        assert len(actions) <= 1
        return actions[0] if actions else None

    def many(self, address: str, *args: Any) -> tuple[Any, ...]:
        return self.dispatcher.dispatch(f"/installation/{address}", args, "osc test")

    def counted(self) -> dict[str, int]:
        return {reason: count for reason, count in self.drops.counts.items() if count}


@pytest.fixture
def desk(table: ParamTable) -> Desk:
    return Desk(table)


def test_a_value_in_engineering_units(desk: Desk) -> None:
    assert desk("drift/speed", 0.5) == ControlMessage("drift/speed", 0.5, None, "osc test")


def test_a_ramp_as_second_argument(desk: Desk) -> None:
    assert desk("walk/seed", 7, 10).ramp_s == 10.0
    assert desk("look/select", "ember", 2.5) == ControlMessage("look/select", "ember", 2.5, "osc test")


@pytest.mark.parametrize("ramp", [-1.0, 3601.0, math.nan, math.inf, "1", True, None, Opaque("t", bytes(8))])
def test_a_bad_ramp_drops_the_message(desk: Desk, ramp: Any) -> None:
    assert desk("drift/speed", 0.5, ramp) is None
    assert desk.counted() == {"bad_ramp": 1}


@pytest.mark.parametrize("row", NUMERIC, ids=lambda row: row.name)
def test_the_norm_twin_spans_the_range(desk: Desk, row: Any) -> None:
    assert desk(f"{row.name}/norm", 0.0).value == row.lo
    assert desk(f"{row.name}/norm", 1).value == row.hi
    assert desk(f"{row.name}/norm", 0.5, 3.0) == ControlMessage(row.name, row.from_norm(0.5), 3.0, "osc test")


@pytest.mark.parametrize("row", [row for row in VALUED if row.kind != "choice"], ids=lambda row: row.name)
@pytest.mark.parametrize("one", [1, 1.0, True])
def test_every_numeric_type_is_taken(desk: Desk, row: Any, one: Any) -> None:
    expected = True if row.kind == "bool" else row.coerce(1.0)
    assert desk(row.name, one).value == expected


@pytest.mark.parametrize("row", VALUED, ids=lambda row: row.name)
def test_no_argument_and_a_question_mark_ask(desk: Desk, row: Any) -> None:
    for args in ((), ("?",)):
        assert desk(row.name, *args) == Get(row, False)
        assert desk(f"{row.name}/norm", *args) == Get(row, True)
    assert not desk.counted()


@pytest.mark.parametrize("row", VALUED, ids=lambda row: row.name)
def test_an_answer_sent_back_sets_the_same_value(desk: Desk, row: Any) -> None:
    value = row.choices[-1] if row.choices else row.from_norm(0.8)
    for norm in (False, True):
        ((address, args),) = parse(encode(*answer(Get(row, norm), {row.name: value})))
        again = desk.dispatcher.dispatch(address, args)[0]
        assert isinstance(again, ControlMessage)
        assert again.name == row.name
        if isinstance(value, (float, int)) and not isinstance(value, bool):
            assert again.value == pytest.approx(value, rel=1e-6)
        else:
            assert again.value == value


def test_an_answer_before_the_first_publish_is_the_default(table: ParamTable) -> None:
    assert answer(Get(table["latent/psi"], False), {}) == ("/installation/latent/psi", (0.7,))


@pytest.mark.parametrize("row", BUTTONS, ids=lambda row: row.name)
def test_what_presses_a_button(desk: Desk, row: Any) -> None:
    for args in ((), (IMPULSE,), (True,), (1,), (0.5,), (2**40,)):
        assert desk(row.name, *args) == ControlMessage(row.name, None, None, "osc test")
    for released in (False, 0, 0.0, -1):
        assert desk(row.name, released) is None
    assert not desk.counted()
    for wrong in ("1", "?", None, Opaque("b", b"")):
        assert desk(row.name, wrong) is None
    assert desk(row.name, math.nan) is None
    assert desk(row.name, 1, 2.0) is None
    assert desk.counted() == {"wrong_type": 4, "not_finite": 1, "wrong_arity": 1}


@pytest.mark.parametrize("row", CHOICES, ids=lambda row: row.name)
def test_a_choice_by_name_and_by_index(desk: Desk, row: Any) -> None:
    for index, name in enumerate(row.choices):
        assert desk(row.name, name).value == desk(row.name, index).value == desk(row.name, float(index)).value == name
    assert not desk.counted()
    assert desk(row.name, 99).value == row.choices[-1]
    assert desk.counted() == {"clamped": 1}


def test_a_class_with_a_name_is_also_the_networks_own_number() -> None:
    desk = Desk(parameter_table(classes=(("cat", 3), ("dog", 5))))
    for sent in ("dog", 5, 5.0):
        assert desk("class/select", sent, 2.0) == ControlMessage("class/select", "dog", 2.0, "osc test")
    assert not desk.counted()
    assert desk("class/select", 1) is None
    assert desk.counted() == {"unknown_choice": 1}


# Fault 9: a path is a word like any other.
@pytest.mark.parametrize("text", ["../../etc/passwd", "/dev/zero", "", "neutral ", "NEUTRAL", "a" * 5000, "%s%n", "☃"])
def test_an_unknown_choice_is_dropped(desk: Desk, text: str) -> None:
    assert desk("look/select", text) is None
    assert desk.counted() == {"unknown_choice": 1}


# Fault 7: odd numbers at every numeric address.
@pytest.mark.parametrize("row", VALUED, ids=lambda row: row.name)
@pytest.mark.parametrize("twin", ["", "/norm"])
def test_what_is_not_finite_is_dropped(desk: Desk, row: Any, twin: str) -> None:
    for value in (math.nan, math.inf, -math.inf):
        assert desk(row.name + twin, value) is None
    assert desk.counted() == {"not_finite": 3}


@pytest.mark.parametrize("row", NUMERIC, ids=lambda row: row.name)
@pytest.mark.parametrize("value", [1e38, -1e38, 1e308, -0.0, 1e-45, 5e-324, 2**63 - 1, -(2**63)])
def test_extreme_numbers_end_inside_the_range(desk: Desk, row: Any, value: Any) -> None:
    for twin, lo, hi in (("", row.lo, row.hi), ("/norm", 0.0, 1.0)):
        before = desk.drops.counts["clamped"]
        message = desk(row.name + twin, value)
        assert row.lo <= message.value <= row.hi
        assert desk.drops.counts["clamped"] - before == (not lo <= value <= hi)


# Fault 8: wrong types and numbers of arguments at every address.
@pytest.mark.parametrize("row", NUMERIC, ids=lambda row: row.name)
@pytest.mark.parametrize("wrong", ["fast", "0.5", None, IMPULSE, Opaque("b", b"\0"), Opaque("t", bytes(8))])
def test_a_wrong_type_is_dropped(desk: Desk, row: Any, wrong: Any) -> None:
    assert desk(row.name, wrong) is None
    assert desk(f"{row.name}/norm", wrong) is None
    assert desk.counted() == {"wrong_type": 2}


@pytest.mark.parametrize("row", VALUED, ids=lambda row: row.name)
def test_a_wrong_number_of_arguments_is_dropped(desk: Desk, row: Any) -> None:
    assert desk(row.name, 0.1, 0.2, 0.3) is None
    assert desk.counted() == {"wrong_arity": 1}


@pytest.mark.parametrize("address", ["drift/sped", "", "drift", "drift/speed/", "walk/next/norm", "Drift/Speed"])
def test_an_unknown_address_is_dropped(desk: Desk, address: str) -> None:
    assert desk(address, 1.0) is None
    assert desk.counted() == {"unknown_address": 1}


def test_ping_and_version(desk: Desk) -> None:
    assert desk("ping", 1, "two") == Say("/installation/out/ping", (1, "two"))
    assert desk("version") == desk("version", "?") == Say("/installation/out/version", ("1.2.3",))
    assert desk("version", "9") is None
    assert desk.counted() == {"read_only": 1}


def test_our_own_output_is_dropped(desk: Desk) -> None:
    assert desk("out/ping", 1) is None
    assert desk("out/version", "1.2.3") is None
    assert desk.counted() == {"own_output": 2}


def test_a_pattern_sets_all_it_matches(desk: Desk) -> None:
    names = [message.name for message in desk.many("look/{brightness,contrast,saturation}", 0.5)]
    assert names == ["look/brightness", "look/contrast", "look/saturation"]
    assert {message.value for message in desk.many("*/*/norm", 0.0)} >= {-4.0, 0}


def test_a_pattern_does_not_ask_and_presses_nothing_without_argument(desk: Desk) -> None:
    assert desk.many("walk/*") == ()
    assert desk.many("look/*", "?") == ()
    assert desk.counted() == {"wrong_arity": 2}
    assert "walk/next" in [message.name for message in desk.many("walk/*", 1)]


def test_a_pattern_reaches_no_ping(desk: Desk) -> None:
    assert desk.many("p*", 1) == ()
    assert desk.counted() == {"unknown_address": 1}


# Fault 2: the address that stops a matcher by regular expression.
def test_the_star_bomb_is_dropped(desk: Desk) -> None:
    assert desk.dispatcher.dispatch("/" + "*" * 30 + "x", (1,)) == ()
    assert desk.counted() == {"bad_pattern": 1}


def test_new_patterns_are_rationed_and_known_ones_are_not(desk: Desk) -> None:
    for i in range(1000):
        desk.many(f"look/*{i}", 1.0)
    assert desk.counted() == {"unknown_address": 64, "pattern_rate": 936}
    desk.now += 1.0
    for _ in range(1000):
        assert desk.many("look/bright*", 1.0)
    assert len(desk.dispatcher._patterns) <= 64


@pytest.mark.parametrize("args", [(), (1,), (True,), (IMPULSE,)])
def test_a_refresh_is_a_button(desk: Desk, args: tuple[Any, ...]) -> None:
    assert desk("refresh", *args) == Refresh()
    assert not desk.counted()


@pytest.mark.parametrize("args", [(0,), (False,), ("all",), (1, 2)])
def test_a_refresh_let_go_or_misspelt_is_none(desk: Desk, args: tuple[Any, ...]) -> None:
    assert desk("refresh", *args) is None


def test_the_status_is_answered_and_cannot_be_set(table: ParamTable) -> None:
    drops = Drops("osc", logging.getLogger("test.dispatch"), (*REASONS, "clamped"))
    dispatcher = Dispatcher(table, drops, status=lambda: ("Night", "faces", 12.5, 0.1, False))
    for args in ((), ("?",)):
        (said,) = dispatcher.dispatch("/installation/status", args)
        assert said == Say("/installation/out/status", ("Night", "faces", 12.5, 0.1, False))
    assert dispatcher.dispatch("/installation/status", (1,)) == ()
    assert drops.counts["read_only"] == 1
