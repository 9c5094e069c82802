"""Copies are found, different people are not copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from installation.training.data.duplicates import Limits, groups, hashes, pack_features, unpack_features
from installation.training.data.manifest import Entry
from installation.training.picture import decode_picture, read_picture, resize, to_uint8
from tests.training.data.conftest import jpeg


def entry(name: str, pixels: np.ndarray, digest: str = "") -> Entry:
    return Entry(f"s/{name}", sha256=digest or name, hashes=hashes(pixels))


def test_the_same_bytes_are_one_group() -> None:
    found = groups([Entry("s/a", sha256="x"), Entry("s/b", sha256="y"), Entry("s/c", sha256="x")])
    assert [(each.names, each.how) for each in found] == [(["s/a", "s/c"], {"s/a": "sha256", "s/c": "sha256"})]


def test_scaling_and_jpeg_do_not_hide_a_copy(hashing: None, portrait: np.ndarray) -> None:
    small = to_uint8(resize(portrait, 140, 171))
    copies = [entry("a", portrait), entry("b", small), entry("c", decode_picture(jpeg(portrait, 30)).pixels)]
    (found,) = groups(copies)
    assert found.names == ["s/a", "s/b", "s/c"]


def test_studio_portraits_of_different_people_are_no_copies(hashing: None, shared_dir: Path) -> None:
    files = sorted((shared_dir / "data/portraits_congress").glob("*.jpg"))[::12]
    assert groups([entry(file.name, read_picture(file).pixels) for file in files]) == []


def test_a_chain_of_copies_is_one_group() -> None:
    codes = ["0" * 16, "0" * 14 + "0f", "0" * 14 + "ff"]
    chain = [Entry(f"s/{i}", sha256=str(i), hashes={"phash": code, "dhash": code}) for i, code in enumerate(codes)]
    assert [each.names for each in groups(chain, Limits(phash=(4, 4), dhash=(4, 4)))] == [["s/0", "s/1", "s/2"]]


def test_more_pictures_than_a_block_are_compared_all() -> None:
    rng = np.random.default_rng(0)
    codes = [f"{int(code):016x}" for code in rng.integers(0, 2**63, 2500)]
    many = [Entry(f"s/{i}", sha256=str(i), hashes={"phash": code, "dhash": code}) for i, code in enumerate(codes)]
    many.append(Entry("s/copy", sha256="copy", hashes=many[3].hashes))
    assert [each.names for each in groups(many)] == [["s/3", "s/copy"]]


def test_packed_features_keep_their_cosine() -> None:
    rng = np.random.default_rng(0)
    a = rng.random(1280)
    b = a + rng.normal(0, 0.15, 1280)
    true = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert unpack_features(pack_features(a)) @ unpack_features(pack_features(b)) == pytest.approx(true, abs=0.02)
    assert len(pack_features(a)) < 400


def test_alike_features_need_hashes_that_agree_a_little() -> None:
    text = pack_features(np.random.default_rng(0).random(1280))
    a = Entry("s/a", sha256="a", hashes={"phash": "0" * 16, "dhash": "0" * 16, "features": text})
    near = Entry("s/b", sha256="b", hashes={"phash": "0" * 12 + "ffff", "dhash": "0" * 12 + "ffff", "features": text})
    far = Entry("s/c", sha256="c", hashes={"phash": "f" * 16, "dhash": "f" * 16, "features": text})
    assert [each.names for each in groups([a, near, far])] == [["s/a", "s/b"]]
