"""OSC 1.0/1.1 datagrams <-> addresses and arguments: a strict, bounded reader and its inverse.

Runs in the OSC source's own thread and holds no state. It knows no parameter: what an address means is `dispatch`'s
business. Every input ends in a result or in `OscError`, in time linear in the datagram's length.

Decisions where the specification leaves room, or where senders differ:

- A datagram is read whole or refused whole: one bad element refuses its bundle.
- Time tags are read and ignored. A sender's clock may be a year off; what arrives means "now".
- The type tag string may be missing (older senders) only where no argument bytes follow the address.
- Padding must be NUL, nothing may follow the last argument, addresses are ASCII, strings are UTF-8.
- Arrays (`[` `]`) and tags outside `i f d h s S b t c r m T F N I` are refused, not guessed at.
- NaN and infinity pass: they are well-formed. `Param.coerce` refuses them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

MAX_ADDRESS = 255
"""Longest address in bytes."""
MAX_ARGS = 128
"""Most arguments of one message."""
MAX_DEPTH = 8
"""Deepest nesting of bundles; a bundle inside a bundle is depth 2."""
MAX_ELEMENTS = 1024
"""Most bundle elements in one datagram, all depths together."""


class OscError(ValueError):
    """The datagram is not OSC, or passes a limit. Nothing of it was used."""


@dataclass(frozen=True, slots=True)
class Opaque:
    """An argument that holds no value of a parameter: impulse, blob, time tag, char, colour, MIDI. A ping returns it.

    tag: the type tag character. data: the argument's bytes on the wire; a blob's without size and padding.
    """

    tag: str
    data: bytes = b""


IMPULSE = Opaque("I")
"""The argument `I` ("infinitum", in OSC 1.1 an impulse or bang)."""

Argument = int | float | bool | str | None | Opaque
Message = tuple[str, tuple[Argument, ...]]

_BUNDLE = b"#bundle\0"
_COMMA, _SLASH = b",/"
_PADDING = (b"", b"\0", b"\0\0", b"\0\0\0", b"\0\0\0\0")
_INT = struct.Struct(">i")
_FLOAT = struct.Struct(">f")
_LONG = struct.Struct(">q")
_DOUBLE = struct.Struct(">d")
_CONSTANTS: dict[str, Argument] = {"T": True, "F": False, "N": None, "I": IMPULSE}
_NUMBERS = {"f": _FLOAT, "i": _INT, "d": _DOUBLE, "h": _LONG}
_OPAQUE_SIZES = {"t": 8, "c": 4, "r": 4, "m": 4}


def parse(datagram: bytes | memoryview) -> list[Message]:
    """The messages of one datagram in order, bundles flattened.

    Arguments: int for i and h, float for f and d, bool for T and F, None for N, str for s and S, `Opaque` for the rest.
    OscError for everything that is not well-formed OSC inside the limits above; no other exception.
    """
    data = bytes(datagram)
    size = len(data)
    if not size or size & 3:
        raise OscError(f"{size} bytes, not a multiple of 4 above 0")
    messages: list[Message] = []
    if data[0] == _SLASH:
        messages.append(_message(data, 0, size))
    else:
        _bundle(data, 0, size, 1, 0, messages)
    return messages


def _bundle(data: bytes, start: int, end: int, depth: int, elements: int, messages: list[Message]) -> int:
    """Appends the messages of the bundle data[start:end]; the number of elements seen so far in the datagram."""
    if end - start < 16 or not data.startswith(_BUNDLE, start):
        raise OscError("neither a message nor a bundle")
    if depth > MAX_DEPTH:
        raise OscError(f"bundles nested deeper than {MAX_DEPTH}")
    index = start + 16
    while index < end:
        # Sizes and offsets are multiples of 4 throughout, so at least 4 bytes are left here.
        (size,) = _INT.unpack_from(data, index)
        index += 4
        if size <= 0 or size & 3 or size > end - index:
            raise OscError(f"bundle element of {size} bytes where {end - index} are left")
        elements += 1
        if elements > MAX_ELEMENTS:
            raise OscError(f"more than {MAX_ELEMENTS} bundle elements")
        if data[index] == _SLASH:
            messages.append(_message(data, index, index + size))
        else:
            elements = _bundle(data, index, index + size, depth + 1, elements, messages)
        index += size
    return elements


def _string_end(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Where the text starting at `start` ends, and where its padding ends."""
    nul = data.find(0, start, end)
    if nul < 0:
        raise OscError("a string without end")
    after = (nul + 4) & ~3
    if data[nul:after] != _PADDING[after - nul]:
        raise OscError("a string padded with something else than NUL")
    return nul, after


