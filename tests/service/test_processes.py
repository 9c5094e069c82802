"""What a process does to be a good neighbour."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SAID = """
import os, pathlib
from installation.service.processes import step_back

def group():
    file = pathlib.Path("/proc/self/autogroup")
    return (file.read_text().split() or ["none"])[-1] if file.exists() else "none"

before = group()
step_back(7)
print(os.nice(0), before, group())
"""


def said(*, leads: bool) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SAID], capture_output=True, text=True, check=True, start_new_session=leads
    )
    return done.stdout.split()


@pytest.mark.skipif(os.name != "posix", reason="Windows has no niceness")
def test_stepping_back_is_a_matter_of_the_session_too() -> None:
    stepped = str(min(os.nice(0) + 7, 19))
    # What is asked is this process's own session: the one that runs the tests may be in no group at all where a new one gets one.
    mine, before, after = said(leads=True)
    assert [mine, after] == [stepped, "none" if before == "none" else "7"]
    # Someone else's session is left alone.
    mine, before, after = said(leads=False)
    assert [mine, after] == [stepped, before]
