"""The ring between real processes: a picture that passes `valid()` is whole, at full speed and with writers killed at any moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from installation.engine.board import Board, FrameView

# Every pixel of picture k is k mod 251, and the state of tick k is 500 times the digit k mod 10: a mixture shows.
WRITER = """
import sys
from pathlib import Path
from installation.engine.board import Board, Phase
board = Board.open(Path(sys.argv[1]))
def write():
    tick = (board.read_state() or (0, b""))[0]
    while True:
        pixels = board.begin_frame()
        index = board.newest() + 1
        pixels[:] = index % 251
        board.commit_frame(index / 60)
        tick += 1
        board.write_state(tick, b"%d" % (tick % 10) * 500)
        board.beat("engine", Phase.RUNNING)
"""
NURSERY = (
    WRITER
    + """
import os
for line in sys.stdin:
    child = os.fork()
    if not child:
        write()
    print(child, flush=True)
    os.waitpid(child, 0)
    print("dead", flush=True)
"""
)


def check_whole(view: FrameView, copy: np.ndarray) -> bool:
    """Whether the copy counts; a copy that counts must be whole."""
    if not view.valid():
        return False
    assert view.stamp == view.index / 60
    assert (copy == view.index % 251).all(), f"torn picture {view.index}"
    return True


def check_state(board: Board) -> int:
    state = board.read_state()
    if state is None:
        return 0
    tick, payload = state
    assert payload == b"%d" % (tick % 10) * 500, f"torn state {tick}"
    return tick


def test_no_torn_picture_or_state_is_read_while_another_process_writes_at_full_speed(
    tmp_path: Path, python: Callable[..., subprocess.Popen[bytes]], until: Callable[..., None]
) -> None:
    board = Board.create(tmp_path / "board", width=256, height=256, slots=3)
    python(WRITER + "write()", board.path)
    until(lambda: board.newest() > 3)
    copy = np.empty((256, 256, 4), np.uint8)
    first, whole, dropped = board.newest(), 0, 0
    end = time.monotonic() + 60.0
    # Nothing dropped would mean that nothing was put to the test.
    while whole < 100 or dropped < 20 or board.newest() < first + 100:
        assert time.monotonic() < end, (whole, dropped, board.newest() - first)
        index = board.newest()
        # Old slots too: those are the ones that are written over while they are copied.
        view = board.frame(index - random.randrange(3))
        check_state(board)
        if view is not None:
            np.copyto(copy, view.pixels)
            if check_whole(view, copy):
                whole += 1
            else:
                dropped += 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="writers are made by fork, which this system lacks")
@pytest.mark.parametrize("kills", [20, pytest.param(400, marks=pytest.mark.slow)])
def test_writers_killed_at_random_moments_leave_only_whole_pictures_and_states(
    tmp_path: Path, python: Callable[..., subprocess.Popen[bytes]], kills: int
) -> None:
    board = Board.create(tmp_path / "board", width=128, height=128)
    nursery = python(NURSERY, board.path)
    assert nursery.stdin
    assert nursery.stdout
    chance = random.Random(2)
    newest, tick, torn, killed = 0, 0, 0, 0
    # Some have to be killed in the middle of a picture.
    while killed < kills or not torn or newest <= kills:
        killed += 1
        assert killed < 100 * kills
        nursery.stdin.write(b"go\n")
        nursery.stdin.flush()
        writer = int(nursery.stdout.readline())
        time.sleep(chance.uniform(0.0, 0.02))  # the random moment
        os.kill(writer, signal.SIGKILL)
        assert nursery.stdout.readline() == b"dead\n"
        assert board.newest() >= newest
        assert check_state(board) >= tick
        newest, tick = board.newest(), check_state(board)
        whole = 0
        for index in range(max(1, newest - board.slots + 1), newest + 1):
            view = board.frame(index)
            if view is not None:
                assert check_whole(view, view.pixels.copy())
                whole += 1
        if newest >= board.slots:
            assert whole >= board.slots - 1
            torn += whole < board.slots
