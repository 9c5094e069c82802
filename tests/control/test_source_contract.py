"""The contract of a source, run on every source there is."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import mido
import pytest
from mido.ports import BaseIOPort

from installation.control.keyboard import KeyboardSource
from installation.control.midi import MidiSource
from installation.control.osc import OscSource
from installation.control.osc_codec import encode
from installation.control.replay import ReplaySource
from installation.control.source import NullSource, Source, default_values
from installation.show.config import MidiMap
from installation.show.messages import ControlMessage
from installation.show.params import ParamTable, Value
from installation.show.state import first_state
from installation.show.take import Beat, Record
from tests.show.shows import make_show


class MemoryPort(BaseIOPort):
    def play(self, *messages: mido.Message) -> None:
        self._messages.extend(messages)


class OnePort:
    def __init__(self) -> None:
        self.port = MemoryPort("memory")

    def get_input_names(self) -> list[str]:
        return ["memory"]

    def open_input(self, name: str) -> MemoryPort:
        return self.port


class Rig:
    """A source and what makes it speak: `speed` moves drift/speed `count` times, `press` fires walk/next."""

    def __init__(self, source: Source, speed: Callable[[int], None], press: Callable[[], None]) -> None:
        self.source, self.speed, self.press = source, speed, press

    def talk(self) -> None:
        self.speed(5)
        self.press()
        self.speed(5)


def null_rig(_: ParamTable) -> Rig:
    return Rig(NullSource(), lambda count: None, lambda: None)


def keyboard_rig(table: ParamTable) -> Rig:
    source = KeyboardSource(table)

    def speed(count: int) -> None:
        for _ in range(count):
            source.press("up")

    def press() -> None:
        source.press("n")

    return Rig(source, speed, press)


def osc_rig(table: ParamTable) -> Rig:
    source = OscSource(table, port=0)

    def send(*packets: bytes) -> None:
        before = source.counters()["datagrams"]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for packet in packets:
                sender.sendto(packet, source.address)
            # The answer to a ping says that all before it was taken.
            sender.settimeout(20.0)
            sender.sendto(encode("/installation/ping"), source.address)
            sender.recv(100)
        assert source.counters()["datagrams"] > before

    return Rig(
        source,
        lambda count: send(*[encode("/installation/drift/speed", (i / 10,)) for i in range(count)]),
        lambda: send(encode("/installation/walk/next")),
    )


def midi_rig(table: ParamTable) -> Rig:
    backend = OnePort()
    maps = (MidiMap(to="drift/speed", cc=1, takeover="jump"), MidiMap(to="walk/next", note=36))
    source = MidiSource(table, maps, backend=backend)
    while not source.port:
        pass
    turns = [mido.Message("control_change", control=1, value=value) for value in range(127)]
    return Rig(
        source,
        lambda count: backend.port.play(*turns[:count]),
        lambda: backend.port.play(mido.Message("note_on", note=36)),
    )


def take_rig(table: ParamTable) -> Rig:
    """A take in which nothing is said but what the test says, all of it before the wall's next picture."""
    said: deque[Beat] = deque()
    time_s = 0.0

    def records() -> Iterator[Record]:
        yield first_state(make_show(looks={"neutral": {}, "ember": {}}))
        while True:
            yield said.popleft() if said else Beat(100_000)

    source = ReplaySource(table, records(), lambda: time_s)

    def say(name: str, *values: Value | None) -> None:
        nonlocal time_s
        said.extend(Beat(1, messages=(ControlMessage(name, value, None, "osc"),)) for value in values)
        for _ in range(2):
            time_s += 0.1
            assert len(list(source.ticks())) >= 1

    say("drift/pause")
    return Rig(
        source, lambda count: say("drift/speed", *[i / 10 for i in range(count)]), lambda: say("walk/next", None)
    )


@pytest.fixture(params=[null_rig, keyboard_rig, osc_rig, midi_rig, take_rig], ids=lambda make: make.__name__)
def rig(request: pytest.FixtureRequest, table: ParamTable) -> Iterator[Rig]:
    rig = request.param(table)
    yield rig
    rig.source.close()


def is_null(rig: Rig) -> bool:
    return isinstance(rig.source, NullSource)


def test_it_has_a_name(rig: Rig) -> None:
    assert rig.source.name
    assert rig.source.name.isalpha()


def test_it_says_nothing_unasked(rig: Rig) -> None:
    assert rig.source.poll() == []


def test_values_merge_to_the_newest_but_not_across_a_trigger(rig: Rig) -> None:
    rig.talk()
    names = [message.name for message in rig.source.poll()]
    # A take says again what was said, each of it: merged, it would be another performance.
    times = 5 if isinstance(rig.source, ReplaySource) else 1
    speeds = ["drift/speed"] * times
    assert names == ([] if is_null(rig) else [*speeds, "walk/next", *speeds])
    assert rig.source.poll() == []


def test_its_messages_are_rows_of_the_table_already_coerced(rig: Rig, table: ParamTable) -> None:
    rig.talk()
    for message in rig.source.poll():
        assert isinstance(message, ControlMessage)
        assert message.source.startswith(rig.source.name)
        param = table[message.name]
        assert (message.value is None) is (param.kind == "button")
        if message.value is not None:
            assert param.coerce(message.value) == message.value


def test_it_takes_the_newest_values_each_tick(rig: Rig, table: ParamTable) -> None:
    values: dict[str, Any] = default_values(table)
    for _ in range(1000):
        rig.source.publish(values)
    rig.talk()
    assert isinstance(rig.source.poll(), list)
    assert values == default_values(table)


def test_its_counters_count_up(rig: Rig) -> None:
    before = dict(rig.source.counters())
    rig.talk()
    rig.source.poll()
    after = dict(rig.source.counters())
    assert before.keys() == after.keys()
    assert all(isinstance(count, int) for count in after.values())
    assert all(after[name] >= before[name] for name in after)
    assert is_null(rig) or sum(after.values()) > sum(before.values())


def test_it_closes_twice_and_is_silent_then(rig: Rig) -> None:
    rig.talk()
    rig.source.close()
    rig.source.close()
    assert rig.source.poll() == []
    rig.source.publish({})
    assert not {thread.name for thread in threading.enumerate()} & {"osc", "midi"}


@pytest.mark.parametrize("module", ["osc", "midi", "keyboard", "osc_send", "replay", "take_files", "take_log", "cues"])
def test_the_room_imports_no_heavy_package(module: str) -> None:
    heavy = "{'torch', 'moderngl', 'glfw', 'mido', 'rtmidi', 'installation.output', 'installation.engine'}"
    code = f"import sys, installation.control.{module}; found = {heavy} & set(sys.modules); sys.exit(str(found) if found else 0)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
