"""The loop of the verb `listen`: a MIDI port and an OSC port of this machine, heard until Ctrl-C. Sets nothing, answers nobody."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable, Iterator
from itertools import islice

from installation.control.listen import MidiListener, OscListener, Throttle
from installation.control.midi import Backend, NoMidi, Port, RtMidiBackend, choose_port
from installation.control.osc_socket import open_receiver
from installation.errors import InstallationError, OutputError
from installation.show.params import ParamTable

_TURN_S = 0.02
_MOST_PER_TURN = 512


def run(
    table: ParamTable,
    *,
    port: str,
    to: str,
    osc: int | None,
    print_: Callable[[str], None],
    say: Callable[[str], None],
    backend: Backend | None = None,
) -> None:
    """Prints what comes, for ever. port: as `choose_port`. to: what the stanzas name. osc: a UDP port, 0 = any free one.

    InstallationError when there is no MIDI port, unless OSC is heard: then it is a remark.
    """
    midi, console = MidiListener(to), OscListener(table)
    with contextlib.ExitStack() as stack:
        receiver = None
        if osc is not None:
            receiver = stack.enter_context(open_receiver("127.0.0.1", osc))
            say("hears OSC at {}:{}".format(*receiver.getsockname()))
        opened: Port | None = None
        try:
            name, opened = _open(RtMidiBackend() if backend is None else backend, port)
            stack.callback(opened.close)
            say(f"hears MIDI from {name}; Ctrl-C ends it")
        except InstallationError as error:
            if receiver is None:
                raise
            say(f"no MIDI: {error}")
        throttle = Throttle(print_)
        while True:
            if opened is not None:
                for stanza in midi.heard(islice(opened.iter_pending(), _MOST_PER_TURN), time.monotonic()):
                    print_(stanza)
            if receiver is None:
                time.sleep(_TURN_S)
                continue
            for datagram, sender in islice(_datagrams(receiver), _MOST_PER_TURN):
                throttle.say(console.heard(datagram, sender))
            throttle.say(())


def _open(backend: Backend, wanted: str) -> tuple[str, Port]:
    try:
        names = list(backend.get_input_names())
    except NoMidi as fault:
        raise OutputError(f"no MIDI system here ({fault})", where="midi", fix="Connect a controller") from fault
    name = choose_port(names, wanted)
    if name is None:
        there = f"There is {', '.join(map(repr, names))}" if names else "Connect a controller"
        raise OutputError(f"no port {wanted!r}" if wanted else "no MIDI controller", where="midi", fix=there)
    try:
        return name, backend.open_input(name)
    except Exception as fault:  # rtmidi's own, which only the extra knows
        raise OutputError(
            f"cannot be opened ({fault})", where=f"midi {name}", fix="Another program may hold it"
        ) from fault


def _datagrams(receiver: socket.socket) -> Iterator[tuple[bytes, str]]:
    """What waits, after a turn's wait for it."""
    select.select([receiver], [], [], _TURN_S)
    while True:
        try:
            datagram, (host, port, *_) = receiver.recvfrom(65536)
        except (BlockingIOError, InterruptedError):
            return
        except ConnectionError:
            continue
        yield datagram, f"{host}:{port}"
