"""ONNX files of generators -> our OnnxGenerator: one input z, one picture out, and no file beside it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from installation.errors import CheckpointError, ModelError
from installation.models.importers.onnx_file import Value, signature
from installation.models.importers.safe_pickle import SourceFile
from installation.models.network import restore
from installation.models.onnx_generator import OnnxGenerator

SUFFIX = ".onnx"
_FLOAT = 1
PROBES = 8


def matches(value: Any) -> bool:
    """Whether a SourceFile is named .onnx: such a file is read whole, not unpickled."""
    return isinstance(value, SourceFile) and value.path.suffix.lower() == SUFFIX


def convert(value: Any, *, where: str) -> tuple[type[OnnxGenerator], dict[str, Any], dict[str, Tensor], str]:
    """Kind, config, tensors, title. ModelError for graphs that take or give anything else; CheckpointError for damaged files."""
    if not isinstance(value, SourceFile):
        raise ModelError("not an ONNX file")
    graph = signature(value.data, where=where)
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        names = ", ".join(v.name[:40] for v in (*graph.inputs, *graph.outputs))
        raise ModelError(
            f"a graph of {len(graph.inputs)} inputs and {len(graph.outputs)} outputs ({names[:200]}), not one each"
        )
    z, img = graph.inputs[0], graph.outputs[0]
    batch, z_dim = (*z.shape, 0, 0)[:2]
    flat = len(z.shape) == 2
    if z.element != _FLOAT or not z_dim or z.shape[1:] not in ((z_dim,), (z_dim, 1, 1)):
        raise ModelError(f"its input is {_text(z)}, not float32 [N, z] or [N, z, 1, 1]")
    if batch not in (0, 1):
        raise ModelError(f"it makes {batch} pictures at a time, not one or any number")
    if img.element != _FLOAT or len(img.shape) != 4 or img.shape[1] != 3 or not all(img.shape[2:]):
        raise ModelError(f"its output is {_text(img)}, not float32 [N, 3, height, width]")
    height, width = img.shape[2:]
    base = [height // math.gcd(height, width), width // math.gcd(height, width)]
    if max(base) > 64:
        raise ModelError(f"pictures of {width} × {height} px, whose sides have no small ratio")
    config = {
        "z_dim": z_dim,
        "size": max(height, width),
        "base": base,
        "nbytes": len(value.data),
        "flat": flat,
        "batch": batch,
        "unit_range": False,
    }
    tensors = {"model": torch.frombuffer(bytearray(value.data), dtype=torch.uint8)}
    with torch.device("meta"):
        network = OnnxGenerator(**config)
    restore(network, tensors)
    probes = network.synthesis(torch.randn(PROBES, 1, network.z_dim, generator=torch.Generator().manual_seed(0)))
    if not bool(probes.isfinite().all()):
        raise CheckpointError("its pictures are not finite", where=where)
    config["unit_range"] = float(probes.min()) >= 0.0
    span = "0..1" if config["unit_range"] else "-1..1"
    return OnnxGenerator, config, tensors, f"ONNX generator, pictures taken for {span}"


def _text(value: Value) -> str:
    return f"type {value.element} {list(value.shape)}"
