"""lucidrains' stylegan2-pytorch `model_{n}.pt` files -> our LucidrainsStyleGAN2. The averaged halves, `GAN.SE` and `GAN.GE`.

Only the layout of its 1.x releases is known here; older ones have other layers under the same names. The learning rate of the mapping
stands in `.config.json` beside the file, 0.1 if there is none.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from installation.errors import CheckpointError, ModelError
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
}


def matches(value: Any) -> bool:
    """Whether what `read_pickle` gave has the names of stylegan2-pytorch's `GAN`. CheckpointError as `state.check_claims`."""
    state = state_under(value, ("GAN",))
    return state is not None and {"SE.net.0.weight", "GE.blocks.0.to_style1.weight"} <= state.keys()


def convert(value: Any, *, where: str) -> tuple[type[LucidrainsStyleGAN2], dict[str, Any], dict[str, Tensor], str]:
    """Kind, config, tensors, title. ModelError for layouts that this program does not have: it says which."""
    state = state_under(value, ("GAN",))
    if state is None:
        raise ModelError("no state dict under 'GAN'")
    state = {
        name: t for name, t in state.items() if name.startswith(("SE.", "GE.")) and not name.endswith("upsample.1.f")
    }
    release = f" ({said})" if (said := written_by(value)) else ""
    if any(name.startswith("GE.attns.") for name in state):
        raise ModelError(f"a network with attention layers, which this program does not have{release}")
    if "GE.to_initial_block.weight" in state:
        raise ModelError(f"a network without a constant input, which this program does not have{release}")
    if "GE.initial_conv.weight" not in state:
        raise ModelError(f"the layout before release 1.0, which this program does not have{release}")
    found: dict[str, Tensor] = {}
    rate, layers = _mapping_rate(where), 0
    while f"SE.net.{2 * layers}.weight" in state:
        for part, shape in (("weight", (None, None)), ("bias", (None,))):
            found[f"mapping.fc{layers}.{part}"] = take(state, f"SE.net.{2 * layers}.{part}", *shape) * rate
        layers += 1
    found["const"] = take(state, "GE.initial_block", 1, None, 4, 4)[0]
    found["first.weight"] = take(state, "GE.initial_conv.weight", None, None, 3, 3)
    found["first.bias"] = take(state, "GE.initial_conv.bias", None)
    blocks = 0
    while f"GE.blocks.{blocks}.conv1.weight" in state:
        old, new = f"GE.blocks.{blocks}", f"blocks.{blocks}"
        for theirs, ours in (*_BLOCK.items(), ("to_rgb.to_style", "torgb.affine")):
            found[f"{new}.{ours}.weight"] = take(state, f"{old}.{theirs}.weight", None, None)
            found[f"{new}.{ours}.bias"] = take(state, f"{old}.{theirs}.bias", None)
        found[f"{new}.conv0.weight"] = take(state, f"{old}.conv1.weight", None, None, 3, 3)
        found[f"{new}.conv1.weight"] = take(state, f"{old}.conv2.weight", None, None, 3, 3)
        # A fourth colour is how opaque the picture is.
        found[f"{new}.torgb.weight"] = take(state, f"{old}.to_rgb.conv.weight", None, None, 1, 1)[:3]
        blocks += 1
        if blocks > 9:
            raise ModelError("larger than 1024 px")
    nothing_left(state)
    size = 4 << blocks - 1 if blocks else 0
    found["noise"] = torch.rand(size, size, generator=torch.Generator().manual_seed(0))
    found["mapping.w_avg"] = torch.zeros(found["const"].shape[0])
    config = LucidrainsStyleGAN2.config_of(found)
    found["mapping.w_avg"] = torch.zeros(config["z_dim"])
    found["mapping.w_avg"] = estimated_w_avg(LucidrainsStyleGAN2, config, found)
    return LucidrainsStyleGAN2, config, found, f"lucidrains' StyleGAN2, {size} px, w_avg estimated"


def _mapping_rate(where: str) -> float:
    """`lr_mlp` of the .config.json in the file's folder; MAPPING_LR where there is none that makes sense."""
    try:
        config = read_file(Path(where).parent / ".config.json", most=MAX_CONFIG)
        rate = json.loads(config.data).get("lr_mlp", MAPPING_LR)
    except (CheckpointError, ValueError, AttributeError, RecursionError):
        return MAPPING_LR
    good = isinstance(rate, (int, float)) and math.isfinite(rate) and 0 < rate <= 100
    return float(rate) if good else MAPPING_LR
