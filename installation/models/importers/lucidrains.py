"""lucidrains' stylegan2-pytorch `model_{n}.pt` files -> our LucidrainsStyleGAN2. The averaged halves, `GAN.SE` and `GAN.GE`.

Only the layout of its 1.x releases is known here; older ones have other layers under the same names. The learning rate of the mapping
stands in `.config.json` beside the file, 0.1 if there is none. What its discriminator alone has, `fq_layers` too, is not looked at.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from installation.errors import CheckpointError, ModelError
from installation.models.attention import HEAD_WIDTH, HEADS
from installation.models.importers.average import estimated_w_avg
from installation.models.importers.safe_pickle import read_file
from installation.models.importers.state import nothing_left, state_under, take, written_by
from installation.models.lucidrains import LucidrainsStyleGAN2

MAPPING_LR = 0.1
MAX_CONFIG = 1 << 16
_BLOCK = {
    "to_style1": "conv0.affine",
    "to_noise1": "conv0.spread",
    "to_style2": "conv1.affine",
    "to_noise2": "conv1.spread",
    "to_rgb.to_style": "torgb.affine",
}
# The releases that normed the input of their attention by its deviation.
_BY_DEVIATION = re.compile(r"1\.8\.[0-7]")


def matches(value: Any) -> bool:
    """Whether what `read_pickle` gave has the names of stylegan2-pytorch's `GAN`. CheckpointError as `state.check_claims`."""
    state = state_under(value, ("GAN",))
    return state is not None and {"SE.net.0.weight", "GE.blocks.0.to_style1.weight"} <= state.keys()


def convert(value: Any, *, where: str) -> tuple[type[LucidrainsStyleGAN2], dict[str, Any], dict[str, Tensor], str]:
    """Kind, config, tensors, title. ModelError for layouts that this program does not have: it says which."""
    state = state_under(value, ("GAN",))
    if state is None:
        raise ModelError("no state dict under 'GAN'")
    state = {name: tensor for name, tensor in state.items() if name.startswith(("SE.", "GE."))}
    try:
        config, found = _convert(state, rate=_mapping_rate(where), by_deviation=_by_deviation(value))
    except ModelError as error:
        raise ModelError(f"{error.what} ({said})" if (said := written_by(value)) else error.what) from error
    found["mapping.w_avg"] = torch.zeros(config["z_dim"])
    found["mapping.w_avg"] = estimated_w_avg(LucidrainsStyleGAN2, config, found)
    size = 4 << len(config["channels"]) - 1
    return LucidrainsStyleGAN2, config, found, f"lucidrains' StyleGAN2, {size} px, w_avg estimated"


