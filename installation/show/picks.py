"""Choices that melt into one another: which seed, class or model is chosen, and how much each one still counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from installation.show.glide import Glide, still
from installation.show.params import Value

# A fader swept over seeds chooses sixty a second: of those that are on their way out only the heaviest are kept.
MOST_PICKS = 4


@dataclass(frozen=True, slots=True)
class Pick:
    """One value that was chosen. weight: its share of the mixture, 0..1; the newest is on its way to 1."""

    value: Value
    weight: Glide


Picks = tuple[Pick, ...]


def only(value: Value) -> Picks:
    """One value, at rest."""
    return (Pick(value, still(1.0)),)


def choose(picks: Picks, value: Value, t: float, fade_s: float) -> Picks:
    """The mixture on its way to `value` alone, there fade_s after t; the newest choice stands last."""
    before = {pick.value: pick.weight for pick in picks}
    out = [Pick(pick.value, pick.weight.to(0.0, t, fade_s, "ease")) for pick in picks if pick.value != value]
    # What was chosen and replaced within one tick never weighed anything.
    out = sorted((pick for pick in out if pick.weight.at(t) > 0.0), key=lambda pick: pick.weight.at(t))
    return (*out[-(MOST_PICKS - 1) :], Pick(value, before.get(value, Glide(0.0, 0.0)).to(1.0, t, fade_s, "ease")))


def settled(picks: Picks, t: float) -> Picks:
    """Without the values whose fade has ended."""
    if len(picks) == 1:
        return picks
    return tuple(pick for pick in picks[:-1] if not pick.weight.arrived(t)) + picks[-1:]


def shares(picks: Sequence[Pick], t: float) -> list[tuple[Value, float]]:
    """(value, share) at t, newest last; the shares sum to 1."""
    weights = [pick.weight.at(t) for pick in picks]
    total = sum(weights)
    if total <= 0.0:
        return [(picks[-1].value, 1.0)]
    return [(pick.value, weight / total) for pick, weight in zip(picks, weights, strict=True) if weight > 0.0]
