"""Key names -> messages."""

from __future__ import annotations

from typing import Any

import pytest

from installation.control.keyboard import KEYS, KeyboardSource, key_message
from installation.show.messages import ControlMessage
from installation.show.params import ParamTable


@pytest.mark.parametrize(
    ("key", "name", "value"),
    [
        ("space", "drift/pause", True),
        ("b", "look/blackout", True),
        ("h", "hud/show", True),
        ("s", "snapshot", None),
        ("right", "walk/next", None),
        ("n", "walk/next", None),
        ("left", "walk/previous", None),
        ("p", "walk/previous", None),
    ],
)
def test_a_key_says(table: ParamTable, key: str, name: str, value: Any) -> None:
    assert key_message(key, {}, table) == ControlMessage(name, value, None, "keyboard")


@pytest.mark.parametrize(("key", "name"), [("space", "drift/pause"), ("b", "look/blackout"), ("h", "hud/show")])
def test_a_toggle_goes_back(table: ParamTable, key: str, name: str) -> None:
    message = key_message(key, {name: True}, table)
    assert message is not None
    assert message.value is False


@pytest.mark.parametrize("key", ["f", "esc", "x", "", "F13", "SPACE"])
def test_other_keys_mean_nothing(table: ParamTable, key: str) -> None:
    assert key_message(key, {}, table) is None
    source = KeyboardSource(table)
    assert not source.press(key)
    assert source.poll() == []


def climb(table: ParamTable, key: str, speed: float, presses: int) -> list[float]:
    speeds = [speed]
    for _ in range(presses):
        message = key_message(key, {"drift/speed": speeds[-1]}, table)
        assert message is not None
        assert isinstance(message.value, float)
        speeds.append(message.value)
    return speeds


def test_speed_climbs_from_end_to_end_through_zero_and_back(table: ParamTable) -> None:
    up = climb(table, "up", -4.0, 64)
    down = climb(table, "down", 4.0, 64)
    assert up[-1] == 4.0
    assert 0.0 in up
    assert up == down[::-1]
    assert climb(table, "up", 4.0, 1) == [4.0, 4.0]


@pytest.mark.parametrize("speed", [0.123, -0.123, 0.999, 3.99, -2.3])
def test_a_speed_off_the_ladder_still_moves_the_right_way(table: ParamTable, speed: float) -> None:
    assert climb(table, "up", speed, 1)[1] > speed
    assert climb(table, "down", speed, 1)[1] < speed


def test_presses_within_one_tick_all_count(table: ParamTable) -> None:
    source = KeyboardSource(table)
    source.publish({"drift/speed": 0.1, "drift/pause": False})
    for key in ("up", "up", "space", "space", "b"):
        assert source.press(key)
    assert [(message.name, message.value) for message in source.poll()] == [
        ("drift/speed", 0.2),
        ("drift/pause", True),
        ("drift/pause", False),
        ("look/blackout", True),
    ]


def test_the_published_value_counts_again_after_the_tick(table: ParamTable) -> None:
    source = KeyboardSource(table)
    source.press("space")
    source.poll()
    source.publish({"drift/pause": False})
    source.press("space")
    assert source.poll()[0].value is True


def test_every_key_is_listed(table: ParamTable) -> None:
    assert all(key_message(key, {}, table) for key in KEYS)
    assert len(set(KEYS)) == len(KEYS) == 11
