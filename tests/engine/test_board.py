"""The board: what one process puts up, another reads whole; a bad file gives one clear error."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from installation.engine.board import Board, Phase
from installation.errors import OutputError


def put(board: Board, value: int, stamp: float) -> int:
    board.begin_frame()[:] = value
    return board.commit_frame(stamp)


def test_a_new_board_is_empty(board: Board) -> None:
    assert board.newest() == 0
    assert board.frame(0) is None
    assert board.frame(1) is None
    assert board.read_state() is None
    assert board.pulse("wall").phase is Phase.ABSENT
    assert board.status("engine") == ""


def test_two_processes_see_the_same_board(board: Board) -> None:
    other = Board.open(board.path)
    assert (other.width, other.height, other.slots) == (64, 48, 4)
    board.write_state(7, b'{"time_s": 1.5}')
    other.begin_frame()[:] = 9
    index = other.commit_frame(1.5)
    view = board.frame(index)
    assert other.read_state() == (7, b'{"time_s": 1.5}')
    assert view is not None
    assert view.stamp == 1.5
    assert view.pixels.shape == (48, 64, 4)
    assert (view.pixels == 9).all()
    assert view.valid()


def test_the_size_of_the_file_is_the_one_said(tmp_path: Path) -> None:
    for width, height, slots in ((1, 1, 2), (1024, 1024, 4), (641, 479, 3)):
        board = Board.create(tmp_path / f"{width}", width=width, height=height, slots=slots)
        assert board.path.stat().st_size == Board.size(width, height, slots)
        assert board.begin_frame().flags.c_contiguous
        board.close()


def test_indices_count_from_one_and_go_on_after_a_restart_of_the_writer(board: Board) -> None:
    assert [put(board, 1, 0.0), put(board, 2, 0.1)] == [1, 2]
    assert put(Board.open(board.path), 3, 0.2) == 3


def test_a_begun_picture_is_not_seen_and_the_others_stay(board: Board) -> None:
    for k in range(1, 9):
        put(board, k, k / 10)
    board.begin_frame()[:] = 99
    assert board.newest() == 8
    assert [board.frame(k) is not None for k in (5, 6, 7, 8, 9)] == [False, True, True, True, False]


def test_a_picture_that_is_begun_again_is_dropped(board: Board) -> None:
    board.begin_frame()[:] = 1
    board.begin_frame()[:] = 2
    assert board.commit_frame(0.0) == 1
    view = board.frame(1)
    assert view is not None
    assert (view.pixels == 2).all()


def test_a_commit_without_a_begin_is_a_fault_of_the_program(board: Board) -> None:
    with pytest.raises(RuntimeError):
        board.commit_frame(0.0)


def test_a_view_turns_invalid_when_its_slot_is_taken_again(board: Board) -> None:
    index = put(board, 1, 0.0)
    view = board.frame(index)
    assert view is not None
    for k in range(board.slots - 1):
        put(board, k, 0.0)
        assert view.valid()
    board.begin_frame()
    assert not view.valid()


def test_a_reader_cannot_write_to_a_picture(board: Board) -> None:
    view = board.frame(put(board, 1, 0.0))
    assert view is not None
    with pytest.raises(ValueError, match="read-only"):
        view.pixels[0, 0] = 0


@settings(max_examples=50)
@given(st.lists(st.sampled_from(["put", "begin", "restart"]), max_size=40))
def test_any_order_of_writers_and_restarts_keeps_whole_pictures_in_order(
    tmp_path_factory: pytest.TempPathFactory, acts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("board") / "b"
    reader = Board.create(path, width=4, height=4)
    writer, count = Board.open(path), 0
    for act in acts:
        if act == "put":
            count += 1
            assert put(writer, count % 256, float(count)) == count
        elif act == "begin":
            writer.begin_frame()[:] = 255
        else:
            writer = Board.open(path)
        assert reader.newest() == count
        for index in range(max(1, count - reader.slots + 2), count + 1):
            view = reader.frame(index)
            assert view is not None
            assert (view.pixels == index % 256).all()
            assert view.stamp == index


def test_states_up_to_64_kib_fit_and_the_newest_wins_even_with_a_lower_tick(board: Board) -> None:
    board.write_state(5, bytes(65536))
    board.write_state(2, b"started anew")
    assert board.read_state() == (2, b"started anew")


def test_beats_count_and_say_who_and_when(board: Board) -> None:
    board.beat("wall", Phase.RUNNING)
    first = board.pulse("wall")
    board.beat("wall", Phase.RUNNING, expect_s=2.0)
    second = board.pulse("wall")
    assert (first.pid, first.count, second.count, second.expect_s) == (os.getpid(), 1, 2, 2.0)
    assert second.time_s >= first.time_s
    assert board.pulse("engine").count == 0
    board.clear_pulse("wall")
    assert board.pulse("wall").phase is Phase.ABSENT


def test_the_model_stands_beside_the_status(board: Board) -> None:
    assert board.model() is None
    board.put_model("people", ("hills", 2.5))
    board.put_status("engine", "12 fps")
    assert (board.model(), board.status("engine")) == (("people", ("hills", 2.5)), "12 fps")


def test_a_long_status_is_cut_between_characters(board: Board) -> None:
    board.put_status("engine", "x" + "é" * 600)
    assert set(board.status("engine")) == {"x", "é"}
    assert len(board.status("engine").encode()) <= 512


def test_a_view_outlives_its_board(tmp_path: Path) -> None:
    board = Board.create(tmp_path / "board", width=8, height=8)
    view = board.frame(put(board, 5, 0.0))
    board.close()
    board.close()
    assert view is not None
    assert (view.pixels == 5).all()


def test_unlink_removes_the_file_under_those_who_use_it(board: Board) -> None:
    other = Board.open(board.path)
    other.close()
    board.unlink()
    assert not board.path.exists() or os.name == "nt"
    assert put(board, 1, 0.0) == 1


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "magic", "bits", "folder"])
def test_a_bad_file_gives_one_clear_error(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "board"
    Board.create(path, width=16, height=16).close()
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        new = {"empty": b"", "cut": data[:-4096], "magic": b"NOTABRD1" + data[8:]}.get(damage)
        if new is None:
            data[9] ^= 1
            new = data
        path.write_bytes(new)
    with pytest.raises(OutputError, match="cannot open the picture board"):
        Board.open(path)


def test_a_second_board_at_the_same_place_is_refused(board: Board) -> None:
    with pytest.raises(OutputError):
        Board.create(board.path, width=8, height=8)
    assert board.path.exists()


def test_a_full_disk_is_an_error_now_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("installation.engine.board._take_room", full)
    with pytest.raises(OutputError, match="No space left"):
        Board.create(tmp_path / "board", width=8, height=8)
    assert not (tmp_path / "board").exists()


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a Linux tmpfs to fill")
def test_a_board_larger_than_the_memory_disk_is_refused_and_leaves_no_file() -> None:
    path = Path("/dev/shm") / f"board-test-{os.getpid()}"
    with pytest.raises(OutputError, match="cannot make the picture board"):
        Board.create(path, width=32768, height=32768, slots=64)
    assert not path.exists()


def test_room_is_taken_without_posix_fallocate_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    board = Board.create(tmp_path / "board", width=700, height=600)
    assert put(board, 3, 0.0) == 1
    assert np.array_equal(Board.open(board.path).begin_frame().shape, (600, 700, 4))