def _convert(state: dict[str, Tensor], *, rate: float, by_deviation: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and tensors, but for w_avg."""
    if "GE.initial_conv.weight" not in state:
        raise ModelError("the layout before release 1.0, which this program does not have")
    if any(name.startswith("GE.attns.") and name.endswith(".to_k.weight") for name in state):
        what = "attention layers from before release 1.6: what they compute depends on the release of another package"
        raise ModelError(f"{what} (linear-attention-transformer), which the file does not tell")
    found: dict[str, Tensor] = {}
    layers = 0
    while f"SE.net.{2 * layers}.weight" in state:
        for part, shape in (("weight", (None, None)), ("bias", (None,))):
            found[f"mapping.fc{layers}.{part}"] = take(state, f"SE.net.{2 * layers}.{part}", *shape) * rate
        layers += 1
    if not layers:
        raise ModelError("no mapping")
    if constant := "GE.to_initial_block.weight" not in state:
        found["const"] = take(state, "GE.initial_block", 1, None, 4, 4)[0]
    else:
        kernel = take(state, "GE.to_initial_block.weight", None, None, 4, 4)
        found["input.weight"] = kernel.flatten(1).T.contiguous()
    found["first.weight"] = take(state, "GE.initial_conv.weight", None, None, 3, 3)
    found["first.bias"] = take(state, "GE.initial_conv.bias", None)
    channels: list[int] = []
    attention: list[int] = []
    norm = "variance"
    blur = "GE.blocks.0.to_rgb.upsample.1.f" in state or "GE.blocks.1.conv1.weight" not in state
    while f"GE.blocks.{len(channels)}.conv1.weight" in state:
        i = len(channels)
        if f"GE.attns.{i}.0.fn.fn.to_q.weight" in state:
            norm = _attention(state, found, i, f"attentions.{len(attention)}", by_deviation=by_deviation)
            attention.append(i)
        channels.append(_block(state, found, i))
        if blur and f"GE.blocks.{i + 1}.conv1.weight" in state:
            _blur(state, f"GE.blocks.{i}.to_rgb.upsample.1.f")
        if len(channels) > 9:
            raise ModelError("larger than 1024 px")
    if not channels:
        raise ModelError("no blocks")
    nothing_left(state)
    size = 4 << len(channels) - 1
    found["noise"] = torch.rand(size, size, generator=torch.Generator().manual_seed(0))
    config = {
        "z_dim": found["mapping.fc0.weight"].shape[1],
        "channels": channels,
        "mapping_layers": layers,
        "constant": constant,
        "attention": attention,
        "attention_norm": norm,
        "blur": blur,
        "colours": found["blocks.0.torgb.weight"].shape[0],
    }
    return config, found


def _block(state: dict[str, Tensor], found: dict[str, Tensor], i: int) -> int:
    """Moves a resolution's tensors; its width."""
    old, new = f"GE.blocks.{i}", f"blocks.{i}"
    for theirs, ours in _BLOCK.items():
        found[f"{new}.{ours}.weight"] = take(state, f"{old}.{theirs}.weight", None, None)
        found[f"{new}.{ours}.bias"] = take(state, f"{old}.{theirs}.bias", None)
    found[f"{new}.conv0.weight"] = take(state, f"{old}.conv1.weight", None, None, 3, 3)
    found[f"{new}.conv1.weight"] = take(state, f"{old}.conv2.weight", None, None, 3, 3)
    found[f"{new}.torgb.weight"] = take(state, f"{old}.to_rgb.conv.weight", None, None, 1, 1)
    return len(found[f"{new}.conv1.weight"])


def _attention(state: dict[str, Tensor], found: dict[str, Tensor], i: int, new: str, *, by_deviation: bool) -> str:
    """Moves the attention before a resolution; the name of its norm."""
    old = f"GE.attns.{i}"
    inner = HEADS * HEAD_WIDTH
    for theirs, ours, outputs in (
        ("0.fn.fn.to_q", "q", inner),
        ("0.fn.fn.to_kv.net.0", "depthwise", None),
        ("0.fn.fn.to_kv.net.1", "kv", 2 * inner),
        ("0.fn.fn.to_out", "out", None),
        ("1.fn.fn.0", "widen", None),
        ("1.fn.fn.2", "narrow", None),
    ):
        found[f"{new}.{ours}.weight"] = take(state, f"{old}.{theirs}.weight", outputs, None, None, None)
        if ours in ("out", "widen", "narrow"):
            found[f"{new}.{ours}.bias"] = take(state, f"{old}.{theirs}.bias", None)
    norm = "variance"
    for k in range(2):
        stem = f"{old}.{k}.fn"
        if f"{stem}.g" in state:
            norm = "scale"
            found[f"{new}.gain{k}"] = take(state, f"{stem}.g", 1, None, 1, 1).flatten()
        elif f"{stem}.norm.g" in state:
            norm = "deviation" if by_deviation else "variance"
            for theirs, ours in (("g", "gain"), ("b", "shift")):
                found[f"{new}.{ours}{k}"] = take(state, f"{stem}.norm.{theirs}", 1, None, 1, 1).flatten()
        else:
            norm = "places"
            for theirs, ours in (("weight", "gain"), ("bias", "shift")):
                found[f"{new}.{ours}{k}"] = take(state, f"{stem}.norm.{theirs}", None)
    return norm


def _blur(state: dict[str, Tensor], name: str) -> None:
    if take(state, name, 3).tolist() != [1, 2, 1]:
        raise ModelError(f"{name!r} is not [1, 2, 1], which this program blurs by")


def _by_deviation(value: Any) -> bool:
    """Whether the release that wrote the file normed its attention's input by the deviation; where it does not say, it is a later one's."""
    version = value.get("version")
    return isinstance(version, str) and _BY_DEVIATION.fullmatch(version) is not None


def _mapping_rate(where: str) -> float:
    """`lr_mlp` of the .config.json in the file's folder; MAPPING_LR where there is none that makes sense."""
    try:
        config = read_file(Path(where).parent / ".config.json", most=MAX_CONFIG)
        rate = json.loads(config.data).get("lr_mlp", MAPPING_LR)
    except (CheckpointError, ValueError, AttributeError, RecursionError):
        return MAPPING_LR
    good = isinstance(rate, (int, float)) and math.isfinite(rate) and 0 < rate <= 100
    return float(rate) if good else MAPPING_LR
