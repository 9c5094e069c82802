"""Refusals: the engine as a control source. A model that it cannot show is taken back in the show's state.

So the state tells the truth: the HUD, a kept state and the take have the model that the room sees, and a film of the
take knows what was never shown. The wall's loop alone calls it, before the sources that people use: what they choose in the
same tick is chosen after it. No thread.
"""

from __future__ import annotations

from collections.abc import Mapping

from installation.engine.board import Board
from installation.show.messages import ENGINE, SELECT, ControlMessage, refusal
from installation.show.params import Value


class Refusals:
    """What was refused before it was made is another wall's."""

    name = ENGINE

    def __init__(self, board: Board) -> None:
        self._board = board
        self._heard = self._refused()
        self._values: Mapping[str, Value] = {}
        self._count = 0

    def publish(self, values: Mapping[str, Value]) -> None:
        self._values = values

    def poll(self) -> list[ControlMessage]:
        """Nothing, or once that a model was refused: the one that is shown is chosen again, unless another was chosen since."""
        refused = self._refused()
        if refused == self._heard or refused is None:
            return []
        self._heard = refused
        model = self._board.model()
        if model is None or model[0] == refused[0]:
            return []
        self._count += 1
        return [refusal(*refused, instead=model[0] if self._values.get(SELECT) == refused[0] else None)]

    def counters(self) -> Mapping[str, int]:
        return {"refused": self._count}

    def close(self) -> None:
        """Holds nothing."""

    def _refused(self) -> tuple[str, float] | None:
        model = self._board.model()
        return None if model is None else model[1]
