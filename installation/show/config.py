"""A show, as checked data: its tables, their keys, ranges and defaults. reading.py makes it of a file; every process can trust it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from installation.show.addresses import endpoint, ip_network, is_loopback
from installation.show.faults import shown
from installation.show.look import Grade
from installation.show.params import (
    FIRST_MODEL,
    MAX_CLASSES,
    MAX_LAYERS,
    SCENE,
    Param,
    ParamTable,
    Value,
    parameter_table,
)

Name = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,32}$")]
Fit = Literal["contain", "cover", "fill", "native"]
Rotation = Literal[0, 90, 180, 270]
Layer = Annotated[int, Field(ge=0, lt=MAX_LAYERS)]
Sigma = Annotated[float, Field(ge=-20, le=20)]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = get_args(Weekday)
Seed = Annotated[int, Field(ge=0, le=4294967295)]
Rgb = tuple[
    Annotated[float, Field(ge=0, le=4)], Annotated[float, Field(ge=0, le=4)], Annotated[float, Field(ge=0, le=4)]
]


class _Table(BaseModel):
    """A table of the file. Unknown keys are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)

    @field_validator("*", mode="wrap")
    @classmethod
    def _no_switch(cls, value: Any, read: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        taken = read(value)
        # A latent's many numbers were checked when they were read.
        if info.field_name != "values" and _switch_for_number(value, taken):
            raise ValueError(f"a number is wanted, not {shown(value)}")
        return taken


def _switch_for_number(given: Any, taken: Any) -> bool:
    """Whether a `true` of the file became a number: Python's True is 1."""
    if isinstance(given, bool):
        return not isinstance(taken, bool)
    if isinstance(given, Mapping) and isinstance(taken, Mapping):
        return any(_switch_for_number(value, taken[key]) for key, value in given.items())
    if isinstance(given, (list, tuple)) and isinstance(taken, tuple):
        return any(map(_switch_for_number, given, taken))
    return False


def _is_network(text: str) -> str:
    ip_network(text)
    return text


def _is_monitor(wanted: str | int) -> str | int:
    if isinstance(wanted, int) and not 0 <= wanted < 256:
        raise ValueError(f"no monitor has the index {shown(wanted)}")
    return wanted


def _is_endpoint(text: str) -> str:
    endpoint(text)
    return text


def _is_device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", name):
        raise ValueError(f"auto, cpu, mps, cuda or cuda:0, cuda:1 is wanted, not {name!r:.60}")
    return name


class Stop(_Table):
    """A stop of a tour: a seed, or a latent saved as .npy (floats, [z_dim], or [num_ws, w_dim] for a walk in w).

    hold_s: how long the walk rests there at the show's own drift speed, out of the 1 / speed seconds of a leg.
    """

    seed: Seed | None = None
    latent: str | None = None
    hold_s: Annotated[float, Field(ge=0, le=3600)] = 0.0
    values: tuple[tuple[float, ...], ...] | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.seed is None) == (self.latent is None):
            raise ValueError("either a seed or a latent is wanted")
        return self


class Walk(_Table):
    """space: where keyframes are joined, great circles in `z` or straight lines in `w`."""

    space: Literal["z", "w"] = "z"
    loop_keyframes: Annotated[int, Field(ge=3, le=10000)] = 8
    tour: tuple[Stop, ...] = ()
    repeat: bool = True


class CascadeConfig(_Table):
    """base: stage 0, by name or .safetensors path. stages: the enlarging networks, in order. name: what `model/select`
    calls these networks. The rest holds for every model of the show.

    tile: edge of a tile in input pixels of the stages, 0 = whole frames. threads: CPU threads of the engine,
    0 = chosen by the machine.
    """

    base: str
    stages: tuple[str, ...] = ()
    name: Name = FIRST_MODEL
    device: Annotated[str, AfterValidator(_is_device)] = "auto"
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    tile: Annotated[int, Field(ge=0, le=4096)] = 0
    threads: Annotated[int, Field(ge=0, le=256)] = 0


