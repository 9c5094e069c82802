"""A wall without a window: shows nothing, ticks and beats. Arguments: run folder, mode."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

from installation.engine.board import Board, Phase
from installation.service.processes import FAULT, ParentWatch


def main(folder: Path, mode: str) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    watch = ParentWatch(folder)
    board = Board.open(folder / "board")
    if mode == "stuck":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            board.beat("wall", Phase.RUNNING)
            time.sleep(0.01)
    known = board.read_state()
    tick = known[0] if known else 0
    while watch.alive():
        tick += 1
        board.write_state(tick, b"%d" % tick)
        board.beat("wall", Phase.RUNNING)
        time.sleep(0.005)
        if mode == "close" and board.newest() > 3:
            break
        if mode == "crash" and board.newest() > 3:
            board.put_status("wall", f"{FAULT}no display")
            return 3
    board.close()
    watch.finish()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