def _message(data: bytes, start: int, end: int) -> Message:
    """The message data[start:end], which begins with `/`; start and end are multiples of 4."""
    nul, index = _string_end(data, start, end)
    if nul - start > MAX_ADDRESS:
        raise OscError(f"an address of {nul - start} bytes; {MAX_ADDRESS} are allowed")
    try:
        address = data[start:nul].decode("ascii")
    except UnicodeDecodeError:
        raise OscError("an address that is not ASCII") from None
    if index == end:
        return address, ()
    if data[index] != _COMMA:
        raise OscError("arguments without a type tag string")
    nul, after = _string_end(data, index, end)
    tags = data[index + 1 : nul]
    if tags == b"f" and end - after == 4:
        # What faders send; 0.5 us less than by way of the general reader.
        return address, _FLOAT.unpack_from(data, after)
    return address, _arguments(data, tags, after, end)


def _arguments(data: bytes, tags: bytes, index: int, end: int) -> tuple[Argument, ...]:
    if len(tags) > MAX_ARGS:
        raise OscError(f"{len(tags)} arguments; {MAX_ARGS} are allowed")
    args: list[Argument] = []
    for tag in tags.decode("latin-1"):
        if (number := _NUMBERS.get(tag)) is not None:
            if end - index < number.size:
                raise OscError(f"argument {tag!r} is cut off")
            args.append(number.unpack_from(data, index)[0])
            index += number.size
        elif tag in _CONSTANTS:
            args.append(_CONSTANTS[tag])
        elif tag == "s" or tag == "S":
            nul, after = _string_end(data, index, end)
            try:
                args.append(data[index:nul].decode("utf-8"))
            except UnicodeDecodeError:
                raise OscError("a string that is not UTF-8") from None
            index = after
        elif tag == "b":
            blob, index = _blob(data, index, end)
            args.append(blob)
        elif (size := _OPAQUE_SIZES.get(tag)) is not None:
            if end - index < size:
                raise OscError(f"argument {tag!r} is cut off")
            args.append(Opaque(tag, data[index : index + size]))
            index += size
        else:
            raise OscError(f"unknown type tag {tag!r}")
    if index != end:
        raise OscError(f"{end - index} bytes after the last argument")
    return tuple(args)


def _blob(data: bytes, index: int, end: int) -> tuple[Opaque, int]:
    if end - index < 4:
        raise OscError("argument 'b' is cut off")
    (size,) = _INT.unpack_from(data, index)
    index += 4
    after = index + ((size + 3) & ~3)
    if size < 0 or after > end:
        raise OscError(f"a blob of {size} bytes where {end - index} are left")
    if data[index + size : after] != _PADDING[after - index - size]:
        raise OscError("a blob padded with something else than NUL")
    return Opaque("b", data[index : index + size]), after


def encode(address: str, args: Sequence[Argument] = ()) -> bytes:
    """One message, the inverse of `parse`: int as i (h beyond 32 bits), float as f (d beyond float32), str as s.

    ValueError for an address or text that OSC cannot carry, or an integer beyond 64 bits.
    """
    tags = [","]
    parts: list[bytes] = []
    for value in args:
        tag, part = _encode_argument(value)
        tags.append(tag)
        parts.append(part)
    if not address.startswith("/") or not address.isascii():
        raise ValueError(f"an OSC address is ASCII and begins with '/', not {address!r:.60}")
    return b"".join((_padded(address), _padded("".join(tags)), *parts))


def _encode_argument(value: Argument) -> tuple[str, bytes]:
    if value is None:
        return "N", b""
    if isinstance(value, bool):
        return ("T" if value else "F"), b""
    if isinstance(value, str):
        return "s", _padded(value)
    if isinstance(value, Opaque):
        if value.tag != "b":
            return value.tag, value.data
        size = len(value.data)
        return "b", _INT.pack(size) + value.data + _PADDING[-size & 3]
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise ValueError("an OSC integer has at most 64 bits")
        return ("i", _INT.pack(value)) if -(2**31) <= value < 2**31 else ("h", _LONG.pack(value))
    try:
        return "f", _FLOAT.pack(value)
    except OverflowError:
        return "d", _DOUBLE.pack(value)


def _padded(text: str) -> bytes:
    raw = text.encode("utf-8")
    if b"\0" in raw:
        raise ValueError("an OSC string cannot hold NUL")
    return raw + _PADDING[4 - (len(raw) & 3)]
