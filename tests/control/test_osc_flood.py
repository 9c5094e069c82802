"""Fault 10: floods from another process."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from installation.control.osc import OscSource
from installation.control.osc_codec import MAX_ARGS, encode

# What one small datagram costs of a Linux receive buffer at most; what fits is kept even if the receiver does not run.
_COST = 1280

# argv: port, messages, messages a second (0 = unpaced), addresses, source ports. The i-th message carries i, the last one
# sets walk/seed to it; with one address all do.
SENDER = """
import socket, struct, sys, time
port, count, rate, addresses, sources = map(int, sys.argv[1:])
def head(text):
    raw = text.encode()
    return raw + bytes(4 - len(raw) % 4)
senders = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(sources)]
heads = [head(f"/other/{i}") + head(",i") for i in range(addresses - 1)] + [head("/installation/walk/seed") + head(",i")]
began = time.perf_counter()
for i in range(1, count + 1):
    if rate:
        while time.perf_counter() - began < i / rate:
            pass
    which = -1 if i == count else i % addresses - 1
    senders[i % sources].sendto(heads[which] + struct.pack(">i", i), ("127.0.0.1", port))
print(count / (time.perf_counter() - began))
"""

Open = Callable[..., OscSource]
Until = Callable[..., Any]


@contextmanager
def flood(
    source: OscSource, count: int, rate: int = 0, addresses: int = 1, sources: int = 1
) -> Iterator[subprocess.Popen]:
    arguments = [str(value) for value in (source.address[1], count, rate, addresses, sources)]
    with subprocess.Popen([sys.executable, "-c", SENDER, *arguments], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_nothing_is_lost_unpaced(osc: Open, until: Until) -> None:
    source = osc()
    count = min(20_000, source.receive_buffer // _COST)
    with flood(source, count) as process:
        process.wait(60)
        until(lambda: source.counters()["datagrams"] == count)
        # One poll after the last packet was taken: one tick.
        assert source.poll()[-1].value == count
    assert source.counters()["messages"] == count
    assert source.counters()["folded"] == 0


def resend_the_last(source: OscSource, count: int) -> None:
    """UDP may lose the very last packet of a flood on a busy machine; a fader sends on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(encode("/installation/walk/seed", (count,)), source.address)


@pytest.mark.parametrize("seconds", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_the_newest_value_is_there_within_a_tick_at_20_000_a_second(osc: Open, until: Until, seconds: int) -> None:
    source = osc()
    count = 20_000 * seconds
    seen: list[int] = []

    def tick() -> bool:
        taken = source.counters()["datagrams"] - 1  # The newest one counted may still be in the reader's hands.
        messages = source.poll()
        # A fader's flood is one message a tick, and it is no older than what had been taken when the tick began.
        assert len(messages) <= 1
        for message in messages:
            assert isinstance(message.value, int)
            assert message.value >= taken
            seen.append(message.value)
        return bool(seen) and seen[-1] == count

    with flood(source, count, rate=20_000) as process:
        until(lambda: tick() or process.poll() is not None, deadline_s=60.0 + seconds)
        process.wait(60)
    resend_the_last(source, count)
    until(tick)
    assert seen == sorted(seen)


def test_memory_stays_flat_under_many_addresses_and_source_ports(osc: Open, until: Until) -> None:
    source = osc()
    process_memory = psutil.Process().memory_info

    def wave() -> int:
        start = source.counters()["datagrams"]
        with flood(source, 40_000, addresses=5000, sources=200) as process:
            process.wait(60)
        until(lambda: source.counters()["datagrams"] > start)
        # The wall polls; what is still in the socket is taken meanwhile.
        until(lambda: not source.poll() or None)
        return process_memory().rss

    first = wave()
    for _ in range(2):
        last = wave()
    assert last - first < 8 * 1024 * 1024
    counters = source.counters()
    assert counters["unknown_address"] > 1000
    assert counters["internal"] == 0


def test_a_wall_that_does_not_poll_costs_no_memory(osc: Open, until: Until) -> None:
    source = osc()
    with flood(source, 100_000) as process:
        process.wait(60)
        until(lambda: source.counters()["datagrams"] > 1000)
    assert len(source._mailbox) == 1


def test_full_datagrams_do_not_starve_the_newest_value(osc: Open, until: Until) -> None:
    source = osc()
    big = "import socket,sys;s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
    big += f"d=b'/installation/ping\\0\\0,'+b'T'*{MAX_ARGS}+bytes(3)\nfor _ in range(20000): s.sendto(d,('127.0.0.1',int(sys.argv[1])))"
    subprocess.run([sys.executable, "-c", big, str(source.address[1])], check=True, timeout=60)

    def newest_is_here() -> bool:
        resend_the_last(source, 7)
        return any(message.value == 7 for message in source.poll())

    until(newest_is_here)
    counters = source.counters()
    assert counters["replies"] + counters["replies_lost"] + counters["malformed"] > 0
