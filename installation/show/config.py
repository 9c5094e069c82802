"""The show's TOML, read and checked once. What comes out is data that every process can trust.

All faults of a file are listed together, each with file and key, and with a "did you mean" for a misspelt one.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from installation.errors import ConfigError
from installation.show.look import Grade
from installation.show.params import ParamTable, Value, parameter_table

# A saved latent is at most 18 x 512 numbers; anything larger is not one.
_LATENT_BYTES = 1 << 20
_CONFIG_BYTES = 1 << 20

Seed = Annotated[int, Field(ge=0, le=4294967295)]
Rgb = tuple[
    Annotated[float, Field(ge=0, le=4)], Annotated[float, Field(ge=0, le=4)], Annotated[float, Field(ge=0, le=4)]
]


class _Table(BaseModel):
    """A table of the file. Unknown keys are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)


class Stop(_Table):
    """A stop of a tour: a seed, or a latent saved as .npy (floats, [z_dim], or [num_ws, w_dim] for a walk in w).

    hold_s: how long the walk rests there at the show's own drift speed, out of the 1 / speed seconds of a leg.
    """

    seed: Seed | None = None
    latent: str | None = None
    hold_s: Annotated[float, Field(ge=0, le=3600)] = 0.0
    values: tuple[tuple[float, ...], ...] | None = None


class Walk(_Table):
    """space: where keyframes are joined, great circles in `z` or straight lines in `w`."""

    space: Literal["z", "w"] = "z"
    loop_keyframes: Annotated[int, Field(ge=3, le=10000)] = 8
    tour: tuple[Stop, ...] = ()
    repeat: bool = True


class CascadeConfig(_Table):
    """base: stage 0, by name or .safetensors path. stages: the enlarging networks, in order.

    tile: edge of a tile in input pixels of the last stages, 0 = whole frames. threads: CPU threads of the engine,
    0 = chosen by the machine.
    """

    base: str
    stages: tuple[str, ...] = ()
    device: str = "auto"
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    tile: Annotated[int, Field(ge=0, le=4096)] = 0
    threads: Annotated[int, Field(ge=0, le=256)] = 0


class Screen(_Table):
    """monitor: name, position (`left`, `+1920+0`) or index; none = the primary one. fps: 0 = the monitor's rate."""

    monitor: str | int | None = None
    fullscreen: bool = True
    fit: Literal["contain", "cover", "fill", "native"] = "contain"
    rotate: Literal[0, 90, 180, 270] = 0
    fps: Annotated[float, Field(ge=0, le=240)] = 0.0
    size: tuple[Annotated[int, Field(ge=16, le=16384)], Annotated[int, Field(ge=16, le=16384)]] = (1280, 720)


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


class Osc(_Table):
    """allow: CIDR networks that may send; required when host is not loopback."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9000
    allow: tuple[str, ...] = ()


class MidiEntry(_Table):
    """One control of a MIDI device, to the parameter `to`."""

    to: str
    cc: Annotated[int, Field(ge=0, le=127)] | None = None
    note: Annotated[int, Field(ge=0, le=127)] | None = None
    channel: Annotated[int, Field(ge=1, le=16)] | None = None
    bits: Literal[7, 14] = 7
    takeover: Literal["pickup", "scale", "jump"] = "pickup"


class Midi(_Table):
    """port: a part of the port's name; empty = the first port there is. No map, no MIDI."""

    port: str = ""
    map: tuple[MidiEntry, ...] = ()


class Preview(_Table):
    """The live page. on: `headless` (only without a display), `always` or `never`."""

    on: Literal["headless", "always", "never"] = "headless"
    host: Literal["127.0.0.1", "::1"] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9010


class Show(_Table):
    """A whole show. params: first values of live parameters, by table name (`drift.speed = 0.1`).

    still: a picture beside the file for the first seconds of the very first run.
    """

    title: str = "untitled"
    still: str | None = None
    walk: Walk = Walk()
    cascade: CascadeConfig
    params: dict[str, Value] = {}
    looks: dict[Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,32}$")], LookConfig] = {"neutral": LookConfig()}
    screen: Screen = Screen()
    osc: Osc = Osc()
    midi: Midi = Midi()
    preview: Preview = Preview()

    def table(self) -> ParamTable:
        return parameter_table(tuple(self.looks))

    def first_value(self, name: str) -> Value:
        """What the parameter is when the show starts."""
        return self.params.get(name, self.table()[name].default)


