"""State dicts of the DCGAN in PyTorch's tutorial (`main.{i}` of one Sequential, any width and depth) -> our DCGAN's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from installation.errors import CheckpointError, ModelError
from installation.models.dcgan import DCGAN
from installation.models.importers.state import state_under

_KEYS = ("netG_state_dict", "netG", "generator", "generator_state_dict", "G", "g", "state_dict")

NORM = ("weight", "bias", "running_mean", "running_var")


def rename(state: Mapping[str, Tensor], *, where: str) -> dict[str, Tensor]:
    """`main.{3i}` (transposed convolution) and `main.{3i+1}` (batch norm) -> `layers.{i}.conv` and `layers.{i}.norm`.

    The batch norm's count of training steps is dropped; the last convolution, which has no bias there, gets one of zeros.
    Shapes are checked where the network is built. CheckpointError where names are missing or left over.
    """
    left = {name for name in state if not name.endswith(".num_batches_tracked")}
    renamed: dict[str, Tensor] = {}

    def move(old: str, new: str) -> Tensor:
        if old not in left:
            raise CheckpointError(f"no tensor {old!r}, so no DCGAN of the tutorial's kind", where=where)
        left.remove(old)
        renamed[new] = state[old]
        return state[old]

    depth = 0
    while f"main.{3 * depth + 1}.weight" in state:
        move(f"main.{3 * depth}.weight", f"layers.{depth}.conv.weight")
        for part in NORM:
            move(f"main.{3 * depth + 1}.{part}", f"layers.{depth}.norm.{part}")
        depth += 1
    last = move(f"main.{3 * depth}.weight", f"layers.{depth}.conv.weight")
    if last.ndim != 4 or last.shape[1] != 3:
        raise CheckpointError(
            f"the last layer has shape {list(last.shape)}, not one that makes red, green and blue", where=where
        )
    renamed[f"layers.{depth}.conv.bias"] = torch.zeros(3)
    if left:
        raise CheckpointError(f"unknown tensor {min(left)[:80]!r}", where=where)
    return renamed


def matches(value: Any) -> bool:
    """Whether what `read_pickle` gave has the names of the tutorial's generator. CheckpointError as `state.check_claims`."""
    state = state_under(value, _KEYS)
    first = state.get("main.0.weight") if state else None
    return state is not None and "main.1.running_mean" in state and first is not None and first.ndim == 4


def convert(value: Any, *, where: str) -> tuple[type[DCGAN], dict[str, Any], dict[str, Tensor], str]:
    """Kind, config, tensors, title; z, widths and size from the shapes. ModelError for another layout."""
    state = state_under(value, _KEYS)
    if state is None:
        raise ModelError("no state dict")
    try:
        tensors = rename(state, where=where)
    except CheckpointError as error:
        raise ModelError(error.what) from error
    config = DCGAN.config_of(tensors)
    return DCGAN, config, tensors, f"DCGAN, {4 << len(config['channels'])} px"
