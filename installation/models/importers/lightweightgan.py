"""lucidrains' lightweight-gan `model_{n}.pt` files -> our LightweightGAN. The averaged half, `GAN.GE`, with its own running statistics."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from installation.errors import ModelError
from installation.models.attention import HEADS
from installation.models.importers.state import nothing_left, seeded_noise, state_under, take, written_by
from installation.models.lightweightgan import LightweightGAN

BN_EPS = 1e-5
_ATTENTION = {
    "fn.to_lin_q.weight": "far_q.weight",
    "fn.to_lin_kv.net.0.weight": "far_depthwise.weight",
    "fn.to_lin_kv.net.1.weight": "far_kv.weight",
    "fn.to_q.weight": "near_q.weight",
    "fn.to_kv.weight": "near_kv.weight",
    "fn.to_out.weight": "out.weight",
}


def matches(value: Any) -> bool:
    """Whether what `read_pickle` gave has the names of lightweight-gan's `GAN`. CheckpointError as `state.check_claims`."""
    state = state_under(value, ("GAN",))
    return state is not None and {"GE.initial_conv.0.weight", "GE.out_conv.weight"} <= state.keys()


def convert(value: Any, *, where: str) -> tuple[type[LightweightGAN], dict[str, Any], dict[str, Tensor], str]:
    """Kind, config, tensors, title. ModelError for the layouts of other releases: it says which wrote the file."""
    everything = state_under(value, ("GAN",))
    if everything is None:
        raise ModelError("no state dict under 'GAN'")
    state = {
        name.removeprefix("GE."): tensor
        for name, tensor in everything.items()
        if name.startswith("GE.") and not name.endswith((".num_batches_tracked", ".0.1.f"))
    }
    try:
        return _convert(state)
    except ModelError as error:
        raise ModelError(
            f"{error.what} ({written_by(value) or 'written by an unknown release'}; 0.21 to 1.2 are known)"
        ) from error


def _convert(state: dict[str, Tensor]) -> tuple[type[LightweightGAN], dict[str, Any], dict[str, Tensor], str]:
    found: dict[str, Tensor] = {}
    rng = torch.Generator().manual_seed(0)
    kernel = take(state, "initial_conv.0.weight", None, None, 4, 4)
    z_dim, doubled = kernel.shape[:2]
    scale, shift = _batch_norm(state, "initial_conv.1", doubled)
    found["start.weight"] = (kernel * scale[:, None, None]).flatten(1).T.contiguous()
    found["start.bias"] = (take(state, "initial_conv.0.bias", doubled) * scale + shift).repeat_interleave(16)
    channels: list[int] = []
    gates: list[list[int]] = []
    attention: list[int] = []
    inner = 0
    while f"layers.{len(channels)}.0.3.weight" in state:
        i = len(channels)
        channels.append(_layer(state, found, f"layers.{i}"))
        found[f"layers.{i}.noise"] = seeded_noise(8 << i, 8 << i, rng)
        if f"layers.{i}.1.net.0.weight" in state:
            _gate(state, found, f"layers.{i}.1", f"gates.{len(gates)}")
            gates.append([i, i + 3])
        if f"layers.{i}.2.norm.g" in state:
            inner = _attention(state, found, f"layers.{i}.2", f"attentions.{len(attention)}")
            attention.append(i)
        if len(channels) > 8:
            raise ModelError("larger than 1024 px")
    colours = take(state, "out_conv.weight", None, None, 3, 3)
    bias = take(state, "out_conv.bias", len(colours))
    if len(colours) == 1:  # grey
        colours, bias = colours.expand(3, -1, -1, -1), bias.expand(3)
    found["final.weight"], found["final.bias"] = colours, bias
    nothing_left(state)
    shuffled = [found[f"layers.{i}.conv.weight"].shape[1] for i in range(len(channels))]
    doubling = "inputs" if shuffled == [z_dim, *channels[:-1]] else "outputs"
    config = {
        "z_dim": z_dim,
        "channels": channels,
        "gates": gates,
        "gate_widths": [len(found[f"gates.{k}.squeeze.weight"]) for k in range(len(gates))],
        "frequencies": "gates.0.cosines" in found,
        "attention": attention,
        "heads_width": max(inner // HEADS, 1),
        "colours": len(colours),
        "doubling": doubling if any(".enlarge." in name for name in found) else "repeat",
    }
    return LightweightGAN, config, found, f"lightweight-gan, {4 << len(channels)} px"


def _batch_norm(state: dict[str, Tensor], name: str, width: int) -> tuple[Tensor, Tensor]:
    """Scale and shift [width] of a batch norm that is done learning."""
    weight, bias, mean, var = (
        take(state, f"{name}.{part}", width) for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = weight / (var + BN_EPS).sqrt()
    return scale, bias - mean * scale


def _layer(state: dict[str, Tensor], found: dict[str, Tensor], name: str) -> int:
    """Moves a layer, which has one name here and there, its batch norm folded into the convolution; its width."""
    if f"{name}.0.0.net.0.weight" in state:
        found[f"{name}.enlarge.weight"] = take(state, f"{name}.0.0.net.0.weight", None, None, 1, 1)
        found[f"{name}.enlarge.bias"] = take(state, f"{name}.0.0.net.0.bias", None)
    kernel = take(state, f"{name}.0.2.1.weight", None, None, 4, 4)
    scale, shift = _batch_norm(state, f"{name}.0.4", len(kernel))
    found[f"{name}.conv.weight"] = kernel * scale[:, None, None, None]
    found[f"{name}.conv.bias"] = take(state, f"{name}.0.2.1.bias", len(kernel)) * scale + shift
    found[f"{name}.gain"] = scale * take(state, f"{name}.0.3.weight", 1)
    return len(kernel) // 2


def _gate(state: dict[str, Tensor], found: dict[str, Tensor], old: str, new: str) -> None:
    if f"{old}.dct_weights" in state:
        found[f"{new}.cosines"] = take(state, f"{old}.dct_weights", 1, None, None, None)[0]
    else:
        found[f"{new}.key.weight"] = take(state, f"{old}.to_k.weight", 1, None, 1, 1)
        found[f"{new}.key.bias"] = take(state, f"{old}.to_k.bias", 1)
    for theirs, ours in (("net.0", "squeeze"), ("net.2", "excite")):
        found[f"{new}.{ours}.weight"] = take(state, f"{old}.{theirs}.weight", None, None, 1, 1)[:, :, 0, 0]
        found[f"{new}.{ours}.bias"] = take(state, f"{old}.{theirs}.bias", None)


def _attention(state: dict[str, Tensor], found: dict[str, Tensor], old: str, new: str) -> int:
    """The width of all heads together."""
    found[f"{new}.gain"] = take(state, f"{old}.norm.g", 1, None, 1, 1).flatten()
    found[f"{new}.shift"] = take(state, f"{old}.norm.b", 1, None, 1, 1).flatten()
    for theirs, ours in _ATTENTION.items():
        found[f"{new}.{ours}"] = take(state, f"{old}.{theirs}", None, None, None, None)
    found[f"{new}.out.bias"] = take(state, f"{old}.fn.to_out.bias", None)
    return len(found[f"{new}.far_q.weight"])
