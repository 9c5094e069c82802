"""Counting and the one log line; the token bucket."""

from __future__ import annotations

import logging

import pytest

from installation.control.bucket import Bucket
from installation.control.drops import Drops


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_flood_of_drops_is_one_line_then_a_seldom_summary(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    drops = Drops("osc", logging.getLogger("test.drops"), ("malformed",), clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(360_000):
            clock.now += 0.01
            drops.drop("malformed", "rubbish", "osc 10.0.0.1:5")
    assert drops.counts == {"malformed": 360_000}
    assert len(caplog.records) <= 14
    assert "dropped 1 message" in caplog.messages[0]


def test_the_log_line_is_short_and_escaped(caplog: pytest.LogCaptureFixture) -> None:
    drops = Drops("osc", logging.getLogger("test.drops"), ("unknown_address",))
    with caplog.at_level(logging.WARNING):
        drops.drop("unknown_address", "/a\n\x1b[31mERROR ☃" + "x" * 10_000, "osc 10.0.0.1:5")
    (line,) = caplog.messages
    assert len(line) < 250
    assert line.isascii()
    assert line.isprintable()


def test_a_note_is_counted_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    drops = Drops("osc", logging.getLogger("test.drops"), ("clamped",))
    drops.note("clamped")
    assert drops.counts == {"clamped": 1}
    assert not caplog.records


def test_the_last_drops_of_a_burst_are_told_later(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    drops = Drops("osc", logging.getLogger("test.drops"), ("malformed",), clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            drops.drop("malformed", "rubbish", "osc 10.0.0.1:5")
        drops.flush()
        assert len(caplog.records) == 1
        clock.now += 11.0
        drops.flush()
    assert "dropped 4 messages" in caplog.messages[1]


def test_a_summary_names_each_thing_once_and_only_a_few(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    drops = Drops("osc", logging.getLogger("test.drops"), ("unknown_address",), clock)
    with caplog.at_level(logging.WARNING):
        for address in ("/a", "/b", "/c", "/b", "/c", "/c"):
            drops.drop("unknown_address", f"{address}: no such address", "osc 10.0.0.1:5")
        clock.now += 11.0
        drops.flush()
        for i in range(10_000):
            drops.drop("unknown_address", f"/{i}: {'x' * 10_000}", "osc 10.0.0.1:5")
        clock.now += 700.0
        drops.flush()
    assert caplog.messages[1].endswith("unknown address: /c: no such address; also /b: no such address")
    assert len(caplog.messages[2]) < 800


def test_after_a_quiet_time_drops_are_told_soon_again(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    drops = Drops("osc", logging.getLogger("test.drops"), ("malformed",), clock)
    for _ in range(360_000):
        clock.now += 0.01
        drops.drop("malformed", "rubbish", "osc 10.0.0.1:5")
    clock.now += 3600.0
    drops.flush()
    clock.now += 3600.0
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        drops.drop("malformed", "rubbish", "osc 10.0.0.1:5")
        drops.drop("malformed", "rubbish", "osc 10.0.0.1:5")
        clock.now += 11.0
        drops.flush()
    assert len(caplog.records) == 2


def test_the_bucket_gives_its_burst_and_then_its_rate() -> None:
    clock = Clock()
    bucket = Bucket(10.0, 5, clock)
    assert [bucket.take() for _ in range(7)] == [True] * 5 + [False] * 2
    clock.now += 0.25
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    clock.now += 1e6
    assert sum(bucket.take() for _ in range(100)) == 5
