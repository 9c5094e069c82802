"""The packed dataset: what is written is read, damage is named, a killed or full disk leaves nothing half."""

from __future__ import annotations

import errno
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from installation.errors import OutputError
from installation.training import dataset as module
from installation.training.dataset import Dataset, open_dataset, write_dataset

SIZE = 8


def pictures(count: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    return (rng.integers(0, 256, (3, SIZE, SIZE), dtype=np.uint8) for _ in range(count))


def written(path: Path, count: int = 50) -> Dataset:
    names = [f"set/ü{i}.jpg" for i in range(count)]
    return write_dataset(path, pictures(count), names=names, manifest={"zeros": "0" * 64}, size=SIZE)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    data = written(tmp_path / "a.safetensors")
    assert (len(data), data.size, data.names[3]) == (50, SIZE, "set/ü3.jpg")
    assert np.array_equal(data.images, np.stack(list(pictures(50))))
    assert data.manifest == {"zeros": "0" * 64}


def test_any_safetensors_reader_opens_it(tmp_path: Path) -> None:
    data = written(tmp_path / "a.safetensors")
    assert np.array_equal(load_file(data.path)["images"], data.images)


def test_the_pictures_cannot_be_changed_by_accident(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="read-only"):
        written(tmp_path / "a.safetensors").images[0, 0, 0, 0] = 1


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    data = written(tmp_path / "a.safetensors")
    data.verify()
    raw = bytearray(data.path.read_bytes())
    raw[-1] ^= 1
    copy = tmp_path / "b.safetensors"
    copy.write_bytes(raw)
    with pytest.raises(OutputError, match="damaged"):
        open_dataset(copy).verify()


@pytest.mark.parametrize("keep", [0, 7, 30, -1])
def test_a_file_cut_short_is_named(tmp_path: Path, keep: int) -> None:
    raw = written(tmp_path / "a.safetensors").path.read_bytes()
    path = tmp_path / "b.safetensors"
    path.write_bytes(raw[:keep])
    with pytest.raises(OutputError, match=r"short|bytes|too large|understood"):
        open_dataset(path)


def test_another_safetensors_file_is_no_dataset(tmp_path: Path) -> None:
    index = json.dumps({"x": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(index)) + index + b"\0")
    with pytest.raises(OutputError, match="no dataset of ours"):
        open_dataset(path)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="data pack"):
        open_dataset(tmp_path / "none.safetensors")


def test_the_split_is_about_the_asked_share_and_covers_all(tmp_path: Path) -> None:
    train, held = written(tmp_path / "a.safetensors", 1000).split(0.1)
    assert 60 < len(held) < 140
    assert sorted([*train, *held]) == list(range(1000))


def test_a_pictures_side_of_the_split_stays_when_others_come(tmp_path: Path) -> None:
    few, many = written(tmp_path / "a.safetensors", 200), written(tmp_path / "b.safetensors", 400)
    held = [{data.names[i] for i in data.split()[1]} for data in (few, many)]
    assert held[0] == held[1] & set(few.names)


def test_two_faces_of_one_picture_are_on_one_side(tmp_path: Path) -> None:
    names = [f"s/{i}.jpg{mark}" for i in range(100) for mark in ("", "#face2")]
    data = write_dataset(tmp_path / "a.safetensors", pictures(200), names=names, manifest={}, size=SIZE)
    held = {names[i] for i in data.split(0.3)[1]}
    assert all((name + "#face2" in held) == (name in held) for name in names[::2])


def test_another_seed_gives_another_split(tmp_path: Path) -> None:
    data = written(tmp_path / "a.safetensors", 300)
    assert not np.array_equal(data.split(seed=0)[1], data.split(seed=1)[1])


def test_a_fault_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    old = written(tmp_path / "a.safetensors").path.read_bytes()

    def broken() -> Iterator[np.ndarray]:
        yield from pictures(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "a.safetensors", broken(), names=[str(i) for i in range(9)], manifest={}, size=SIZE)
    assert (tmp_path / "a.safetensors").read_bytes() == old
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("count", [2, 4])
def test_a_wrong_count_is_an_error(tmp_path: Path, count: int) -> None:
    with pytest.raises(OutputError, match="announced"):
        write_dataset(tmp_path / "a.safetensors", pictures(count), names=["a", "b", "c"], manifest={}, size=SIZE)


def test_no_picture_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no picture"):
        write_dataset(tmp_path / "a.safetensors", [], names=[], manifest={}, size=SIZE)


def test_too_little_space_is_said_before_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(OutputError, match="Make room"):
        written(tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_is_named_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="disk is full"):
        written(tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []
