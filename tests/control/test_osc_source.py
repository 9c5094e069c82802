"""The receiver on a real socket: bad packets, gets, loops, allow-lists, and ports that cannot be had."""

from __future__ import annotations

import contextlib
import logging
import math
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from installation.control.osc import OscSource
from installation.control.osc_codec import encode, parse
from installation.control.peers import MAX_PEERS, Peers
from installation.errors import ConfigError, OutputError
from installation.show.messages import ControlMessage
from installation.show.params import ParamTable
from installation.show.status import Standing, Status

Open = Callable[..., OscSource]
Until = Callable[..., Any]


@contextlib.contextmanager
def client(host: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((host, 0))
        sender.settimeout(20.0)
        yield sender


def ask(sender: socket.socket, source: OscSource, address: str, *args: Any) -> tuple[str, tuple[Any, ...]]:
    sender.sendto(encode(f"/installation/{address}", args), source.address)
    (message,) = parse(sender.recv(65536))
    return message


def bundle(*elements: bytes) -> bytes:
    return b"#bundle\0" + bytes(8) + b"".join(struct.pack(">i", len(element)) + element for element in elements)


def nested(depth: int) -> bytes:
    packet = encode("/installation/walk/next")
    for _ in range(depth):
        packet = bundle(packet)
    return packet


HOSTILE = {
    "element size -4": b"#bundle\0" + bytes(8) + struct.pack(">i", -4),
    "element size 0": b"#bundle\0" + bytes(8) + struct.pack(">i", 0) + bytes(8),
    "element beyond the end": b"#bundle\0" + bytes(8) + struct.pack(">i", 1000) + bytes(8),
    "star bomb": encode("/" + "*" * 30 + "x", (1,)),
    "deep nesting": nested(1500),
    "many elements": bundle(*[encode("/a")] * 5000),
    "largest datagram": b"\xff" * 65507,
    "largest message": encode("/installation/look/select", ("x" * 65400,)),
    "empty": b"",
    "odd length": b"/installation/drift/speed",
    "not utf-8": b"/inst\xc3\x28llation\0\0,\0\0\0",
    "unknown tag": b"/installation/drift/speed\0\0\0,z\0\0",
    "blob of 2 GB": b"/a\0\0,b\0\0" + struct.pack(">i", 2**31 - 1),
    "not a number": encode("/installation/drift/speed", (math.nan,)),
    "infinite": encode("/installation/drift/speed", (math.inf,)),
    "path": encode("/installation/look/select", ("../../etc/passwd",)),
    "text": encode("/installation/drift/speed", ("fast",)),
    "long address": encode("/" + "a" * 4096),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_packet_changes_nothing_and_is_counted(osc: Open, kind: str) -> None:
    source = osc()
    with client() as sender:
        sender.sendto(HOSTILE[kind], source.address)
        # The answer to a question asked afterwards proves that the thread is alive and past the packet.
        assert ask(sender, source, "ping", 1) == ("/installation/out/ping", (1,))
    assert source.poll() == []
    counters = source.counters()
    assert counters["datagrams"] == 2
    assert counters["internal"] == 0
    assert sum(count for name, count in counters.items() if name not in ("datagrams", "messages", "replies")) == 1


@pytest.mark.parametrize("ahead_s", [3600, 365 * 86400, -56 * 365 * 86400])
def test_a_time_tag_delays_nothing(osc: Open, until: Until, ahead_s: int) -> None:
    source = osc()
    packet = bytearray(bundle(encode("/installation/latent/psi", (0.25,))))
    packet[8:12] = struct.pack(">I", (int(time.time()) + 2208988800 + ahead_s) % 2**32)
    with client() as sender:
        sender.sendto(packet, source.address)
        assert until(source.poll) == [ControlMessage("latent/psi", 0.25, None, origin(sender))]


def origin(sender: socket.socket) -> str:
    host, port = sender.getsockname()[:2]
    return f"osc [{host}]:{port}" if ":" in host else f"osc {host}:{port}"


def test_a_bundle_arrives_together_and_in_order(osc: Open, until: Until) -> None:
    source = osc()
    packet = bundle(
        encode("/installation/walk/seed", (5, 4.0)),
        encode("/installation/walk/next"),
        encode("/installation/walk/seed", (6,)),
    )
    with client() as sender:
        sender.sendto(packet, source.address)
        messages = until(source.poll)
    assert [(message.name, message.value, message.ramp_s) for message in messages] == [
        ("walk/seed", 5, 4.0),
        ("walk/next", None, None),
        ("walk/seed", 6, None),
    ]


def test_a_get_is_answered_with_the_published_value(osc: Open, until: Until) -> None:
    source = osc()
    with client() as sender:
        assert ask(sender, source, "latent/psi") == ("/installation/latent/psi", (pytest.approx(0.7),))
        source.publish({"latent/psi": 0.75, "look/crossfade": "cut", "drift/pause": True, "walk/seed": 4294967295})
        assert ask(sender, source, "latent/psi") == ("/installation/latent/psi", (0.75,))
        assert ask(sender, source, "latent/psi/norm", "?") == ("/installation/latent/psi/norm", (0.5,))
        assert ask(sender, source, "look/crossfade") == ("/installation/look/crossfade", ("cut",))
        assert ask(sender, source, "drift/pause") == ("/installation/drift/pause", (True,))
        assert ask(sender, source, "walk/seed") == ("/installation/walk/seed", (4294967295,))
        assert ask(sender, source, "version") == ("/installation/out/version", ("1.2.3",))
    assert source.poll() == []
    until(lambda: source.counters()["replies"] == 7)


def test_a_set_is_not_answered_and_without_reply_nothing_is(osc: Open, until: Until) -> None:
    source, silent = osc(), osc(reply=False)
    with client() as sender:
        sender.sendto(encode("/installation/latent/psi", (0.5,)), source.address)
        sender.sendto(encode("/installation/latent/psi"), silent.address)
        until(lambda: source.counters()["datagrams"] and silent.counters()["datagrams"])
        assert ask(sender, source, "ping") == ("/installation/out/ping", ())
    assert silent.counters()["replies"] == 0


# Fault 11.
def test_a_client_that_sends_everything_back_makes_no_loop(osc: Open, until: Until) -> None:
    source = osc()
    echoes = 0
    stop = threading.Event()
    with client() as reflector:
        reflector.settimeout(0.05)

        def reflect() -> None:
            nonlocal echoes
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    datagram, sender = reflector.recvfrom(65536)
                    reflector.sendto(datagram, sender)
                    echoes += 1

        thread = threading.Thread(target=reflect)
        thread.start()
        try:
            for address in ("latent/psi", "latent/psi/norm", "walk/mode", "ping", "version"):
                reflector.sendto(encode(f"/installation/{address}"), source.address)
            until(lambda: source.counters()["datagrams"] >= 10)
            # Were there a loop, its packets would be here before this one.
            with client() as sender:
                for _ in range(50):
                    ask(sender, source, "ping")
        finally:
            stop.set()
            thread.join()
    until(lambda: source.counters()["replies"] == 55)
    counters = source.counters()
    assert echoes == 5
    assert counters["datagrams"] == 60
    assert counters["own_output"] == 2
    assert {message.name: message.value for message in source.poll()} == {
        "latent/psi": pytest.approx(0.7),
        "walk/mode": "wander",
    }


def test_replies_are_bounded(osc: Open, until: Until) -> None:
    source = osc()
    with client() as sender:
        for _ in range(3):
            sender.sendto(bundle(*[encode("/installation/ping")] * 1000), source.address)
        until(lambda: source.counters()["replies"] + source.counters()["replies_lost"] == 3000)
    assert source.counters()["replies_lost"] > 1000


def test_a_client_that_vanished_is_no_fault(osc: Open) -> None:
    source = osc()
    for _ in range(20):
        with client() as gone:
            gone.sendto(encode("/installation/latent/psi"), source.address)
    with client() as sender:
        assert ask(sender, source, "ping") == ("/installation/out/ping", ())
    assert source.counters()["internal"] == 0


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no second loopback address to send from")
def test_an_address_outside_the_allow_list_is_dropped_before_parsing(osc: Open, until: Until) -> None:
    source = osc(host="0.0.0.0", allow=("127.0.0.1/32", "10.0.0.0/8"))
    with client("127.0.0.2") as stranger, client() as friend:
        stranger.sendto(encode("/installation/walk/next"), ("127.0.0.1", source.address[1]))
        stranger.sendto(b"rubbish", ("127.0.0.1", source.address[1]))
        until(lambda: source.counters()["not_allowed"] == 2)
        friend.sendto(encode("/installation/walk/previous"), ("127.0.0.1", source.address[1]))
        assert [message.name for message in until(source.poll)] == ["walk/previous"]
    assert source.counters()["malformed"] == 0


@pytest.mark.parametrize(
    ("host", "allowed"),
    [("127.0.0.1", True), ("::ffff:127.0.0.9", True), ("::1", True), ("192.0.2.7", False), ("fe80::1%eth0", False)],
)
def test_without_an_allow_list_this_machine_alone_may_send(host: str, allowed: bool) -> None:
    assert Peers(()).meet((host, 1)).allowed is allowed


# Fault 14.
def test_a_port_in_use_is_told(table: ParamTable, osc: Open) -> None:
    taken = osc().address[1]
    with pytest.raises(OutputError) as caught:
        OscSource(table, port=taken)
    assert caught.value.exit_code == 6
    assert f"UDP port {taken} is in use" in caught.value.what
    assert f"127.0.0.1:{taken}" in caught.value.where
    assert "osc.port" in caught.value.fix


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7"])
def test_an_address_that_is_not_here_is_told(table: ParamTable, host: str) -> None:
    with pytest.raises(OutputError) as caught:
        OscSource(table, host=host, port=0, allow=("192.0.2.0/24",))
    assert host in caught.value.what
    assert "osc.host" in caught.value.fix


def test_an_unknown_host_is_told(table: ParamTable) -> None:
    with pytest.raises(OutputError, match="cannot be resolved"):
        OscSource(table, host="no such host", port=0, allow=("10.0.0.0/8",))


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_out_of_range_is_told(table: ParamTable, port: int) -> None:
    with pytest.raises(ConfigError, match="no such UDP port"):
        OscSource(table, port=port)


def test_a_machine_without_ipv4_is_sent_to_ipv6(table: ParamTable, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_ipv4(*_: Any, **__: Any) -> Any:
        raise OSError(97, "Address family not supported by protocol")

    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", no_ipv4)
        with pytest.raises(OutputError, match="::1"):
            OscSource(table, port=0)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
def test_ipv6_loopback_works_alike(osc: Open, until: Until) -> None:
    source = osc(host="::1")
    with client("::1") as sender:
        sender.sendto(encode("/installation/latent/psi", (0.25,)), source.address)
        assert until(source.poll) == [ControlMessage("latent/psi", 0.25, None, origin(sender))]
        assert ask(sender, source, "ping") == ("/installation/out/ping", ())


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
def test_a_dual_stack_socket_knows_ipv4_senders(osc: Open, until: Until) -> None:
    source = osc(host="::", allow=("127.0.0.0/8",))
    with client() as sender:
        sender.sendto(encode("/installation/walk/next"), ("127.0.0.1", source.address[1]))
        assert [message.name for message in until(source.poll)] == ["walk/next"]


def test_many_senders_are_remembered_only_so_far() -> None:
    peers = Peers(())
    first = peers.meet(("127.0.0.1", 1))
    assert peers.meet(("127.0.0.1", 1)) is first
    for port in range(2, MAX_PEERS + 2):
        peers.meet(("127.0.0.1", port))
    assert peers.meet(("127.0.0.1", 1)) is not first


def test_a_fault_of_our_own_is_logged_once_and_survived(
    osc: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, until: Until
) -> None:
    source = osc()

    def broken(*_: Any) -> Any:
        raise RuntimeError("broken on purpose")

    with monkeypatch.context() as patched, client() as sender, caplog.at_level(logging.ERROR):
        patched.setattr(source._dispatcher, "dispatch", broken)
        for _ in range(5):
            sender.sendto(encode("/installation/walk/next"), source.address)
        until(lambda: source.counters()["internal"] == 5)
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1
    with client() as sender:
        assert ask(sender, source, "ping") == ("/installation/out/ping", ())


def test_closing_frees_the_port_and_the_thread(table: ParamTable) -> None:
    before = threading.active_count()
    port = 0
    for _ in range(20):
        source = OscSource(table, port=port)
        port = source.address[1]
        source.close()
        source.close()
        assert source.poll() == []
    assert threading.active_count() == before


def test_the_version_is_the_installed_one_unless_given(osc: Open) -> None:
    with client() as sender:
        address, (version,) = ask(sender, osc(version=""), "version")
    assert address == "/installation/out/version"
    assert version


def test_the_log_says_where_it_listens_and_verbose_what_it_hears_within_bounds(
    table: ParamTable, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "installation.control.osc"):
        source = OscSource(table, port=0)
        with client() as sender:
            sender.sendto(encode("/installation/look/select", ("x" * 10_000,)), source.address)
            for _ in range(300):
                sender.sendto(encode("/installation/drift/speed", (0.5,)), source.address)
            ask(sender, source, "ping")
        source.close()
    assert f"osc: listening on 127.0.0.1, port {source.address[1]}" in caplog.text
    heard = [record.getMessage() for record in caplog.records if record.levelno == logging.DEBUG]
    assert heard[0].startswith("osc 127.0.0.1:")
    assert "'/installation/look/select', 'xxx" in heard[0]
    assert "'/installation/drift/speed', 0.5" in heard[1]
    assert 2 < len(heard) < 100
    assert max(map(len, heard)) < 300


def test_the_status_is_the_walls_newest(osc: Open) -> None:
    standing = Standing()
    source = osc(standing=standing)
    with client() as sender:
        assert ask(sender, source, "status") == ("/installation/out/status", ("", "", "waiting", -1.0, False))
        standing.status = Status("Früh ☃", "faces", 12.5, time.monotonic() - 7.0, recording=True)
        _, (show, model, rate, age_s, recording) = ask(sender, source, "status")
    assert (show, model, rate, recording) == ("Früh ☃", "faces", 12.5, True)
    assert 7.0 <= age_s < 60.0