class Model(_Table):
    """Networks besides the cascade's that `model/select` may bring to the wall while the show runs. tile: as the cascade's;
    None = the cascade's own."""

    name: Name
    base: str
    stages: tuple[str, ...] = ()
    tile: Annotated[int, Field(ge=0, le=4096)] | None = None


class Axis(_Table):
    """A direction in w as a live parameter, `axis/NAME`, in standard deviations of w along it.

    source: `pca`, the axes along which w varies most, or `sefa`, the directions to which the layers' styles answer most
    (Y. Shen, B. Zhou, arXiv:2007.06600). index: 0 is the strongest. layers: first and last it acts on; none = all.
    range: of the fader, in standard deviations. model: the one it belongs to, with all that share its base; none = every one that
    has a w.
    """

    name: Name
    source: Literal["pca", "sefa"] = "pca"
    index: Annotated[int, Field(ge=0, le=63)]
    layers: tuple[Layer, Layer] | None = None
    range: tuple[Sigma, Sigma] = (-3.0, 3.0)
    model: str | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.layers is not None and self.layers[0] > self.layers[1]:
            raise ValueError(f"layers {list(self.layers)} are not first and last")
        if not self.range[0] <= 0.0 <= self.range[1] or self.range[0] == self.range[1]:
            raise ValueError(f"the range {list(self.range)} does not hold 0, where the axis does nothing")
        return self

    def row(self) -> Param:
        layers = f", layers {self.layers[0]} to {self.layers[1]}" if self.layers else ""
        of = f" of {self.model}" if self.model else ""
        text = f"Axis {self.index} by {'SeFa' if self.source == 'sefa' else 'PCA'}{of}{layers}."
        lo, hi = self.range
        return Param(f"axis/{self.name}", "float", text, default=0.0, lo=lo, hi=hi, unit="σ", smoothing_s=0.3)


class Screen(_Table):
    """monitor: name, position (`left`, `+1920+0`) or index; none = the primary one. fps: 0 = the monitor's rate."""

    monitor: Annotated[str | int, AfterValidator(_is_monitor)] | None = None
    fullscreen: bool = True
    fit: Fit = "contain"
    rotate: Rotation = 0
    fps: Annotated[float, Field(ge=0, le=240)] = 0.0
    size: tuple[Annotated[int, Field(ge=16, le=16384)], Annotated[int, Field(ge=16, le=16384)]] = (1280, 720)

    @model_validator(mode="after")
    def _moves(self) -> Self:
        if 0 < self.fps < 1:
            raise ValueError("fps is 0 (the monitor's own rate), or from 1 to 240")
        return self


class LookConfig(_Table):
    """One named look; see show.look.Grade for the units."""

    brightness: Annotated[float, Field(ge=0, le=4)] = 1.0
    contrast: Annotated[float, Field(ge=0, le=4)] = 1.0
    saturation: Annotated[float, Field(ge=0, le=4)] = 1.0
    gamma: Annotated[float, Field(ge=0.2, le=5)] = 1.0
    tint: Rgb = (1.0, 1.0, 1.0)
    lift: Rgb = (0.0, 0.0, 0.0)
    grain: Annotated[float, Field(ge=0, le=0.25)] = 0.0
    vignette: Annotated[float, Field(ge=0, le=1)] = 0.0

    def grade(self) -> Grade:
        return Grade(**self.model_dump())


class Scene(_Table):
    """Values of parameters, by table name, that are set together. fade_s: ramp time of all; None = each one's own smoothing."""

    fade_s: Annotated[float, Field(ge=0, le=3600)] | None = None
    values: dict[str, Value]

    def row(self, name: str) -> Param:
        text = ", ".join(f"{param} {value}" for param, value in self.values.items())
        return Param(
            f"{SCENE}{name}", "button", f"Scene: {text}{'' if self.fade_s is None else f'; in {self.fade_s:g} s'}."
        )


def _is_time(text: Any) -> Any:
    if not isinstance(text, str) or not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?", text):
        raise ValueError(f'a time of the day in quotes is wanted, such as "09:30", not {shown(text)}')
    return text


