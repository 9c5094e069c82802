"""What a control source says to the show, after its bytes have been read and checked."""

from __future__ import annotations

import math
from dataclasses import dataclass

from installation.show.params import Value

SELECT = "model/select"
ENGINE = "engine"


@dataclass(frozen=True, slots=True)
class ControlMessage:
    """One change of one parameter.

    name: a row of the table. value: engineering units, already coerced; None for a button, and in a `refusal` that changes nothing.
    ramp_s: seconds in which the value moves there; None = as the row's smoothing says.
    source: who said it, for the log.
    """

    name: str
    value: Value | None
    ramp_s: float | None = None
    source: str = ""

    @property
    def refused(self) -> tuple[str, float] | None:
        """(model, show time it was chosen at) of a `refusal`, else None."""
        who, _, rest = self.source.partition(" ")
        model, _, t = rest.partition(" ")
        if who != ENGINE or self.name != SELECT:
            return None
        try:
            chosen = float(t)
        except ValueError:
            return None
        return (model, chosen) if math.isfinite(chosen) else None


def refusal(model: str, chosen: float, instead: str | None) -> ControlMessage:
    """The engine's word that a model cannot be shown. chosen: the show time it was chosen at. instead: the model that stays, None where
    another one was chosen since."""
    return ControlMessage(SELECT, instead, None if instead is None else 0.0, f"{ENGINE} {model} {chosen!r}")
