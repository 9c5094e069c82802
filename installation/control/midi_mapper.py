"""MIDI channel messages -> ControlMessages, by the show's map. Pure: numbers in, messages out, no device, no clock.

float, int      cc: 0..1 of the row, by takeover       note: its velocity, at once
bool            cc: on from 64 up, when it passes 64   note: toggles
button          cc: fires when it rises through 64     note: fires
choice          cc: spread evenly, when it changes     note: the next one
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from installation.control.source import default_values
from installation.control.takeover import Takeover
from installation.show.config import MidiMap
from installation.show.messages import ControlMessage
from installation.show.params import Param, ParamTable, Value


def to_unit(value: int, bits: int) -> float:
    """A controller's value as 0..1, its middle (64, 8192) exactly 0.5, so that a centred knob means zero speed."""
    middle = 1 << bits - 1
    if value <= middle:
        return value / (2 * middle)
    return 0.5 + 0.5 * (value - middle) / (middle - 1)


@dataclass(slots=True)
class _Control:
    """One line of the map and where its knob stands."""

    entry: MidiMap
    param: Param
    takeover: Takeover
    high: int | None = None
    low: int | None = None
    side: bool | None = None
    choice: Value | None = None

    def reset(self) -> None:
        self.high = self.low = self.side = self.choice = None
        self.takeover.release()

    def of_channel(self, channel: int) -> bool:
        return self.entry.channel is None or self.entry.channel == channel

    def position(self, controller: int, value: int) -> float | None:
        """0..1 after one half of the value has come; None before the first high half, where a low one says nothing.

        A 14-bit knob sends its high half, then its low half. Until the low half is there it is taken as the end of
        the step that the knob came from, so that the position never runs backwards. A knob that has never sent a low
        half is a 7-bit one.
        """
        if self.entry.bits == 7:
            return to_unit(value, 7)
        if controller != self.entry.cc:
            if self.high is None:
                return None
            self.low = value
        else:
            if self.low is not None and self.high is not None and value != self.high:
                self.low = 0 if value > self.high else 127
            self.high = value
        return to_unit(self.high, 7) if self.low is None else to_unit(self.high << 7 | self.low, 14)


class MidiMapper:
    """The map of one device, for the table that the map was checked against. One thread."""

    def __init__(self, table: ParamTable, maps: Sequence[MidiMap]) -> None:
        self._values: Mapping[str, Value] = default_values(table)
        self._since: dict[str, Value] = {}
        self._by_cc: dict[int, list[_Control]] = {}
        self._by_note: dict[int, list[_Control]] = {}
        for entry in maps:
            control = _Control(entry, table[entry.to], Takeover(entry.takeover))
            if entry.cc is not None:
                for cc in (entry.cc, entry.cc + 32) if entry.bits == 14 else (entry.cc,):
                    self._by_cc.setdefault(cc, []).append(control)
            elif entry.note is not None:
                self._by_note.setdefault(entry.note, []).append(control)

    def publish(self, values: Mapping[str, Value]) -> None:
        """The newest target values, in which all that was said before has taken effect; the mapping is kept, not copied."""
        self._values = values
        self._since.clear()

    def reset(self) -> None:
        """Forgets where the knobs stand: the device was unplugged."""
        for controls in (*self._by_cc.values(), *self._by_note.values()):
            for control in controls:
                control.reset()

    def control_change(self, channel: int, controller: int, value: int, source: str = "") -> list[ControlMessage]:
        """channel 1..16, controller and value 0..127."""
        messages: list[ControlMessage] = []
        for control in self._by_cc.get(controller, ()):
            if control.of_channel(channel) and (position := control.position(controller, value)) is not None:
                message = self._turn(control, position, source)
                if message is not None:
                    messages.append(message)
                    self._note(message)
        return messages

    def note_on(self, channel: int, note: int, velocity: int, source: str = "") -> list[ControlMessage]:
        """channel 1..16, note and velocity 0..127; velocity 0 is a release, which says nothing."""
        if velocity <= 0:
            return []
        controls = [control for control in self._by_note.get(note, ()) if control.of_channel(channel)]
        return [self._press(control, velocity, source) for control in controls]

    def _note(self, message: ControlMessage) -> None:
        """Of two presses within one tick both count: the second goes on from what the first asked for."""
        if message.value is not None:
            self._since[message.name] = message.value

    def _turn(self, control: _Control, position: float, source: str) -> ControlMessage | None:
        param = control.param
        if param.kind in ("bool", "button"):
            before, control.side = control.side, position >= 0.5
            if control.side == before:
                return None
            if param.kind == "bool":
                return ControlMessage(param.name, control.side, None, source)
            # A pedal found pressed when first heard of has been pressed just now.
            return ControlMessage(param.name, None, None, source) if control.side else None
        if param.kind == "choice":
            choice = param.from_norm(position)
            if choice == control.choice:
                return None
            control.choice = choice
            return ControlMessage(param.name, choice, None, source)
        current = self._values.get(param.name, param.default)
        moved = control.takeover.move(position, param.to_norm(current))
        if moved is None:
            return None
        value = param.from_norm(moved)
        control.takeover.sent(moved, param.to_norm(value))
        return ControlMessage(param.name, value, None, source)

    def _press(self, control: _Control, velocity: int, source: str) -> ControlMessage:
        param = control.param
        value = self._since.get(param.name, self._values.get(param.name, param.default))
        if param.kind == "button":
            return ControlMessage(param.name, None, None, source)
        if param.kind == "bool":
            value = not value
        elif param.kind == "choice":
            value = param.choices[(param.choices.index(str(value)) + 1) % len(param.choices)]
        else:
            value = param.from_norm(to_unit(velocity, 7))
        message = ControlMessage(param.name, value, None, source)
        self._note(message)
        return message
