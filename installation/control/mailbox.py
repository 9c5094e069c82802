"""The queue between a source's thread and the wall's tick: bounded, thread-safe, and merging.

Of a continuous parameter only the newest value waits, unless a trigger (bool, choice, button) came between: order
across triggers is kept. So a fader's flood takes one place, and the newest value is always there.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from installation.control.source import continuous_names
from installation.show.messages import ControlMessage
from installation.show.params import ParamTable


class Mailbox:
    """Any thread may put, the wall drains.

    When `capacity` messages wait (a stalled wall, a flood of triggers), the queue is folded to the newest message of
    each name. What is lost by that, repeated presses and values since replaced, is counted in `folded`.
    """

    def __init__(self, table: ParamTable, *, capacity: int = 4096) -> None:
        self._continuous = continuous_names(table)
        self._capacity = max(capacity, 2 * len(table))
        self._items: list[ControlMessage] = []
        self._places: dict[str, int] = {}
        self._lock = threading.Lock()
        self.folded = 0
        """Messages lost to the limit since the start."""

    def put(self, messages: Iterable[ControlMessage]) -> None:
        """Adds messages in order; one call's messages are drained together."""
        with self._lock:
            for message in messages:
                self._put(message)

    def _put(self, message: ControlMessage) -> None:
        name, items = message.name, self._items
        if name in self._continuous:
            place = self._places.get(name)
            if place is not None:
                items[place] = message
                return
            self._places[name] = len(items)
        else:
            self._places.clear()
        items.append(message)
        if len(items) >= self._capacity:
            self._fold()

    def _fold(self) -> None:
        newest: dict[str, ControlMessage] = {}
        for message in self._items:
            newest.pop(message.name, None)
            newest[message.name] = message
        self.folded += len(self._items) - len(newest)
        self._items = list(newest.values())
        self._places.clear()

    def drain(self) -> list[ControlMessage]:
        """All that waits, oldest first; empties the queue."""
        if not self._items:
            # Read without the lock: the worst that a race can do is to leave a message for the next tick.
            return []
        with self._lock:
            items, self._items = self._items, []
            self._places.clear()
        return items

    def __len__(self) -> int:
        return len(self._items)
