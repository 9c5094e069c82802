"""What a control source says to the show, after its bytes have been read and checked."""

from __future__ import annotations

from dataclasses import dataclass

from installation.show.params import Value


@dataclass(frozen=True, slots=True)
class ControlMessage:
    """One change of one parameter.

    name: a row of the table. value: engineering units, already coerced; None for a button.
    ramp_s: seconds in which the value moves there; None = as the row's smoothing says.
    source: who said it, for the log.
    """

    name: str
    value: Value | None
    ramp_s: float | None = None
    source: str = ""
