"""The sending side: how arguments are typed, and what is said when nobody answers."""

from __future__ import annotations

import math
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from installation.control.osc import OscSource
from installation.control.osc_codec import encode, parse
from installation.control.osc_send import agrees, encoded, errand, put, send, typed
from installation.errors import ConfigError, OutputError
from installation.show.messages import ControlMessage


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", ("T", True)),
        ("false", ("F", False)),
        ("True", ("s", "True")),
        ("1", ("i", 1)),
        ("-3", ("i", -3)),
        ("+7", ("i", 7)),
        ("4294967295", ("h", 4294967295)),
        ("0.5", ("f", 0.5)),
        (".5", ("f", 0.5)),
        ("-1e-3", ("f", -0.001)),
        ("1e300", ("d", 1e300)),
        ("text", ("s", "text")),
        ('"1"', ("s", "1")),
        ("'a b'", ("s", "a b")),
        ('"', ("s", '"')),
        ("", ("s", "")),
        ("nan", ("s", "nan")),
        ("0x10", ("s", "0x10")),
        ("1_000", ("s", "1_000")),
        ("?", ("s", "?")),
        ("١", ("s", "١")),
    ],
)
def test_typing(text: str, expected: tuple[str, Any]) -> None:
    assert typed(text) == expected


def test_what_is_sent_is_what_the_reader_reads() -> None:
    datagram = encoded("/installation/x", ["1", "0.5", "true", "false", "text", '"1"', "4294967295", "1e300"])
    assert parse(datagram) == [("/installation/x", (1, 0.5, True, False, "text", "1", 4294967295, 1e300))]


@pytest.mark.parametrize("address", ["", "drift/speed", "/grün", "/a b", "/a\0b"])
def test_a_bad_address_is_told(address: str) -> None:
    with pytest.raises(ConfigError, match="no OSC address"):
        send("127.0.0.1", 9, address, [])


def test_bad_arguments_are_told() -> None:
    with pytest.raises(ConfigError, match="64 bits"):
        typed("9" * 5000)
    with pytest.raises(ConfigError, match="NUL"):
        encoded("/a", ["a\0b"])
    with pytest.raises(ConfigError, match="port"):
        send("127.0.0.1", 0, "/a", [])


def test_a_value_reaches_the_wall(osc: Callable[..., OscSource], until: Callable[..., Any]) -> None:
    source = osc()
    assert send(*source.address, "/installation/drift/speed", ["-0.5", "3"]) is None
    (message,) = until(source.poll)
    assert message == ControlMessage("drift/speed", -0.5, 3.0, message.source)


def test_the_answer_is_given_back(osc: Callable[..., OscSource]) -> None:
    source = osc()
    reply = send(*source.address, "/installation/walk/mode", [], wait_reply=20.0)
    assert reply == [("/installation/walk/mode", ("wander",))]


def test_silence_is_none() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        assert send("127.0.0.1", deaf.getsockname()[1], "/a", [], wait_reply=0.05) is None


def test_rubbish_as_an_answer_is_told() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rude:
        rude.bind(("127.0.0.1", 0))
        rude.settimeout(20.0)

        def answer() -> None:
            rude.sendto(b"what?", rude.recvfrom(100)[1])

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(OutputError, match="not OSC"):
            send("127.0.0.1", rude.getsockname()[1], "/a", [], wait_reply=20.0)
        thread.join()


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS does not always report an unreachable UDP port")
def test_nobody_there_is_told() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(OutputError, match="nothing listens"):
        send("127.0.0.1", port, "/installation/ping", [], wait_reply=20.0)


def test_an_unknown_host_is_told() -> None:
    with pytest.raises(OutputError, match="cannot send"):
        send("no such host", 9000, "/a", [])


def test_the_reader_and_the_sender_agree_on_text() -> None:
    assert parse(encoded("/a", ["grün ☃"])) == parse(encode("/a", ("grün ☃",)))


@pytest.mark.parametrize(
    ("name", "sent", "said", "taken"),
    [
        ("drift/speed", 0.3, 0.30000001192092896, True),
        ("drift/speed", 0.3, 0.1, False),
        ("drift/speed", 9, 4.0, True),
        ("drift/speed", "fast", 0.1, False),
        ("drift/speed", math.nan, 0.1, False),
        ("drift/speed", True, 1.0, True),
        ("walk/seed", 7.0, 7, True),
        ("walk/seed", 4294967295, 4294967295, True),
        ("drift/pause", 1, True, True),
        ("drift/pause", False, True, False),
        ("walk/mode", "hold", "hold", True),
        ("walk/mode", "waltz", "wander", False),
        ("walk/mode", 2, "tour", True),
        ("walk/mode/norm", 0.3, 0.3333333432674408, True),
        ("drift/speed/norm", 0.75, 0.75, True),
        ("drift/speed/norm", 0.75, 0.5, False),
        ("drift/speed/norm", 7, 1.0, True),
        ("axis/smile", 2, 2.0, True),
        ("axis/smile", 9, 3.0, True),  # its range is the show's
    ],
)
def test_what_agrees(name: str, sent: Any, said: Any, taken: bool) -> None:
    assert agrees(f"/installation/{name}", sent, said) is taken


def test_a_value_is_asked_for_until_the_wall_has_it(osc: Callable[..., OscSource]) -> None:
    source = osc()
    wall = threading.Timer(0.05, lambda: source.publish({"latent/psi": 0.25}))
    wall.start()
    assert put(*source.address, "/installation/latent/psi", ["0.25"], wait_s=20.0) == 0.25
    wall.join()
    assert source.counters()["replies"] >= 2


def test_what_is_not_taken_is_given_back_as_it_is(osc: Callable[..., OscSource]) -> None:
    source = osc()
    assert put(*source.address, "/installation/look/select", ["silver"], wait_s=0.1) == "neutral"
    before = time.monotonic()
    assert put(*source.address, "/installation/drift/speed", ["fast"], wait_s=60.0) == pytest.approx(0.1)
    assert time.monotonic() - before < 30.0, "a word will never be a number"


def test_asking_never_presses(osc: Callable[..., OscSource]) -> None:
    source = osc()
    assert put(*source.address, "/installation/walk/next", ["1"], wait_s=0.1) is None
    assert [message.name for message in source.poll()] == ["walk/next"]


@pytest.mark.parametrize(
    ("address", "args", "wanted"),
    [
        ("drift/speed", [], "ask"),
        ("drift/speed", ["?"], "ask"),
        ("drift/speed", ["0.2"], "set"),
        ("drift/speed/norm", ["0.2"], "set"),
        ("axis/smile", ["2"], "set"),
        ("ping", ["a", "1"], "ask"),
        ("status", [], "ask"),
        ("walk/next", [], "press"),
        ("walk/next", ["?"], "press"),
        ("scene/night", [], "press"),
        ("refresh", [], "press"),
        ("look/*", ["0.5"], "press"),
    ],
)
def test_what_a_message_is_for(address: str, args: list[str], wanted: str) -> None:
    assert errand(f"/installation/{address}", args) == wanted
