"""Who may send, and who did: the allow-list and a bounded memory of senders."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from installation.errors import ConfigError
from installation.show.networks import Network, is_loopback, network

MAX_PEERS = 256

_LOOPBACK: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


class Peer:
    """One sender, an address with a port. origin: as messages name it, "osc 127.0.0.1:53122"."""

    __slots__ = ("allowed", "datagrams", "origin")

    def __init__(self, origin: str, allowed: bool) -> None:
        self.origin, self.allowed, self.datagrams = origin, allowed, 0


class Peers:
    """The senders of one socket. At most MAX_PEERS are remembered: the oldest makes room. One thread writes."""

    def __init__(self, host: str, allow: Sequence[str]) -> None:
        """host: what the socket is bound to. allow: networks in CIDR notation; needed unless host is loopback.

        ConfigError lists all bad networks, or says that the list is missing.
        """
        networks: list[Network] = []
        faults: list[str] = []
        for text in allow:
            try:
                networks.append(network(text))
            except ValueError as error:
                faults.append(str(error))
        if faults:
            raise ConfigError("; ".join(faults), where="osc.allow")
        if not networks and not is_loopback(host):
            raise ConfigError(
                f"{host} can be reached from other machines, and osc.allow names none that may send",
                where="osc.host",
                fix='Name them, for example allow = ["192.168.1.0/24"], or use host = "127.0.0.1".',
            )
        self._networks = tuple(networks) or _LOOPBACK
        self._peers: dict[tuple[Any, ...], Peer] = {}

    def meet(self, sender: tuple[Any, ...]) -> Peer:
        """The sender of a packet, counted; sender: as `recvfrom` gives it."""
        peer = self._peers.get(sender)
        if peer is None:
            if len(self._peers) >= MAX_PEERS:
                del self._peers[next(iter(self._peers))]
            host, port = sender[0], sender[1]
            origin = f"osc [{host}]:{port}" if ":" in host else f"osc {host}:{port}"
            peer = self._peers[sender] = Peer(origin, self._allows(host))
        peer.datagrams += 1
        return peer

    def _allows(self, host: str) -> bool:
        address = ipaddress.ip_address(host.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)

    def datagrams(self) -> Mapping[str, int]:
        """Datagrams by origin, for any thread."""
        return {peer.origin: peer.datagrams for peer in tuple(self._peers.values())}
