"""What the two processes tell the supervisor; the processes themselves are tested in e2e/."""

from __future__ import annotations

from pathlib import Path

import pytest

from installation.children import _told
from installation.engine.board import Board
from installation.errors import DisplayError
from installation.service.processes import FAULT


def test_a_fault_before_the_first_picture_is_the_command_lines_to_say_and_later_the_supervisors(tmp_path: Path) -> None:
    board = Board.create(tmp_path / "board", width=8, height=8)
    with pytest.raises(DisplayError):
        _told(board, "wall", DisplayError("no display"))
    assert board.status("wall") == ""
    board.begin_frame()
    board.commit_frame(0.0)
    assert _told(board, "wall", DisplayError("no display", where="display")) == 3
    assert board.status("wall") == f"{FAULT}display: no display"
    board.close()
