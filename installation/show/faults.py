"""The faults of a show's file as lines of text, each with its key and, for a misspelt word, a "did you mean"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from installation.errors import ConfigError, did_you_mean

_MOST_LINES = 40


def shown(value: Any) -> str:
    """A value of the file, short enough for a line."""
    try:
        text = repr(value)
    except ValueError:  # Python does not write out integers of more than 4,300 digits
        return "an endless number"
    return text if len(text) <= 60 else text[:59] + "…"


def config_error(where: str, faults: Sequence[str]) -> ConfigError:
    """One error that lists the faults, at most _MOST_LINES of them."""
    lines = [f"  {line}" for line in faults[:_MOST_LINES]]
    if len(faults) > _MOST_LINES:
        lines.append(f"  and {len(faults) - _MOST_LINES} more")
    many = f"{len(faults)} faults" if len(faults) > 1 else "a fault"
    return ConfigError(f"{many} in the show\n" + "\n".join(lines), where=where)


def fault_line(fault: Mapping[str, Any], model: type[BaseModel], named: Mapping[str, type[BaseModel]]) -> str:
    """The line of one of pydantic's faults. named: the model of the tables whose names the artist chooses."""
    location: tuple[str | int, ...] = fault["loc"]
    key = _key(location)
    if fault["type"] == "extra_forbidden":
        return f"{key}: no such key{did_you_mean(str(location[-1]), _keys_at(location[:-1], model, named))}"
    if fault["type"] == "missing":
        return f"{key}: is missing"
    if fault["type"] == "value_error":
        return f"{key}: {fault['ctx']['error']}"
    message = fault["msg"][0].lower() + fault["msg"][1:]
    return f"{key}: {message} (it is {shown(fault['input'])})"


def _key(location: tuple[str | int, ...]) -> str:
    """("walk", "tour", 0, "seed") -> "walk.tour[0].seed"."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part[:80]}" for part in location if part != "[key]")
    return "".join(parts).removeprefix(".")


def _keys_at(location: tuple[str | int, ...], model: Any, named: Mapping[str, type[BaseModel]]) -> list[str]:
    """The keys that the table at this place of the file may have."""
    for part in location:
        if isinstance(part, int):
            continue
        field = getattr(model, "model_fields", {}).get(part)
        model = named.get(str(location[0])) if field is None else _model_in(field.annotation)
    return [key for key in getattr(model, "model_fields", {}) if key != "values"]


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _model_in(inner)
        if found is not None:
            return found
    return None
