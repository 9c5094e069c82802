"""The look: the numbers of one grade, and how named looks melt into one another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields

Rgb = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Grade:
    """One look. The default changes nothing.

    brightness: gain in linear light. contrast: about middle grey. saturation: 0 grey .. 1 as made. gamma: midtones,
    > 1 lifts. tint: gain per channel. lift: added per channel, shows in the blacks. grain: standard deviation of
    film grain in 8-bit codes / 255. vignette: 0 none .. 1 black corners.
    """

    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    gamma: float = 1.0
    tint: Rgb = (1.0, 1.0, 1.0)
    lift: Rgb = (0.0, 0.0, 0.0)
    grain: float = 0.0
    vignette: float = 0.0

    def times(self, *, brightness: float, contrast: float, saturation: float, gamma: float) -> Grade:
        """This grade under the live faders, which multiply it."""
        return Grade(
            self.brightness * brightness,
            self.contrast * contrast,
            self.saturation * saturation,
            self.gamma * gamma,
            self.tint,
            self.lift,
            self.grain,
            self.vignette,
        )


def mix(grades: Iterable[tuple[Grade, float]]) -> Grade:
    """The weighted sum of grades; the weights sum to 1."""
    rows = [(astuple(grade), weight) for grade, weight in grades if weight != 0.0]
    return Grade(
        *(_sum([row[i] for row, _ in rows], [weight for _, weight in rows]) for i in range(len(fields(Grade))))
    )


def _sum(values: list[float | Rgb], weights: list[float]):
    if isinstance(values[0], tuple):
        return tuple(_sum(list(channel), weights) for channel in zip(*values, strict=True))
    return sum(value * weight for value, weight in zip(values, weights, strict=True))
