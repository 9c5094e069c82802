"""OSC over UDP: a socket, a thread that empties it, and the answers to those who ask.

Owns the socket and the thread `osc`. The thread parses, dispatches and fills a mailbox; the wall polls it. Nothing that
arrives can stop the thread: bad packets are counted and dropped, a fault of our own is logged once and counted.

Answers go only to those who ask (get, ping, version, status), to the port they asked from, and at a bounded rate; a set is
never answered. So a client that sends back all it hears cannot make traffic grow. Whom the show names is told of
changes besides (osc_feedback.py).
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from installation import machine
from installation.control.bucket import Bucket
from installation.control.dispatch import REASONS, Dispatcher, Get, Refresh, Say, answer
from installation.control.drops import Drops
from installation.control.mailbox import Mailbox
from installation.control.osc_codec import OscError, encode, parse
from installation.control.osc_feedback import TURN_S, Feedback
from installation.control.osc_socket import RECEIVE_BUFFER, open_receiver
from installation.control.peers import Peers
from installation.control.source import default_values
from installation.show.messages import ControlMessage
from installation.show.params import ParamTable, Value
from installation.show.status import Standing

log = logging.getLogger(__name__)

_DATAGRAM = 65536
_REPLIES_PER_S, _REPLIES_BURST = 1000.0, 500
# Of what is heard, so much at most is in a log of level DEBUG.
_SPOKEN_PER_S, _SPOKEN_BURST, _SPOKEN_OF_ONE, _SPOKEN_CHARS = 20.0, 20, 8, 200
_IDLE_S = 1.0
_BROKEN_S = 0.2
# The first packet after a silence is taken at once, those behind it in handfuls, at most this much later, when even a
# small receive buffer has hardly begun to fill. Measured at 20,000 messages a second: 5.6 us of CPU a message, not 7.5.
_HANDFUL_S = 0.001


class OscSource:
    """A `Source` that listens on one UDP port.

    host: an address of this machine. allow: networks as "192.168.1.0/24", from which packets are taken (loopback is not
    implied); none = this machine alone, whatever the host. port: 0 picks a free one, see `address`. feedback: who is told of
    changes, as "192.168.1.5:9001". reply: whether questions are answered. version: what `/installation/version` says, the
    installed one unless given; standing: what `/installation/status` does. ConfigError for a bad port, OutputError where the
    port or address cannot be had.
    """

    name = "osc"

    def __init__(
        self,
        table: ParamTable,
        *,
        host: str = "127.0.0.1",
        port: int = 9000,
        allow: Sequence[str] = (),
        feedback: Sequence[str] = (),
        reply: bool = True,
        version: str = "",
        standing: Standing | None = None,
    ) -> None:
        self._peers = Peers(allow)
        self._socket = open_receiver(host, port)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        """The address and port that it is bound to."""
        self.receive_buffer = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        """Bytes the system gives to waiting packets; Linux counts its own overhead in."""
        if self.receive_buffer < RECEIVE_BUFFER:
            log.info("osc: %d bytes of receive buffer instead of %d", self.receive_buffer, RECEIVE_BUFFER)
        log.info("osc: listening on %s, port %d", *self.address)
        self._drops = Drops("osc", log, (*REASONS, "clamped", "malformed", "not_allowed", "replies_lost", "internal"))
        standing = standing or Standing()
        self._dispatcher = Dispatcher(
            table,
            self._drops,
            version=version or machine.version() or "unknown",
            status=lambda: standing.status.as_arguments(),
        )
        self._mailbox = Mailbox(table)
        self._replies = Bucket(_REPLIES_PER_S, _REPLIES_BURST) if reply else None
        self._spoken = Bucket(_SPOKEN_PER_S, _SPOKEN_BURST)
        self._values: Mapping[str, Value] = default_values(table)
        self._feedback = Feedback(table, feedback, self._socket) if feedback else None
        self._published = False
        self._buffer = memoryview(bytearray(_DATAGRAM))
        self._datagrams = self._messages = self._replied = self._resets = 0
        self._said_internal = False
        self._closing = False
        self._waker, self._wakened = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="osc", daemon=True)
        self._thread.start()

    def poll(self) -> list[ControlMessage]:
        return self._mailbox.drain()

    def publish(self, values: Mapping[str, Value]) -> None:
        self._values = values
        self._published = True

    def counters(self) -> Mapping[str, int]:
        """Datagrams, messages, replies, resets (a receiver of ours left), folded (mailbox), told and untold (feedback),
        and drops by reason.
        """
        return {
            "datagrams": self._datagrams,
            "messages": self._messages,
            "replies": self._replied,
            "resets": self._resets,
            "folded": self._mailbox.folded,
            **(self._feedback.counts if self._feedback else {}),
            **self._drops.counts,
        }

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        self._waker.close()
        self._thread.join(timeout=1.0)
        self._wakened.close()
        self._socket.close()
        self._mailbox.drain()

    def _run(self) -> None:
        selector = selectors.DefaultSelector()
        try:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(self._wakened, selectors.EVENT_READ)
            while not self._closing:
                selector.select(TURN_S if self._feedback else _IDLE_S)
                before = self._datagrams
                try:
                    self._empty_socket()
                    self._drops.flush()
                    if self._feedback and self._published:
                        self._feedback.turn(self._values)
                except Exception:
                    self._fault()
                if self._datagrams != before:
                    time.sleep(_HANDFUL_S)
        finally:
            selector.close()

    def _empty_socket(self) -> None:
        """Takes datagrams until none waits. One system call each: waiting comes back only when the socket is empty."""
        receive, buffer = self._socket.recvfrom_into, self._buffer
        while not self._closing:
            try:
                size, sender = receive(buffer)
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:
                # Windows reports here that a reply of ours found no receiver.
                self._resets += 1
                continue
            except OSError:
                if not self._closing:
                    self._fault()
                    # A socket whose network went away fails at once each time; the core belongs to the wall.
                    self._closed_within(_BROKEN_S)
                return
            self._datagrams += 1
            try:
                self._take(buffer[:size], sender)
            except Exception:
                self._fault()

    def _take(self, datagram: memoryview, sender: tuple[Any, ...]) -> None:
        peer = self._peers.meet(sender)
        if not peer.allowed:
            self._drops.drop("not_allowed", "an address outside the allow-list", peer.origin)
            return
        try:
            messages = parse(datagram)
        except OscError as fault:
            self._drops.drop("malformed", str(fault), peer.origin)
            return
        self._messages += len(messages)
        if log.isEnabledFor(logging.DEBUG) and self._spoken.take():
            for address, args in messages[:_SPOKEN_OF_ONE]:
                log.debug("%s: %s", peer.origin, ascii((address, *args[:_SPOKEN_OF_ONE]))[1:-1][:_SPOKEN_CHARS])
        batch: list[ControlMessage] = []
        for address, args in messages:
            for action in self._dispatcher.dispatch(address, args, peer.origin):
                if isinstance(action, ControlMessage):
                    batch.append(action)
                elif isinstance(action, Refresh):
                    if self._feedback:
                        self._feedback.refresh()
                elif self._replies is not None:
                    self._answer(action, sender, self._replies)
        if batch:
            if self._feedback:
                self._feedback.heard(sender, batch)
            self._mailbox.put(batch)

    def _answer(self, action: Get | Say, sender: tuple[Any, ...], replies: Bucket) -> None:
        if not replies.take():
            self._drops.note("replies_lost")
            return
        address, args = answer(action, self._values)
        try:
            self._socket.sendto(encode(address, args), sender)
        except ConnectionError:
            self._resets += 1
        except OSError:
            # Its network is down or its buffer full: it may ask again.
            self._drops.note("replies_lost")
        else:
            self._replied += 1

    def _fault(self) -> None:
        """Called while an exception is handled."""
        self._drops.note("internal")
        if not self._said_internal:
            self._said_internal = True
            log.exception("osc: a fault of the receiver; it goes on, and further ones are only counted")  # noqa: LOG004

    def _closed_within(self, seconds: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wakened, selectors.EVENT_READ)
            selector.select(seconds)
