"""Asks other programs, never longer than a deadline. Drivers hang and crash: whatever touches one runs in a child.

Called on the doctor's own threads.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEADLINE_S = 8.0
_REAP_S = 0.5  # a child stuck in a driver cannot be killed; it is left behind rather than waited for


@dataclass(frozen=True, slots=True)
class Answer:
    """code: the exit code, None where the program is not there or did not answer in time. out, err: its text."""

    code: int | None
    out: str
    err: str

    @property
    def last_word(self) -> str:
        """The last line it wrote to stderr, which is where Python and most programs name the fault."""
        lines = [line.strip() for line in self.err.splitlines() if line.strip()]
        if lines:
            return lines[-1][:300]
        return "no answer in time" if self.code is None else f"exit code {self.code}"


def ask(*command: str, deadline_s: float = DEADLINE_S) -> Answer:
    """Runs a program to its end, without input. A program that is not installed gives code None and an empty `err`."""
    found = shutil.which(command[0])
    if found is None:
        return Answer(None, "", "")
    child = subprocess.Popen(
        [found, *command[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    try:
        out, err = child.communicate(timeout=deadline_s)
        return Answer(child.returncode, out, err)
    except subprocess.TimeoutExpired:
        child.kill()
        try:
            child.communicate(timeout=_REAP_S)
        except subprocess.TimeoutExpired:
            pass
        return Answer(None, "", f"no answer in {deadline_s:g} s")


def probe(name: str, *, deadline_s: float = DEADLINE_S) -> tuple[dict[str, Any] | None, str]:
    """(what the function `name` of probes.py found, "") or (None, why not). Runs it in a Python of its own.

    TimeoutError without an answer in time: the machine is busy, or a driver hangs, which from here looks the same.
    """
    # The child finds the package where this one lies, from any working folder and from a checkout that is not installed.
    here = str(Path(__file__).parents[3])
    call = f"import sys; sys.path.insert(0, {here!r}); from installation.service.doctor import probes; probes.{name}()"
    answer = ask(sys.executable, "-c", call, deadline_s=deadline_s)
    if answer.code is None:
        raise TimeoutError(f"{name}: {answer.last_word}")
    lines = answer.out.splitlines()
    if answer.code == 0 and lines:
        return json.loads(lines[-1]), ""
    if answer.code < 0:
        return None, f"it crashed with signal {-answer.code}"
    return None, answer.last_word
