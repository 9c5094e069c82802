"""The show's TOML, read and checked once.

All faults of a file are listed together, each with file and key, and with a "did you mean" for a misspelt one.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from installation.errors import ConfigError, did_you_mean
from installation.show.config import Axis, LookConfig, Show, own_table
from installation.show.faults import config_error, fault_line, shown
from installation.show.latent_file import checked_rows, read_latent
from installation.show.params import FIRST_MODEL, SCENE, Param, ParamTable, Value

_CONFIG_BYTES = 1 << 20
# Python's TOML reader takes memory by the square of a dotted key's parts: a file of 200 kB would take 40 GB.
_ENDLESS_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){32}""")

_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "float": ((int, float), "a number"),
    "int": ((int,), "a whole number"),
    "bool": ((bool,), "true or false"),
    "choice": ((str,), "a word"),
}


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
        text = data.decode("utf-8-sig")
        if _ENDLESS_KEY.search(text):
            raise ValueError("a key with more than 32 parts")
        tree = tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError("is nested too deeply", where=str(path), fix="A show is three tables deep") from error
    except ValueError as error:
        raise ConfigError(f"is not TOML: {str(error)[:200]}", where=str(path)) from error
    for name, keys in (changes or {}).items():
        if isinstance(tree.get(name, {}), dict):
            tree[name] = {**tree.get(name, {}), **keys}
    return parse(tree, where=str(path), folder=path.parent)


def parse(tree: Mapping[str, Any], *, where: str, folder: Path | None) -> Show:
    """The show in a TOML tree; `folder` is where relative latents lie. ConfigError lists every fault.

    folder None: the tree is the dump of a Show, with its latents' numbers in it, and no file is read.
    """
    faults: list[str] = []
    tree = dict(tree)
    table = _table_of(tree)
    params: dict[str, Value] = {}
    if isinstance(tree.get("params"), Mapping):
        params, faults = _params(tree["params"], table)
        tree["params"] = params
    walk = tree.get("walk", {})
    if isinstance(tree.get("scenes"), Mapping):
        toured = isinstance(walk, Mapping) and bool(walk.get("tour"))
        tree["scenes"], more = _scenes(tree["scenes"], table, toured=toured, kept=folder is None)
        faults += more
    if isinstance(walk, Mapping):
        speed = abs(float(params.get("drift/speed", table["drift/speed"].default)))
        if isinstance(walk.get("tour"), list):
            stops, more = _stops(walk["tour"], folder, speed)
            tree["walk"] = {**walk, "tour": stops}
            faults += more
        if params.get("walk/mode") == "tour" and not walk.get("tour"):
            faults.append("walk.tour: the walk's mode is `tour`, but there are no stops")
    faults += _naming_faults(tree, table)
    try:
        show = Show.model_validate(tree)
    except ValidationError as error:
        faults += [fault_line(fault, Show, {"looks": LookConfig}) for fault in error.errors(include_url=False)]
        raise config_error(where, faults) from error
    if faults:
        raise config_error(where, faults)
    return show


def _table_of(tree: Mapping[str, Any]) -> ParamTable:
    """The table of a show that is not checked yet, as far as it can be told: its own faults are listed elsewhere."""
    looks, classes = tree.get("looks"), tree.get("classes")
    axes: dict[str, Axis] = {}
    for entry in _tables(tree, "axes"):
        try:
            axis = Axis.model_validate(entry)
        except ValidationError:
            continue
        axes[axis.name] = axis
    return own_table(
        map(str, looks) if isinstance(looks, Mapping) and looks else ("neutral",),
        dict.fromkeys(_model_names(tree)),
        [(str(name), number if type(number) is int else 0) for name, number in classes.items()]
        if isinstance(classes, Mapping)
        else (),
        axes.values(),
        {},
    )


def _model_names(tree: Mapping[str, Any]) -> list[str]:
    cascade = tree.get("cascade")
    first = cascade.get("name", FIRST_MODEL) if isinstance(cascade, Mapping) else FIRST_MODEL
    return [_word(first), *(_word(entry["name"]) for entry in _tables(tree, "models") if "name" in entry)]


def _word(name: Any) -> str:
    return name if isinstance(name, str) else shown(name)


