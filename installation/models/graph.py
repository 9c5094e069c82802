"""A function of one tensor, recorded once as a CUDA graph and replayed: one launch instead of hundreds, no Python in between.

Runs on the engine's thread. Where there is no CUDA device, or the recording fails, the function is simply called.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

log = logging.getLogger(__name__)

Function = Callable[[Tensor], Tensor]
# Runs a function on a fixed input tensor; gives what repeats the run on the input's present content, and the fixed output tensor.
Recorder = Callable[[Function, Tensor], tuple[Callable[[], None], Tensor]]
WARM_UP_CALLS = 3  # cuDNN tries its algorithms and the allocator settles: neither may happen while recording


class GraphedCall:
    """fn, which must have no side effects, no host synchronisation and fixed shapes.

    example: a tensor like those the calls will get; calls of another shape run unrecorded. The output tensor is OVERWRITTEN by the next
    call: use or copy it before. recorder: None picks CUDA's for a CUDA example, and none for any other device.
    """

    def __init__(self, fn: Function, example: Tensor, *, recorder: Recorder | None = None) -> None:
        self._fn = fn
        self._input = example.clone()
        self._replay: Callable[[], None] | None = None
        self._output: Tensor | None = None
        recorder = recorder or (record_cuda if example.is_cuda else None)
        if recorder is None:
            return
        try:
            self._replay, self._output = recorder(fn, self._input)
        except RuntimeError as error:
            log.warning(
                "the CUDA graph could not be recorded, running without it (slower): %s", str(error).splitlines()[0]
            )

    @property
    def recorded(self) -> bool:
        """Whether calls replay a graph; else fn runs as it is."""
        return self._replay is not None

    def __call__(self, x: Tensor) -> Tensor:
        if self._replay is None or self._output is None or x.shape != self._input.shape:
            return self._fn(x)
        self._input.copy_(x, non_blocking=True)
        self._replay()
        return self._output


def record_cuda(fn: Function, x: Tensor) -> tuple[Callable[[], None], Tensor]:
    """Recorder for CUDA: warm up on a side stream, as capture demands, then record. RuntimeError where fn cannot be recorded."""
    with torch.cuda.device(x.device):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_CALLS):
                fn(x)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # thread_local: another thread may be loading the next model, whose allocations are no fault of this recording.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            output = fn(x)
    return graph.replay, output
