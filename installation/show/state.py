"""ShowState: everything the next picture depends on. Frozen; `step` makes the next one.

It goes through the board as JSON, so a restarted engine or wall goes on where things were.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any, get_args

from installation.show.config import Show
from installation.show.glide import Glide, Shape, still
from installation.show.look import Grade, mix
from installation.show.params import WALK_MODES, WALKS, ParamTable, Value
from installation.show.picks import MOST_PICKS, Pick, Picks, only

# Three hundred years, in seconds or keyframes. Far beyond, a 64-bit number moves in visible steps.
_FARTHEST = 1e10
_MOST_STRANDS = 16
_SHAPES = get_args(Shape)
_KEYED = ("values", "glides", "looks", "picks")
# Parameters whose values melt into one another.
PICKED = ("style/seed", "class/select", "model/select")


@dataclass(frozen=True, slots=True)
class Strand:
    """One walk under way.

    mode: a walk mode. seed: whose portrait is keyframe 0. position: place on the walk, in keyframes, 64-bit.
    fade: how far it has faded in over the strands before it, 0..1. held: of a `hold`, the walk on which it stands still.
    """

    mode: str
    seed: int
    position: float
    fade: Glide
    held: str = "wander"

    @property
    def walk(self) -> str:
        """The walk whose place the position is: wander, loop or tour."""
        return self.held if self.mode == "hold" else self.mode


@dataclass(frozen=True, slots=True)
class Jump:
    """A jump that waits because enough fades are under way."""

    strand: Strand
    fade_s: float


@dataclass(frozen=True, slots=True)
class ShowState:
    """index, t: the tick this is the state of. values: what every parameter is set to. glides: numbers on their way.

    velocity: the walk's speed in keyframes/s, which follows drift/speed and drift/pause. strands: oldest first; the
    last is where the walk is going. looks: weight of each named look. picks: of each parameter in PICKED, the values
    that count at the moment. show: `digest` of the show it belongs to. pressed: buttons of this tick alone.
    """

    index: int
    t: float
    values: dict[str, Value]
    glides: dict[str, Glide]
    velocity: Glide
    strands: tuple[Strand, ...]
    looks: dict[str, Glide]
    picks: dict[str, Picks]
    show: str
    pending: Jump | None = None
    pressed: tuple[str, ...] = ()

    def value(self, name: str) -> float:
        """A continuous parameter or switch as it is now, smoothed."""
        glide = self.glides.get(name)
        return float(self.values[name]) if glide is None else glide.at(self.t)

    def grade(self, show: Show) -> Grade:
        """The look as it is now: the named looks in their mixture, under the live faders."""
        weights = {name: glide.at(self.t) for name, glide in self.looks.items()}
        total = sum(weights.values()) or 1.0
        grade = mix([(show.looks[name].grade(), weight / total) for name, weight in weights.items()])
        return grade.times(
            brightness=self.value("look/brightness"),
            contrast=self.value("look/contrast"),
            saturation=self.value("look/saturation"),
            gamma=self.value("look/gamma"),
        )


def first_state(show: Show) -> ShowState:
    """The state before the first tick."""
    table = show.table()
    values = {row.name: show.first_value(row.name) for row in table if row.kind != "button"}
    glides = {row.name: still(float(values[row.name])) for row in table if _glides(row.name, row.kind)}
    paused = bool(values["drift/pause"])
    return ShowState(
        index=0,
        t=0.0,
        values=values,
        glides=glides,
        velocity=still(0.0 if paused else float(values["drift/speed"])),
        strands=(Strand(str(values["walk/mode"]), int(values["walk/seed"]), 0.0, still(1.0)),),
        looks={name: still(float(name == values["look/select"])) for name in show.looks},
        picks={name: only(values[name]) for name in PICKED},
        show=digest(show),
    )


def digest(show: Show) -> str:
    """Names what a state depends on: an edited walk, cascade, model, axis, look or first value makes another show."""
    parts = {"walk", "cascade", "models", "classes", "axes", "params", "looks"}
    return hashlib.sha256(show.model_dump_json(include=parts).encode()).hexdigest()[:16]


def _glides(name: str, kind: str) -> bool:
    """Whether the parameter's own value moves smoothly; drift's smoothing is in `velocity`, the looks' in `looks`."""
    return (kind == "float" and not name.startswith(("drift/", "walk/", "model/"))) or name == "look/blackout"


