"""torch.save files -> a state dict, with torch's data-only reader. Nothing in the file is run.

Importing this module imports torch.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import BinaryIO

import torch
from torch import Tensor

from installation.errors import CheckpointError

MAX_TENSORS = 4096


def read_state_dict(data: bytes, key: str, *, where: str) -> dict[str, Tensor]:
    """The tensors under `key` of a torch.save archive given as bytes, on the CPU. `key` "" means the whole file.

    Memory is bounded by the archive: members must be stored uncompressed, so no tensor is larger than its bytes.
    Raises CheckpointError for a damaged or hostile file, a missing key, or anything in the dict that is no tensor.
    """
    refuse_packed(io.BytesIO(data), len(data), where=where)
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile pickle can raise anything out of the reader; all of it means the same here
        text = str(error).strip()
        reason = text.splitlines()[0] if text else type(error).__name__
        raise CheckpointError(f"torch's data-only reader refuses it ({reason[:200]})", where=where) from None
    state = content if not key else content.get(key) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping):
        raise CheckpointError(f"holds no state dict {key!r}", where=where)
    if len(state) > MAX_TENSORS:
        raise CheckpointError(f"{len(state)} tensors, over the limit of {MAX_TENSORS}", where=where)
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor) or tensor.layout is not torch.strided:
            raise CheckpointError(f"entry {str(name)[:80]!r} is no dense tensor", where=where)
        if tensor.numel() * tensor.element_size() > len(data):  # stride 0 makes a giant of four bytes
            raise CheckpointError(f"entry {name[:80]!r} claims more numbers than the file holds", where=where)
    return dict(state)


def refuse_packed(file: BinaryIO, nbytes: int, *, where: str) -> None:
    """CheckpointError unless the file, of so many bytes, is a torch.save archive whose members are stored as they are."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise CheckpointError(f"not a torch.save archive ({error})", where=where) from None
    packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    if packed or sum(member.file_size for member in members) > nbytes:
        raise CheckpointError("a torch.save archive with packed members, which torch never writes", where=where)
