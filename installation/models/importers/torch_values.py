"""torch's storages and tensors as its files store them, rebuilt from their bytes: views that are checked to lie within what was stored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from installation.errors import CheckpointError
from installation.models.importers.budget import Budget
from installation.models.importers.inert import Name

STORAGES = {
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.DoubleStorage": torch.float64,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
    "torch.storage.UntypedStorage": torch.uint8,
}


@dataclass(frozen=True, slots=True)
class Storage:
    """A row of numbers that tensors are views of. data: [numel]; None where only the file's layout is being read."""

    data: Tensor | None


@dataclass(frozen=True, slots=True)
class StorageId:
    """torch's persistent id of a storage: which one, and how many numbers of which type."""

    key: str
    dtype: torch.dtype
    numel: int

    @property
    def nbytes(self) -> int:
        return self.numel * self.dtype.itemsize

    def storage(self, data: bytearray) -> Storage:
        """The storage with these bytes, which it takes over. CheckpointError if they are not as many as the file says."""
        if len(data) != self.nbytes:
            raise CheckpointError(f"storage {self.key[:20]} has {len(data)} bytes, {self.nbytes} expected")
        return Storage(torch.frombuffer(data, dtype=self.dtype) if data else torch.empty(0, dtype=self.dtype))


def storage_id(pid: Any) -> StorageId:
    """("storage", type, key, device, numel[, view]) as a StorageId; the device is of no interest. CheckpointError for any other."""
    if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
        raise CheckpointError("a reference that is no storage; a file with whole modules in it cannot be read")
    _, kind, key, _, numel, *view = pid
    if not isinstance(kind, Name) or kind.text not in STORAGES or not isinstance(key, str) or view not in ([], [None]):
        raise CheckpointError("damaged: a storage that is described wrongly")
    if not _whole(numel):
        raise CheckpointError("damaged: a storage of no size")
    return StorageId(key, STORAGES[kind.text], numel)


def tensor(budget: Budget, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor | None:
    """A view of a storage: torch._utils._rebuild_tensor and _v2. Gradient and hooks are dropped.

    CheckpointError if any of its numbers lies outside the storage, or if it has more numbers than the storage.
    """
    if (
        not isinstance(storage, Storage)
        or not _whole(offset)
        or not _wholes(size)
        or not _wholes(stride)
        or len(size) != len(stride)
    ):
        raise CheckpointError("damaged: a tensor that is described wrongly")
    if storage.data is None:
        return None
    numel = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if numel > len(storage.data):  # a step of 0 makes a giant of four bytes
        raise CheckpointError(f"a tensor of shape {list(size)} claims more numbers than the file holds")
    if numel and last >= len(storage.data):
        raise CheckpointError(f"a tensor of shape {list(size)} lies outside its storage of {len(storage.data)} numbers")
    budget.numbers(numel, storage.data.element_size())
    return storage.data.as_strided(size, stride, offset if numel else 0)


def parameter(data: Any, *_: Any) -> Tensor | None:
    """torch._utils._rebuild_parameter: the tensor alone."""
    if data is not None and not isinstance(data, Tensor):
        raise CheckpointError("damaged: a parameter that is no tensor")
    return data


def _whole(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 48


def _wholes(value: Any) -> bool:
    return isinstance(value, Sequence) and len(value) <= 8 and all(map(_whole, value))
