"""LiveFilm: frames of a running wall into closed segments. Whoever gives them never waits.

The film's frame counter is its clock, so each frame comes with the number of its moment. A thread of its own feeds the
encoder; when that is late, the oldest waiting frames are dropped and counted, and the picture before them stands in
their place: the film keeps the evening's time.
"""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path

import numpy as np

from installation.errors import OutputError
from installation.output.video.segments import SegmentWriter
from installation.output.video.spec import VideoSpec

_WAITING = 6
_STAND_IN_S = 1.0  # A longer hole is a cut: to fill it would make a late encoder later still.


class LiveFilm:
    """folder: of the segments. spec: depth 8. OutputError: the preset cannot be made here, or the disk refuses.

    `offer` and `close` are one thread's. dropped: frames that were never written. written: frames of the film so far.
    """

    def __init__(self, folder: Path, spec: VideoSpec) -> None:
        self._writer = SegmentWriter(folder, spec)
        self._most_stand_ins = round(spec.fps * _STAND_IN_S)
        self._waiting: deque[tuple[int, np.ndarray]] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._error: OutputError | None = None
        self._newest = -1
        self.dropped = self.written = 0
        self._thread = threading.Thread(target=self._run, name="film", daemon=True)
        self._thread.start()

    @property
    def full(self) -> bool:
        """Whether a frame that is offered now would push another one out. A film that has failed is not full: `offer` says why."""
        with self._wake:
            return self._error is None and len(self._waiting) >= _WAITING

    def offer(self, number: int, frame: np.ndarray) -> None:
        """Frame `number` of the film, uint8 [H, W, 4]; kept, not copied. Numbers rise; one that is left out is a drop.
        OutputError when the film cannot go on; what was closed stays."""
        with self._wake:
            if self._error is not None:
                raise self._error
            self.dropped += max(number - self._newest - 1, 0) if self._newest >= 0 else 0
            self._newest = number
            if len(self._waiting) >= _WAITING:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append((number, frame))
            self._wake.notify()

    def close(self) -> None:
        """Writes what waits and closes the last segment. OutputError as `offer`."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        before: tuple[int, np.ndarray] | None = None
        try:
            while (item := self._next()) is not None:
                missing = 0 if before is None else item[0] - before[0] - 1
                for _ in range(min(missing, self._most_stand_ins)):
                    assert before is not None
                    self._write(before[1])
                self._write(item[1])
                before = item
            self._writer.close()
        except OutputError as error:
            self._error = error
            self._writer.abort()

    def _next(self) -> tuple[int, np.ndarray] | None:
        with self._wake:
            while not self._waiting and not self._closing:
                self._wake.wait()
            return self._waiting.popleft() if self._waiting else None

    def _write(self, frame: np.ndarray) -> None:
        self._writer.write(frame)
        self.written += 1
