"""The verb `listen` at its ports: a MIDI port in memory, OSC packets from another process, and a machine that has neither."""

from __future__ import annotations

import mido
import pytest

from installation.control import hearing
from installation.errors import OutputError
from installation.show.params import ParamTable
from tests.control.test_midi_source import FakeBackend


class Stop(Exception):
    pass


def listened(table: ParamTable, backend: FakeBackend, port: str = "") -> list[str]:
    """What is said and printed until the first stanza."""
    lines: list[str] = []

    def printed(text: str) -> None:
        lines.append(text)
        raise Stop

    def said(text: str) -> None:
        lines.append(text)
        backend.ports[-1].play(mido.Message("control_change", channel=2, control=7, value=3))

    with pytest.raises(Stop):
        hearing.run(table, port=port, to="axis/smile", osc=None, print_=printed, say=said, backend=backend)
    assert backend.ports[-1].closed
    return lines


def test_a_controller_is_heard_at_the_port_that_was_named(table: ParamTable) -> None:
    said, stanza = listened(table, FakeBackend("Desk One", "nanoKONTROL2 MIDI 1"), "nanokontrol")
    assert "nanoKONTROL2 MIDI 1" in said
    assert stanza == '[[midi.map]]\nto = "axis/smile"\ncc = 7\nchannel = 3\n'


@pytest.mark.parametrize(("names", "wanted"), [((), ""), (("Desk",), "other")])
def test_without_the_port_there_is_one_line(table: ParamTable, names: tuple[str, ...], wanted: str) -> None:
    with pytest.raises(OutputError, match="Desk" if names else "Connect a controller"):
        hearing.run(table, port=wanted, to="NAME", osc=None, print_=print, say=print, backend=FakeBackend(*names))
