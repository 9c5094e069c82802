"""The one table: every live parameter is one row here.

OSC addresses, MIDI maps, the keyboard, replies, the docs page, the take log and `installation params` are all
read from it. Adding a knob is a row plus the line that uses it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

PREFIX = "/installation"

_WANTED = {"float": "a number", "int": "a whole number", "bool": "true or false"}

Value = float | int | bool | str
Kind = Literal["float", "int", "bool", "choice", "button"]
Curve = Literal["lin", "square", "cubic"]

WALKS = ("wander", "loop", "tour")
WALK_MODES = (*WALKS, "hold")
CROSSFADES = ("mix", "dissolve", "cut")
# No network has more w's than this; faders over layers end here, and layers that a network has not are passed over.
MAX_LAYERS = 32
MAX_CLASSES = 1000
FIRST_MODEL = "cascade"
SCENE = "scene/"


@dataclass(frozen=True, slots=True)
class Param:
    """One row.

    name: path below `/installation/`. lo, hi: engineering range, both ends included (bool, choice and button
    ignore them). curve: how the 0..1 twin maps onto the range: `lin`, `square` (fine near lo) or `cubic` (fine
    about the middle, which 0.5 hits).
    smoothing_s: time constant of the exponential glide to a new value when the message names no ramp time; 0 = at once.
    ramp_s given with a message replaces it: the value moves in exactly that time.
    numbers: the number that each of the choices goes by; empty: its place, from 0.
    local: acts on this machine (its HUD, its files) and is no part of the performance: takes leave it out.
    """

    name: str
    kind: Kind
    description: str
    default: Value = 0.0
    lo: float = 0.0
    hi: float = 1.0
    unit: str = ""
    curve: Curve = "lin"
    smoothing_s: float = 0.0
    choices: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    local: bool = False

    @property
    def address(self) -> str:
        return f"{PREFIX}/{self.name}"

    @property
    def continuous(self) -> bool:
        """Whether only the newest of several values in one tick matters; the others keep their order."""
        return self.kind in ("float", "int")

    @property
    def span(self) -> str:
        """What it can be, in words: the range or the choices."""
        if self.kind in ("float", "int"):
            return f"{self.lo:.10g} … {self.hi:.10g} {self.unit}".strip()
        if self.numbers:
            return ", ".join(f"{name} ({number})" for name, number in zip(self.choices, self.numbers, strict=True))
        return ", ".join(self.choices)

    def coerce(self, value: Value) -> Value:
        """The value in engineering units, clamped to lo..hi.

        ValueError for NaN, infinity, a wrong type or an unknown choice.
        """
        if self.kind == "choice":
            if isinstance(value, str):
                if value not in self.choices:
                    raise ValueError(f"{self.name}: no choice {value!r:.60}; there are {self.span}")
                return value
            number = int(self._number(value))
            if not self.numbers:
                return self.choices[min(max(number, 0), len(self.choices) - 1)]
            if number not in self.numbers:
                raise ValueError(f"{self.name}: no choice has the number {number}; there are {self.span}")
            return self.choices[self.numbers.index(number)]
        number = self._number(value)
        if self.kind in ("bool", "button"):
            return number > 0
        clamped = min(max(number, self.lo), self.hi)
        return round(clamped) if self.kind == "int" else float(clamped)

    def _number(self, value: Value) -> float:
        if not isinstance(value, (int, float)):
            raise ValueError(f"{self.name}: {_WANTED.get(self.kind, 'a number')} is wanted, not {value!r:.60}")
        # An integer beyond 2**1023 would overflow on conversion; the range is far smaller anyway.
        number = float(min(max(value, -(2**63)), 2**63)) if isinstance(value, int) else value
        if not math.isfinite(number):
            raise ValueError(f"{self.name}: {value} is not a finite number")
        return number

    def to_norm(self, value: Value) -> float:
        """Engineering value -> 0..1, the inverse of `from_norm`."""
        if self.kind == "choice":
            last = len(self.choices) - 1
            return self.choices.index(str(value)) / last if last > 0 else 0.0
        if self.kind in ("bool", "button"):
            return 1.0 if value else 0.0
        x = (float(value) - self.lo) / (self.hi - self.lo)
        if self.curve == "square":
            return math.sqrt(max(x, 0.0))
        if self.curve == "cubic":
            return 0.5 + 0.5 * math.cbrt(2.0 * x - 1.0)
        return x

    def from_norm(self, x: float) -> Value:
        """0..1 -> engineering value (values outside are clamped). ValueError for NaN and infinity."""
        if not math.isfinite(x):
            raise ValueError(f"{self.name}: {x} is not a finite number")
        x = min(max(float(x), 0.0), 1.0)
        if self.kind == "choice":
            return self.choices[round(x * (len(self.choices) - 1))]
        if self.kind in ("bool", "button"):
            return x >= 0.5
        if self.curve == "square":
            x = x * x
        elif self.curve == "cubic":
            x = 0.5 + 0.5 * (2.0 * x - 1.0) ** 3
        return self.coerce(self.lo + x * (self.hi - self.lo))


ROWS: tuple[Param, ...] = (
    Param(
        "drift/speed",
        "float",
        "How fast the portrait drifts; negative runs the walk back.",
        default=0.1,
        lo=-4.0,
        hi=4.0,
        unit="keyframes/s",
        curve="cubic",
        smoothing_s=0.5,
    ),
    Param(
        "drift/pause",
        "bool",
        "Holds the walk where it is; the drift glides to a stop and on again.",
        default=False,
        smoothing_s=0.5,
    ),
    Param(
        "latent/psi",
        "float",
        "Truncation: 0 shows the average face, 1 the whole range of faces.",
        default=0.7,
        lo=0.0,
        hi=1.5,
        smoothing_s=0.3,
    ),
    Param(
        "latent/cutoff",
        "float",
        "How many layers, from the coarsest on, psi acts on; the finer ones keep their whole range.",
        default=float(MAX_LAYERS),
        lo=0.0,
        hi=float(MAX_LAYERS),
        unit="layers",
        smoothing_s=0.3,
    ),
    Param(
        "walk/seed",
        "int",
        "Goes to the portrait of this seed and wanders on from there. The ramp time is the fade (else walk/fade_s).",
        default=0,
        lo=0,
        hi=4294967295,
    ),
    Param(
        "walk/fade_s",
        "float",
        "How long a jump takes: a new seed, next, previous, another mode.",
        default=2.0,
        lo=0.0,
        hi=60.0,
        unit="s",
        curve="square",
    ),
    Param("walk/mode", "choice", "The kind of walk.", default="wander", choices=WALK_MODES),
    Param("walk/next", "button", "Fades to the next keyframe."),
    Param("walk/previous", "button", "Fades to the keyframe before."),
    Param(
        "style/seed",
        "int",
        "The second portrait, whose w `style/mix` lends to some layers. The ramp time is the fade (else walk/fade_s).",
        default=0,
        lo=0,
        hi=4294967295,
    ),
    Param("style/mix", "float", "How much of the second portrait those layers take.", default=0.0, smoothing_s=0.3),
    Param(
        "style/first",
        "float",
        "First layer of the mix: 0 is the coarsest (pose), from 8 on colour and texture.",
        default=8.0,
        lo=0.0,
        hi=float(MAX_LAYERS - 1),
        unit="layer",
        smoothing_s=0.3,
    ),
    Param(
        "style/last",
        "float",
        "Last layer of the mix, itself included.",
        default=float(MAX_LAYERS - 1),
        lo=0.0,
        hi=float(MAX_LAYERS - 1),
        unit="layer",
        smoothing_s=0.3,
    ),
    Param(
        "class/select",
        "int",
        "The class of a conditional network, by number; in a show with [classes], one of those, by name or by number. "
        "The ramp time is the fade (else walk/fade_s).",
        default=0,
        lo=0,
        hi=MAX_CLASSES - 1,
    ),
    Param(
        "transform/x",
        "float",
        "Moves what a StyleGAN3 network draws to the right.",
        lo=-1.0,
        hi=1.0,
        unit="widths",
        smoothing_s=0.3,
    ),
    Param(
        "transform/y",
        "float",
        "Moves what a StyleGAN3 network draws down.",
        lo=-1.0,
        hi=1.0,
        unit="heights",
        smoothing_s=0.3,
    ),
    Param(
        "transform/turn",
        "float",
        "Turns what a StyleGAN3 network draws clockwise.",
        lo=-1.0,
        hi=1.0,
        unit="turns",
        smoothing_s=0.3,
    ),
    Param(
        "model/select",
        "choice",
        "The networks on the wall: the show's own or one of its [[models]], loaded while the wall goes on. "
        "The ramp time is the crossfade (else model/crossfade_s).",
        default=FIRST_MODEL,
        choices=(FIRST_MODEL,),
    ),
    Param(
        "model/crossfade_s",
        "float",
        "How long the pictures of two models melt into one another, once the new one is loaded.",
        default=3.0,
        lo=0.0,
        hi=60.0,
        unit="s",
        curve="square",
    ),
    Param(
        "look/select",
        "choice",
        "The named look (a table [looks.NAME] of the show); looks melt into one another.",
        default="neutral",
        smoothing_s=1.0,
        choices=("neutral",),
    ),
    Param("look/brightness", "float", "Gain in linear light.", default=1.0, lo=0.0, hi=2.0, smoothing_s=0.1),
    Param("look/contrast", "float", "Contrast about middle grey.", default=1.0, lo=0.0, hi=2.0, smoothing_s=0.1),
    Param(
        "look/saturation",
        "float",
        "0 is grey, in the tint of the look; 1 as made.",
        default=1.0,
        lo=0.0,
        hi=2.0,
        smoothing_s=0.1,
    ),
    Param(
        "look/gamma",
        "float",
        "Lifts (> 1) or deepens (< 1) the midtones.",
        default=1.0,
        lo=0.4,
        hi=2.5,
        smoothing_s=0.1,
    ),
    Param(
        "look/blackout", "bool", "Fades to black and back; the walk goes on behind it.", default=False, smoothing_s=0.4
    ),
    Param(
        "look/crossfade",
        "choice",
        "How one generated frame becomes the next: mixed, dissolved grain by grain, or cut.",
        default="mix",
        choices=CROSSFADES,
    ),
    Param("hud/show", "bool", "A small line of figures in the corner of the wall.", default=False, local=True),
    Param("snapshot", "button", "Saves the picture on the wall as PNG in the user's picture folder.", local=True),
    Param("record/start", "button", "Begins a film of the wall in the user's video folder.", local=True),
    Param("record/stop", "button", "Ends the film and makes a file of it.", local=True),
    Param("record/on", "bool", "Whether the wall is being recorded.", default=False, local=True),
    Param("shader/reload", "button", "Reads the shader files again; a broken one keeps the old.", local=True),
)


class ParamTable:
    """An immutable, ordered mapping name -> row."""

    __slots__ = ("_by_name",)

    def __init__(self, rows: Sequence[Param]) -> None:
        self._by_name = {row.name: row for row in rows}

    def __getitem__(self, name: str) -> Param:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Param]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def get(self, name: str) -> Param | None:
        return self._by_name.get(name)

    def by_address(self, address: str) -> Param | None:
        """The row at `/installation/NAME`; None for what is no such address."""
        return self._by_name.get(address.removeprefix(f"{PREFIX}/")) if address.startswith(f"{PREFIX}/") else None

    def names(self) -> tuple[str, ...]:
        return tuple(self._by_name)


@lru_cache(maxsize=16)
def parameter_table(
    looks: tuple[str, ...] = ("neutral",),
    *,
    models: tuple[str, ...] = (FIRST_MODEL,),
    classes: tuple[tuple[str, int], ...] = (),
    axes: tuple[Param, ...] = (),
    scenes: tuple[Param, ...] = (),
) -> ParamTable:
    """The table of one show. looks, models: names, the first is the default. classes: the names that the show has given
    to some, with their numbers. axes, scenes: rows of its own, `axis/NAME` and `scene/NAME`.
    """
    class_names, class_numbers = tuple(name for name, _ in classes), tuple(number for _, number in classes)
    named: Mapping[str, tuple[str, ...]] = {"look/select": looks, "model/select": models, "class/select": class_names}

    def row_of(row: Param) -> Param:
        choices = named.get(row.name)
        if not choices:
            return row
        numbers = class_numbers if row.name == "class/select" else ()
        return replace(row, kind="choice", choices=choices, numbers=numbers, default=choices[0])

    at = next(number for number, row in enumerate(ROWS) if row.name.startswith("look/"))
    return ParamTable([*map(row_of, ROWS[:at]), *axes, *scenes, *map(row_of, ROWS[at:])])
