"""The look: the numbers of one grade, and how named looks melt into one another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

Rgb = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Grade:
    """One look. The default changes nothing.

    brightness: gain in linear light. contrast: about middle grey. saturation: 0 grey .. 1 as made. gamma: midtones, > 1 lifts. tint: gain
    per channel, which no saturation takes away. lift: added per channel, shows in the blacks. grain: standard deviation of film grain in
    8-bit codes / 255. vignette: 0 none .. 1 black corners.
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
        return replace(
            self,
            brightness=self.brightness * brightness,
            contrast=self.contrast * contrast,
            saturation=self.saturation * saturation,
            gamma=self.gamma * gamma,
        )


def mix(grades: Iterable[tuple[Grade, float]]) -> Grade:
    """The weighted sum of grades; the weights sum to 1."""
    total = [0.0] * 12
    for grade, weight in grades:
        total = [sum_ + weight * number for sum_, number in zip(total, _numbers(grade), strict=True)]
    brightness, contrast, saturation, gamma, r, g, b, lift_r, lift_g, lift_b, grain, vignette = total
    return Grade(brightness, contrast, saturation, gamma, (r, g, b), (lift_r, lift_g, lift_b), grain, vignette)


def _numbers(grade: Grade) -> tuple[float, ...]:
    return (
        grade.brightness,
        grade.contrast,
        grade.saturation,
        grade.gamma,
        *grade.tint,
        *grade.lift,
        grade.grain,
        grade.vignette,
    )
