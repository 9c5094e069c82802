"""Relay: a thread that takes items from a bounded queue, one after another.

Several in a row make a line in which drawing, read-back and encoding overlap: whoever is slowest sets the pace, because
`put` waits while the queue is full. A fault in a relay comes out of the next `put` of whoever feeds it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

Item = TypeVar("Item")
_LOOK_S = 0.2


class Relay(Generic[Item]):
    """work(item): in the relay's own thread. ahead: items that may wait. ending: in that thread, after the last item or a fault."""

    def __init__(
        self, name: str, work: Callable[[Item], None], *, ahead: int, ending: Callable[[], None] = lambda: None
    ) -> None:
        self._work, self._ending = work, ending
        self._queue: queue.Queue[Item | None] = queue.Queue(ahead)
        self._error: BaseException | None = None
        self._dropped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        self.buffers = ahead + 2
        """So many buffers used in turn are enough: `ahead` wait, one is worked on, one is being filled."""

    def put(self, item: Item) -> None:
        """Waits while the queue is full. Raises what the relay's work raised. One that is dropped takes nothing any more."""
        self._offer(item)

    def close(self) -> None:
        """Waits until everything is done. Raises what the relay's work raised."""
        self._offer(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def drop(self) -> None:
        """Ends it without doing what still waits, and without an error. Safe after `close`."""
        self._dropped.set()
        self._thread.join()

    def _offer(self, item: Item | None) -> None:
        while not self._dropped.is_set():
            if self._error is not None:
                raise self._error
            with suppress(queue.Full):
                self._queue.put(item, timeout=_LOOK_S)
                return

    def _run(self) -> None:
        try:
            while not self._dropped.is_set():
                try:
                    item = self._queue.get(timeout=_LOOK_S)
                except queue.Empty:
                    continue
                if item is None:
                    break
                self._work(item)
        except BaseException as error:
            self._error = error
        finally:
            try:
                self._ending()
            except BaseException as error:
                self._error = self._error or error
