"""Who is told of changes: what, how often, and never what they have just set themselves."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from installation.control.osc import OscSource
from installation.control.osc_codec import encode, parse
from installation.control.osc_feedback import TURN_S, Feedback
from installation.control.source import default_values
from installation.show.messages import ControlMessage
from installation.show.params import ParamTable

LOCAL = ("127.0.0.1", 9001)


class Wire:
    """A socket that keeps what is sent."""

    family = socket.AF_INET

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any, tuple[Any, ...]]] = []
        self.fault: OSError | None = None

    def getsockname(self) -> tuple[str, int]:
        return "0.0.0.0", 9000

    def sendto(self, data: bytes, address: tuple[Any, ...]) -> int:
        if self.fault:
            raise self.fault
        ((name, args),) = parse(data)
        self.sent.append((name.removeprefix("/installation/"), args[0], address))
        return len(data)

    def take(self) -> dict[str, Any]:
        sent, self.sent = self.sent, []
        return {name: value for name, value, _ in sent}


class Rig:
    def __init__(self, table: ParamTable, *consoles: str) -> None:
        self.wire, self.now = Wire(), 0.0
        self.feedback = Feedback(table, consoles or ("127.0.0.1:9001",), self.wire, lambda: self.now)  # pyright: ignore[reportArgumentType]
        self.values = default_values(table)

    def turn(self, seconds: float = TURN_S) -> dict[str, Any]:
        self.now += seconds
        self.feedback.turn(dict(self.values))
        return self.wire.take()

    def settle(self) -> dict[str, Any]:
        told: dict[str, Any] = {}
        while more := self.turn():
            told |= more
        return told


@pytest.fixture
def rig(table: ParamTable) -> Rig:
    rig = Rig(table)
    rig.settle()
    return rig


def test_all_values_are_told_once_at_the_start_in_handfuls(table: ParamTable) -> None:
    rig = Rig(table)
    assert len(rig.turn()) <= 64
    rig.settle()
    rig = Rig(table)
    told = rig.settle()
    assert told.keys() == {f"{row.name}{end}" for row in table if row.kind != "button" for end in ("", "/norm")}
    assert rig.turn() == {}


def test_only_what_changed_is_told_in_both_units(rig: Rig) -> None:
    rig.values |= {"drift/speed": 4.0, "look/select": "ember", "drift/pause": True}
    assert rig.turn() == {
        "drift/speed": 4.0,
        "drift/speed/norm": 1.0,
        "look/select": "ember",
        "look/select/norm": 1.0,
        "drift/pause": True,
        "drift/pause/norm": 1.0,
    }
    assert rig.turn() == {}


def test_no_address_is_told_more_than_thirty_times_a_second(rig: Rig) -> None:
    told = 0
    for i in range(1000):
        rig.values["latent/psi"] = i / 1000
        told += "latent/psi" in rig.turn(0.001)
    assert 25 <= told <= 31


def test_a_console_is_not_told_what_it_has_just_set(rig: Rig) -> None:
    rig.feedback.heard(LOCAL, [ControlMessage("latent/psi", 0.5), ControlMessage("walk/next", None)])
    assert rig.turn() == {}, "the wall has not taken it yet: the old value would throw the fader back"
    rig.values["latent/psi"] = 0.5
    assert rig.turn() == {}
    assert rig.turn(1.0) == {}
    rig.values["latent/psi"] = 0.6
    assert rig.turn()["latent/psi"] == pytest.approx(0.6)


def test_what_the_wall_did_not_take_is_told_a_moment_later(rig: Rig) -> None:
    rig.feedback.heard(LOCAL, [ControlMessage("latent/psi", 0.5)])
    assert rig.turn() == {}
    assert rig.turn(1.0)["latent/psi"] == pytest.approx(rig.values["latent/psi"])


@pytest.mark.parametrize(
    ("console", "sender", "told"),
    [
        ("127.0.0.1:9001", ("127.0.0.1", 9001), False),
        ("127.0.0.1:9001", ("127.0.0.1", 50000), True),
        ("127.0.0.1:9001", ("::ffff:127.0.0.1", 9001, 0, 0), False),
        ("10.0.0.5:9001", ("10.0.0.5", 50000), False),
        ("10.0.0.5:9001", ("10.0.0.6", 9001), True),
    ],
)
def test_who_set_it(table: ParamTable, console: str, sender: tuple[Any, ...], told: bool) -> None:
    rig = Rig(table, console)
    rig.settle()
    rig.feedback.heard(sender, [ControlMessage("latent/psi", 0.5)])
    rig.values["latent/psi"] = 0.5
    assert ("latent/psi" in rig.turn()) is told


def test_a_refresh_tells_all_once_more_and_once_a_second(table: ParamTable, rig: Rig) -> None:
    rig.feedback.refresh()
    assert len(rig.settle()) > 2 * (len(table) - 10)
    rig.feedback.refresh()
    assert rig.turn() == {}
    rig.now += 1.0
    rig.feedback.refresh()
    assert rig.turn() != {}


def test_one_that_cannot_be_reached_is_counted_said_once_and_tried_again(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.wire.fault = OSError("the network is unreachable")
    rig.values["latent/psi"] = 0.5
    with caplog.at_level(logging.WARNING):
        for _ in range(90):
            rig.turn()
    assert 2 <= rig.feedback.counts["untold"] <= 4
    assert caplog.text.count("cannot be told") == 1
    rig.wire.fault = None
    assert rig.turn(1.0)["latent/psi"] == 0.5


def test_many_that_change_all_the_time_take_turns(table: ParamTable, rig: Rig) -> None:
    names = [row.name for row in table if row.kind == "float"]
    told: set[str] = set()
    for i in range(4):
        rig.values |= {name: table[name].from_norm(0.2 + i / 10) for name in names}
        told |= rig.turn().keys()
    assert told >= set(names)


CONSOLE = """
import socket, sys
from installation.control.osc_codec import encode, parse
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as console:
    console.bind(("127.0.0.1", 0))
    console.settimeout(60.0)
    print(console.getsockname()[1], flush=True)
    wall = ("127.0.0.1", int(sys.stdin.readline()))
    console.sendto(encode("/installation/latent/psi", (0.25,)), wall)
    while True:
        for address, args in parse(console.recv(65536)):
            print(address, *args, flush=True)
