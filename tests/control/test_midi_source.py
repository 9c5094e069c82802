"""The MIDI port: found by name, unplugged, plugged in again, absent altogether."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import mido
import pytest
from mido.ports import BaseIOPort

from installation.control.midi import MidiSource, NoMidi, RtMidiBackend, choose_port
from installation.errors import ConfigError, install_extra
from installation.show.config import MidiMap
from installation.show.params import ParamTable

MAPS = (MidiMap(to="latent/psi", cc=1, takeover="jump"), MidiMap(to="walk/next", note=36))


class MemoryPort(BaseIOPort):
    """A port in memory. `broken`: it raises as an unplugged one may."""

    broken = False

    def play(self, *messages: mido.Message) -> None:
        self._messages.extend(messages)

    def _receive(self, block: bool = True) -> None:
        if self.broken:
            raise OSError("the device is gone")


class FakeBackend:
    """Ports that come and go; `fault` is raised instead of a list of names."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.fault: Exception | None = None
        self.ports: list[MemoryPort] = []
        self.looks = 0

    def get_input_names(self) -> Sequence[str]:
        self.looks += 1
        if self.fault:
            raise self.fault
        return list(self.names)

    def open_input(self, name: str) -> MemoryPort:
        self.ports.append(MemoryPort(name))
        return self.ports[-1]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


Make = Callable[..., MidiSource]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(table: ParamTable, clock: Clock) -> Iterator[Make]:
    opened: list[MidiSource] = []

    def make_source(backend: Any, port: str = "") -> MidiSource:
        opened.append(MidiSource(table, MAPS, port=port, backend=backend, clock=clock))
        return opened[-1]

    yield make_source
    for source in opened:
        source.close()


def turn(value: int) -> mido.Message:
    return mido.Message("control_change", channel=0, control=1, value=value)


def test_a_device_is_heard(make: Make, until: Callable[..., Any]) -> None:
    backend = FakeBackend("Midi Through Port-0", "nanoKONTROL2 MIDI 1")
    source = make(backend)
    until(lambda: source.port)
    backend.ports[0].play(turn(10), turn(127), mido.Message("note_on", note=36), turn(0), mido.Message("clock"))
    messages = source.poll()
    assert [(message.name, message.value) for message in messages] == [
        ("latent/psi", 1.5),
        ("walk/next", None),
        ("latent/psi", 0.0),
    ]
    assert messages[0].source == "midi nanoKONTROL2 MIDI 1"
    assert source.counters()["messages"] == 5


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("", "Launch Control XL:1 24:0"),
        ("nano", "nanoKONTROL2:2 28:0"),
        ("NANOkontrol2", "nanoKONTROL2:2 28:0"),
        ("Midi Through", "Midi Through:0 14:0"),
        ("absent", None),
    ],
)
def test_a_port_is_chosen_by_a_part_of_its_name(wanted: str, expected: str | None) -> None:
    names = ["Midi Through:0 14:0", "Launch Control XL:1 24:0", "nanoKONTROL2:2 28:0"]
    assert choose_port(names, wanted) == expected


def test_the_exact_name_wins() -> None:
    assert choose_port(["nano 2", "nano"], "nano") == "nano"


# Fault 16.
def test_a_replugged_device_is_opened_again(make: Make, clock: Clock, until: Callable[..., Any]) -> None:
    backend = FakeBackend("nano 24:0")
    source = make(backend, "nano")
    until(lambda: source.port == "nano 24:0")
    backend.names = []
    clock.now += 2.0
    until(lambda: source.port == "")
    assert backend.ports[0].closed
    assert source.poll() == []
    backend.names = ["nano 28:0"]
    clock.now += 2.0
    until(lambda: source.port == "nano 28:0")
    backend.ports[1].play(turn(127))
    assert [message.value for message in source.poll()] == [1.5]
    assert source.counters()["opened"] == 2


def test_the_names_are_looked_at_every_two_seconds_only(make: Make, clock: Clock, until: Callable[..., Any]) -> None:
    backend = FakeBackend("nano")
    source = make(backend)
    until(lambda: source.port)
    for _ in range(5):
        clock.now += 0.3
        source.poll()
    assert backend.looks == 1
    clock.now += 0.6
    until(lambda: backend.looks == 2)


def test_another_device_does_not_steal_an_open_port(make: Make, clock: Clock, until: Callable[..., Any]) -> None:
    backend = FakeBackend("second")
    source = make(backend)
    until(lambda: source.port)
    backend.names = ["first", "second"]
    clock.now += 2.0
    until(lambda: backend.looks == 2)
    assert source.port == "second"


def test_a_port_that_raises_is_closed_and_opened_again(make: Make, clock: Clock, until: Callable[..., Any]) -> None:
    backend = FakeBackend("nano")
    source = make(backend)
    until(lambda: source.port)
    backend.ports[0].play(turn(127))
    backend.ports[0].broken = True
    assert [message.value for message in source.poll()] == [1.5]
    source.poll()
    until(lambda: backend.ports[0].closed)
    clock.now += 2.0
    until(lambda: source.port and len(backend.ports) == 2)
    backend.ports[1].play(turn(0))
    assert [message.value for message in source.poll()] == [0.0]
    assert source.counters()["faults"] == 1


def test_a_flood_of_system_exclusive_is_ignored(make: Make, until: Callable[..., Any]) -> None:
    backend = FakeBackend("nano")
    source = make(backend)
    until(lambda: source.port)
    backend.ports[0].play(*[mido.Message("sysex", data=(1, 2, 3))] * 3000, turn(127))
    assert [message.value for message in source.poll()] == [1.5]


def test_a_machine_without_midi_is_told_once_and_stays_idle(
    make: Make, clock: Clock, until: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    backend = FakeBackend()
    backend.fault = NoMidi("/dev/snd/seq is missing")
    with caplog.at_level(logging.INFO):
        source = make(backend)
        for look in range(1, 5):
            until(lambda look=look: backend.looks == look)
            clock.now += 2.0
        source.close()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "no MIDI system here" in caplog.text
    assert source.poll() == []


def test_the_real_backend_lists_or_says_why_not() -> None:
    try:
        names = RtMidiBackend().get_input_names()
    except NoMidi as fault:
        names = [str(fault)]
        print("no MIDI system:", fault)
    assert all(names)


def test_the_real_backend_in_a_source_never_raises(table: ParamTable) -> None:
    source = MidiSource(table, MAPS, port="no such device, surely")
    assert source.poll() == []
    source.close()


@pytest.mark.parametrize("missing", ["mido", "rtmidi"])
def test_a_missing_extra_is_told(monkeypatch: pytest.MonkeyPatch, table: ParamTable, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError) as caught:
        MidiSource(table, MAPS)
    assert install_extra("midi") in caught.value.fix


def test_without_midi_in_the_show_the_extra_is_not_imported() -> None:
    code = "import sys, installation.control.midi; sys.exit('mido' in sys.modules or 'rtmidi' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_verbose_logs_what_is_heard_within_bounds(
    table: ParamTable, clock: Clock, until: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    backend = FakeBackend("desk")
    with caplog.at_level(logging.DEBUG, "installation.control.midi"):
        source = MidiSource(table, MAPS, backend=backend, clock=clock)
        assert until(lambda: source.port)
        backend.ports[-1].play(*(mido.Message("control_change", control=7, value=i % 128) for i in range(1000)))
        source.poll()
        source.close()
    heard = [record.getMessage() for record in caplog.records if record.levelno == logging.DEBUG]
    assert heard[0].startswith("midi desk: control_change channel=0 control=7 value=0")
    assert 2 < len(heard) < 100
