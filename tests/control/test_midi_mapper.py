"""MIDI numbers -> messages: 7 and 14 bits, notes, channels, takeover, and maps that are wrong."""

from __future__ import annotations

from typing import Any

import pytest

from installation.control.midi_mapper import MidiMapper, to_unit
from installation.show.config import MidiMap
from installation.show.messages import ControlMessage
from installation.show.params import ParamTable


class Desk:
    """A mapper whose messages take effect and are published at once."""

    def __init__(self, table: ParamTable, *maps: MidiMap) -> None:
        self.mapper = MidiMapper(table, maps)
        self.values: dict[str, Any] = {row.name: row.default for row in table if row.kind != "button"}

    def cc(self, controller: int, value: int, channel: int = 1) -> list[Any]:
        return self._apply(self.mapper.control_change(channel, controller, value, "midi test"))

    def note(self, note: int, velocity: int = 100, channel: int = 1) -> list[Any]:
        return self._apply(self.mapper.note_on(channel, note, velocity, "midi test"))

    def _apply(self, messages: list[ControlMessage]) -> list[Any]:
        for message in messages:
            if message.value is not None:
                self.values[message.name] = message.value
        self.mapper.publish(self.values)
        return [message.value for message in messages]


def jump(to: str, **options: Any) -> MidiMap:
    return MidiMap(to=to, takeover="jump", **options)


def test_seven_bits_span_the_range_with_a_true_middle(table: ParamTable) -> None:
    desk = Desk(table, jump("drift/speed", cc=1))
    assert [desk.cc(1, value)[0] for value in (0, 64, 127)] == [-4.0, 0.0, 4.0]


@pytest.mark.parametrize("bits", [7, 14])
def test_units_rise_from_end_to_end(bits: int) -> None:
    units = [to_unit(value, bits) for value in range(1 << bits)]
    assert units == sorted(set(units))
    assert (units[0], units[1 << bits - 1], units[-1]) == (0.0, 0.5, 1.0)


def test_fourteen_bits_are_finer_than_seven(table: ParamTable) -> None:
    desk = Desk(table, jump("latent/psi", cc=1, bits=14))
    desk.cc(1, 10)
    values = [desk.cc(33, low)[0] for low in range(128)]
    assert values == sorted(set(values))
    assert values[127] - values[0] < 1.5 / 120
    assert desk.cc(1, 127)
    assert desk.cc(33, 127) == [1.5]
    assert desk.cc(1, 0)
    assert desk.cc(33, 0) == [0.0]


def test_a_fourteen_bit_sweep_never_runs_backwards_between_its_halves(table: ParamTable) -> None:
    desk = Desk(table, jump("latent/psi", cc=1, bits=14))
    for sweep, reverse in ((range(0, 16384, 97), False), (range(16383, -1, -97), True)):
        desk.cc(1, sweep[0] >> 7)
        seen = desk.cc(33, sweep[0] & 127)
        for value in sweep:
            seen += desk.cc(1, value >> 7) + desk.cc(33, value & 127)
        assert seen == sorted(seen, reverse=reverse)


def test_a_knob_that_never_sends_the_low_half_still_reaches_both_ends(table: ParamTable) -> None:
    desk = Desk(table, jump("latent/psi", cc=1, bits=14))
    assert [desk.cc(1, value)[0] for value in (127, 0)] == [1.5, 0.0]


def test_a_low_half_before_any_high_half_says_nothing(table: ParamTable) -> None:
    desk = Desk(table, MidiMap(to="latent/psi", cc=1, bits=14), jump("drift/speed", cc=2, bits=14))
    assert desk.cc(33, 5) == desk.cc(34, 5) == []
    assert desk.cc(1, 120) == [], "nothing was crossed"
    assert desk.cc(2, 64) == [0.0]


def test_pickup_starts_from_the_published_value(table: ParamTable) -> None:
    desk = Desk(table, MidiMap(to="latent/psi", cc=1))
    assert desk.cc(1, 0) == []
    assert desk.cc(1, 127) == [1.5]
    desk.values["latent/psi"] = 0.3
    desk.mapper.publish(desk.values)
    assert desk.cc(1, 126) == []
    assert desk.cc(1, 20) == [pytest.approx(1.5 * 20 / 128)]


def test_a_whole_number_that_rounds_stays_taken_over(table: ParamTable) -> None:
    desk = Desk(table, MidiMap(to="walk/seed", cc=1, takeover="scale"))
    desk.cc(1, 0)
    values = [desk.cc(1, value)[0] for value in range(1, 128)]
    assert values == sorted(set(values))
    assert values[-1] == 4294967295


def test_a_channel_is_heard_alone(table: ParamTable) -> None:
    desk = Desk(table, jump("latent/psi", cc=1, channel=3))
    assert desk.cc(1, 127, channel=2) == []
    assert desk.cc(1, 127, channel=3) == [1.5]


def test_one_knob_may_move_two_parameters(table: ParamTable) -> None:
    desk = Desk(table, jump("latent/psi", cc=1), jump("look/brightness", cc=1))
    assert desk.cc(1, 127) == [1.5, 2.0]


def test_a_switch_by_cc_speaks_when_it_passes_the_middle(table: ParamTable) -> None:
    desk = Desk(table, MidiMap(to="look/blackout", cc=64))
    assert [desk.cc(64, value) for value in (127, 100, 63, 0, 64)] == [[True], [], [False], [], [True]]


def test_a_button_by_cc_fires_on_the_way_up(table: ParamTable) -> None:
    desk = Desk(table, MidiMap(to="walk/next", cc=64))
    assert [len(desk.cc(64, value)) for value in (0, 127, 127, 0, 127)] == [0, 1, 0, 0, 1]


def test_a_choice_by_cc_speaks_when_it_changes(table: ParamTable) -> None:
    desk = Desk(table, MidiMap(to="look/crossfade", cc=2))
    spoken = [value for number in range(128) for value in desk.cc(2, number)]
    assert spoken == ["mix", "dissolve", "cut"]


def test_notes(table: ParamTable) -> None:
    desk = Desk(
        table,
        MidiMap(to="walk/next", note=36),
        MidiMap(to="look/blackout", note=37),
        MidiMap(to="look/crossfade", note=38),
        MidiMap(to="latent/psi", note=39),
    )
    assert desk.note(36) == [None]
    assert desk.note(36, 0) == []
    assert desk.note(37) + desk.note(37) == [True, False]
    assert [desk.note(38)[0] for _ in range(4)] == ["dissolve", "cut", "mix", "dissolve"]
    assert desk.note(39, 127) == [1.5]
    assert desk.note(40) == []


def test_every_press_within_one_tick_counts(table: ParamTable) -> None:
    maps = [
        MidiMap(to="look/blackout", note=37),
        MidiMap(to="look/crossfade", note=38),
        MidiMap(to="look/blackout", cc=9),
    ]
    mapper = MidiMapper(table, maps)
    blackout = [mapper.note_on(1, 37, 100)[0].value for _ in range(3)]
    blackout += [message.value for value in (0, 127) for message in mapper.control_change(1, 9, value)]
    blackout += [mapper.note_on(1, 37, 100)[0].value]
    assert blackout == [True, False, True, False, True, False]
    assert [mapper.note_on(1, 38, 100)[0].value for _ in range(3)] == ["dissolve", "cut", "mix"]
    mapper.publish({"look/blackout": False, "look/crossfade": "cut"})
    assert mapper.note_on(1, 38, 100)[0].value == "mix"
