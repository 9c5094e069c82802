"""How patient the supervisor is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from installation.engine.board import Phase, Pulse
from installation.errors import ConfigError, DisplayError, EngineError, ModelError, OutputError


def _fatal_codes() -> dict[int, int]:
    return {
        ConfigError.exit_code: 1,
        DisplayError.exit_code: 1,
        ModelError.exit_code: 1,
        OutputError.exit_code: 1,
        EngineError.exit_code: 3,
    }


@dataclass(frozen=True, slots=True)
class Policy:
    """hang_s, start_s: without a beat for so long, a process is hung: while it runs; while it starts or loads.
    backoff_s: waits before the 1st, 2nd, … restart in a row. The last one repeats for ever; it is how long a display or
    device that came back may wait for its show. healthy_s: after so long in good health the row begins anew. stop_s:
    time for a clean end before a kill. poll_s: turn of the loop. state_s, picture_s: how often the store is written.
    fatal: exit code -> how many of it in a row, before the first picture, end the whole run; other codes, and all codes
    after the first picture, never do.
    """

    hang_s: float = 5.0
    start_s: float = 180.0
    backoff_s: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
    healthy_s: float = 10.0
    stop_s: float = 3.0
    poll_s: float = 0.05
    state_s: float = 30.0
    picture_s: float = 300.0  # 1024 px raw: 1.2 GB a day to the disk; every 30 s would be 12
    fatal: Mapping[int, int] = field(default_factory=_fatal_codes)

    def backoff(self, faults: int) -> float:
        """Seconds before the restart after the `faults`-th fault in a row (1, 2, …)."""
        return self.backoff_s[min(faults, len(self.backoff_s)) - 1]

    def patience(self, pulse: Pulse) -> float:
        """Seconds without a beat until a process with this last pulse counts as hung. A slow one that says so gets its
        time."""
        if pulse.phase in (Phase.RUNNING, Phase.STOPPING):
            return min(max(self.hang_s, pulse.expect_s), max(self.hang_s, self.start_s))
        return self.start_s
