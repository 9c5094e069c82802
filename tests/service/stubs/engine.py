"""The real engine loop with a renderer of one line. Arguments: run folder, mode."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np

from installation.counted_log import CountedLog
from installation.engine import worker
from installation.engine.board import Board
from installation.service.processes import ParentWatch


class Painter:
    def __init__(self, mode: str) -> None:
        self.mode, self.count = mode, 0

    def render(self, state: int, out: np.ndarray, /) -> bool:
        self.count += 1
        if self.mode == "crash" and self.count > 3:
            sys.exit(5)
        out[:] = state % 251
        return self.mode != "nan"


def main(folder: Path, mode: str) -> int:
    watch = ParentWatch(folder)
    board = Board.open(folder / "board")
    code = worker.run(
        board,
        lambda: Painter(mode),
        decode=lambda payload: (int(payload) / 60, int(payload)),
        parent_alive=watch.alive,
        stop=threading.Event(),
        report=CountedLog().say,
    )
    board.close()
    watch.finish()
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
