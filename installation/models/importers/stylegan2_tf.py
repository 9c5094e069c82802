"""TensorFlow's legacy StyleGAN2 and StyleGAN2-ADA files: a pickled (G, D, Gs) of dnnlib's Networks -> StyleGAN2's names and layouts.

TensorFlow keeps kernels as [height, width, inputs, outputs] and matrices as [inputs, outputs].
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from installation.errors import CheckpointError
from installation.models.importers.inert import MAX_NAME, Inert
from installation.models.importers.state import check_claims
from installation.models.stylegan2 import MAPPING_LR, StyleGAN2

NETWORK = "dnnlib.tflib.network.Network"
MAX_VARIABLES = 4096
OLDEST_VERSION = 4  # older ones are StyleGAN (1) and progressive GANs

_LAYER = re.compile(r"synthesis/(\d+)x\1/(Conv|Conv0_up|Conv1|ToRGB)/(weight|bias|mod_weight|mod_bias|noise_strength)")
_DENSE = re.compile(r"mapping/Dense(\d+)/(weight|bias)")
_NOISE = re.compile(r"synthesis/noise(\d+)")
_PARTS = {"Conv": "conv1", "Conv0_up": "conv0", "Conv1": "conv1", "ToRGB": "torgb"}
# Options of which no other value can be run; each is TensorFlow's own default too.
_OURS = {
    "architecture": "skip",
    "nonlinearity": "lrelu",
    "mapping_nonlinearity": "lrelu",
    "mapping_lrmul": MAPPING_LR,
    "normalize_latents": True,
}
# What training left behind; no picture depends on it.
_IDLE = re.compile(r"lod|synthesis/lod|.*(pl_mean|_var)|Augment.*")


def matches(value: Any) -> bool:
    """Whether what `read_pickle` gave is the (G, D, Gs) of dnnlib's Networks."""
    return _network(value) is not None


def convert(value: Any, *, where: str) -> tuple[type, dict[str, Any], dict[str, Tensor], str, dict[str, Any]]:
    """The averaged generator Gs. CheckpointError for other networks of dnnlib's, or variables that a StyleGAN2 does not have."""
    network = _network(value)
    if network is None:
        raise CheckpointError("holds no (G, D, Gs) of TensorFlow networks", where=where)
    if not isinstance(network.get("version"), int) or network.get("version") < OLDEST_VERSION:
        raise CheckpointError("a StyleGAN (1) or older network; from StyleGAN2 on they can be read", where=where)
    options = network.get("static_kwargs")
    options = options if isinstance(options, dict) else {}
    for name, ours in _OURS.items():
        if options.get(name, ours) != ours:
            said = options[name] if isinstance(options[name], (str, int, float)) else type(options[name]).__name__
            raise CheckpointError(f"{name} is {str(said)[:20]!r}; only {ours!r} can be run", where=where)
    if options.get("resample_kernel") not in (None, [1, 3, 3, 1]):
        raise CheckpointError("resample_kernel is not [1, 3, 3, 1]", where=where)
    tensors: dict[str, Tensor] = {}
    variables = _variables(network, where)
    for name, array in variables.items():
        if _IDLE.fullmatch(name):
            continue
        target, change = _target(name, where)
        try:
            moved = change(np.asarray(array, np.float32)).copy()  # torch knows no reversed axes
        except (ValueError, IndexError) as error:
            raise CheckpointError(f"variable {name[:80]!r} has shape {list(array.shape)}", where=where) from error
        tensors[target] = torch.from_numpy(moved)
    joint = "mapping/LabelConcat/weight" in variables
    if joint and any(name.startswith("mapping/LabelEmbed/") for name in variables):
        raise CheckpointError("both LabelConcat and LabelEmbed, of which a network has one", where=where)
    if joint:  # before ADA: a row a class, with neither a factor nor a bias, and normalised together with z
        rows = tensors["mapping.embed.weight"]
        tensors["mapping.embed.weight"] = rows * math.sqrt(rows.shape[-1])
        tensors["mapping.embed.bias"] = torch.zeros(rows.shape[0])
    clamp = options.get("conv_clamp")
    clamp = float(clamp) if isinstance(clamp, (int, float)) and not isinstance(clamp, bool) else None
    config = StyleGAN2.config_of(tensors, conv_clamp=clamp, joint_norm=joint)
    return StyleGAN2, config, tensors, "StyleGAN2 (TensorFlow)", {}


def _network(value: Any) -> Inert | None:
    """Gs, the last of the three."""
    if (
        isinstance(value, (tuple, list))
        and len(value) == 3
        and all(isinstance(part, Inert) and part.name == NETWORK for part in value)
    ):
        return value[2]
    return None


def _variables(network: Inert, where: str) -> dict[str, np.ndarray]:
    """Variables of the network and of its parts, by path."""
    found: dict[str, np.ndarray] = {}
    components = network.get("components")
    parts = [("", network)] + [
        (f"{name}/", part) for name, part in (components.items() if isinstance(components, dict) else ())
    ]
    for prefix, part in parts:
        rows = part.get("variables") if isinstance(part, Inert) else None
        if not isinstance(rows, list) or len(rows) + len(found) > MAX_VARIABLES:
            raise CheckpointError("a network without a list of variables", where=where)
        for row in rows:
            if not isinstance(row, (tuple, list)) or len(row) != 2 or not isinstance(row[0], str):
                raise CheckpointError("a variable without a name", where=where)
            if not isinstance(row[1], (np.ndarray, int, float)):
                raise CheckpointError(f"variable {row[0][:80]!r} is no array", where=where)
            if len(prefix) + len(row[0]) > MAX_NAME:  # a part's name is written out for each of its variables
                raise CheckpointError(f"variable {row[0][:80]!r} has a name that no network has", where=where)
            found[prefix + row[0]] = np.asarray(row[1])
    check_claims(found.values(), where=where)
    return found


def _target(name: str, where: str) -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
    """StyleGAN2's name for a TensorFlow variable, and what to do to its numbers."""
    if name == "dlatent_avg":
        return "mapping.w_avg", _same
    if name == "synthesis/4x4/Const/const":
        return "synthesis.b4.const", lambda x: x[0]
    if found := _DENSE.fullmatch(name):
        return f"mapping.fc{int(found[1])}.{found[2]}", np.transpose
    if name in ("mapping/LabelEmbed/weight", "mapping/LabelEmbed/bias", "mapping/LabelConcat/weight"):
        return f"mapping.embed.{name.rpartition('/')[2]}", np.transpose
    if found := _NOISE.fullmatch(name):
        # 0: the layer at 4 px; then two a resolution.
        index = int(found[1])
        return f"synthesis.b{4 << min((index + 1) // 2, 20)}.conv{(index + 1) % 2}.noise_const", lambda x: x[0, 0]
    if found := _LAYER.fullmatch(name):
        layer = f"synthesis.b{int(found[1])}.{_PARTS[found[2]]}"
        if found[3] == "weight":
            # A kernel of TensorFlow's transposed convolution is turned by half a turn against torch's.
            flip = found[2] == "Conv0_up"
            return f"{layer}.weight", lambda x: (x[::-1, ::-1] if flip else x).transpose(3, 2, 0, 1)
        if found[3] == "mod_weight":
            return f"{layer}.affine.weight", np.transpose
        if found[3] == "mod_bias":
            return f"{layer}.affine.bias", lambda x: x + 1
        return f"{layer}.{found[3]}", _same
    raise CheckpointError(f"variable {name[:80]!r} is not one of a StyleGAN2 that can be run", where=where)


def _same(x: np.ndarray) -> np.ndarray:
    return x
