"""What made a picture, as text within its file, and back: so that a portrait can be drawn again, at another size.

The state that was seen, frozen, goes as JSON under the key NOTE; beside it stand title and program for people. What comes
back is a stranger's file: bounded where it is read, and checked here as a kept state is.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace

from installation.errors import ConfigError
from installation.machine import version
from installation.show.config import Show
from installation.show.glide import still
from installation.show.messages import SELECT
from installation.show.picks import Pick, Picks, only
from installation.show.state import ShowState, digest, from_tree, resumed, to_json

NOTE = "installation"
_LOOK = "look/"
_ROTATIONS = (0, 90, 180, 270)


@dataclass(frozen=True, slots=True)
class Recalled:
    """state: what is to be drawn. rotate: how the picture was turned, degrees. same: whether walk, networks, axes and looks
    of the show are those of then."""

    state: ShowState
    rotate: int
    same: bool


def seen(drawn: ShowState, graded: ShowState, model: str | None = None) -> ShowState:
    """The state of a picture on the wall, everything at rest: drawn by the networks for one tick, under the look of a later one.

    model: what the networks in fact were, where another one is still being loaded; None = as `drawn` says.
    """
    looks = {name: still(glide.at(graded.t)) for name, glide in graded.looks.items()}
    values = {name: (graded if name.startswith(_LOOK) else drawn).values[name] for name in graded.values}
    picks = {name: _resting(picks, drawn.t) for name, picks in drawn.picks.items()}
    if model is not None and model != values[SELECT]:
        values[SELECT], picks[SELECT] = model, only(model)
    return replace(
        graded,
        values=values,
        glides={name: still((graded if name.startswith(_LOOK) else drawn).value(name)) for name in graded.glides},
        velocity=still(drawn.velocity.at(drawn.t)),
        strands=tuple(replace(strand, fade=still(strand.fade.at(drawn.t))) for strand in drawn.strands),
        looks=looks,
        picks=picks,
        pending=None,
        pressed=(),
    )


def _resting(picks: Picks, t: float) -> Picks:
    weights = [pick.weight.at(t) for pick in picks]
    last = len(picks) - 1
    return tuple(Pick(picks[i].value, still(weight)) for i, weight in enumerate(weights) if weight > 0.0 or i == last)


def notes(state: ShowState, show: Show, *, rotate: int = 0) -> dict[str, str]:
    """Text chunks for the picture of a `seen` state. rotate: how it is turned, degrees."""
    strand = state.strands[-1]
    tree = {
        "title": show.title,
        "t": state.t,
        "seed": strand.seed,
        "position": strand.position,
        "mode": strand.mode,
        "made_with": _made_with(show),
        "rotate": rotate,
        "state": json.loads(to_json(state)),
    }
    return {
        "Title": show.title,
        "Software": f"installation {version()}",
        NOTE: json.dumps(tree, separators=(",", ":")),
    }


def recalled(text: str, show: Show, where: str) -> Recalled:
    """What `notes` wrote under NOTE. ConfigError where it is damaged, of another show, or does not fit this one."""
    try:
        tree = json.loads(text)
        title, made_with, rotate = str(tree["title"]), tree["made_with"], tree["rotate"]
        state = from_tree(tree["state"])
        if type(rotate) is not int or rotate not in _ROTATIONS:
            raise ValueError(f"it is turned by {rotate!r:.20}")
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ConfigError(f"what it says of its making cannot be read ({error!s:.120})", where=where) from error
    if title != show.title:
        raise ConfigError(
            f"it is of the show {title!r:.80}, not of {show.title!r:.80}",
            where=where,
            fix="Name that show's file behind it",
        )
    # First values may have changed since: they are in the state.
    fitting = resumed(replace(state, show=digest(show)), show)
    if fitting is None:
        fix = "The show has other parameters, looks or models than it had; take the file of then"
        raise ConfigError("its state does not fit this show", where=where, fix=fix)
    return Recalled(fitting, rotate, made_with == _made_with(show))


def _made_with(show: Show) -> str:
    """Names what a state is drawn with: unlike `state.digest` without first values, and whatever the machine."""
    machine = {"cascade": {"device", "dtype", "threads", "tile"}}
    parts = {"walk", "cascade", "models", "classes", "axes", "looks"}
    return hashlib.sha256(show.model_dump_json(include=parts, exclude=machine).encode()).hexdigest()[:16]
