"""What a controller or a console sends, in words: what the verb `listen` prints.

Pure: messages in, lines out. It opens no port and has no thread; nothing is set and nobody is answered.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from installation.control.bucket import Bucket
from installation.control.dispatch import REASONS, Action, Dispatcher, Get, Refresh, Say
from installation.control.drops import Drops
from installation.control.osc_codec import Argument, OscError, parse
from installation.show.messages import ControlMessage
from installation.show.params import ParamTable

# A knob's low half follows its high half within a millisecond or two; a hand needs longer from a fader to a button.
_PAIR_S = 0.05
_SHOWN = 8
_LINES_PER_S, _LINES_BURST = 40.0, 40


class MidiListener:
    """Each control once, as a stanza of the show's file. to: the parameter that every stanza names."""

    def __init__(self, to: str) -> None:
        self._to = to
        self._told: set[tuple[Any, ...]] = set()
        self._last: tuple[int, int, float] | None = None

    def heard(self, messages: Iterable[Any], now: float) -> list[str]:
        """What is new. messages: mido's, that came together. now: in seconds, of any clock.

        The number of texts is bounded by the number of controls that MIDI has. A controller and that of its number + 32 directly
        behind it are one knob of 14 bits.
        """
        knobs = [self._knob(message, now) for message in messages]
        fine = {knob[:3] for knob in knobs if knob[3] == 14}
        return [text for knob in knobs if (text := self._text(*knob, fine))]

    def _knob(self, message: Any, now: float) -> tuple[str, int, int, int]:
        """Kind, number, channel from 1, bits."""
        if not hasattr(message, "channel"):  # a clock runs on between the halves of a knob
            return str(message.type), 0, 0, 0
        last, self._last = self._last, None
        if message.type == "control_change":
            channel, number = message.channel + 1, message.control
            if last and last[:2] == (channel, number - 32) and now - last[2] <= _PAIR_S:
                return "cc", number - 32, channel, 14
            self._last = (channel, number, now) if number < 32 else None
            return "cc", number, channel, 7
        if message.type in ("note_on", "note_off"):
            return "note", message.note, message.channel + 1, 7
        return str(message.type), 0, 0, 0

    def _text(self, kind: str, number: int, channel: int, bits: int, fine: set[tuple[str, int, int]]) -> str:
        if bits == 7 and (kind, number, channel) in fine:
            return ""
        if (kind, number, channel, bits) in self._told:
            return ""
        self._told |= {(kind, number, channel, bits), (kind, number, channel, min(bits, 7))}
        if not bits:
            return f"# {kind}: a map takes controllers (cc) and notes"
        stanza = f'[[midi.map]]\nto = "{self._to}"\n{kind} = {number}\nchannel = {channel}\n'
        return stanza + ("bits = 14\n" if bits == 14 else "")


class OscListener:
    """Each message in a line, and what a show's table makes of it."""

    def __init__(self, table: ParamTable) -> None:
        self._notes = _Notes()
        self._dispatcher = Dispatcher(table, self._notes)

    def heard(self, datagram: bytes | memoryview, sender: str) -> list[str]:
        """The lines of one datagram. Nothing in it can reach the terminal unescaped."""
        try:
            messages = parse(datagram)
        except OscError as fault:
            return [f"{sender}  {len(datagram)} bytes that are no OSC: {ascii(str(fault))[1:-1]}"]
        return [f"{sender}  {_written(address, args)}  → {self._made(address, args)}" for address, args in messages]

    def _made(self, address: str, args: Sequence[Argument]) -> str:
        self._notes.said.clear()
        actions = self._dispatcher.dispatch(address, args)
        said = [_meaning(action) for action in actions[:_SHOWN]]
        if len(actions) > _SHOWN:
            said.append(f"and {len(actions) - _SHOWN} more")
        said += dict.fromkeys(self._notes.said)
        return ascii("; ".join(said[: _SHOWN + 4]) or "a button let go: nothing")[1:-1]


class Throttle:
    """Lines at a bounded rate; each second one tells how many were left out. One thread."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say, clock
        self._bucket = Bucket(_LINES_PER_S, _LINES_BURST, clock)
        self._left_out, self._due = 0, clock() + 1.0

    def say(self, lines: Iterable[str]) -> None:
        for line in lines:
            if self._bucket.take():
                self._say(line)
            else:
                self._left_out += 1
        now = self._clock()
        if now >= self._due:
            if self._left_out:
                self._say(f"… {self._left_out} more left out")
            self._left_out, self._due = 0, now + 1.0


class _Notes(Drops):
    """Keeps why the last message was refused, where a wall counts it."""

    def __init__(self) -> None:
        super().__init__("listen", logging.getLogger(__name__), (*REASONS, "clamped"))
        self.said: list[str] = []

    def note(self, reason: str) -> None:
        self.said.append(reason)

    def drop(self, reason: str, detail: str, origin: str) -> None:
        self.said.append(f"refused, {reason.replace('_', ' ')}: {detail:.200}")


def _meaning(action: Action) -> str:
    if isinstance(action, Get):
        return f"asks for {action.param.name}"
    if isinstance(action, Say):
        return f"is answered at {action.address}"
    if isinstance(action, Refresh):
        return "asks for all values, for those who are told of changes"
    if isinstance(action, ControlMessage):
        if action.value is None:
            return f"presses {action.name}"
        value = f"{action.value:.7g}" if isinstance(action.value, float) else f"{action.value}"
        return f"{action.name} = {value}" + (f" in {action.ramp_s:g} s" if action.ramp_s is not None else "")
    return ""


def _written(address: str, args: Sequence[Argument]) -> str:
    words = [f"{value:.7g}" if isinstance(value, float) else f"{value!r:.60}" for value in args[:_SHOWN]]
    more = [f"and {len(args) - _SHOWN} more"] if len(args) > _SHOWN else []
    return ascii(" ".join((address, *words, *more)))[1:-1]