def to_json(state: ShowState) -> bytes:
    return json.dumps(
        {
            "index": state.index,
            "t": state.t,
            "values": state.values,
            "glides": {name: _row(glide) for name, glide in state.glides.items()},
            "velocity": _row(state.velocity),
            "strands": [_strand_row(strand) for strand in state.strands],
            "looks": {name: _row(glide) for name, glide in state.looks.items()},
            "picks": {name: [[pick.value, _row(pick.weight)] for pick in picks] for name, picks in state.picks.items()},
            "show": state.show,
            "pending": state.pending and [_strand_row(state.pending.strand), state.pending.fade_s],
        },
        separators=(",", ":"),
    ).encode()


def from_json(data: bytes) -> ShowState:
    """The state that `to_json` wrote; ValueError for anything else."""
    try:
        return from_tree(json.loads(data))
    except RecursionError as error:
        raise ValueError(f"it is no state of a show: {error!r}") from error


def from_tree(tree: Any) -> ShowState:
    """The state in the JSON tree that `to_json` wrote; ValueError for anything else."""
    try:
        pending = tree["pending"]
        return ShowState(
            index=int(tree["index"]),
            t=float(tree["t"]),
            values=dict(tree["values"]),
            glides={name: _glide(row) for name, row in tree["glides"].items()},
            velocity=_glide(tree["velocity"]),
            strands=tuple(_strand(row) for row in tree["strands"]),
            looks={name: _glide(row) for name, row in tree["looks"].items()},
            picks={name: tuple(_pick(row) for row in rows) for name, rows in tree["picks"].items()},
            show=str(tree["show"]),
            pending=Jump(_strand(pending[0]), float(pending[1])) if pending else None,
        )
    except (LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"it is no state of a show: {error!r}") from error


def resumed(state: ShowState, show: Show) -> ShowState | None:
    """A state of an earlier run or process, if it is of this very show and every number is where it can be."""
    fresh, table = first_state(show), show.table()
    speed = table["drift/speed"]
    fits = (
        state.show == fresh.show
        and all(getattr(state, part).keys() == getattr(fresh, part).keys() for part in _KEYED)
        and all(_allowed(name, value, table) for name, value in state.values.items())
        and all(_within(glide, table[name].lo, table[name].hi) for name, glide in state.glides.items())
        and all(_within(glide, 0.0, 1.0) for glide in state.looks.values())
        and all(_chosen(name, picks, state.values[name], table) for name, picks in state.picks.items())
        and _within(state.velocity, speed.lo, speed.hi)
        and 1 <= len(state.strands) <= _MOST_STRANDS
        and all(_walkable(strand, show) for strand in state.strands)
        and (state.pending is None or (_walkable(state.pending.strand, show) and _known(state.pending.fade_s)))
        and _known(state.t)
        and 0 <= state.index < 2**63
    )
    return replace(state, pressed=()) if fits else None


def _known(number: float) -> bool:
    return abs(number) <= _FARTHEST  # False for NaN


def _allowed(name: str, value: Value, table: ParamTable) -> bool:
    try:
        return table[name].coerce(value) == value
    except ValueError:
        return False


def _within(glide: Glide, lo: float, hi: float) -> bool:
    """Whether it never leaves lo..hi, but for rounding."""
    ends = all(lo - 1e-9 <= end <= hi + 1e-9 for end in (glide.start, glide.target))
    return ends and _known(glide.t0) and 0.0 <= glide.span_s <= _FARTHEST and glide.shape in _SHAPES


def _chosen(name: str, picks: Picks, value: Value, table: ParamTable) -> bool:
    return (
        1 <= len(picks) <= MOST_PICKS
        and picks[-1].value == value
        and all(_allowed(name, pick.value, table) and _within(pick.weight, 0.0, 1.0) for pick in picks)
    )


def _walkable(strand: Strand, show: Show) -> bool:
    exists = strand.mode in WALK_MODES and strand.walk in WALKS and (strand.walk != "tour" or bool(show.walk.tour))
    return exists and 0 <= strand.seed < 2**32 and _known(strand.position) and _within(strand.fade, 0.0, 1.0)


def _row(glide: Glide) -> list[float | str]:
    return [glide.start, glide.target, glide.t0, glide.span_s, glide.shape]


def _strand_row(strand: Strand) -> list[Any]:
    return [strand.mode, strand.seed, strand.position, _row(strand.fade), strand.held]


def _glide(row: list[Any]) -> Glide:
    start, target, t0, span_s, shape = row
    return Glide(float(start), float(target), float(t0), float(span_s), shape)


def _strand(row: list[Any]) -> Strand:
    mode, seed, position, fade, *held = row  # takes of old have four
    return Strand(str(mode), int(seed), float(position), _glide(fade), *map(str, held))


def _pick(row: list[Any]) -> Pick:
    value, weight = row
    if not isinstance(value, (str, int)):
        raise ValueError(f"{value!r:.60} cannot be chosen")
    return Pick(value, _glide(weight))