def _tables(tree: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    entries = tree.get(key)
    return [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, (list, tuple)) else []


def _naming_faults(tree: Mapping[str, Any], table: ParamTable) -> list[str]:
    """Names that are given twice, or that name nothing."""
    models = _model_names(tree)
    axes = [_word(entry.get("name")) for entry in _tables(tree, "axes")]
    faults = [f"models: two are named {name!r:.60}" for name in dict.fromkeys(models) if models.count(name) > 1]
    faults += [f"axes: two are named {name!r:.60}" for name in dict.fromkeys(axes) if axes.count(name) > 1]
    for i, entry in enumerate(_tables(tree, "axes")):
        model = entry.get("model")
        if isinstance(model, str) and model not in models:
            faults.append(f"axes[{i}].model: no model {model!r:.60}{did_you_mean(model, models)}")
    scenes = [str(name) for name in tree["scenes"]] if isinstance(tree.get("scenes"), Mapping) else []
    names = [*table.names(), *(SCENE + name for name in scenes)]
    midi = tree.get("midi")
    for i, entry in enumerate(_tables(midi, "map") if isinstance(midi, Mapping) else []):
        name = entry.get("to")
        if isinstance(name, str) and name not in names:
            faults.append(f"midi.map[{i}].to: no parameter {name!r:.60}{did_you_mean(name, names)}")
    for i, entry in enumerate(_tables(tree, "cues")):
        name = entry.get("scene")
        if isinstance(name, str) and name not in scenes:
            faults.append(f"cues[{i}].scene: no scene {name!r:.60}{did_you_mean(name, scenes)}")
    return faults


def _scenes(
    tree: Mapping[str, Any], table: ParamTable, *, toured: bool, kept: bool
) -> tuple[dict[str, Any], list[str]]:
    """The scenes with their parameters gathered under `values`, as a dump of a Show has them (kept), and the faults.

    toured: whether the walk has stops.
    """
    scenes: dict[str, Any] = {}
    faults: list[str] = []
    for name, scene in tree.items():
        where = f"scenes.{name[:80]}"
        if isinstance(scene, Mapping) and not kept:
            own = {key: value for key, value in scene.items() if key == "fade_s"}
            scene = {**own, "values": {key: value for key, value in scene.items() if key not in own}}
        scenes[name] = scene
        if not isinstance(scene, Mapping) or not isinstance(scene.get("values"), Mapping):
            continue
        values, more = _params(scene["values"], table, where)
        scenes[name] = {**scene, "values": values}
        faults += more
        for row in map(table.get, values):
            if row is not None and row.local:
                faults.append(
                    f"{where}.{row.name.replace('/', '.')}: belongs to this machine and is no part of a scene"
                )
        if not scene["values"]:
            faults.append(f"{where}: sets nothing; give it parameters, such as latent.psi = 0.5")
        if values.get("walk/mode") == "tour" and not toured:
            faults.append(f"{where}.walk.mode: is `tour`, but there are no stops")
    return scenes, faults


def _params(tree: Mapping[str, Any], table: ParamTable, where: str = "params") -> tuple[dict[str, Value], list[str]]:
    """{drift: {speed: 0.1}} -> {"drift/speed": 0.1}, coerced, and the faults."""
    values: dict[str, Value] = {}
    faults: list[str] = []
    for name, value in _leaves(tree, ""):
        row = table.get(name)
        if row is None:
            fault = f"no such parameter{did_you_mean(name, table.names()).replace('/', '.')}"
        else:
            fault = _value_fault(row, value)
        if fault:
            faults.append(f"{where}.{name[:80].replace('/', '.')}: {fault}")
        elif row is not None:
            values[name] = row.coerce(value)
    return values, faults


def _value_fault(row: Param, value: Any) -> str:
    """Why `value` cannot be the first value of the parameter, or "". Stricter than `coerce`: a file is no fader."""
    if row.kind == "button":
        return "a button has no first value"
    types, wanted = _KINDS[row.kind]
    if not isinstance(value, types) or isinstance(value, bool) != (row.kind == "bool"):
        return f"{wanted} is wanted, not {shown(value)}"
    if row.kind in ("float", "int") and not row.lo <= value <= row.hi:
        return f"{shown(value)} is outside {row.lo:.10g} .. {row.hi:.10g}"
    if row.kind == "choice" and value not in row.choices:
        return f"no choice {shown(value)}; there are {', '.join(row.choices)}"
    return ""


def _leaves(tree: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}/")
        else:
            yield prefix + key, value


def _stops(tour: list[Any], folder: Path | None, speed: float) -> tuple[list[Any], list[str]]:
    """The tour with its saved latents read in, and the faults; speed: the show's own, keyframes/s, not negative."""
    stops: list[Any] = []
    faults: list[str] = []
    for i, stop in enumerate(tour):
        key = f"walk.tour[{i}]"
        if not isinstance(stop, Mapping):
            stops.append(stop)
            continue
        hold_s, latent = stop.get("hold_s", 0), stop.get("latent")
        if "values" in stop and folder is not None:
            faults.append(f"{key}.values: is not for the file; name a .npy with `latent`")
        if isinstance(hold_s, (int, float)) and 0 < hold_s <= 3600 and (fault := _hold_fault(hold_s, speed)):
            faults.append(f"{key}.hold_s: {fault}")
        if isinstance(latent, str):
            try:
                values = checked_rows(stop.get("values")) if folder is None else read_latent(folder / latent)
                stop = {**stop, "values": values}
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                faults.append(f"{key}.latent: {shown(latent)}: {reason}")
        stops.append(stop)
    return stops, faults


def _hold_fault(hold_s: float, speed: float) -> str:
    if speed == 0.0:
        return (
            "a rest is a part of a leg, and at drift speed 0 no leg ends; give drift.speed, and pause with drift.pause"
        )
    if hold_s > 0.95 / speed:
        return (
            f"a leg lasts {1 / speed:.3g} s at drift speed {speed:g}, which {hold_s:.6g} s of rest fills; "
            "lower drift.speed or hold_s"
        )
    return ""
