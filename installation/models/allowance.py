"""A limit on what the building of a foreign network may allocate: a file that is small but claims to be large is stopped in time.

Foreign detection reads widths and depths out of tensor names and shapes and builds that network before it looks whether the file has
its weights, so 400 kB of file could take all memory.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from installation.errors import ModelError


class Allowance(TorchDispatchMode):
    """While it is entered, tensors made from nothing (weights before they are loaded) may take `nbytes` in all, in `count` pieces.

    ModelError beyond. The one tensor that goes too far has been asked for, but the system gives no memory before it is written to.
    """

    def __init__(self, nbytes: int, count: int) -> None:
        super().__init__()
        self._nbytes, self._count = nbytes, count

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and not any(isinstance(leaf, Tensor) for leaf in tree_leaves((args, kwargs))):
            self._count -= 1
            self._nbytes -= out.numel() * out.element_size() if out.device.type != "meta" else 0
            if self._count < 0 or self._nbytes < 0:
                raise ModelError("the network would be far larger than the file")
        return out


def allowance(tensors: int, nbytes: int) -> Allowance:
    """For a file of so many tensors and bytes: what its network needs, and masks and tables that are not stored."""
    return Allowance(4 * nbytes + (256 << 20), 16 * tensors + 1024)
