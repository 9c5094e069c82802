"""What a process does to be a good neighbour."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

AUTOGROUP = Path("/proc/self/autogroup")
SAID = """
import os, pathlib
from installation.service.processes import step_back
step_back(7)
file = pathlib.Path("/proc/self/autogroup")
print(os.nice(0), (file.read_text().split() or ["none"])[-1] if file.exists() else "none")
"""


def said(*, leads: bool) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SAID], capture_output=True, text=True, check=True, start_new_session=leads
    )
    return done.stdout.split()


@pytest.mark.skipif(os.name != "posix", reason="Windows has no niceness")
def test_stepping_back_is_a_matter_of_the_session_too() -> None:
    here = os.nice(0)
    group = (AUTOGROUP.read_text().split() or ["none"])[-1] if AUTOGROUP.exists() else "none"
    stepped = str(min(here + 7, 19))
    assert said(leads=True) == [stepped, "none" if group == "none" else "7"]
    # Someone else's session is left alone.
    assert said(leads=False) == [stepped, group]