def _are_days(days: Any) -> Any:
    if not isinstance(days, (list, tuple)) or not days:
        raise ValueError(f'a list of days is wanted, such as ["mon", "fri"], not {shown(days)}')
    return days


class Cue(_Table):
    """A moment of the day, local time, that presses a scene. at: HH:MM or HH:MM:SS."""

    at: Annotated[str, BeforeValidator(_is_time)]
    days: Annotated[tuple[Weekday, ...], BeforeValidator(_are_days)] = WEEKDAYS
    scene: Name


class Osc(_Table):
    """allow: CIDR networks that may send; required when host is not loopback.

    feedback: who is told of changes, addresses with ports; on this machine, or within `allow`.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9000
    allow: tuple[Annotated[str, AfterValidator(_is_network)], ...] = ()
    feedback: Annotated[tuple[Annotated[str, AfterValidator(_is_endpoint)], ...], Field(max_length=16)] = ()

    @model_validator(mode="after")
    def _who_may_send(self) -> Self:
        if self.enabled and not self.allow and not is_loopback(self.host):
            raise ValueError(
                f"{self.host} can be reached from other machines: name the networks that may send, for example "
                'allow = ["192.168.1.0/24"], or use host = "127.0.0.1"'
            )
        return self

    @model_validator(mode="after")
    def _who_is_told(self) -> Self:
        networks = [ip_network(text) for text in self.allow]
        for text in self.feedback:
            ip, port = endpoint(text)
            if ip.is_loopback:
                if port == self.port:
                    raise ValueError(f"feedback: {text} is the wall's own port")
            elif not any(ip in network for network in networks):
                raise ValueError(f"feedback: {text} lies outside of allow; name it there, too")
            elif is_loopback(self.host):
                raise ValueError(f'feedback: {text} cannot be reached from {self.host}; use host = "0.0.0.0"')
            if ip.version == 6 and ":" not in self.host:
                raise ValueError(f'feedback: {text} cannot be reached from {self.host}; use host = "::"')
        return self


class MidiMap(_Table):
    """One control of a MIDI device, a controller (cc) or a key (note), to the parameter `to`.

    channel: none = any. bits: with 14 the controller's low half comes on cc + 32. takeover: how a cc takes over a
    float or int that stands elsewhere; switches and choices have none.
    """

    to: str
    cc: Annotated[int, Field(ge=0, le=127)] | None = None
    note: Annotated[int, Field(ge=0, le=127)] | None = None
    channel: Annotated[int, Field(ge=1, le=16)] | None = None
    bits: Literal[7, 14] = 7
    takeover: Literal["pickup", "scale", "jump"] = "pickup"

    @model_validator(mode="after")
    def _one_control(self) -> Self:
        if (self.cc is None) == (self.note is None):
            raise ValueError("either a cc or a note is wanted")
        if self.bits == 14 and (self.cc is None or self.cc > 31):
            raise ValueError("14 bits are for a cc from 0 to 31; its low half is that number + 32")
        return self


class Midi(_Table):
    """port: a part of the port's name; empty = the first port there is. No map, no MIDI."""

    port: str = ""
    map: tuple[MidiMap, ...] = ()

    @model_validator(mode="after")
    def _low_halves(self) -> Self:
        halves = [
            (i, row.cc + 32, row.channel) for i, row in enumerate(self.map) if row.cc is not None and row.bits == 14
        ]
        for i, row in enumerate(self.map):
            for other, low, channel in halves:
                # No channel is all of them.
                if row.cc == low and (None in (row.channel, channel) or row.channel == channel):
                    raise ValueError(f"map[{i}].cc: {row.cc} is the low half of map[{other}]")
        return self


class Preview(_Table):
    """The live page. on: `headless` (only without a display), `always` or `never`."""

    on: Literal["headless", "always", "never"] = "headless"
    host: Literal["127.0.0.1", "::1"] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9010


class RecordConfig(_Table):
    """Of `installation record`. stages: networks that go on where the cascade ends, as many as the film's size needs.

    tile: edge of the tiles, in input pixels, of the cascade's stages and these while they do; 0 = the cascade's own.
    preset: the deliverable. live_preset, live_fps: of the films that a wall makes of itself.
    """

    stages: tuple[str, ...] = ()
    tile: Annotated[int, Field(ge=0, le=4096)] = 256
    preset: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")] = "museum-h264"
    live_preset: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")] = "live-h264"
    live_fps: Annotated[int, Field(ge=1, le=120)] = 30


