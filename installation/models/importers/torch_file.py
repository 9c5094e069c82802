"""torch.save files -> a state dict. Nothing in the file is run. Importing this module imports torch."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from installation.errors import CheckpointError
from installation.models.importers.safe_pickle import decode

MAX_TENSORS = 4096


def read_state_dict(data: bytes, key: str, *, where: str) -> dict[str, Tensor]:
    """The tensors under `key` of a torch.save archive given as bytes, on the CPU. `key` "" means the whole file.

    Raises CheckpointError for a damaged or hostile file, a missing key, or anything in the dict that is no tensor.
    """
    content = decode(data, where=where)
    state = content if not key else content.get(key) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping):
        raise CheckpointError(f"holds no state dict {key!r}", where=where)
    if len(state) > MAX_TENSORS:
        raise CheckpointError(f"{len(state)} tensors, over the limit of {MAX_TENSORS}", where=where)
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(f"entry {str(name)[:80]!r} is no tensor", where=where)
    return dict(state)
