"""What a run needs to go on, in a file that is whole or not there: a `.safetensors` with facts as JSON, and the one before it.

A save writes beside the file, flushes to the disk, keeps the last state as the second generation and renames. Whatever kills it, one
whole state is left; a damaged one is recognised by its checksum and the generation before is taken.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from installation.errors import CheckpointError, OutputError
from installation.files import replacing
from installation.training.memory import ran_out

FORMAT = 1
_FACTS, _SUM, _FORMAT = "facts", "sha256", "format"


@dataclass(frozen=True, slots=True)
class State:
    """tensors: on the CPU, in the dtypes they were stored in. facts: what JSON can hold. path: the generation it came from."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]
    path: Path

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with `prefix.`, without it."""
        return {
            name[len(prefix) + 1 :]: tensor for name, tensor in self.tensors.items() if name.startswith(prefix + ".")
        }


def misfit(state: State, error: Exception, what: str = "the state does not fit this run") -> Exception:
    """What to raise where a trainee cannot be as the state says: CheckpointError, or the error itself where memory ran out."""
    if ran_out(error):
        return error
    return CheckpointError(f"{what} ({' '.join(str(error).split()):.200})", where=str(state.path))


def joined(parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of several parts under the names by which `State.part` finds them."""
    return {f"{part}.{name}": tensor for part, named in parts.items() for name, tensor in named.items()}


def previous(path: Path) -> Path:
    """Where the generation before lies."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def save_state(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write a state over the one in `path`, which becomes the generation before.

    OutputError if the disk is full or refuses: then both old generations are untouched. ValueError if facts are not JSON.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(dict(facts), allow_nan=False, sort_keys=True)
    metadata = {_FORMAT: str(FORMAT), _FACTS: text, _SUM: _checksum(plain, text)}
    try:
        with replacing(path, only_writer=True, last=previous(path)) as draft:
            save_file(plain, draft, metadata=metadata)
    except (OSError, SafetensorError) as error:
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        what = "the disk is full" if full else f"the state could not be written ({error})"
        fix = (
            "Make room and give the same command again: the last state is kept"
            if full
            else "May this user write there?"
        )
        raise OutputError(what, where=str(path), fix=fix) from error


def load_state(path: Path) -> State | None:
    """The newest whole state, or None where there is none at all. CheckpointError if files are there but none of them is whole."""
    faults: dict[str, str] = {}
    # The newest once more at the end: a run that saves meanwhile moves its files from name to name under a reader.
    for candidate in (path, previous(path), path):
        if not candidate.exists():
            continue
        try:
            return _read(candidate)
        except CheckpointError as error:
            faults[candidate.name] = error.what
    if not faults:
        return None
    fix = "Begin anew in another folder, with this run's G_ema.safetensors as warm start"
    raise CheckpointError("no state in it can be read: " + "; ".join(faults.values()), where=str(path), fix=fix)


def _read(path: Path) -> State:
    try:
        # As bytes, opened once: safe_open opens the name twice, and a save in between makes it another file; nor may a file stay
        # mapped while a save renames it.
        data = path.read_bytes()
        tensors = load(data)
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
        text = metadata[_FACTS]
        facts = json.loads(text)
    except (OSError, SafetensorError, KeyError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path.name} is no state of ours or is cut short", where=str(path)) from error
    if metadata.get(_FORMAT) != str(FORMAT):
        raise CheckpointError(f"{path.name} has format {metadata.get(_FORMAT)}, this program reads {FORMAT}")
    if _checksum(tensors, text) != metadata.get(_SUM):
        raise CheckpointError(f"{path.name} is damaged: its checksum is wrong", where=str(path))
    return State(tensors, facts, path)


def _checksum(tensors: Mapping[str, Tensor], facts: str) -> str:
    digest = hashlib.sha256(facts.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
