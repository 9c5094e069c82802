"""A training's config by its name, with fields changed by words of the command line. Base and stage alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from installation.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Config = TypeVar("Config", bound=DataclassInstance)

_BOOLS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
# The types of a config's fields, for people.
_SAID = {
    "bool": "yes or no",
    "int": "a whole number",
    "float": "a number",
    "float | None": "a number or auto",
    "str": "a word",
    "tuple[int, ...]": "whole numbers with commas between",
}


def resolve(
    configs: Mapping[str, Config], name: str, overrides: Mapping[str, str], faults_of: Callable[[Config], list[str]]
) -> Config:
    """The config of that name with fields changed: {"gamma": "0.1", "channels": "32,32,16"}. faults_of: the rules that it breaks.

    ConfigError lists every fault.
    """
    if name not in configs:
        raise ConfigError(
            f"unknown config {name!r}{did_you_mean(name, configs)}", where="config", fix=f"Use {', '.join(configs)}"
        )
    types = {field.name: str(field.type) for field in fields(configs[name])}
    faults: list[str] = []
    values: dict[str, Any] = {}
    for key, text in overrides.items():
        if key not in types:
            faults.append(f"no field {key!r}{did_you_mean(key, types)}")
            continue
        try:
            values[key] = _parse(types[key], text)
        except ValueError:
            faults.append(f"{key}={text!s:.40} is not {_SAID[types[key]]}")
    config = replace(configs[name], **values)
    faults += faults_of(config)
    if faults:
        raise ConfigError("; ".join(faults), where=f"config {name}", fix="Change what --set says")
    return config


def _parse(kind: str, text: str) -> Any:
    if kind == "bool":
        if text.lower() not in _BOOLS:
            raise ValueError(text)
        return _BOOLS[text.lower()]
    if kind == "int":
        return int(text)
    if kind.startswith("tuple"):
        return tuple(int(part) for part in text.split(","))
    if kind == "str":
        return text
    if "None" in kind and text.lower() in ("none", "auto"):
        return None
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value
