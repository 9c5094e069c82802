"""One thing the doctor found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """topic: a row's heading. status: `fail` where a show cannot run. what: the fact. fix: one line on what to do, "" for ok."""

    topic: str
    status: Status
    what: str
    fix: str = ""
