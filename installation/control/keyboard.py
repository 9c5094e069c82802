"""The keyboard: key names -> ControlMessages. Pure; the window gives it the names, it knows no window.

    space         pauses and goes on          up, down      drift faster, slower (through zero: backwards)
    right, n      next keyframe               left, p       previous keyframe
    b             blackout and back           h             the figures in the corner
    s             saves the picture           r             begins and ends a film of the wall

f (full screen) and esc belong to the window.
"""

from __future__ import annotations

from collections.abc import Mapping

from installation.control.mailbox import Mailbox
from installation.control.source import default_values
from installation.show.messages import ControlMessage
from installation.show.params import ParamTable, Value

_TOGGLES = {"space": "drift/pause", "b": "look/blackout", "h": "hud/show", "r": "record/on"}
_BUTTONS = {"right": "walk/next", "n": "walk/next", "left": "walk/previous", "p": "walk/previous", "s": "snapshot"}
_STEPS = {"up": 1, "down": -1}
_SPEED = "drift/speed"
_FINE, _COARSE = 0.05, 0.25

KEYS = (*_TOGGLES, *_BUTTONS, *_STEPS)
"""The names it knows."""


def key_message(key: str, values: Mapping[str, Value], table: ParamTable) -> ControlMessage | None:
    """What the key asks for, given the current values; None for a key that means nothing here."""
    if (name := _TOGGLES.get(key)) is not None and name in table:
        return ControlMessage(name, not values.get(name, table[name].default), None, "keyboard")
    if (name := _BUTTONS.get(key)) is not None and name in table:
        return ControlMessage(name, None, None, "keyboard")
    if (direction := _STEPS.get(key)) is not None and _SPEED in table:
        speed = _stepped(float(values.get(_SPEED, table[_SPEED].default)), direction)
        return ControlMessage(_SPEED, table[_SPEED].coerce(speed), None, "keyboard")
    return None


def _stepped(speed: float, direction: int) -> float:
    """The next mark of a ladder that is fine up to 1 keyframe/s and coarse beyond; 0 is one of its marks."""
    outward = speed * direction >= 0.0
    step = _FINE if abs(speed) < 1.0 - 1e-9 or (not outward and abs(speed) <= 1.0 + 1e-9) else _COARSE
    return round(round(speed / step + direction) * step, 6)


class KeyboardSource:
    """A `Source` fed by the window's loop: `press` and `poll` on the same thread."""

    name = "keyboard"

    def __init__(self, table: ParamTable) -> None:
        self._table = table
        self._mailbox = Mailbox(table)
        self._values: Mapping[str, Value] = default_values(table)
        self._since: dict[str, Value] = {}
        self._presses = 0
        self._closed = False

    def press(self, key: str) -> bool:
        """A key went down or repeats; whether it means something here."""
        if self._closed:
            return False
        # Two presses within one tick must both count, so values asked for and not yet published come first.
        message = key_message(key, {**self._values, **self._since}, self._table)
        if message is None:
            return False
        self._presses += 1
        if message.value is not None:
            self._since[message.name] = message.value
        self._mailbox.put((message,))
        return True

    def poll(self) -> list[ControlMessage]:
        return self._mailbox.drain()

    def publish(self, values: Mapping[str, Value]) -> None:
        self._values = values
        if not self._mailbox:
            self._since.clear()

    def counters(self) -> Mapping[str, int]:
        return {"presses": self._presses, "folded": self._mailbox.folded}

    def close(self) -> None:
        self._closed = True
        self._mailbox.drain()
