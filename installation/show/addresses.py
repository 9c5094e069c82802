"""Network addresses as a show names them. Pure: nothing is looked up."""

from __future__ import annotations

import ipaddress

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def ip_network(text: str) -> IpNetwork:
    """A network in CIDR notation, or one address. ValueError for anything else."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f'no network: {text!r:.60}; write "192.168.1.0/24" or "10.0.0.7"') from None


def endpoint(text: str) -> tuple[IpAddress, int]:
    """Address and UDP port of "192.168.10.5:9001" or "[fe80::1]:9001". ValueError for anything else."""
    host, _, port = text.rpartition(":")
    try:
        if (":" in host) is not (host[:1] == "[" and host[-1:] == "]") or not port.isascii() or not port.isdecimal():
            raise ValueError
        if not 1 <= (number := int(port[:6])) <= 65535:
            raise ValueError
        return ipaddress.ip_address(host.strip("[]")), number
    except ValueError:
        raise ValueError(f'no address with a port: {text!r:.60}; write "192.168.10.5:9001"') from None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens at the host; False for a name that would have to be looked up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
