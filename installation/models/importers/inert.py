"""The values that reading a foreign pickle can give besides plain Python's: records of what was stored, never the objects themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from installation.errors import CheckpointError
from installation.models.importers.state import check_claims

MAX_PARTS = 100_000
MAX_DEPTH = 100
MAX_NAME = 1000


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function that the file names, as text: "torch.nn.modules.linear.Linear"."""

    text: str


@dataclass(slots=True, eq=False)
class Inert:
    """An object of a foreign class: what the file stored of it. No code of that class exists here.

    name: the class, dotted; only its own name where NVIDIA's code stored the class as source text, which is never looked at.
    args: what it would have been constructed with. state: what it would have been filled with, for a torch module its __dict__.
    """

    name: str
    args: tuple[Any, ...] = ()
    state: Any = None

    def get(self, key: str, default: Any = None) -> Any:
        """One entry of the state, if the state is a dict that has it."""
        return self.state.get(key, default) if isinstance(self.state, dict) else default


def module_tensors(module: Any, *, where: str) -> dict[str, Tensor]:
    """The state dict of a torch module that was stored as an object: parameters and persistent buffers by their dotted names.

    CheckpointError if it is none, or is larger or deeper than any network, or as `check_claims`.
    """
    found: dict[str, Tensor] = {}
    waiting = [("", module, 0)]
    parts = 0
    while waiting:
        prefix, part, depth = waiting.pop()
        parameters, buffers, modules = (
            _group(part, name, prefix, where) for name in ("_parameters", "_buffers", "_modules")
        )
        # On a file that stores one module a thousand times over, within itself, these limits hold too.
        parts += 1 + len(parameters) + len(buffers) + len(modules)
        if depth > MAX_DEPTH or parts > MAX_PARTS or len(prefix) > MAX_NAME:
            raise CheckpointError("larger or deeper than any network", where=where)
        passing = part.get("_non_persistent_buffers_set")
        passing = passing if isinstance(passing, (set, frozenset)) else ()
        for name, tensor in [*parameters.items(), *((key, b) for key, b in buffers.items() if key not in passing)]:
            if tensor is None:
                continue
            if not isinstance(tensor, Tensor):
                raise CheckpointError(f"{prefix}{name[:80]} is no tensor", where=where)
            found[f"{prefix}{name}"] = tensor
        waiting += [(f"{prefix}{name}.", child, depth + 1) for name, child in modules.items() if child is not None]
    check_claims(found.values(), where=where)
    return found


def _group(part: Any, name: str, prefix: str, where: str) -> dict[str, Any]:
    group = part.get(name) if isinstance(part, Inert) else None
    said = prefix.rstrip(".")[:80] or "what was stored"
    if not isinstance(group, dict):
        raise CheckpointError(f"{said} is no torch module", where=where)
    # A long name is stored once, and written out for every place that it stands in.
    if any(not isinstance(key, str) or len(key) > MAX_NAME for key in group):
        raise CheckpointError(f"{said} has a part whose name no network has", where=where)
    return group
