"""Saved latents: a strict reader of .npy files. Nothing in the file is run, and no more is allocated than the file holds."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np

# A saved latent is at most 18 x 512 numbers; anything larger is not one.
MAX_BYTES = 1 << 20
# A latent's numbers are about 1; ten thousand times that would overflow the networks, not make a face.
MAX_VALUE = 1e4

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_latent(path: Path) -> tuple[tuple[float, ...], ...]:
    """A .npy of floats, [n] or [num_ws, w_dim], as rows. OSError, or ValueError for every other fault of the file."""
    if path.suffix != ".npy":
        raise ValueError("a saved latent is a .npy file")
    with path.open("rb") as stream:
        data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError("is larger than any latent")
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"format version {version[0]}.{version[1]}")
        shape, fortran, dtype = _HEADERS[version](file)
    except (ValueError, TypeError, RecursionError, MemoryError, OverflowError) as error:
        # numpy evaluates the header as a Python literal, which on a hostile one fails in all these ways.
        raise ValueError(f"no .npy file, or a damaged one ({str(error).partition(chr(10))[0][:80]})") from error
    if dtype.kind != "f" or len(shape) not in (1, 2) or min(shape) < 1:
        raise ValueError(f"floats [n] or [num_ws, w_dim] are wanted, not {dtype} {list(shape)}")
    if math.prod(shape) * dtype.itemsize != len(data) - file.tell():
        raise ValueError("is cut short, or has bytes after its numbers")
    array = np.frombuffer(data, dtype, offset=file.tell()).reshape(shape, order="F" if fortran else "C")
    if not (np.abs(array) <= MAX_VALUE).all():
        raise ValueError(f"has numbers that are not finite or above {MAX_VALUE:g}")
    return tuple(tuple(float(x) for x in row) for row in np.atleast_2d(array))


def checked_rows(rows: object) -> tuple[tuple[float, ...], ...]:
    """The rows that `read_latent` gave, come back from JSON. ValueError for anything else."""
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) and row for row in rows):
        raise ValueError("rows of numbers are wanted")
    if len({len(row) for row in rows}) != 1 or len(rows) * len(rows[0]) * 4 > MAX_BYTES:
        raise ValueError("rows of one length are wanted, no more than a latent has")
    if not all(type(x) in (int, float) and abs(x) <= MAX_VALUE for row in rows for x in row):
        raise ValueError(f"has something that is no finite number, or above {MAX_VALUE:g}")
    return tuple(tuple(float(x) for x in row) for row in rows)
