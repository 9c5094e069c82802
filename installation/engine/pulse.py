"""Pulse: the sign of life of one process on the board."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

ROLES = ("supervisor", "wall", "engine")

_LAYOUT = struct.Struct("<QQQdd")
PULSE_BYTES = _LAYOUT.size


class Phase(IntEnum):
    """What a process is doing, and so how patient its supervisor is."""

    ABSENT = 0  # has not beaten yet
    STARTING = 1
    LOADING = 2  # networks, shaders, the first picture: may take minutes
    RUNNING = 3
    STOPPING = 4


@dataclass(frozen=True, slots=True)
class Pulse:
    """pid: 0 before the first beat. count: beats of this process (wall: turns of its loop). time_s: monotonic clock of
    the machine at the last beat. expect_s: the longest until the next beat by the process's own reckoning, 0 = no
    opinion."""

    pid: int = 0
    phase: Phase = Phase.ABSENT
    count: int = 0
    time_s: float = 0.0
    expect_s: float = 0.0

    def pack(self) -> bytes:
        return _LAYOUT.pack(self.pid, self.phase, self.count, self.time_s, self.expect_s)

    @classmethod
    def unpack(cls, data: bytes | None) -> Pulse:
        if not data:
            return cls()
        pid, phase, count, time_s, expect_s = _LAYOUT.unpack(data)
        return cls(pid, Phase(phase), count, time_s, expect_s)
