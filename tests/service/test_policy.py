"""Pauses grow to 8 s and no further; patience depends on what a process does."""

from __future__ import annotations

import itertools

from installation.engine.board import Phase, Pulse
from installation.service.policy import Policy


def test_pauses_grow_to_eight_seconds_and_stay_there() -> None:
    pauses = [Policy().backoff(faults) for faults in range(1, 100)]
    assert pauses[:5] == [0.25, 0.5, 1.0, 2.0, 4.0]
    assert all(a <= b for a, b in itertools.pairwise(pauses))
    assert pauses[-1] == 8.0


def test_loading_may_take_minutes_and_running_seconds() -> None:
    policy = Policy()
    for phase in (Phase.ABSENT, Phase.STARTING, Phase.LOADING):
        assert policy.patience(Pulse(phase=phase)) == 180.0
    assert policy.patience(Pulse(phase=Phase.RUNNING)) == 5.0


def test_a_slow_process_that_says_so_gets_its_time_but_not_for_ever() -> None:
    policy = Policy()
    assert policy.patience(Pulse(phase=Phase.RUNNING, expect_s=40.0)) == 40.0
    assert policy.patience(Pulse(phase=Phase.RUNNING, expect_s=1e9)) == 180.0
