"""TakeLog: writes a performance down while it is played, and never makes the wall wait.

The wall's loop makes lines and puts them into a bounded queue; a thread of its own writes them, each whole, at once.
So a killed wall loses half a second, and a power cut what the system keeps in memory, half a minute on Linux: to wait
for the disk itself would keep back the lines that follow. A disk that refuses or cannot keep up is said once and
counted; the wall goes on, and every few seconds a new part of the log is begun, with the state of the show, until one
can be written.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from installation.control import take_files
from installation.show.clock import Tick
from installation.show.messages import ControlMessage
from installation.show.params import ParamTable
from installation.show.state import ShowState
from installation.show.take import Scribe

log = logging.getLogger(__name__)

PART_BYTES = 256 << 10
"""About ten minutes at 60 ticks a second."""
MOST_BYTES = 256 << 20
"""A week at 60 ticks a second. Then the oldest parts go."""
_LEAST_BYTES = 4096
"""What a part counts at least, a block of the disk: so their number has a bound too, far above what many restarts make."""

_WAITING = 1024  # lines
_RETRY_S = 5.0
_CLOSE_S = 2.0


class TakeLog:
    """folder: the take's, with its header. state: where the show stands before the first tick.

    `write` and `close` are the loop's; counters may be read by any thread.
    """

    def __init__(
        self,
        folder: Path,
        table: ParamTable,
        state: ShowState,
        *,
        part_bytes: int = PART_BYTES,
        most_bytes: int = MOST_BYTES,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._scribe = Scribe(table)
        self._part_bytes, self._now = part_bytes, now
        self._queue: queue.Queue[tuple[bool, bytes, int] | None] = queue.Queue(_WAITING)
        self._files = _Files(folder, part_bytes, most_bytes)
        self._written = 0  # into the part under way
        self._retry_s = 0.0
        self._under_way = 0  # ticks of the line that is not closed yet
        self._dropped = 0
        self._broken = False
        self._begin(state)
        self._thread = threading.Thread(target=self._run, name="take", daemon=True)
        self._thread.start()

    def write(self, tick: Tick, messages: Sequence[ControlMessage], state: ShowState) -> None:
        """One tick, what it heard, and the state after it. Never blocks and never raises."""
        if self._broken or self._files.broken:
            self._dropped += 1
            if self._now() >= self._retry_s:
                self._begin(state)
            return
        self._under_way += 1
        if line := self._scribe.add(tick, messages):
            self._put(False, line)
        if self._written >= self._part_bytes:
            self._put(False, self._scribe.close())
            self._begin(state)

    def counters(self) -> Mapping[str, int]:
        """dropped: ticks that are not in the take. faults: refusals of the disk. bytes: written by this process."""
        return {
            "dropped": self._dropped + self._files.dropped,
            "faults": self._files.faults,
            "bytes": self._files.bytes,
        }

    def close(self) -> None:
        """Writes what waits; gives a slow disk two seconds. May be called twice."""
        if not self._broken and not self._files.broken:
            self._put(False, self._scribe.close())
        try:
            self._queue.put(None, timeout=_CLOSE_S)
        except queue.Full:
            return
        self._thread.join(_CLOSE_S)

    def _begin(self, state: ShowState) -> None:
        """A new part. What it replaces, ticks that were not written, is a hole that ends here."""
        self._retry_s = self._now() + _RETRY_S
        self._broken = self._files.broken = False
        self._dropped += self._under_way  # of a line that a hole broke off
        self._under_way = self._written = 0
        self._put(True, self._scribe.begin(state))

    def _put(self, new_part: bool, line: bytes) -> None:
        if not line:
            return
        ticks, self._under_way = self._under_way, 0
        try:
            self._queue.put_nowait((new_part, line, ticks))
            self._written += len(line)
        except queue.Full:
            self._broken = True
            self._dropped += ticks
            self._files.say(f"the disk of {self._folder} cannot keep up")

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            self._files.write(*item)
        self._files.close()


class _Files:
    """The parts on the disk. Everything but `broken`, `say` and the counts is the writing thread's."""

    def __init__(self, folder: Path, part_bytes: int, most_bytes: int) -> None:
        self._folder = folder
        self._most_before = max(most_bytes - part_bytes, part_bytes)  # beside the part that is begun
        self._fd: int | None = None
        self._path = folder
        self._whole = 0  # bytes of the part that are whole lines
        self.broken = False
        """After a refusal; lines are passed over until a part begins."""
        self.faults = self.dropped = 0
        self.bytes = 0

    def say(self, what: str) -> None:
        self.faults += 1
        if self.faults == 1:
            log.warning("the take has a hole: %s. The show goes on; further holes are only counted", what)

    def write(self, new_part: bool, line: bytes, ticks: int) -> None:
        if self.broken and not new_part:
            self.dropped += ticks
            return
        try:
            if new_part:
                self.close()
                self._open()
            if self._fd is None:
                self.dropped += ticks
                return
            _write_all(self._fd, line)
            self._whole += len(line)
            self.bytes += len(line)
        except OSError as error:
            self.broken = True
            self.dropped += ticks
            self.say(f"{error.strerror or error}: {self._path}")
            self._cut()

    def close(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.close(fd)

    def _open(self) -> None:
        found = take_files.parts(self._folder)
        sizes = [max(path.stat().st_size, _LEAST_BYTES) for _, path in found]
        total = sum(sizes)
        for (_, path), size in zip(found, sizes, strict=True):
            if total <= self._most_before:
                break
            path.unlink()
            total -= size
        self._path = take_files.part_path(self._folder, found[-1][0] + 1 if found else 1)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._fd = os.open(self._path, flags, 0o644)
        self._whole = 0

    def _cut(self) -> None:
        """What the disk took of a line goes; a part without one goes too, so that a full disk does not fill with names."""
        if self._fd is None:
            return
        try:
            os.ftruncate(self._fd, self._whole)
            self.close()
            if not self._whole:
                self._path.unlink()
        except OSError:
            self._fd = None


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
