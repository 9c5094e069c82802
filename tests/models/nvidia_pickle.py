"""A data-only reader of the pickles that NVIDIA's StyleGAN2 code writes, for tests alone: nothing that such a file names is run.

pickle may only reach the names in _ALLOWED; every class of NVIDIA's becomes an inert record, its source is never looked at, and the
nested files of tensor bytes are read by torch with `weights_only`.
"""

from __future__ import annotations

import collections
import io
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._utils
from torch import Tensor

_MAX_BYTES = 64 << 20


@dataclass(slots=True)
class Module:
    """One module of the network: what was stored of it."""

    class_name: str
    state: dict[str, Any] = field(default_factory=dict)

    def tensors(self, prefix: str = "") -> dict[str, Tensor]:
        """Parameters and buffers by their dotted names, this module's and all below."""
        found: dict[str, Tensor] = {}
        for name, tensor in (*self.state["_parameters"].items(), *self.state["_buffers"].items()):
            if tensor is not None:
                found[prefix + name] = tensor.detach()
        for name, module in self.state["_modules"].items():
            found |= module.tensors(f"{prefix}{name}.")
        return found


def _module(meta: dict[str, Any]) -> Module:
    return Module(str(meta["class_name"]), dict(meta["state"]))


def _tensor_bytes(data: bytes) -> Any:
    return torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")


def _array_scalar(dtype: np.dtype, data: bytes) -> Any:
    if dtype.kind not in "biuf":
        raise pickle.UnpicklingError(f"a number of type {dtype}")
    return np.frombuffer(data, dtype, 1)[0]


_ALLOWED: dict[tuple[str, str], Any] = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _module,
    ("dnnlib.util", "EasyDict"): dict,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("builtins", "set"): set,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch.storage", "_load_from_bytes"): _tensor_bytes,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "scalar"): _array_scalar,
    ("numpy._core.multiarray", "scalar"): _array_scalar,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"the file names {module}.{name}") from None


def read_generator(path: Path) -> Module:
    """The averaged generator (`G_ema`) in a .pkl. pickle.UnpicklingError where the file names anything that is not allowed."""
    if path.stat().st_size > _MAX_BYTES:
        raise pickle.UnpicklingError("larger than any file of the tests")
    with path.open("rb") as file:
        return _Reader(file).load()["G_ema"]
