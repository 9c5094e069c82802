"""Keeper: puts the newest picture and state of the board into the store, now and then and at the end.

Asked by the supervisor's main thread; writes in a thread of its own, because a disk may take seconds and a supervisor
may not.
"""

from __future__ import annotations

import threading
import time

import numpy as np
from numpy.typing import NDArray

from installation.engine.board import Board
from installation.service.policy import Policy
from installation.service.store import Store


class Keeper:
    """store: None = keep nothing."""

    def __init__(self, store: Store | None, policy: Policy) -> None:
        self._store, self._policy = store, policy
        self._thread: threading.Thread | None = None
        self._state_s = self._picture_s = time.monotonic()
        self._last_state: bytes | None = None
        self._last_picture = 0

    def turn(self, board: Board, now: float) -> None:
        if self._store is None or (self._thread and self._thread.is_alive()):
            return
        picture_due = now - self._picture_s >= self._policy.picture_s
        if picture_due or now - self._state_s >= self._policy.state_s:
            self._state_s = now
            if picture_due:
                self._picture_s = now
            self._begin(board, with_picture=picture_due)

    def finish(self, board: Board) -> None:
        """Keeps what is newest at the end of the run; gives a slow disk up to 2 s."""
        if self._store is None:
            return
        if self._thread:
            self._thread.join(1.0)
        if not self._thread or not self._thread.is_alive():
            self._begin(board, with_picture=True)
        if self._thread:
            self._thread.join(2.0)

    def _begin(self, board: Board, *, with_picture: bool) -> None:
        state, picture = board.read_state(), self._newest_picture(board) if with_picture else None
        payload = state[1] if state and state[1] != self._last_state else None
        self._last_state = payload or self._last_state
        if payload is not None or picture is not None:
            thread = threading.Thread(target=self._write, args=(payload, picture), name="store", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system gives no more threads: next time
                return
            self._thread = thread

    def _newest_picture(self, board: Board) -> NDArray[np.uint8] | None:
        index = board.newest()
        view = board.frame(index) if index != self._last_picture else None
        if view is None:
            return None
        picture = view.pixels.copy()
        if not view.valid():
            return None
        self._last_picture = index
        return picture

    def _write(self, state: bytes | None, picture: NDArray[np.uint8] | None) -> None:
        if self._store and state is not None:
            self._store.save_state(state)
        if self._store and picture is not None:
            self._store.save_picture(picture)
