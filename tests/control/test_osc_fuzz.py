"""Fault 6: mutated packets. Every one ends in messages, actions or a counted drop; nothing else, and no stall."""

from __future__ import annotations

import logging
import math
import random
import struct
import time

import pytest

from installation.control.dispatch import REASONS, Dispatcher
from installation.control.drops import Drops
from installation.control.mailbox import Mailbox
from installation.control.osc_codec import IMPULSE, Opaque, OscError, encode, parse
from installation.show.messages import ControlMessage
from installation.show.params import ParamTable

# One packet's honest worst case is some milliseconds; a reader caught in a loop takes for ever.
_STALL_S = 5.0


def seeds(table: ParamTable) -> list[bytes]:
    packets: list[bytes] = []
    for param in table:
        value = param.choices[0] if param.choices else 0.5
        packets += [
            encode(param.address),
            encode(param.address, (value,)),
            encode(param.address, (value, 2.0)),
            encode(f"{param.address}/norm", (0.5,)),
        ]
    packets += [
        encode("/installation/*/s*", (1,)),
        encode("/installation/{drift,look}/[a-z]*", (0.1,)),
        encode("/" + "*" * 30 + "x", (1,)),
        encode("/installation/ping", (1, "two", 3.0, True, None, IMPULSE, Opaque("b", b"blob"))),
        encode("/installation/walk/seed", (2**40, math.nan)),
    ]
    body = b"".join(struct.pack(">i", len(packet)) + packet for packet in packets[:12])
    packets.append(b"#bundle\0" + bytes(8) + body)
    packets.append(b"#bundle\0" + bytes(8) + struct.pack(">i", len(packets[-1])) + packets[-1])
    return packets


def mutated(rng: random.Random, packets: list[bytes]) -> bytes:
    data = bytearray(rng.choice(packets))
    for _ in range(rng.randint(1, 3)):
        kind = rng.randrange(6)
        if not data:
            break
        at = rng.randrange(len(data))
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.randrange(256)
        elif kind == 2:
            del data[at : at + rng.choice((1, 4, 4, 8))]
        elif kind == 3:
            data[at:at] = rng.randbytes(rng.choice((1, 4, 4, 8)))
        elif kind == 4:
            at &= ~3
            data[at : at + 4] = struct.pack(">i", rng.choice((-8, -4, -1, 0, 1, 4, 2**31 - 1, -(2**31), 0x7FC00000)))
        else:
            other = rng.choice(packets)
            at &= ~3
            data[at:] = other[rng.randrange(len(other)) & ~3 :]
    return bytes(data)


def fuzz(table: ParamTable, count: int, seed: int) -> tuple[int, int]:
    """Packets refused by the reader and messages that reached the mailbox."""
    rng = random.Random(seed)
    packets = seeds(table)
    drops = Drops("osc", logging.getLogger("test.fuzz"), (*REASONS, "clamped"))
    dispatcher = Dispatcher(table, drops)
    mailbox = Mailbox(table)
    refused = accepted = 0
    for number in range(count):
        packet = mutated(rng, packets)
        began = time.monotonic()
        try:
            messages = parse(packet)
        except OscError:
            refused += 1
            continue
        for address, args in messages:
            for action in dispatcher.dispatch(address, args, "fuzz"):
                if isinstance(action, ControlMessage):
                    mailbox.put((action,))
                    accepted += 1
                    check(action, table)
        assert time.monotonic() - began < _STALL_S, packet
        if number % 1000 == 0:
            assert len(mailbox.drain()) <= 4096
    return refused, accepted


def check(message: ControlMessage, table: ParamTable) -> None:
    param = table[message.name]
    if param.kind in ("float", "int"):
        assert isinstance(message.value, (int, float))
        assert param.lo <= message.value <= param.hi
    elif param.kind == "choice":
        assert message.value in param.choices
    assert message.ramp_s is None or 0.0 <= message.ramp_s <= 3600.0


def test_a_hundred_thousand_mutated_packets(table: ParamTable) -> None:
    refused, accepted = fuzz(table, 100_000, seed=1)
    assert refused > 10_000
    assert accepted > 1_000


@pytest.mark.slow
def test_a_million_mutated_packets(table: ParamTable) -> None:
    refused, accepted = fuzz(table, 1_000_000, seed=2)
    assert refused > 100_000
    assert accepted > 10_000
