"""How a wall is, in a few words for those who look after it from afar."""

from __future__ import annotations

import time
from dataclasses import dataclass

from installation.show.params import Value


@dataclass(frozen=True, slots=True)
class Status:
    """show: its title. model: the one that is drawn. pictures_per_s: of the engine; None while the wall waits for it.

    newest_at: when the newest picture came, in seconds of `time.monotonic`; None before the first.
    """

    show: str = ""
    model: str = ""
    pictures_per_s: float | None = None
    newest_at: float | None = None
    recording: bool = False

    def age_s(self) -> float | None:
        """Seconds since the newest picture came, now; None before the first. Grows though the wall's loop hangs."""
        return None if self.newest_at is None else max(time.monotonic() - self.newest_at, 0.0)

    def as_arguments(self) -> tuple[Value, ...]:
        """Of the OSC answer: title, model, pictures a second or "waiting", seconds since the newest or -1, recording."""
        age_s, rate = self.age_s(), self.pictures_per_s
        rate_said = "waiting" if rate is None else float(rate)
        return self.show, self.model, rate_said, -1.0 if age_s is None else age_s, self.recording

    def as_json(self) -> dict[str, Value | None]:
        """The same by name, for the preview's status.json."""
        return {
            "model": self.model,
            "pictures_per_s": self.pictures_per_s,
            "newest_s": self.age_s(),
            "recording": self.recording,
        }


@dataclass(slots=True)
class Standing:
    """Where the wall's loop leaves its newest status; any thread looks."""

    status: Status = Status()
