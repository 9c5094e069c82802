"""A take: one performance, written down so that it can be played again. This is what its files hold, as values.

A take is a header (the show, the networks it was played with) and a log. The log is lines of JSON:

    {"state": {…}}                                     the show stands like this: how each part of the log begins
    {"us": [16667, 16650]}                             two ticks, by their lengths in microseconds of show time
    {"us": [16667], "hold": true}                      a tick in which the walk waited for the engine
    {"us": [16667], "say": [["drift/speed", 0.5, 10.0, "osc"]]}     the last tick of the line heard these messages:
                                                       name, value (null: a button), ramp in s or null, who said it

Every tick is there, with what the clock really gave, so the states of the evening can be computed again to the last
bit. Pure: knows no file. What a line or header says is checked as if an enemy had written it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from installation.errors import TakeError
from installation.show.clock import LONGEST_TICK_S, MICRO, Tick, microseconds
from installation.show.config import Show
from installation.show.messages import ControlMessage
from installation.show.params import ParamTable
from installation.show.reading import parse
from installation.show.state import ShowState, digest, first_state, from_tree, resumed, to_json

FORMAT = 1
LONGEST_LINE = 4 << 20
"""Bytes. The longest honest line holds a full mailbox of messages."""

_LINE_US = MICRO // 2
_LINE_TICKS = 120
_MOST_RAMP_S = 3600.0
_MOST_SOURCE = 120
_SHA256 = re.compile(r"[0-9a-f]{64}")
_OURS = "Give a folder as `installation run --take` wrote it"
_NEWER = "Play it with the version of the program that wrote it, or a newer one"


@dataclass(frozen=True, slots=True)
class NetworkMark:
    """One network of a take. name: what the show calls it. file: where it lay. size: bytes. sha256: of the file. axes: sha256 of
    the axes that were kept beside it; "" where the show has none of them, or they were not found yet."""

    name: str
    file: str
    size: int
    sha256: str
    axes: str = ""


@dataclass(frozen=True, slots=True)
class Header:
    """show: as it was played, with what the command line changed and the numbers of its latents. networks: in
    the order of `Show.networks`."""

    show: Show
    networks: tuple[NetworkMark, ...]


@dataclass(frozen=True, slots=True)
class Beat:
    """One tick of the performance. us: its length, microseconds. hold: the walk waited for the engine."""

    us: int
    hold: bool = False
    messages: tuple[ControlMessage, ...] = ()


Record = ShowState | Beat
"""A state where the log begins, or begins anew after a hole; else a tick."""


def header_bytes(header: Header, *, version: str, made: str) -> bytes:
    """version: of this program. made: date and time, for people."""
    tree = {
        "take": FORMAT,
        "program": version,
        "made": made,
        "seed": header.show.first_value("walk/seed"),
        "networks": [
            {key: value for key, value in asdict(network).items() if value != ""} for network in header.networks
        ],
        "show": header.show.model_dump(mode="json", exclude_none=True),
    }
    return json.dumps(tree, indent=1, allow_nan=False).encode() + b"\n"


def read_header(data: bytes, where: str, changes: Mapping[str, Mapping[str, Any]] | None = None) -> Header:
    """What `header_bytes` wrote. changes: as in `reading.load`. TakeError, or a ConfigError that lists the show's faults."""
    tree = _object(data, where)
    if tree.get("take") != FORMAT:
        fix = _NEWER if isinstance(tree.get("take"), int) else _OURS
        raise TakeError(f"no take of format {FORMAT}, but {tree.get('take')!r:.40}", where=where, fix=fix)
    show = tree.get("show")
    if not isinstance(show, dict):
        raise TakeError("has no show", where=where, fix=_OURS)
    for name, keys in (changes or {}).items():
        if isinstance(show.get(name, {}), dict):
            show[name] = {**show.get(name, {}), **keys}
    rows = tree.get("networks")
    networks = [_network(row) for row in rows] if isinstance(rows, list) else []
    parsed = parse(show, where=where, folder=None)
    if tuple(network and network.name for network in networks) != parsed.networks:
        raise TakeError("its list of networks is damaged, or does not fit its show", where=where, fix=_OURS)
    return Header(parsed, tuple(network for network in networks if network is not None))


def _object(data: bytes, where: str) -> dict[str, Any]:
    try:
        tree = json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise TakeError(f"is not JSON ({str(error)[:80]})", where=where, fix=_OURS) from error
    if not isinstance(tree, dict):
        raise TakeError("is no header of a take", where=where, fix=_OURS)
    return tree


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _network(row: Any) -> NetworkMark | None:
    if not isinstance(row, dict) or row.keys() - {"axes"} != {"name", "file", "size", "sha256"}:
        return None
    name, file, size, sha256, axes = row["name"], row["file"], row["size"], row["sha256"], row.get("axes", "")
    texts = all(isinstance(text, str) and len(text) <= 4096 and "\0" not in text for text in (name, file, sha256))
    whole = texts and type(size) is int and 0 <= size < 1 << 50 and _SHA256.fullmatch(sha256)
    whole = whole and isinstance(axes, str) and (not axes or _SHA256.fullmatch(axes))
    return NetworkMark(name, file, size, sha256, axes) if whole else None


