"""A generator that someone exported to ONNX, run by onnxruntime on the CPU. It has no w, no fast path of ours and no half precision.

onnxruntime is an optional extra (`onnx`). The graph's bytes are the tensor `model` of the checkpoint. Without a path the runtime looks for
further files in the folder the program was started in: `onnx_file.signature` refuses a graph that names any.
"""

from __future__ import annotations

import functools
import importlib
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from installation.errors import CheckpointError, ModelError, install_extra
from installation.models.importers.onnx_file import signature
from installation.models.network import ZGenerator, flag, whole, wholes

MAX_BYTES = 2 << 30
MAX_MEMORY = 4 << 30
"""Of all ONNX networks of a process together: a graph of a few bytes can ask for any amount."""


def require_onnxruntime() -> ModuleType:
    """The onnxruntime module. ModelError names the extra if it is not installed."""
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        fix = f"Install the extra: {install_extra('onnx')}"
        raise ModelError(f"this network needs onnxruntime, which cannot be imported ({error})", fix=fix) from error


def _options() -> Any:
    """How every session is opened."""
    runtime = require_onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    # Idle threads of the runtime would spin, beside the wall's.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    _limit_memory(runtime)
    options.add_session_config_entry("session.use_env_allocators", "1")
    return options


@functools.cache
def _limit_memory(runtime: ModuleType) -> None:
    """Bounds what sessions take that use the environment's allocators. Once a process; onnxruntime has no other limit."""
    place = runtime.OrtMemoryInfo("Cpu", runtime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, runtime.OrtMemType.DEFAULT)
    runtime.create_and_register_allocator(place, runtime.OrtArenaCfg({"max_mem": MAX_MEMORY}))


def _shapes(node: Mapping[str, Any], which: str) -> list[list[int]]:
    """Of the profiler's list, [{"float": [1, 3, 64, 64]}, ...]."""
    return [shape for row in node[f"{which}_type_shape"] for shape in row.values()]


def _node_macs(operator: str, inputs: list[list[int]], outputs: list[list[int]]) -> int:
    match operator:
        case "Conv":
            return math.prod(outputs[0]) * math.prod(inputs[1][1:])
        case "ConvTranspose":
            return math.prod(inputs[0]) * math.prod(inputs[1][1:])
        case "MatMul":
            return math.prod(outputs[0]) * inputs[0][-1]
        case "Gemm":  # the first may be transposed
            return math.prod(outputs[0]) * math.prod(inputs[0]) // outputs[0][0]
    return 0


def _reason(error: Exception) -> str:
    text = str(error)
    return f"it wants more than {MAX_MEMORY >> 30} GiB of memory" if "bfc_arena" in text else text[:200]


class OnnxGenerator(ZGenerator):
    """z_dim: of the graph. size: the longer side, px; base: height and width in small numbers (16:9). nbytes: of the model. flat: z is
    [N, z_dim], else [N, z_dim, 1, 1]. batch: of the graph, 0 where it is free. unit_range: it gives 0..1, else -1..1.
    """

    arch = "onnx"
    on_host = True
    model: Tensor

    def __init__(
        self, *, z_dim: int, size: int, base: Sequence[int], nbytes: int, flat: bool, batch: int, unit_range: bool
    ) -> None:
        super().__init__()
        self.z_dim = whole("z_dim", z_dim, 1, 8192)
        base = wholes("base", base, 1, 64, least=2, most=2)
        whole("size", size, max(base), 8192)
        if size % max(base):
            raise ModelError(f"size {size} is no multiple of {max(base)}, the longer side of base")
        self.shape = (size * base[0] // max(base), size * base[1] // max(base))
        self.flat, self.unit_range = flag("flat", flat), flag("unit_range", unit_range)
        self.batch = whole("batch", batch, 0, 1)
        self.config = {
            "z_dim": z_dim,
            "size": size,
            "base": base,
            "nbytes": whole("nbytes", nbytes, 1, MAX_BYTES),
            "flat": flat,
            "batch": batch,
            "unit_range": unit_range,
        }
        self.register_buffer("model", torch.empty(nbytes, dtype=torch.uint8))
        self._session: Any = None

    def prepare(self) -> None:
        self._session = self._open(_options())
        self._input = self._session.get_inputs()[0].name

    def _open(self, options: Any) -> Any:
        data = self.model.cpu().numpy().tobytes()
        try:
            signature(data, where="")  # a checkpoint may come from anywhere
        except CheckpointError as error:
            raise ModelError(error.what) from error
        try:
            return require_onnxruntime().InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exceptions share no base class but this
            raise ModelError(f"onnxruntime refuses the graph ({_reason(error)})") from error

    def macs(self) -> int:
        """Multiply-adds of one picture, of its convolutions and matrix products: a run under the runtime's profiler tells their shapes."""
        options = _options()
        # Joined nodes have other names, and a packed kernel is not among the shapes.
        options.graph_optimization_level = require_onnxruntime().GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_prepacking", "1")
        usual = self._session
        try:
            with tempfile.TemporaryDirectory(prefix="installation-", ignore_cleanup_errors=True) as folder:
                options.enable_profiling, options.profile_file_prefix = True, str(Path(folder, "run"))
                self._session = self._open(options)
                self.synthesis(torch.zeros(1, 1, self.z_dim))
                rows = json.loads(Path(self._session.end_profiling()).read_text(encoding="utf-8"))
        finally:
            self._session = usual
        nodes = (row["args"] for row in rows if row.get("cat") == "Node" and "output_type_shape" in row.get("args", {}))
        return sum(_node_macs(node["op_name"], _shapes(node, "input"), _shapes(node, "output")) for node in nodes)

    def synthesis(self, ws: Tensor) -> Tensor:
        """ws [N, 1, z_dim] float32 -> img [N, 3, height, width] float32, -1..1."""
        z = ws[:, 0].cpu().numpy().astype(np.float32)
        if not self.flat:
            z = z[:, :, None, None]
        parts = [z] if not self.batch else [row[None] for row in z]
        try:
            img = np.concatenate([self._session.run(None, {self._input: part})[0] for part in parts])
        except Exception as error:  # as above
            raise ModelError(f"onnxruntime cannot run the graph ({_reason(error)})") from error
        if img.shape != (len(ws), 3, *self.shape) or img.dtype != np.float32:
            want = [len(ws), 3, *self.shape]
            raise ModelError(f"the graph gives {img.dtype} {list(img.shape)}, not float32 {want}")
        made = torch.from_numpy(img).to(ws.device)
        return made * 2 - 1 if self.unit_range else made
