"""State dicts inside what `read_pickle` gave: found by the keys that training scripts use, names without wrappers' prefixes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from installation.errors import CheckpointError, ModelError
from installation.models.importers import budget

_WRAPPERS = re.compile(r"(?:module\.|_orig_mod\.)*+")


def state_under(value: Any, keys: Sequence[str]) -> dict[str, Tensor] | None:
    """The first state dict under one of the keys, or value itself if it is one; None if there is none. Other entries are left out.

    CheckpointError as `check_claims`.
    """
    if not isinstance(value, Mapping):
        return None
    candidates = [value[key] for key in keys if isinstance(value.get(key), Mapping)] + [value]
    for candidate in candidates:
        tensors = {name: t for name, t in candidate.items() if isinstance(name, str) and isinstance(t, Tensor)}
        if (tensors and candidate is not value) or len(tensors) == len(value) > 0:
            check_claims(tensors.values())
            return {_WRAPPERS.sub("", name, count=1): tensor for name, tensor in tensors.items()}
    return None


def check_claims(tensors: Iterable[Tensor | np.ndarray], *, where: str = "") -> None:
    """CheckpointError where they take, as float32 and each time they are named, far more than is stored of them.

    One that has many names is read once, and an importer makes a tensor of each.
    """
    claimed, stored = 0, dict[int, int]()
    for tensor in tensors:
        if isinstance(tensor, Tensor):
            numbers, itemsize, storage = tensor.numel(), tensor.element_size(), tensor.untyped_storage()
            stored[storage.data_ptr()] = storage.nbytes()
        else:
            numbers, itemsize = tensor.size, tensor.itemsize
            stored[id(tensor)] = tensor.nbytes
        claimed += budget.as_weights(numbers, itemsize)
    if claimed > budget.limit(sum(stored.values())):
        raise CheckpointError("the tensors claim more numbers than the file holds", where=where)


def take(state: dict[str, Tensor], name: str, *shape: int | None) -> Tensor:
    """Removes and gives one tensor; ModelError if it is missing or has another shape (None stands for any size)."""
    if name not in state:
        raise ModelError(f"no tensor {name!r}")
    tensor = state.pop(name)
    fits = tensor.ndim == len(shape) and all(
        want in (None, side) for want, side in zip(shape, tensor.shape, strict=True)
    )
    if not fits:
        want = ["any" if side is None else side for side in shape]
        raise ModelError(f"{name!r} has shape {list(tensor.shape)}, not {want}")
    return tensor.float()


def nothing_left(state: Mapping[str, Tensor]) -> None:
    """ModelError that names a tensor nobody took."""
    if state:
        raise ModelError(f"unknown tensor {min(state)[:80]!r}")


def written_by(value: Any) -> str:
    """Which release of lucidrains' code wrote the file, in words; "" where it does not say. What is no text could be of any size."""
    version = value.get("version") if isinstance(value, Mapping) else None
    return f"written by {version[:20]}" if isinstance(version, str) else ""


def seeded_noise(height: int, width: int, rng: torch.Generator) -> Tensor:
    """A constant noise map for layers that would draw one for every picture: the wall's pictures must not flicker."""
    return torch.randn(height, width, generator=rng)
