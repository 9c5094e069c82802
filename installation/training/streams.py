"""Random numbers by place, not by history: every draw has a key, so a resumed run draws what it would have drawn, with nothing to save."""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def torch_stream(*key: int | str) -> torch.Generator:
    """A generator on the CPU for this key (seed, purpose, nimg, ...): the same numbers on every machine and device."""
    return torch.Generator().manual_seed(_number(key))


def numpy_stream(*key: int | str) -> np.random.Generator:
    """The same for NumPy."""
    return np.random.default_rng(_number(key))


def _number(key: tuple[int | str, ...]) -> int:
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest(), "big") >> 1
