"""A fault that comes back gives one line, then a number."""

from __future__ import annotations

import logging

import pytest

from installation.counted_log import KEYS, CountedLog


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(clock: Clock, caplog: pytest.LogCaptureFixture) -> CountedLog:
    caplog.set_level(logging.WARNING)
    return CountedLog("t", quiet_s=10, window_s=600, clock=clock)


def test_the_first_line_comes_at_once_and_a_burst_gives_no_more(
    log: CountedLog, caplog: pytest.LogCaptureFixture
) -> None:
    for k in range(1000):
        log.say("engine", f"engine ended {k}")
    assert caplog.messages == ["engine ended 0"]


def test_what_was_kept_back_is_said_with_its_number_after_the_quiet_time(
    log: CountedLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        log.say("engine", "engine ended: SIGKILL")
    log.flush()
    clock.now = 10.0
    log.flush()
    log.flush()
    assert caplog.messages == ["engine ended: SIGKILL", "engine ended: SIGKILL (×3 in 10 min)"]


def test_the_number_counts_the_last_ten_minutes_only(
    log: CountedLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for clock.now in (0.0, 300.0, 700.0):
        log.say("engine", "x")
    assert caplog.messages == ["x", "x (×2 in 10 min)", "x (×2 in 10 min)"]


def test_kinds_do_not_silence_each_other(log: CountedLog, caplog: pytest.LogCaptureFixture) -> None:
    log.say("engine", "a")
    log.say("wall", "b")
    assert caplog.messages == ["a", "b"]


def test_a_percent_sign_is_only_text(log: CountedLog, caplog: pytest.LogCaptureFixture) -> None:
    log.say("x", "100 %s full")
    assert caplog.messages == ["100 %s full"]


def test_a_million_events_take_bounded_memory_and_say_so(
    log: CountedLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for k in range(5000):
        log.say(f"key {k}", "text")
    for _ in range(5000):
        log.say("key 1", "text")
    clock.now = 20.0
    log.say("key 1", "text")
    assert caplog.messages[-1] == "text (×1000+ in 10 min)"
    assert len(log._kinds) <= KEYS + 1
