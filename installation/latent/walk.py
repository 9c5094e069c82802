"""Where a strand is: the keyframes it lies between and their weights.

Keyframes of a wander are seeds hashed from the show's seed and their number, so any position is reached at once,
forwards or back, after a second or after years. Weights come from the C2 interpolating splines of C. Yuksel ("A Class
of C2 Interpolating Splines", ACM TOG 39(5), 2020): arcs through three keyframes, blended by cos^2 and sin^2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from installation.show.config import Show
from installation.show.glide import smootherstep
from installation.show.state import Strand

_MASK = (1 << 64) - 1

# Keyframes on the sphere are nearly at right angles, whatever the seeds, so the speed of the projected spline follows
# the same law in every segment: 1.11 rad at a keyframe, 2.40 halfway. These are the first sine coefficients of the
# inverse of its arc length; with them the speed of right-angled keyframes stays within 1.2 % of its mean.
EVENNESS = (0.0619, 0.00761, 0.00097)


@dataclass(frozen=True, slots=True)
class Key:
    """A keyframe: the portrait of a seed, or stop number `stop` of the tour (a saved latent)."""

    seed: int = 0
    stop: int | None = None


@dataclass(frozen=True, slots=True)
class Blend:
    """A mixture of keyframes. Weights sum to 1; some are negative."""

    keys: tuple[Key, ...]
    weights: tuple[float, ...]


def blend(strand: Strand, show: Show) -> Blend:
    """The mixture at the strand's position."""
    if strand.walk == "tour":
        return _tour(strand.position, show)
    number, x = _split(strand.position)
    length = show.walk.loop_keyframes if strand.walk == "loop" else None
    numbers = [number + i if length is None else (number + i) % length for i in (-1, 0, 1, 2)]
    keys = tuple(Key(key_seed(strand.seed, n)) for n in numbers)
    return Blend(keys, spline_weights(_evened(x)))


def key_seed(seed: int, number: int) -> int:
    """The seed of keyframe `number` of the wander from `seed`, 32 bits. Keyframe 0 is the seed itself.

    SplitMix64 (G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", 2014).
    """
    if number == 0:
        return seed
    x = (seed * 0x9E3779B97F4A7C15 + number * 0xD1342543DE82EF95) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return (x ^ (x >> 31)) >> 32


def nearest_key(strand: Strand, show: Show) -> Key:
    """The keyframe that the strand is nearest to: what a HUD or a curator calls the portrait."""
    mixture = blend(strand, show)
    return mixture.keys[max(range(len(mixture.keys)), key=mixture.weights.__getitem__)]


def spline_weights(x: float) -> tuple[float, float, float, float]:
    """Weights of keyframes -1, 0, 1, 2 at x in 0..1 between keyframes 0 and 1."""
    b = math.sin(0.5 * math.pi * x) ** 2
    a = 1.0 - b
    before, here, after = _arc_weights(x)
    before_next, here_next, after_next = _arc_weights(x - 1.0)
    return (a * before, a * here + b * before_next, a * after + b * here_next, b * after_next)


def _arc_weights(x: float) -> tuple[float, float, float]:
    """The arc that is at keyframe -1, 0, 1 at x = -1, 0, 1."""
    c, s = math.cos(0.5 * math.pi * x), math.sin(0.5 * math.pi * x)
    return 0.5 * (1.0 - c - s), c, 0.5 * (1.0 - c + s)


def _evened(x: float) -> float:
    """x in 0..1 moved so that equal steps of x are equal steps on the sphere; smooth across keyframes."""
    return x + sum(a * math.sin(2.0 * math.pi * n * x) for n, a in enumerate(EVENNESS, 1))


def _tour(position: float, show: Show) -> Blend:
    """A leg rests on its stop for hold_s (at the show's own speed), then eases to the next."""
    stops = show.walk.tour
    number, x = _split(position)
    last = len(stops) - 1
    here, there = (number % len(stops), (number + 1) % len(stops))
    if not show.walk.repeat:
        here, there = min(max(number, 0), last), min(max(number + 1, 0), last)
    rest = stops[here].hold_s * abs(float(show.first_value("drift/speed")))
    y = smootherstep((x - rest) / (1.0 - rest))
    return Blend((_stop_key(here, show), _stop_key(there, show)), (1.0 - y, y))


def _stop_key(number: int, show: Show) -> Key:
    seed = show.walk.tour[number].seed
    return Key(stop=number) if seed is None else Key(seed)


def _split(position: float) -> tuple[int, float]:
    number = math.floor(position)
    return number, position - number