class Show(_Table):
    """A whole show. params: first values of live parameters, by table name (`drift.speed = 0.1`). classes: names for
    classes of a conditional network, by number.

    still: a picture beside the file for the first seconds of the very first run.
    """

    title: Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")] = "untitled"
    still: str | None = None
    walk: Walk = Walk()
    cascade: CascadeConfig
    models: Annotated[tuple[Model, ...], Field(max_length=32)] = ()
    classes: Annotated[dict[Name, Annotated[int, Field(ge=0, lt=65536)]], Field(max_length=MAX_CLASSES)] = {}
    axes: Annotated[tuple[Axis, ...], Field(max_length=128)] = ()
    params: dict[str, Value] = {}
    looks: Annotated[
        dict[Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,32}$")], LookConfig],
        Field(min_length=1, max_length=256),
    ] = {"neutral": LookConfig()}
    scenes: Annotated[dict[Name, Scene], Field(max_length=128)] = {}
    cues: Annotated[tuple[Cue, ...], Field(max_length=128)] = ()
    screen: Screen = Screen()
    osc: Osc = Osc()
    midi: Midi = Midi()
    preview: Preview = Preview()
    record: RecordConfig = RecordConfig()

    def table(self) -> ParamTable:
        return self.parameters

    @cached_property
    def parameters(self) -> ParamTable:
        return own_table(self.looks, self.model_names(), self.classes.items(), self.axes, self.scenes)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        copy = super().model_copy(update=update, deep=deep)
        with suppress(AttributeError):
            del copy.parameters  # what is cached goes into a copy, and the copy may have other looks
        return copy

    @property
    def networks(self) -> tuple[str, ...]:
        """Every network that the show names, each once: the cascade's, stage 0 first, then those of its other models."""
        return tuple(dict.fromkeys(name for chain in self.chains().values() for name in chain))

    def chains(self) -> dict[str, tuple[str, ...]]:
        """The networks of each model, by its name, stage 0 first."""
        return {model.name: (model.base, *model.stages) for model in (self.cascade, *self.models)}

    def axes_of(self, model: str) -> tuple[Axis, ...]:
        """The axes that move this model: those of all models, and those of one with the same base."""
        chains = self.chains()
        return tuple(axis for axis in self.axes if axis.model is None or chains[axis.model][0] == chains[model][0])

    def measured(self) -> frozenset[str]:
        """The generators whose w is measured for axes. What was found is kept beside their files."""
        return frozenset(chain[0] for name, chain in self.chains().items() if self.axes_of(name))

    def tile_of(self, model: str | None) -> int:
        """Edge of a tile of that model's stages, 0 = whole frames. None is the cascade."""
        own = next((other.tile for other in self.models if other.name == model), None)
        return self.cascade.tile if own is None else own

    def model_names(self) -> tuple[str, ...]:
        """What `model/select` may say; the first is what the show begins with, unless `params` says another."""
        return (self.cascade.name, *(model.name for model in self.models))

    def class_number(self, value: Value) -> int:
        """The class that a value of `class/select` means."""
        return self.classes[value] if isinstance(value, str) else int(value)

    def first_value(self, name: str) -> Value:
        """What the parameter is when the show starts."""
        return self.params[name] if name in self.params else self.table()[name].default


def own_table(
    looks: Iterable[str],
    models: Iterable[str],
    classes: Iterable[tuple[str, int]],
    axes: Iterable[Axis],
    scenes: Mapping[str, Scene],
) -> ParamTable:
    """The table of a show with these looks, models (names), classes with their numbers, axes and scenes."""
    return parameter_table(
        tuple(looks),
        models=tuple(models),
        classes=tuple(classes),
        axes=tuple(axis.row() for axis in axes),
        scenes=tuple(scene.row(name) for name, scene in scenes.items()),
    )
