"""What a control source is. Sources are asked, they never call in.

A source's own thread, if it has one, reads bytes and fills a `Mailbox`; everything below is called by the wall's loop.
One list of contract tests runs on every source.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from installation.show.messages import ControlMessage
from installation.show.params import ParamTable, Value


class Source(Protocol):
    """Where control messages come from."""

    @property
    def name(self) -> str:
        """Short, for the HUD and the log: "osc", "midi", "keyboard"."""
        ...

    def poll(self) -> list[ControlMessage]:
        """What came since the last poll, in order; continuous values merged to the newest, never across a trigger.

        Never blocks and never raises; after `close` it gives nothing.
        """
        ...

    def publish(self, values: Mapping[str, Value]) -> None:
        """The newest target value of each parameter, for replies and MIDI pickup.

        Called each tick with a mapping that the caller does not change afterwards: the source keeps the reference.
        """
        ...

    def counters(self) -> Mapping[str, int]:
        """Counts since the start, by name."""
        ...

    def close(self) -> None:
        """Frees ports and ends threads within a second. May be called twice."""
        ...


class NullSource:
    """The source that says nothing."""

    name = "null"

    def poll(self) -> list[ControlMessage]:
        return []

    def publish(self, values: Mapping[str, Value]) -> None:
        del values

    def counters(self) -> Mapping[str, int]:
        return {}

    def close(self) -> None:
        pass


def continuous_names(table: ParamTable) -> frozenset[str]:
    """The names of the parameters of which only the newest value matters."""
    return frozenset(param.name for param in table if param.continuous)


def default_values(table: ParamTable) -> dict[str, Value]:
    """Each valued parameter's default: what holds until the first `publish`."""
    return {param.name: param.default for param in table if param.kind != "button"}