"""


@pytest.fixture
def console() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", CONSOLE],
        env={"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def until_line(console: subprocess.Popen[str], start: str) -> list[str]:
    """What the console says, up to the first line that begins so."""
    assert console.stdout
    said = [""]
    while not said[-1].startswith(start):
        said.append(console.stdout.readline())
        assert said[-1], f"the console ended after {said}"
    return said[1:]


def test_a_console_in_another_process_hears_what_others_set(
    console: subprocess.Popen[str], osc: Callable[..., OscSource], until: Callable[..., Any], table: ParamTable
) -> None:
    assert console.stdin
    assert console.stdout
    port = int(console.stdout.readline())
    source = osc(feedback=[f"127.0.0.1:{port}"])
    console.stdin.write(f"{source.address[1]}\n")
    console.stdin.flush()
    (set_there,) = until(source.poll)
    values = default_values(table) | {set_there.name: set_there.value}
    source.publish(values)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.sendto(encode("/installation/look/gamma", (2.0,)), source.address)
        assert until(source.poll)
        source.publish(values | {"look/gamma": 2.0})
        heard = [line.strip() for line in until_line(console, "/installation/look/gamma 2.0")]
        assert not [line for line in heard if line.startswith("/installation/latent/psi ")], "it set that itself"
        other.sendto(encode("/installation/refresh"), source.address)
        assert until_line(console, "/installation/latent/psi ")[-1].endswith(" 0.25\n")
    assert source.counters()["untold"] == 0


def test_the_walls_own_port_under_another_address_of_its_machine_is_left_out(table: ParamTable, caplog) -> None:
    """It would set itself, and a ramp would become the smoothing."""
    rig = Rig(table, "127.0.0.1:9000")  # this machine's, and bound here; a checked show has another address of it
    assert rig.turn() == {}
    assert "the wall's own port" in caplog.text
    assert Rig(table, "192.0.2.1:9000").turn() != {}
