"""numpy's arrays, numbers and number types as pickles store them, made from their bytes. Numbers only: an array of objects is refused."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from installation.errors import CheckpointError
from installation.models.importers.budget import Budget

_NUMBERS = re.compile(r"([<>=|]?)([biuf][1248])")


@dataclass(slots=True)
class NumberType:
    """A numpy dtype: `code` is kind and bytes ("f4"), `order` its byte order."""

    code: str
    order: str = "="

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.order.replace("|", "=") + self.code)


def number_type(code: Any, align: Any = False, copy: Any = True) -> NumberType:
    """numpy.dtype(code, align, copy). CheckpointError for anything but integers, floats and truth values."""
    found = _NUMBERS.fullmatch(code) if isinstance(code, str) else None
    if not found or found[2] in ("f1", "b2", "b4", "b8"):
        name = code[:20] if isinstance(code, str) else "unknown"
        raise CheckpointError(f"an array of type {name!r}, which holds no plain numbers")
    return NumberType(found[2], found[1] or "=")


def empty_array(kind: Any, shape: Any, code: Any) -> np.ndarray:
    """The empty array that a pickle fills in a second step."""
    return np.empty(0, np.uint8)


def array(budget: Budget, buffer: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    """An array from its bytes. order: "C" or "F"."""
    made = np.empty(0, np.uint8)
    fill(made, (1, shape, kind, order == "F", buffer), budget)
    return made


def number(budget: Budget, kind: Any, data: Any) -> float | int | bool:
    """One number from its bytes."""
    content = _bytes(data, budget)
    if not isinstance(kind, NumberType) or len(content) != kind.dtype.itemsize:
        raise CheckpointError("damaged: a number of numpy's that is none")
    return np.frombuffer(content, kind.dtype)[0].item()


def encoded(budget: Budget, text: Any, encoding: Any) -> bytes:
    """_codecs.encode: how old pickles write bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise CheckpointError("damaged: bytes in another encoding than latin1")
    return _bytes(text, budget)


def fill(value: np.ndarray | NumberType, state: Any, budget: Budget) -> None:
    """Set what a pickle sets in its second step: an array's shape, type and numbers, or a number type's byte order."""
    if isinstance(value, NumberType):
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise CheckpointError("damaged: a number type of numpy's without a byte order")
        value.order = state[1]
        return
    if not isinstance(state, tuple) or len(state) != 5:
        raise CheckpointError("damaged: an array that is no array")
    _, shape, kind, fortran, data = state
    content = _bytes(data, budget)
    sides = (
        isinstance(shape, tuple)
        and len(shape) <= 8
        and all(type(side) is int and 0 <= side < 1 << 40 for side in shape)
    )
    if not isinstance(kind, NumberType) or not sides or len(content) != math.prod(shape) * kind.dtype.itemsize:
        raise CheckpointError("damaged: an array's bytes do not fit its shape")
    budget.take(max(4 * math.prod(shape) - len(content), 0))  # what they take more, once they are float32 weights
    # The array itself, not a new one: the file may already refer to it.
    filled: Any = (1, shape, kind.dtype, fortran is True, content)
    value.__setstate__(filled)


def _bytes(data: Any, budget: Budget) -> bytes:
    if not isinstance(data, (bytes, bytearray, str)):
        raise CheckpointError("damaged: an array without bytes")
    budget.take(len(data))
    # Python 2 had no other type for bytes than text.
    return data.encode("latin1") if isinstance(data, str) else bytes(data)
