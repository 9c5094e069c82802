"""MIDI in: the port, its coming and going. The map itself is `midi_mapper`.

The wall polls the open port. A thread `midi` looks at the port names every two seconds, because neither mido nor
python-rtmidi reports an unplugged device: the port just stays silent for ever. It opens the port when it is there,
and again after a replug, so nothing slow happens on the wall's loop. Needs the extra `midi` (mido, python-rtmidi).
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

from installation.control.bucket import Bucket
from installation.control.mailbox import Mailbox
from installation.control.midi_mapper import MidiMapper
from installation.errors import ConfigError, install_extra
from installation.show.config import MidiMap
from installation.show.messages import ControlMessage
from installation.show.params import ParamTable, Value

log = logging.getLogger(__name__)

_LOOK_S = 2.0
_MOST_PER_POLL = 4096
# Of what is heard, so much at most is in a log of level DEBUG.
_SPOKEN_PER_S, _SPOKEN_BURST = 20.0, 20
_SEQUENCER = "/dev/snd/seq"


class NoMidi(Exception):
    """This machine has no MIDI system, or it does not answer."""


class Port(Protocol):
    """An open input, as mido's ports are."""

    def iter_pending(self) -> Iterable[Any]: ...
    def close(self) -> None: ...


class Backend(Protocol):
    """Where ports come from."""

    def get_input_names(self) -> Sequence[str]:
        """NoMidi where there is no MIDI system."""
        ...

    def open_input(self, name: str) -> Port: ...


class RtMidiBackend:
    """mido on python-rtmidi. ConfigError when the extra is not installed."""

    def __init__(self) -> None:
        try:
            self._mido: Any = importlib.import_module("mido")
            importlib.import_module("rtmidi")
        except ImportError as fault:
            raise ConfigError(
                f"MIDI needs two packages that are not installed ({fault.name} is missing)",
                where="midi",
                fix=f"Install the extra: {install_extra('midi')}",
            ) from fault

    def get_input_names(self) -> Sequence[str]:
        if sys.platform == "linux" and not os.path.exists(_SEQUENCER):
            # Asked without it, ALSA writes to stderr each time.
            raise NoMidi(f"{_SEQUENCER} is missing; load the module snd-seq")
        try:
            return self._mido.get_input_names()
        except OSError as fault:
            raise NoMidi(str(fault)) from fault

    def open_input(self, name: str) -> Port:
        return self._mido.open_input(name)


def choose_port(names: Sequence[str], wanted: str) -> str | None:
    """The port named exactly so, else the first whose name contains it (case aside); with "" the first real device."""
    if wanted in names:
        return wanted
    if not wanted:
        return next((name for name in names if "midi through" not in name.lower()), None)
    return next((name for name in names if wanted.lower() in name.lower()), None)


class MidiSource:
    """A `Source` that listens on one MIDI port.

    port: a part of its name, "" for the first device. backend: python-rtmidi unless given. ConfigError for a missing
    extra. A missing device or MIDI system is no error: it may come later.
    """

    name = "midi"

    def __init__(
        self,
        table: ParamTable,
        maps: Sequence[MidiMap],
        *,
        port: str = "",
        backend: Backend | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._mapper = MidiMapper(table, maps)
        self._mailbox = Mailbox(table)
        self._spoken = Bucket(_SPOKEN_PER_S, _SPOKEN_BURST)
        self._wanted = port
        self._backend: Backend = RtMidiBackend() if backend is None else backend
        self._clock = clock
        self._open: tuple[str, Port] | None = None
        self._heard: Port | None = None
        self._failed: Port | None = None
        self._messages = self._opened = self._faults = 0
        self._said = ""
        self._stop = threading.Event()
        self._next_look = clock()
        self._thread = threading.Thread(target=self._watch, name="midi", daemon=True)
        self._thread.start()

    @property
    def port(self) -> str:
        """The name of the open port, "" while there is none."""
        opened = self._open
        return opened[0] if opened else ""

    def poll(self) -> list[ControlMessage]:
        opened = self._open
        if opened is None:
            return []
        name, port = opened
        if port is self._failed:
            return []
        if port is not self._heard:
            # Opened since the last poll: its knobs may have been turned meanwhile.
            self._heard = port
            self._mapper.reset()
        try:
            for message in islice(port.iter_pending(), _MOST_PER_POLL):
                self._messages += 1
                if log.isEnabledFor(logging.DEBUG) and self._spoken.take():
                    log.debug("midi %s: %s", name, message)
                self._mailbox.put(self._read(message, f"midi {name}"))
        except Exception as fault:
            # Closing may take its time, so the watching thread does it, and opens the port again when it is there.
            self._faults += 1
            self._failed = port
            self._say(logging.WARNING, f"port {name!r} failed ({fault}); waiting for it")
        return self._mailbox.drain()

    def _read(self, message: Any, source: str) -> list[ControlMessage]:
        # mido counts channels from 0, musicians and the map from 1.
        if message.type == "control_change":
            return self._mapper.control_change(message.channel + 1, message.control, message.value, source)
        if message.type == "note_on":
            return self._mapper.note_on(message.channel + 1, message.note, message.velocity, source)
        return []

    def publish(self, values: Mapping[str, Value]) -> None:
        self._mapper.publish(values)

    def counters(self) -> Mapping[str, int]:
        """MIDI messages, ports opened, faults of ports, folded (mailbox)."""
        return {
            "messages": self._messages,
            "opened": self._opened,
            "faults": self._faults,
            "folded": self._mailbox.folded,
        }

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=1.0)

    def _watch(self) -> None:
        try:
            while not self._stop.is_set():
                if self._open and self._open[1] is self._failed:
                    self._let_go()
                if self._clock() >= self._next_look:
                    self._next_look = self._clock() + _LOOK_S
                    self._look()
                self._stop.wait(0.05)
        finally:
            self._let_go()

    def _look(self) -> None:
        """Opens the wanted port if it has come, lets it go if it has left."""
        try:
            names = list(self._backend.get_input_names())
        except NoMidi as fault:
            self._let_go()
            self._say(logging.WARNING, f"no MIDI system here ({fault}); the show runs without")
            return
        except Exception as fault:
            self._faults += 1
            self._say(logging.WARNING, f"the ports cannot be listed ({fault})")
            return
        opened = self._open
        if opened and opened[0] in names:
            return
        self._let_go()
        chosen = choose_port(names, self._wanted)
        if chosen is None:
            wanted = f"port {self._wanted!r}" if self._wanted else "device"
            self._say(logging.WARNING, f"no {wanted} yet; waiting for one")
            return
        try:
            self._open = (chosen, self._backend.open_input(chosen))
        except Exception as fault:
            self._faults += 1
            self._say(logging.WARNING, f"port {chosen!r} cannot be opened ({fault}); another program may hold it")
            return
        self._opened += 1
        self._say(logging.INFO, f"listening on {chosen!r}")

    def _let_go(self) -> None:
        opened, self._open = self._open, None
        if opened:
            try:
                opened[1].close()
            except Exception as fault:
                self._faults += 1
                log.debug("midi: closing %r: %s", opened[0], fault)

    def _say(self, level: int, line: str) -> None:
        """One log line for each change, not one for each look."""
        if line != self._said:
            self._said = line
            log.log(level, "midi: %s", line)
