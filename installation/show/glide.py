"""A value on its way to another, in closed form: the value and its integral at any time, whatever the frame rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Shape = Literal["lag", "ramp", "ease"]

# exp(-30) is 1e-13: beyond that a lag has arrived, and the exponential need not be computed for months.
_ARRIVED = 30.0


@dataclass(frozen=True, slots=True)
class Glide:
    """From `start` (at show time t0) to `target`.

    shape `lag`: exponential with time constant span_s. `ramp`: straight, there after span_s. `ease`: the quintic
    with zero speed and acceleration at both ends, there after span_s. span_s 0: at the target at once.
    """

    start: float
    target: float
    t0: float = 0.0
    span_s: float = 0.0
    shape: Shape = "lag"

    def at(self, t: float) -> float:
        """The value at show time t (before t0: the start)."""
        if self.span_s <= 0.0 or self.start == self.target:
            return self.target
        x = max(t - self.t0, 0.0) / self.span_s
        return self.target + (self.start - self.target) * self._left(x)

    def integral(self, t: float) -> float:
        """The integral of the value from t0 to t, t >= t0."""
        elapsed = max(t - self.t0, 0.0)
        if self.span_s <= 0.0 or self.start == self.target:
            return self.target * elapsed
        x = elapsed / self.span_s
        return self.target * elapsed + (self.start - self.target) * self.span_s * self._left_integral(x)

    def arrived(self, t: float) -> bool:
        return self.span_s <= 0.0 or t - self.t0 >= self.span_s * (_ARRIVED if self.shape == "lag" else 1.0)

    def to(self, target: float, t: float, span_s: float, shape: Shape = "lag") -> Glide:
        """A glide that starts where this one is at t."""
        return Glide(self.at(t), float(target), t, span_s, shape)

    def _left(self, x: float) -> float:
        """The share of the way still to go, 1..0, at x spans after the start."""
        if self.shape == "lag":
            return math.exp(-x) if x < _ARRIVED else 0.0
        if x >= 1.0:
            return 0.0
        return 1.0 - x if self.shape == "ramp" else 1.0 - smootherstep(x)

    def _left_integral(self, x: float) -> float:
        """The integral of `_left` from 0 to x, in spans."""
        if self.shape == "lag":
            return 1.0 - math.exp(-x) if x < _ARRIVED else 1.0
        x = min(x, 1.0)
        return x - 0.5 * x * x if self.shape == "ramp" else x - x**4 * (2.5 - 3.0 * x + x * x)


def still(value: float) -> Glide:
    """A glide that is there already."""
    return Glide(float(value), float(value))


def smootherstep(x: float) -> float:
    """0..1 -> 0..1 with zero first and second derivatives at both ends (K. Perlin, Improving Noise, 2002)."""
    x = min(max(x, 0.0), 1.0)
    return x * x * x * (x * (6.0 * x - 15.0) + 10.0)
