"""Opening the UDP socket, with its faults told in words."""

from __future__ import annotations

import errno
import socket
import sys

from installation.errors import ConfigError, OutputError

RECEIVE_BUFFER = 4 * 1024 * 1024
"""Bytes asked of the system for packets that wait; it may give less."""


def open_receiver(host: str, port: int) -> socket.socket:
    """A bound, non-blocking UDP socket, IPv4 or IPv6 as the host says ("::" takes both).

    ConfigError for a port out of range, OutputError when the host is unknown, its address is not on this machine, the
    port is taken or may not be used.
    """
    where = f"osc {f'[{host}]' if ':' in host else host}:{port}"
    if not 0 <= port <= 65535:
        raise ConfigError(f"no such UDP port: {port}", where=where, fix="Choose osc.port from 1024 to 65535.")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as fault:
        raise OutputError(
            f"the host {host!r} cannot be resolved ({fault})",
            where=where,
            fix="Set osc.host to an address of this machine.",
        ) from fault
    family, kind, protocol, _, address = found[0]
    try:
        receiver = socket.socket(family, kind, protocol)
    except OSError as fault:
        raise _refused(fault, host, port, where) from fault
    try:
        _configure(receiver, family, host)
        receiver.bind(address)
    except OSError as fault:
        receiver.close()
        raise _refused(fault, host, port, where) from fault
    return receiver


def _configure(receiver: socket.socket, family: int, host: str) -> None:
    receiver.setblocking(False)
    if sys.platform == "win32":
        # Without it a second program may bind the same port and take the packets.
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    if family == socket.AF_INET6 and host == "::":
        receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    try:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    except OSError:
        # macOS refuses a size above its limit instead of giving the limit.
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER // 8)


def _refused(fault: OSError, host: str, port: int, where: str) -> OutputError:
    if fault.errno == errno.EADDRINUSE:
        return OutputError(
            f"UDP port {port} is in use by another program",
            where=where,
            fix="Close that program (perhaps a second wall) or choose another osc.port.",
        )
    if fault.errno == errno.EACCES:
        return OutputError(
            f"UDP port {port} may not be used", where=where, fix="Choose an osc.port from 1024 to 65535 that is free."
        )
    other = "127.0.0.1" if ":" in host else "::1"
    return OutputError(
        f"the address {host} is not on this machine ({fault.strerror or fault})",
        where=where,
        fix=f"Set osc.host to an address of this machine, for example {other}.",
    )
