"""One line of a MIDI map: which control of a device moves which parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from installation.control.takeover import TakeoverKind
from installation.show.config import did_you_mean
from installation.show.params import ParamTable


@dataclass(frozen=True, slots=True)
class MidiMap:
    """A controller (cc) or a key (note), on one channel or any, to the parameter `to`.

    cc: 0..127, with bits=14 0..31, its low half on cc + 32. note: 0..127. channel: 1..16, None = any.
    takeover: how a cc takes over a float or int that stands elsewhere; switches and choices have none.
    """

    to: str
    cc: int | None = None
    note: int | None = None
    channel: int | None = None
    bits: int = 7
    takeover: TakeoverKind = "pickup"


def map_faults(maps: Sequence[MidiMap], table: ParamTable) -> list[str]:
    """Every fault of the map, each beginning with its key `midi.map[i]`; empty when it is sound."""
    faults: list[str] = []
    low_halves = {
        (entry.cc + 32, entry.channel): i for i, entry in enumerate(maps) if entry.cc is not None and entry.bits == 14
    }
    for i, entry in enumerate(maps):
        key = f"midi.map[{i}]"
        if entry.to not in table:
            faults.append(f"{key}.to: no parameter {entry.to!r}{did_you_mean(entry.to, table.names())}")
        if (entry.cc is None) == (entry.note is None):
            faults.append(f"{key}: either a cc or a note is wanted")
        for name, number in (("cc", entry.cc), ("note", entry.note)):
            if number is not None and not 0 <= number <= 127:
                faults.append(f"{key}.{name}: {number} is outside 0 .. 127")
        if entry.channel is not None and not 1 <= entry.channel <= 16:
            faults.append(f"{key}.channel: {entry.channel} is outside 1 .. 16")
        if entry.bits not in (7, 14):
            faults.append(f"{key}.bits: 7 or 14, not {entry.bits}")
        elif entry.bits == 14 and (entry.cc is None or not 0 <= entry.cc <= 31):
            faults.append(f"{key}.bits: 14 bits are for a cc from 0 to 31; its low half is that number + 32")
        if entry.takeover not in ("pickup", "scale", "jump"):
            faults.append(f"{key}.takeover: pickup, scale or jump, not {entry.takeover!r}")
        if entry.cc is not None and (other := low_halves.get((entry.cc, entry.channel))) is not None:
            faults.append(f"{key}.cc: {entry.cc} is the low half of midi.map[{other}]")
    return faults