class Scribe:
    """Turns ticks and messages into lines; a line is closed by a message, a change of `hold`, or half a second."""

    def __init__(self, table: ParamTable) -> None:
        self._local = frozenset(row.name for row in table if row.local)
        self._us: list[int] = []
        self._hold = False

    def begin(self, state: ShowState) -> bytes:
        """The line that a part of the log begins with. What `close` has not given is forgotten."""
        self._us = []
        return b'{"state":' + to_json(state) + b"}\n"

    def add(self, tick: Tick, messages: Sequence[ControlMessage]) -> bytes:
        """The lines that this tick closes: none, one or two."""
        lines = self.close() if self._us and tick.hold != self._hold else b""
        self._hold = tick.hold
        self._us.append(microseconds(tick.dt))
        said = [message for message in messages if message.name not in self._local]
        if said or len(self._us) >= _LINE_TICKS or sum(self._us) >= _LINE_US:
            lines += self.close(said)
        return lines

    def close(self, said: Sequence[ControlMessage] = ()) -> bytes:
        """The line under way."""
        if not self._us:
            return b""
        tree: dict[str, Any] = {"us": self._us}
        if self._hold:
            tree["hold"] = True
        if said:
            tree["say"] = [[m.name, m.value, m.ramp_s, m.source[:_MOST_SOURCE]] for m in said]
        self._us = []
        return json.dumps(tree, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def read_lines(lines: Iterable[tuple[str, bytes]], show: Show) -> Iterator[Record]:
    """The records of (place, line) pairs. TakeError names the place of a line that is none."""
    table, first = show.table(), True
    for where, line in lines:
        try:
            records = _records(line, show, table)
        except (ValueError, RecursionError) as error:
            fix = "The rest plays when this file is moved away"
            raise TakeError(f"damaged: {str(error)[:200]}", where=where, fix=fix) from error
        if first and not isinstance(records[0], ShowState):
            raise TakeError("the log does not begin with a state", where=where)
        first = False
        yield from records


def _records(line: bytes, show: Show, table: ParamTable) -> Sequence[Record]:
    if len(line) > LONGEST_LINE:
        raise ValueError(f"a line of more than {LONGEST_LINE >> 20} MiB")
    tree = json.loads(line, parse_constant=_no_constant)
    if not isinstance(tree, dict):
        raise ValueError(f"no line of a take: {line[:40]!r}")
    if tree.keys() == {"state"}:
        return (_state(tree["state"], show),)
    lengths, hold, said = tree.pop("us", None), tree.pop("hold", False), tree.pop("say", [])
    if tree or not isinstance(lengths, list) or not lengths or type(hold) is not bool or not isinstance(said, list):
        raise ValueError(f"no line of a take: {line[:40]!r}")
    longest = microseconds(LONGEST_TICK_S)
    if not all(type(us) is int and 0 <= us <= longest for us in lengths):
        raise ValueError(f"ticks are 0 to {longest} microseconds long")
    messages = tuple(_message(row, table) for row in said)
    return [*(Beat(us, hold) for us in lengths[:-1]), Beat(lengths[-1], hold, messages)]


def _state(tree: Any, show: Show) -> ShowState:
    """A state of a version with fewer parameters takes the first values of those it does not have; what is local to a
    machine it does not bring along."""
    state, fresh = from_tree(tree), first_state(show)
    local = {row.name: fresh.values[row.name] for row in show.table() if row.local and row.name in fresh.values}
    values, glides = fresh.values | state.values | local, fresh.glides | state.glides
    state = replace(state, show=digest(show), values=values, glides=glides, picks=fresh.picks | state.picks)
    fitting = resumed(state, show)
    if fitting is None:
        raise ValueError("a state that its show cannot be in")
    return fitting


def _message(row: Any, table: ParamTable) -> ControlMessage:
    if not isinstance(row, list) or len(row) != 4:
        raise ValueError(f"no message: {row!r:.60}")
    name, value, ramp_s, source = row
    param = table.get(name) if isinstance(name, str) else None
    if param is None:
        raise ValueError(f"no parameter {name!r:.60}. {_NEWER}")
    if not isinstance(source, str) or len(source) > _MOST_SOURCE:
        raise ValueError(f"{name}: {source!r:.60} is no source")
    message = ControlMessage(name, value, ramp_s, source)
    empty = param.kind == "button" or (value is None and message.refused is not None)
    if (value is None) != empty:
        raise ValueError(f"{name}: {value!r:.60} is no value of it")
    if value is not None:
        same = type(value) in (int, float, bool, str) and param.coerce(value) == value
        if not same or isinstance(value, bool) != (param.kind == "bool"):
            raise ValueError(f"{name}: {value!r:.60} is no value of it")
    if ramp_s is not None and not (type(ramp_s) in (int, float) and 0 <= ramp_s <= _MOST_RAMP_S):
        raise ValueError(f"{name}: {ramp_s!r:.60} is no ramp time")
    return message


def network_fault(network: NetworkMark, path: str, size: int, sha256: str) -> TakeError | None:
    """What is wrong with a file in place of the take's network; None when it is the very same. sha256: "" where the
    size was enough."""
    if (size, sha256) == (network.size, network.sha256):
        return None
    found = f"sha256 {sha256[:12]}…" if sha256 else f"{size} bytes"
    wanted = f"sha256 {network.sha256[:12]}…" if sha256 else f"{network.size} bytes"
    return TakeError(
        f"the network {network.name!r} has changed since the take was played: {found} instead of {wanted}",
        where=path,
        fix="Put the file of that evening back, there or in the models folder that `installation models list` names",
    )
