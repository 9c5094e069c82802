"""The cues as a source: what is pressed, and when."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from installation.control.cues import CueSource
from installation.show.config import Cue
from installation.show.messages import ControlMessage

HOURS = (Cue(at="10:00", scene="day"), Cue(at="18:00", scene="closed"))


class Clock:
    def __init__(self, text: str) -> None:
        self.now = datetime.fromisoformat(text)

    def __call__(self) -> datetime:
        return self.now

    def go(self, **span: float) -> None:
        self.now += timedelta(**span)


def pressed(source: CueSource) -> list[tuple[str, float | None]]:
    return [(message.name, message.ramp_s) for message in source.poll()]


def test_a_show_that_is_started_at_night_is_closed_at_once():
    source = CueSource(HOURS, now=Clock("2026-11-27T23:00"))
    assert source.poll() == [ControlMessage("scene/closed", None, 0.0, "cues")]
    assert source.poll() == []


def test_a_wall_that_was_started_again_keeps_what_came_since_the_last_cue(tmp_path):
    clock = Clock("2026-11-27T12:00")
    assert pressed(CueSource(HOURS, kept=tmp_path / "cue", now=clock)) == [("scene/day", 0.0)]
    source = CueSource(HOURS, kept=tmp_path / "cue", now=clock)
    assert pressed(source) == []
    clock.go(hours=6)
    assert pressed(source) == [("scene/closed", None)]


def test_a_cue_that_fell_due_while_the_wall_was_away_is_pressed_when_it_is_back(tmp_path):
    clock = Clock("2026-11-27T17:59:58")
    CueSource(HOURS, kept=tmp_path / "cue", now=clock).poll()
    clock.go(seconds=7)
    assert pressed(CueSource(HOURS, kept=tmp_path / "cue", now=clock)) == [("scene/closed", None)]


@pytest.mark.parametrize("kept", [b"", b"yesterday", bytes(range(256)), b"2026-11-27T10:00:00+01:00"])
def test_what_is_kept_may_be_damaged(tmp_path, kept):
    (tmp_path / "cue").write_bytes(kept)
    assert len(CueSource(HOURS, kept=tmp_path / "cue", now=Clock("2026-11-27T19:00")).poll()) == 1


def test_where_nothing_can_be_kept_the_show_goes_on(tmp_path):
    source = CueSource(HOURS, kept=tmp_path / "gone" / "cue", now=Clock("2026-11-27T19:00"))
    assert pressed(source) == [("scene/closed", 0.0)]


def test_a_cue_is_pressed_once_in_its_second_with_the_scenes_own_fade():
    clock = Clock("2026-11-27T17:59:59.5")
    source = CueSource(HOURS, now=clock)
    assert pressed(source) == [("scene/day", 0.0)]
    said = []
    for _ in range(120):  # two seconds at 60 Hz
        said += pressed(source)
        clock.go(seconds=1 / 60)
    assert said == [("scene/closed", None)]
    assert source.counters() == {"pressed": 2}


def test_a_year_presses_each_cue_once():
    clock = Clock("2026-01-01T00:00")
    source = CueSource(HOURS, now=clock)
    assert pressed(source) == [("scene/closed", 0.0)]
    said = []
    for _ in range(365 * 24):
        clock.go(hours=1)
        said += [name for name, _ in pressed(source)]
    assert said == ["scene/day", "scene/closed"] * 365


def test_the_hour_that_comes_twice_in_autumn_presses_nothing_again():
    clock = Clock("2026-10-25T02:45")
    source = CueSource((Cue(at="02:30", scene="day"), Cue(at="01:00", scene="closed")), now=clock)
    assert pressed(source) == [("scene/day", 0.0)]
    clock.go(minutes=10)
    said = pressed(source)
    clock.go(hours=-1)  # summer time ends
    for _ in range(90):
        said += pressed(source)
        clock.go(minutes=1)
    assert said == []


@pytest.mark.parametrize(
    ("wrong", "right", "scene"),
    [("1970-01-01T00:00", "2026-11-27T12:00", "scene/day"), ("2031-05-05T12:00", "2026-11-27T19:00", "scene/closed")],
)
def test_a_clock_that_was_wrong_and_is_set_presses_what_counts_now(wrong, right, scene):
    clock = Clock(wrong)
    source = CueSource(HOURS, now=clock)
    source.poll()
    clock.now = datetime.fromisoformat(right)
    assert [name for name, _ in pressed(source)] == [scene]
    clock.go(minutes=1)
    assert pressed(source) == []


def test_closed_it_says_nothing():
    source = CueSource(HOURS, now=Clock("2026-11-27T23:00"))
    source.close()
    assert source.poll() == []
