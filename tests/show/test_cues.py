"""Which cue counts at a moment."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from installation.show.config import WEEKDAYS, Cue
from installation.show.cues import Due, latest

HOURS = (
    Cue(at="10:00", scene="day"),
    Cue(at="18:00", scene="closed"),
    Cue(at="20:00", days=("thu",), scene="closed"),
    Cue(at="18:00", days=("thu",), scene="evening"),
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_without_cues_there_is_none():
    assert latest((), at("2026-11-27T12:00")) is None


def test_it_is_the_newest_that_has_come():
    assert latest(HOURS, at("2026-11-27T12:00")) == Due(at("2026-11-27T10:00"), "day")  # a Friday
    assert latest(HOURS, at("2026-11-27T18:00")) == Due(at("2026-11-27T18:00"), "closed")
    assert latest(HOURS, at("2026-11-27T17:59:59.9")) == Due(at("2026-11-27T10:00"), "day")


def test_over_midnight_it_is_yesterdays():
    assert latest(HOURS, at("2026-11-28T03:00")) == Due(at("2026-11-27T18:00"), "closed")


def test_of_two_of_one_moment_the_later_in_the_file_counts():
    assert latest(HOURS, at("2026-11-26T19:00")) == Due(at("2026-11-26T18:00"), "evening")


def test_a_cue_of_one_weekday_counts_for_a_week():
    sunday = (Cue(at="09:00", days=("sun",), scene="day"),)
    assert latest(sunday, at("2026-11-28T23:00")) == Due(at("2026-11-22T09:00"), "day")
    assert latest(sunday, at("2026-11-29T08:59")) == Due(at("2026-11-22T09:00"), "day")
    assert latest(sunday, at("2026-11-29T09:00")) == Due(at("2026-11-29T09:00"), "day")


def test_the_moment_that_a_clock_leaps_over_in_spring_is_due_after_it():
    early = (Cue(at="02:30", scene="day"),)
    assert latest(early, at("2026-03-29T01:59:59")) == Due(at("2026-03-28T02:30"), "day")
    assert latest(early, at("2026-03-29T03:00")) == Due(at("2026-03-29T02:30"), "day")


cues = st.lists(
    st.builds(
        Cue,
        at=st.times().map(lambda time: time.strftime("%H:%M")),
        days=st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=7).map(tuple),
        scene=st.sampled_from(["day", "closed"]),
    ),
    min_size=1,
    max_size=5,
)
moments = st.datetimes(datetime(2026, 1, 1), datetime(2040, 1, 1))


@given(cues, moments)
def test_it_is_never_later_than_now_nor_older_than_a_week_and_goes_only_forward(some, now):
    due = latest(some, now)
    assert due is not None
    assert now - timedelta(days=7) < due.moment <= now
    after = latest(some, now + timedelta(hours=1))
    assert after is not None
    assert after.moment >= due.moment
