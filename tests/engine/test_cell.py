"""A cell gives the old value or the new one, whatever happened to its writer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from installation.engine.cell import HEAD_BYTES, Cell

CAPACITY = 40
SIZE = Cell.size(CAPACITY)
HALF = SIZE // 2


def fresh() -> np.ndarray:
    return np.zeros(SIZE, np.uint8)


def test_a_new_cell_has_no_value() -> None:
    assert Cell(fresh()).read() is None


def test_an_empty_value_is_a_value() -> None:
    cell = Cell(fresh())
    cell.write(b"")
    assert cell.read() == b""


def test_a_value_that_is_too_long_is_refused_and_the_old_one_stays() -> None:
    cell = Cell(fresh())
    cell.write(b"old")
    with pytest.raises(ValueError, match="do not fit"):
        cell.write(bytes(cell.capacity + 1))
    assert cell.read() == b"old"


@given(st.lists(st.binary(max_size=CAPACITY), min_size=1, max_size=20))
def test_the_newest_value_is_read_by_every_process_that_maps_it(values: list[bytes]) -> None:
    memory = fresh()
    for value in values:
        Cell(memory).write(value)
        assert Cell(memory).read() == value


@given(st.binary(max_size=CAPACITY), st.binary(max_size=CAPACITY), st.data())
def test_a_writer_killed_at_any_store_leaves_the_old_value(old: bytes, new: bytes, data: st.DataObject) -> None:
    memory = fresh()
    cell = Cell(memory)
    for value in (b"older", old):
        cell.write(value)
    before = memory.copy()
    cell.write(new)
    changed = int(before[:HALF].tobytes() == memory[:HALF].tobytes())  # the half that the write went to
    torn = before.copy()
    half = torn[changed * HALF : (changed + 1) * HALF]
    after = memory[changed * HALF : (changed + 1) * HALF]
    stored = data.draw(st.integers(8, len(half)))  # how far the killed write came, in bytes
    half[8:stored] = after[8:stored]
    half[:8].view(np.uint64)[0] = after[:8].view(np.uint64)[0] - 1  # odd: being written
    assert Cell(torn).read() == old
    Cell(torn).write(b"next")
    assert Cell(torn).read() == b"next"


@given(st.binary(min_size=1, max_size=CAPACITY), st.integers(0, SIZE - 1), st.integers(1, 255))
def test_a_flipped_byte_never_gives_a_value_that_was_not_written(value: bytes, place: int, flip: int) -> None:
    memory = fresh()
    cell = Cell(memory)
    cell.write(b"first")
    cell.write(value)
    memory[place] ^= flip
    assert cell.read() in (value, b"first", None)


@given(st.binary(min_size=SIZE, max_size=SIZE))
def test_random_memory_never_raises(noise: bytes) -> None:
    memory = np.frombuffer(noise, np.uint8).copy()
    Cell(memory).read()


def test_heads_and_bodies_do_not_overlap() -> None:
    memory = fresh()
    cell = Cell(memory)
    cell.write(b"\xff" * cell.capacity)
    cell.write(b"\xaa" * cell.capacity)
    assert cell.capacity == HALF - HEAD_BYTES
    assert cell.read() == b"\xaa" * cell.capacity
