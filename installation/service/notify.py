"""systemd's notify protocol: READY=1, WATCHDOG=1, STATUS=… as datagrams to a socket. Nothing where there is no such
socket."""

from __future__ import annotations

import socket


class Notify:
    """address: the value of NOTIFY_SOCKET ("/run/…" or "@abstract"); None or "" = not run by systemd, and `send` does
    nothing."""

    def __init__(self, address: str | None) -> None:
        self._address = "\0" + address[1:] if address and address.startswith("@") else address
        family = getattr(socket, "AF_UNIX", None)
        self._socket = socket.socket(family, socket.SOCK_DGRAM) if self._address and family is not None else None
        if self._socket:
            self._socket.setblocking(False)

    def send(self, *lines: str) -> bool:
        """One datagram, never waiting. Whether it went out: a full or missing socket is no fault of the show."""
        if not self._socket or not self._address:
            return False
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            return False
        return True

    def close(self) -> None:
        if self._socket:
            self._socket.close()
