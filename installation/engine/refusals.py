"""Refusals: the engine as a control source. A model that it cannot show is taken back in the show's state.

So the state tells the truth: the HUD, a kept state and the take have the model that the room sees, and a film of the
take knows what was never shown. The wall's loop alone calls it; no thread.
"""

from __future__ import annotations

from collections.abc import Mapping

from installation.engine.board import Board
from installation.show.messages import ControlMessage
from installation.show.params import Value
from installation.show.replay import REFUSAL

_SELECT = "model/select"


class Refusals:
    """What was refused before it was made is another wall's."""

    name = REFUSAL

    def __init__(self, board: Board) -> None:
        self._board = board
        self._heard = self._refused()
        self._values: Mapping[str, Value] = {}
        self._count = 0

    def publish(self, values: Mapping[str, Value]) -> None:
        self._values = values

    def poll(self) -> list[ControlMessage]:
        """Nothing, or the model that is shown once another was refused, if that one is still the one chosen."""
        refused = self._refused()
        if refused == self._heard or refused is None:
            return []
        self._heard = refused
        model = self._board.model()
        if model is None or self._values.get(_SELECT) != refused[0] or model[0] == refused[0]:
            return []
        self._count += 1
        return [ControlMessage(_SELECT, model[0], 0.0, self.name)]

    def counters(self) -> Mapping[str, int]:
        return {"refused": self._count}

    def close(self) -> None:
        """Holds nothing."""

    def _refused(self) -> tuple[str, float] | None:
        model = self._board.model()
        return None if model is None else model[1]
