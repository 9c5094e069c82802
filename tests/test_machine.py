"""What this machine has, and what is installed."""

from __future__ import annotations

import os

import pytest

from installation import machine


def test_there_is_a_core() -> None:
    assert machine.cores() >= 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to cores")
def test_only_the_cores_of_this_process_count() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert machine.cores() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_a_version_is_text_and_that_of_nothing_is_empty() -> None:
    assert machine.version("pytest")[0].isdigit()
    assert machine.version("no-such-distribution") == ""
