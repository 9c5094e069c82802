"""rosinality's stylegan2-pytorch `.pt` files -> our StyleGAN2: the same network under other names."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from installation.errors import ModelError
from installation.models.importers.average import estimated_w_avg
from installation.models.importers.state import nothing_left, seeded_noise, state_under, take
from installation.models.stylegan2 import StyleGAN2
from installation.models.stylegan2_layers import blur_kernel

MAX_SIDE = 2048  # px; the original ends at 1024, and copies of it for 16:9 at twice that
_FILTERS = (".blur.kernel", ".upsample.kernel")  # with a gain of 1 or 4


def matches(value: Any) -> bool:
    """Whether what `read_pickle` gave has the names of rosinality's generator. CheckpointError as `state.check_claims`."""
    state = state_under(value, ("g_ema", "g"))
    return state is not None and {"input.input", "style.1.weight", "conv1.conv.modulation.weight"} <= state.keys()


def convert(value: Any, *, where: str) -> tuple[type[StyleGAN2], dict[str, Any], dict[str, Tensor], str]:
    """Kind, config, tensors, title. The EMA weights. ModelError for names or shapes that the family does not have."""
    state = state_under(value, ("g_ema", "g"))
    if state is None:
        raise ModelError("no state dict under 'g_ema' or 'g'")
    _check_filters(state)
    found = _mapping(state)
    size = _synthesis(state, found)
    nothing_left(state)
    average = value.get("latent_avg") if isinstance(value, dict) else None
    title = f"rosinality's StyleGAN2, {size} px"
    found["mapping.w_avg"] = torch.zeros(found["synthesis.b4.conv1.affine.weight"].shape[1])
    config = StyleGAN2.config_of(found)
    if (
        isinstance(average, Tensor)
        and average.numel() == config["w_dim"]
        and math.isfinite(float(average.float().sum()))
    ):
        found["mapping.w_avg"] = average.float().flatten()
    else:
        found["mapping.w_avg"] = estimated_w_avg(StyleGAN2, config, found)
        title += ", w_avg estimated"
    return StyleGAN2, config, found, title


def _check_filters(state: dict[str, Tensor]) -> None:
    """Takes the filters out of the state. ModelError where one is not ours."""
    fir = blur_kernel(torch.device("cpu"))[0, 0]
    for name in [name for name in state if name.endswith(_FILTERS)]:
        filter_ = take(state, name, 4, 4).float()
        if not torch.allclose(filter_ / filter_.sum(), fir, atol=1e-4):
            raise ModelError(f"{name} is not the filter [1, 3, 3, 1]")


def _mapping(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mapping's layers, taken out of the state, under our names."""
    found: dict[str, Tensor] = {}
    layers = 0
    while f"style.{layers + 1}.weight" in state:
        for part in ("weight", "bias"):
            found[f"mapping.fc{layers}.{part}"] = state.pop(f"style.{layers + 1}.{part}", torch.empty(0)).float()
        layers += 1
    return found


def _synthesis(state: dict[str, Tensor], found: dict[str, Tensor]) -> int:
    """Moves the synthesis from the state to what is found, under our names; the longer side of its pictures, px."""
    found["synthesis.b4.const"] = take(state, "input.input", 1, None, None, None)[0]
    height, width = found["synthesis.b4.const"].shape[1:]
    rng = torch.Generator().manual_seed(0)

    def layer(old: str, new: str, noise: int, doublings: int) -> None:
        found[f"{new}.weight"] = take(state, f"{old}.conv.weight", 1, None, None, 3, 3)[0]
        found[f"{new}.affine.weight"] = take(state, f"{old}.conv.modulation.weight", None, None)
        found[f"{new}.affine.bias"] = take(state, f"{old}.conv.modulation.bias", None)
        found[f"{new}.noise_strength"] = take(state, f"{old}.noise.weight", 1)[0]
        found[f"{new}.bias"] = take(state, f"{old}.activate.bias", None)
        sides = (height << doublings, width << doublings)
        if not 0 < min(sides) <= max(sides) <= MAX_SIDE:  # before a map of noise is made
            raise ModelError(f"pictures of {sides[1]} × {sides[0]} px or more; from 1 px to {MAX_SIDE} can be made")
        name = f"noises.noise_{noise}"
        constant = take(state, name, 1, 1, *sides)[0, 0] if name in state else seeded_noise(*sides, rng)
        found[f"{new}.noise_const"] = constant

    def colours(old: str, new: str) -> None:
        found[f"{new}.weight"] = take(state, f"{old}.conv.weight", 1, 3, None, 1, 1)[0]
        found[f"{new}.affine.weight"] = take(state, f"{old}.conv.modulation.weight", None, None)
        found[f"{new}.affine.bias"] = take(state, f"{old}.conv.modulation.bias", None)
        found[f"{new}.bias"] = take(state, f"{old}.bias", 1, 3, 1, 1).flatten()

    layer("conv1", "synthesis.b4.conv1", 0, 0)
    colours("to_rgb1", "synthesis.b4.torgb")
    blocks = 0
    while f"to_rgbs.{blocks}.bias" in state:
        block = f"synthesis.b{8 << blocks}"
        for k in (0, 1):
            layer(f"convs.{2 * blocks + k}", f"{block}.conv{k}", 2 * blocks + k + 1, blocks + 1)
        colours(f"to_rgbs.{blocks}", f"{block}.torgb")
        blocks += 1
    return max(height, width) << blocks
