"""Sending OSC: what the verb `osc-send` does, and a client for scripts and tests.

Encoded by python-osc. The wall's answers are encoded by `osc_codec.encode`: python-osc has no word for some of what a
ping returns (I, c, t), and takes 24 us where that takes 5, in the thread that empties the socket.

How an argument's text becomes an argument:

    true, false        T, F
    12, -3, +7         i, and h where 32 bits do not hold it
    0.5, -1e-3, .5     f
    "12", 'a b'        s, without the quotes
    anything else      s, as it is (so also nan, inf and 0x10)
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import socket
import time
from collections.abc import Iterator, Sequence
from typing import Literal

from pythonosc.osc_message_builder import OscMessageBuilder

from installation.control.dispatch import QUESTIONS, REFRESH
from installation.control.osc_codec import Argument, Message, OscError, parse
from installation.control.pattern import is_pattern
from installation.errors import ConfigError, OutputError
from installation.show.params import PREFIX, SCENE, Value, parameter_table

_INTEGER = re.compile(r"[+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.[0-9]*|\.?[0-9]+)([eE][+-]?[0-9]+)?")
_NORM = "/norm"
_ROUNDING = 1e-6  # of a float32
# The wall takes a value at its next tick, and answers what it had until then.
_TURN_S, _AGAIN_S = 0.01, 0.25
_FLOAT32_MAX = 3.4028235677973366e38


def typed(text: str) -> tuple[str, int | float | bool | str]:
    """Type tag and value of one argument as written on a command line."""
    if text in ("true", "false"):
        return ("T", True) if text == "true" else ("F", False)
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return "s", text[1:-1]
    if _INTEGER.fullmatch(text):
        # Python refuses to read endless digits; 20 are more than 64 bits hold.
        number = int(text) if len(text) <= 20 else 2**64
        if not -(2**63) <= number < 2**63:
            raise ConfigError(
                f"the integer {text:.40} has more than 64 bits", where="osc-send", fix="Write 1e20 or quote it."
            )
        return ("i" if -(2**31) <= number < 2**31 else "h"), number
    if _DECIMAL.fullmatch(text):
        decimal = float(text)
        return ("f" if abs(decimal) < _FLOAT32_MAX else "d"), decimal
    return "s", text


def encoded(address: str, args: Sequence[str]) -> bytes:
    """The datagram. ConfigError for an address that OSC cannot carry."""
    if not address.startswith("/") or not address.isascii() or "\0" in address or " " in address:
        raise ConfigError(
            f"no OSC address: {address!r:.80}",
            where="osc-send",
            fix="An address begins with /, as /installation/drift/speed.",
        )
    builder = OscMessageBuilder(address=address)
    for text in args:
        tag, value = typed(text)
        if isinstance(value, str) and "\0" in value:
            raise ConfigError("an OSC string cannot hold NUL", where="osc-send", fix="Leave it out.")
        builder.add_arg(value, tag)
    return builder.build().dgram


def send(
    host: str, port: int, address: str, args: Sequence[str] = (), *, wait_reply: float | None = None
) -> list[Message] | None:
    """Sends one message; with `wait_reply` seconds, waits for the answer.

    The messages of the first datagram that comes back; None when none came in time or none was waited for.
    ConfigError for a bad address or port; OutputError when the host is unknown or, as far as it can be told, nothing
    listens there.
    """
    datagram = encoded(address, args)
    with _client(host, port) as client:
        client.send(datagram)
        if wait_reply is None:
            # On this machine the refusal is there as soon as the packet is; from another it may come later or never.
            if fault := client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(fault, os.strerror(fault))
            return None
        client.settimeout(wait_reply)
        try:
            return parse(client.recv(65536))
        except TimeoutError:
            return None


def errand(address: str, args: Sequence[str]) -> Literal["ask", "press", "set"]:
    """What a message is for, as far as can be told without the show. A press, and a pattern, are answered by nothing."""
    row = parameter_table().by_address(address)
    if address == REFRESH or address.startswith(f"{PREFIX}/{SCENE}") or (row is not None and row.kind == "button"):
        return "press"
    if address in QUESTIONS or list(args) in ([], ["?"]):
        return "ask"
    return "press" if is_pattern(address) else "set"


def put(host: str, port: int, address: str, args: Sequence[str], *, wait_s: float) -> Argument | None:
    """Sets a value, args[0], and asks for it until it is there, for `wait_s` seconds at most.

    What the wall says that it is, taken or not: `agrees` tells. None without any answer. Errors as `send`.
    """
    setting, question, sent = encoded(address, args), encoded(address, ["?"]), typed(args[0])[1]
    end, said = time.monotonic() + wait_s, None
    with _client(host, port) as client:
        client.send(setting)
        while True:
            client.send(question)
            client.settimeout(min(max(end - time.monotonic(), 0.001), _AGAIN_S))
            with contextlib.suppress(TimeoutError):
                said = next((args[0] for name, args in parse(client.recv(65536)) if name == address and args), said)
            # A word is never a number's value: asking on would not help.
            if said is not None and (agrees(address, sent, said) or isinstance(sent, str) is not isinstance(said, str)):
                return said
            if time.monotonic() >= end:
                return said
            time.sleep(_TURN_S)


def agrees(address: str, sent: Value, said: Argument) -> bool:
    """Whether a wall that took `sent` says `said`, as far as can be told from here. At its end of the range, it was taken."""
    row = parameter_table().by_address(address.removesuffix(_NORM))
    if isinstance(said, str):
        return not isinstance(sent, str) or said == sent  # which name a number chooses, the show knows
    if isinstance(sent, str) or not isinstance(said, (int, float)) or not math.isfinite(sent):
        return False
    if address.endswith(_NORM):
        stepped = row is not None and row.kind != "float"
        return stepped or math.isclose(said, min(max(sent, 0.0), 1.0), abs_tol=_ROUNDING)
    if isinstance(said, bool):
        return said == (sent > 0)
    if row is None:  # a show's own, whose range is not known here
        return True
    wanted = float(row.coerce(sent)) if row.kind in ("float", "int") else float(sent)
    return math.isclose(said, wanted, rel_tol=_ROUNDING, abs_tol=_ROUNDING)


@contextlib.contextmanager
def _client(host: str, port: int) -> Iterator[socket.socket]:
    """A socket connected to host and port; what goes wrong with it is told in words."""
    where = f"osc-send {host}:{port}"
    if not 1 <= port <= 65535:
        raise ConfigError(f"no such UDP port: {port}", where=where, fix="Give a port from 1 to 65535.")
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as client:
            # Connected, so that "nobody listens" comes back as an error and strangers' packets do not.
            client.connect(target)
            yield client
    except OscError as fault:
        raise OutputError(
            f"the answer is not OSC: {fault}", where=where, fix="Is another program on this port?"
        ) from fault
    except ConnectionError as fault:
        raise OutputError(
            "nothing listens there", where=where, fix="Start the wall, or check host and port."
        ) from fault
    except (OSError, UnicodeError) as fault:
        raise OutputError(
            f"cannot send ({fault})", where=where, fix="Check the host's name and the network."
        ) from fault
