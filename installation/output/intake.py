"""Intake: takes the engine's frames from the board into the compositor's history, for the playhead to choose from.

Wall and recorder each have one of their own, in the thread of their loop. A frame that the engine overwrote while it
was read is not used.
"""

from __future__ import annotations

import numpy as np

from installation.engine.board import Board
from installation.output.compositor import Compositor
from installation.output.playhead import Playhead


class Intake:
    """live: whether a frame has come. torn: how many were overwritten."""

    def __init__(self, board: Board, compositor: Compositor, playhead: Playhead) -> None:
        self._board, self._compositor, self._playhead = board, compositor, playhead
        # Who comes late finds the newest frames still in the ring.
        self.seen = max(board.newest() - board.slots, 0)
        self.live = False
        self.torn = 0
        self._slots: dict[int, int] = {}  # which frame of the board each history slot holds

    def take(self, now_s: float) -> None:
        """Uploads the frames that came since the last call. now_s: on the playhead's clock."""
        board, newest = self._board, self._board.newest()
        for index in range(max(self.seen + 1, newest - board.slots + 1), newest + 1):
            frame = board.frame(index)
            if frame is None:
                continue
            self._compositor.upload(self._playhead.spare, frame.pixels)
            if frame.valid():
                slot = self._playhead.arrive(index, frame.stamp, now_s)
                if slot is not None:
                    self._slots[slot] = index
                self.live = True
            else:
                self.torn += 1
        self.seen = max(self.seen, newest)

    def take_again(self) -> None:
        """Uploads what the board still has of the frames held, for another work size: on a paused show no other would
        come. These slots are on the wall, so only a copy that is known to be whole goes there."""
        for slot, index in self._slots.items():
            if (pixels := self._whole(index)) is not None:
                self._compositor.upload(slot, pixels)

    def newest_whole(self) -> tuple[np.ndarray, float] | None:
        """A copy of the newest Frame that is whole, and its stamp; None when the board has none."""
        newest = self._board.newest()
        for index in range(newest, max(newest - self._board.slots, 0), -1):
            frame = self._board.frame(index)
            if frame is not None and (pixels := self._whole(index)) is not None:
                return pixels, frame.stamp
        return None

    def _whole(self, index: int) -> np.ndarray | None:
        """A copy of a frame of the board; None when the engine has overwritten it."""
        frame = self._board.frame(index)
        if frame is None:
            return None
        pixels = frame.pixels.copy()
        return pixels if frame.valid() else None
