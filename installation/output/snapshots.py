"""Snapshots: pictures of the wall on their way to the disk. One thread writes them, one after another; a few may wait.

A held key or a button that repeats asks for more than any machine can save: what finds the queue full is refused, before
anything is read back for it, and counted. A disk that refuses is logged once, until a picture is saved again, and counted.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from installation.errors import InstallationError
from installation.output import stills

log = logging.getLogger(__name__)

_WAITING = 3  # 16 MB each at 2048 px
_CLOSE_S = 1.0  # twice at most, of the three seconds that a wall has for its end


Snapshot = tuple[np.ndarray, Mapping[str, str]]
"""A Frame, and what made it: `notes` of `stills.save`."""


class Snapshots:
    """folder: where they go; made with the first. `offer` and `close` are the loop's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._queue: queue.Queue[tuple[Path, Snapshot] | None] = queue.Queue(_WAITING)
        self.refused = self.failed = 0
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)
        self._thread.start()

    def offer(self, picture: Callable[[], Snapshot]) -> None:
        """Saves what `picture` gives, or refuses. Waits for nothing but `picture`."""
        if self._queue.full():
            self.refused += 1
            if self.refused == 1:
                log.warning("snapshots are asked for faster than they can be saved; what is refused is only counted")
            return
        self._queue.put_nowait((self._folder / stills.snapshot_name(time.time()), picture()))

    def close(self) -> None:
        """Writes what waits; gives a slow disk a second. May be called twice."""
        try:
            self._queue.put(None, timeout=_CLOSE_S)
        except queue.Full:
            return
        self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        well = True
        while (item := self._queue.get()) is not None:
            path, (frame, notes) = item
            try:
                stills.save(path, frame, notes=notes)
            except Exception as error:  # whatever it is, the next one may be saved
                self.failed += 1
                if well:
                    known = isinstance(error, InstallationError)
                    log.warning("no snapshot: %s; further ones are only counted", error, exc_info=not known)
                well = False
                continue
            well = True
            log.info("snapshot: %s", path)
