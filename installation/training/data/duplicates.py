"""Which pictures are the same: byte for byte, by two perceptual hashes, and by features of a trained network.

pHash and dHash (64 bit each, from ImageHash) forgive scaling, JPEG and small changes of light. Features also forgive cropping; they see
likeness of kind as well, so the hashes have to agree a little. Between "surely the same" and "surely another" lies a band that is asked
about: studio portraits before one backdrop are as alike as crops of one picture.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from installation.training.data.extra import EXTRA_FIX, MissingExtraError
from installation.training.data.manifest import Entry

_WIDTH = 256
_BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Pairs are (surely the same, to be asked). phash, dhash: bits that may differ, both at once. cosine: of features, with at most `loose`
    bits of each hash.

    Measured on 1,100 studio portraits and 1,772 others: different people come to 6 and 4 bits, and to a cosine of 0.955; real copies
    there have at most 4 and 4 bits, and one cropped by 3 of 100 a cosine of 0.97 and more. Of planted copies (benchmarks/curation.py)
    scaled, squeezed, darker ones and those cropped by 3 of 100 are all found, of those cropped by 6 of 100 87 with loose 16 and 82 with
    14; among 2,875 portraits 16 asks about 4 pairs more than 14 and joins none more.
    """

    phash: tuple[int, int] = (4, 6)
    dhash: tuple[int, int] = (4, 8)
    cosine: tuple[float, float] = (0.96, 0.95)
    loose: int = 16


@dataclass(frozen=True, slots=True)
class Same:
    """names: of one group, two or more. how: for each, "sha256", "hash" or "features": how it is tied to another one.

    sure: False for a pair that somebody has to look at.
    """

    names: list[str]
    how: dict[str, str]
    sure: bool = True


def hashes(pixels: np.ndarray) -> dict[str, str]:
    """phash and dhash of a picture uint8 [H,W,3], hexadecimal. MissingExtraError without ImageHash."""
    try:
        import imagehash
    except ImportError as error:
        raise MissingExtraError("ImageHash is not installed", fix=EXTRA_FIX) from error
    from PIL import Image

    image = Image.fromarray(pixels)
    return {"phash": str(imagehash.phash(image)), "dhash": str(imagehash.dhash(image))}


def pack_features(features: np.ndarray) -> str:
    """float [1280] to base64 of 256 signed bytes: a fixed random projection, which keeps a cosine of 0.95 to ±0.006."""
    short = (features / max(float(np.linalg.norm(features)), 1e-9)) @ _projection(len(features))
    peak = max(float(np.abs(short).max()), 1e-9)
    return base64.b64encode(np.rint(short * (127 / peak)).astype(np.int8).tobytes()).decode()


def unpack_features(text: str) -> np.ndarray:
    """float32 [256], length 1."""
    short = np.frombuffer(base64.b64decode(text), np.int8).astype(np.float32)
    return short / max(float(np.linalg.norm(short)), 1e-9)


def groups(entries: Sequence[Entry], limits: Limits | None = None) -> list[Same]:
    """Groups of pictures that are the same, then pairs that may be. Entries without hashes are compared by sha256 alone."""
    limits = limits or Limits()
    union = _Union(len(entries))
    by_digest: dict[str, int] = {}
    for i, entry in enumerate(entries):
        if entry.sha256:
            union.join(by_digest.setdefault(entry.sha256, i), i, "sha256")
    hashed = [i for i, entry in enumerate(entries) if "phash" in entry.hashes and "dhash" in entry.hashes]
    codes = np.array([[int(entries[i].hashes[key], 16) for key in ("phash", "dhash")] for i in hashed], np.uint64)
    features = _features([entries[i] for i in hashed])
    doubtful: list[tuple[int, int, str]] = []
    for start in range(0, len(hashed), _BLOCK):
        stop = min(start + _BLOCK, len(hashed))
        p, d = (_bits(codes[start:stop, None, k] ^ codes[None, start:, k]) for k in (0, 1))
        cosine = features[start:stop] @ features[start:].T
        loose = np.maximum(p, d) <= limits.loose
        taken = np.zeros(p.shape, bool)
        for level, sure in enumerate((True, False)):
            near = (p <= limits.phash[level]) & (d <= limits.dhash[level])
            alike = loose & (cosine > limits.cosine[level])
            for how, found in (("hash", near & ~taken), ("features", alike & ~near & ~taken)):
                for a, b in zip(*np.nonzero(np.triu(found, 1)), strict=True):
                    pair = hashed[start + a], hashed[start + b]
                    if sure:
                        union.join(*pair, how)
                    else:
                        doubtful.append((*pair, how))
            taken |= near | alike
    maybe = [
        Same([entries[a].name, entries[b].name], {entries[i].name: how for i in (a, b)}, sure=False)
        for a, b, how in doubtful
        if not union.joined(a, b)
    ]
    return union.groups(lambda i: entries[i].name) + maybe


def _features(entries: Sequence[Entry]) -> np.ndarray:
    """[N,256]; zeros where a picture has none, which are like nothing."""
    rows = np.zeros((len(entries), _WIDTH), np.float32)
    for row, entry in zip(rows, entries, strict=True):
        if text := entry.hashes.get("features"):
            row[:] = unpack_features(text)
    return rows


def _bits(codes: np.ndarray) -> np.ndarray:
    """How many bits are set in each uint64. (numpy's own bitwise_count came with 2.0.)"""
    if hasattr(np, "bitwise_count"):
        return np.bitwise_count(codes)
    table = np.array([value.bit_count() for value in range(1 << 16)], np.uint8)
    return table[codes[..., None].view(np.uint16)].sum(-1, dtype=np.uint8)


def _projection(width: int) -> np.ndarray:
    return np.random.default_rng(1280).standard_normal((width, _WIDTH)).astype(np.float32) / np.sqrt(_WIDTH)


class _Union:
    """Sets that grow together."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))
        self._how: dict[int, str] = {}

    def join(self, a: int, b: int, how: str) -> None:
        """Puts a and b into one set; how: what ties them."""
        if a == b:
            return
        for each in (a, b):
            self._how.setdefault(each, how)
        self._parent[self._root(b)] = self._root(a)

    def joined(self, a: int, b: int) -> bool:
        """Whether they are in one set."""
        return self._root(a) == self._root(b)

    def groups(self, name: Callable[[int], str]) -> list[Same]:
        """The sets of two or more; name: of an index."""
        members: dict[int, list[int]] = defaultdict(list)
        for i in self._how:
            members[self._root(i)].append(i)
        return [
            Same([name(i) for i in sorted(group)], {name(i): self._how[i] for i in group}) for group in members.values()
        ]

    def _root(self, i: int) -> int:
        while self._parent[i] != i:
            self._parent[i] = i = self._parent[self._parent[i]]
        return i
