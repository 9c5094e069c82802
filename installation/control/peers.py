"""Who may send, and who did: the allow-list and a bounded memory of senders."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from installation.show.addresses import ip_network

MAX_PEERS = 256

_LOOPBACK = ("127.0.0.0/8", "::1/128")


@dataclass(frozen=True, slots=True)
class Peer:
    """One sender, an address with a port. origin: as messages name it, "osc 127.0.0.1:53122"."""

    origin: str
    allowed: bool


class Peers:
    """The senders of one socket. At most MAX_PEERS are remembered: the oldest makes room. One thread."""

    def __init__(self, allow: Sequence[str]) -> None:
        """allow: networks in CIDR notation; loopback where none is named. ValueError for what is no network."""
        self._networks = tuple(map(ip_network, allow or _LOOPBACK))
        self._peers: dict[tuple[Any, ...], Peer] = {}

    def meet(self, sender: tuple[Any, ...]) -> Peer:
        """The sender of a packet, as `recvfrom` gives it."""
        peer = self._peers.get(sender)
        if peer is None:
            if len(self._peers) >= MAX_PEERS:
                del self._peers[next(iter(self._peers))]
            host, port = sender[0], sender[1]
            origin = f"osc [{host}]:{port}" if ":" in host else f"osc {host}:{port}"
            peer = self._peers[sender] = Peer(origin, self._allows(host))
        return peer

    def _allows(self, host: str) -> bool:
        address = ipaddress.ip_address(host.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)