def load(path: Path, changes: Mapping[str, Mapping[str, Any]] | None = None) -> Show:
    """The show in a TOML file. ConfigError lists every fault of the file.

    changes: keys of tables that count instead of the file's own, such as choices made on the command line.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_CONFIG_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", where=str(path)) from error
    if len(data) > _CONFIG_BYTES:
        raise ConfigError("is larger than 1 MiB", where=str(path), fix="A show is a small text file")
    try:
        tree = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"is not TOML: {error}", where=str(path)) from error
    for name, keys in (changes or {}).items():
        if isinstance(tree.get(name, {}), dict):
            tree[name] = {**tree.get(name, {}), **keys}
    return parse(tree, where=str(path), folder=path.parent)


def parse(tree: Mapping[str, Any], *, where: str, folder: Path) -> Show:
    """The show in a TOML tree; `folder` is where relative latents lie. ConfigError lists every fault."""
    faults: list[str] = []
    tree = dict(tree)
    names = [str(name) for name in tree.get("looks", {})] if isinstance(tree.get("looks", {}), Mapping) else []
    table = parameter_table(names or ("neutral",))
    if isinstance(tree.get("params"), Mapping):
        tree["params"], more = _params(tree["params"], table)
        faults += more
    try:
        show = Show.model_validate(tree)
    except ValidationError as error:
        faults += [_fault_line(fault) for fault in error.errors(include_url=False)]
        raise _config_error(where, faults) from error
    stops, more = _stops(show, folder)
    faults += more + [
        f"midi.map[{i}].to: no parameter {entry.to!r}{did_you_mean(entry.to, table.names())}"
        for i, entry in enumerate(show.midi.map)
        if entry.to not in table
    ]
    if show.params.get("walk/mode") == "tour" and not show.walk.tour:
        faults.append("walk.tour: the walk's mode is `tour`, but there are no stops")
    if faults:
        raise _config_error(where, faults)
    return show.model_copy(update={"walk": show.walk.model_copy(update={"tour": stops})})


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """`; did you mean 'speed'?`, or nothing."""
    close = get_close_matches(word, list(words), n=1, cutoff=0.55)
    return f"; did you mean {close[0]!r}?" if close else ""


def _params(tree: Mapping[str, Any], table: ParamTable) -> tuple[dict[str, Value], list[str]]:
    """{drift: {speed: 0.1}} -> {"drift/speed": 0.1}, coerced, and the faults."""
    values: dict[str, Value] = {}
    faults: list[str] = []
    for name, value in _leaves(tree, ""):
        row = table.get(name)
        key = "params." + name.replace("/", ".")
        if row is None:
            faults.append(f"{key}: no such parameter{did_you_mean(name, table.names()).replace('/', '.')}")
        elif row.kind == "button":
            faults.append(f"{key}: a button has no first value")
        elif not isinstance(value, Value):
            faults.append(f"{key}: a plain value is wanted")
        else:
            try:
                coerced = row.coerce(value)
            except ValueError as error:
                faults.append(f"{key}: {str(error).removeprefix(name + ': ')}")
                continue
            if row.kind in ("float", "int") and coerced != value:
                faults.append(f"{key}: {value} is outside {row.lo:g} .. {row.hi:g}")
            values[name] = coerced
    return values, faults


def _leaves(tree: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}/")
        else:
            yield prefix + key, value


def _stops(show: Show, folder: Path) -> tuple[tuple[Stop, ...], list[str]]:
    """The tour with its saved latents read in, and the faults."""
    stops: list[Stop] = []
    faults: list[str] = []
    speed = abs(float(show.first_value("drift/speed")))
    for i, stop in enumerate(show.walk.tour):
        key = f"walk.tour[{i}]"
        if (stop.seed is None) == (stop.latent is None):
            faults.append(f"{key}: either a seed or a latent is wanted")
        if stop.values is not None:
            faults.append(f"{key}.values: is not for the file; name a .npy with `latent`")
        if stop.hold_s * speed > 0.95:
            faults.append(
                f"{key}.hold_s: a leg lasts {1 / speed:.3g} s at drift speed {speed:g}, which {stop.hold_s:g} s of "
                "rest fills; lower drift.speed or hold_s"
            )
        if stop.latent is not None:
            try:
                stop = stop.model_copy(update={"values": _read_latent(folder / stop.latent)})
            except (OSError, ValueError) as error:
                faults.append(f"{key}.latent: {stop.latent}: {error}")
        stops.append(stop)
    return tuple(stops), faults


def _read_latent(path: Path) -> tuple[tuple[float, ...], ...]:
    """A .npy of floats, [n] or [num_ws, w_dim], as rows."""
    if path.suffix != ".npy":
        raise ValueError("a saved latent is a .npy file")
    if path.stat().st_size > _LATENT_BYTES:
        raise ValueError("is larger than any latent")
    array = np.load(path, allow_pickle=False)
    if array.ndim not in (1, 2) or array.dtype.kind != "f" or not np.isfinite(array).all():
        raise ValueError(f"finite floats [n] or [num_ws, w_dim] are wanted, not {array.dtype} {list(array.shape)}")
    return tuple(tuple(float(x) for x in row) for row in np.atleast_2d(array))


def _fault_line(fault: Any) -> str:
    key = ".".join(str(part) for part in fault["loc"]).replace(".[key]", "")
    if fault["type"] == "extra_forbidden":
        return f"{key}: no such key{did_you_mean(str(fault['loc'][-1]), _keys_at(fault['loc'][:-1]))}"
    if fault["type"] == "missing":
        return f"{key}: is missing"
    message = fault["msg"][0].lower() + fault["msg"][1:]
    return f"{key}: {message} (it is {fault['input']!r:.60})"


def _keys_at(location: tuple[Any, ...]) -> list[str]:
    """The keys that the table at this place of the file may have."""
    model: Any = Show
    for part in location:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part) if hasattr(model, "model_fields") else None
        if field is None:
            return list(LookConfig.model_fields) if location[0] == "looks" else []
        model = _model_in(field.annotation)
    return [key for key in getattr(model, "model_fields", {}) if key != "values"]


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _model_in(inner)
        if found is not None:
            return found
    return None


def _config_error(where: str, faults: list[str]) -> ConfigError:
    many = f"{len(faults)} faults" if len(faults) > 1 else "a fault"
    return ConfigError(f"{many} in the show\n" + "\n".join(f"  {line}" for line in faults), where=where)
