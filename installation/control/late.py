"""A source that cannot be opened yet: for a wall that starts again during a show, when its network is away or its port
taken. A show without faders is better than a black wall.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from installation.control.source import NullSource, Source
from installation.errors import InstallationError
from installation.show.messages import ControlMessage
from installation.show.params import Value

log = logging.getLogger(__name__)


class LateSource:
    """Says nothing until `make` gives the source, and is that source from then on.

    make: raises InstallationError while it cannot; asked every `every_s` in a thread, because looking up a host's name
    may take seconds.
    """

    def __init__(self, make: Callable[[], Source], *, every_s: float = 5.0) -> None:
        self._make, self._every_s = make, every_s
        self._inner: Source = NullSource()
        self._closed = threading.Event()
        self._handing_over = threading.Lock()
        threading.Thread(target=self._open, name="late-source", daemon=True).start()

    @property
    def name(self) -> str:
        return self._inner.name

    def poll(self) -> list[ControlMessage]:
        return self._inner.poll()

    def publish(self, values: Mapping[str, Value]) -> None:
        self._inner.publish(values)

    def counters(self) -> Mapping[str, int]:
        return self._inner.counters()

    def close(self) -> None:
        with self._handing_over:
            self._closed.set()
            self._inner.close()

    def _open(self) -> None:
        while not self._closed.wait(self._every_s):
            try:
                source = self._make()
            except InstallationError:
                continue
            with self._handing_over:
                if self._closed.is_set():
                    source.close()
                self._inner = source
            log.info("%s is heard again", source.name)
            return
