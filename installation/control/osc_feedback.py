"""Telling a show's consoles what its parameters are: motor faders follow, a tablet shows what another one did.

Who is told stands in the show's file and comes from no packet. Called by the OSC source's thread, on its socket; `counts` is for
any thread. What a machine has just set itself it is not told, so a fader never fights the hand on it.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from installation.control.bucket import Bucket
from installation.control.osc_codec import encode
from installation.show.addresses import endpoint
from installation.show.messages import ControlMessage
from installation.show.params import Param, ParamTable, Value

log = logging.getLogger(__name__)

TURN_S = 1 / 30
"""At most so often an address is told its value."""
_MOST_PER_TURN = 32  # parameters; a tablet's receive buffer is small
_HUSH_S = 0.5  # longer than a wall takes to have what was set
_SLEEP_S = 1.0


@dataclass(slots=True)
class _Console:
    """One that is told. known: what it has. hushed: until when it is not told what it set itself, by parameter."""

    host: str
    port: int
    address: tuple[Any, ...]
    known: dict[str, Value] = field(default_factory=dict)
    hushed: dict[str, float] = field(default_factory=dict)
    asleep_until: float = float("-inf")
    at: int = 0
    warned: bool = False


class Feedback:
    """consoles: "192.168.10.5:9001", as a checked show has them. receiver: the source's socket, non-blocking."""

    def __init__(
        self,
        table: ParamTable,
        consoles: Sequence[str],
        receiver: socket.socket,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rows: tuple[Param, ...] = tuple(row for row in table if row.kind != "button")
        self._socket, self._clock = receiver, clock
        self._consoles = [
            _console(ip, port, receiver.family)
            for ip, port in dict.fromkeys(map(endpoint, consoles))
            if not _is_own(ip, port, receiver)
        ]
        self._next = float("-inf")
        self._refreshes = Bucket(1.0, 1, clock)
        self.counts = {"told": 0, "untold": 0}
        """Messages that left, and parameters that could not be told; they are tried again."""

    def heard(self, sender: tuple[Any, ...], messages: Iterable[ControlMessage]) -> None:
        """What a sender, as `recvfrom` gives it, has set, it knows."""
        ip = ipaddress.ip_address(str(sender[0]).partition("%")[0])
        host, until = str(getattr(ip, "ipv4_mapped", None) or ip), self._clock() + _HUSH_S
        for console in self._consoles:
            # Consoles send from another port than they hear on. This machine alone has many programs at one address.
            if console.host == host and (console.port == sender[1] or not ip.is_loopback):
                for message in messages:
                    if message.value is not None:
                        console.known[message.name], console.hushed[message.name] = message.value, until

    def refresh(self) -> None:
        """All values once more, for everybody; once a second at most."""
        if self._refreshes.take():
            for console in self._consoles:
                console.known.clear()

    def turn(self, values: Mapping[str, Value]) -> None:
        """Tells what changed, when it is time. Never waits."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + TURN_S
        for console in self._consoles:
            if now >= console.asleep_until:
                self._tell(console, values, now)

    def _tell(self, console: _Console, values: Mapping[str, Value], now: float) -> None:
        start, left = console.at, _MOST_PER_TURN
        for i in range(len(self._rows)):
            row = self._rows[(start + i) % len(self._rows)]
            value = values.get(row.name, row.default)
            if console.known.get(row.name) == value or now < console.hushed.get(row.name, now):
                continue
            if not left:
                console.at = (start + i) % len(self._rows)
                return
            left -= 1
            try:
                # The value itself last: /norm, in 24 bits, cannot name each seed, and some read both.
                for address, told in ((f"{row.address}/norm", row.to_norm(value)), (row.address, value)):
                    self._socket.sendto(
                        encode(address, (float(told) if row.kind == "float" else told,)), console.address
                    )
                    self.counts["told"] += 1
            except OSError as fault:
                self.counts["untold"] += 1
                console.asleep_until = now + _SLEEP_S
                if not console.warned:
                    console.warned = True
                    where = f"{console.host}:{console.port}"
                    log.warning(
                        "osc: %s cannot be told (%s); it is tried again, further faults are counted", where, fault
                    )
                return
            console.known[row.name] = value


def _is_own(ip: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, receiver: socket.socket) -> bool:
    """Whether a console is the wall's own port under another of this machine's addresses: it would set itself."""
    if port != receiver.getsockname()[1]:
        return False
    try:  # only an address of this machine can be bound
        with socket.socket(socket.AF_INET6 if ip.version == 6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((str(ip), 0))
    except OSError:
        return False
    log.warning("osc: feedback to %s:%d is left out, for it is the wall's own port", ip, port)
    return True


def _console(ip: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, family: int) -> _Console:
    if family == socket.AF_INET6:
        return _Console(str(ip), port, (f"::ffff:{ip}" if ip.version == 4 else str(ip), port, 0, 0))
    return _Console(str(ip), port, (str(ip), port))
