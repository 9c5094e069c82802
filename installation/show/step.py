"""step: the show as a pure function of time and messages."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from installation.show.clock import Tick
from installation.show.config import Show
from installation.show.glide import Glide, still
from installation.show.messages import ControlMessage
from installation.show.params import ParamTable
from installation.show.picks import choose, settled
from installation.show.state import PICKED, Jump, ShowState, Strand

# Fades under way at once. A further jump waits for one to end: dropping a half-faded walk would be a visible jump.
MOST_STRANDS = 4

# `next` just before a keyframe and `previous` just after one mean the keyframe beyond it.
_NEAR = 0.25


def step(state: ShowState, messages: Iterable[ControlMessage], tick: Tick, show: Show) -> ShowState:
    """The state at the tick, after its messages. Messages take effect from the tick's time on."""
    state, table = _advance(state, tick, show), show.table()
    for message in messages:
        state = _apply(state, message, table, show)
    return state


def _advance(state: ShowState, tick: Tick, show: Show) -> ShowState:
    """Time passes: positions move by the integral of the velocity, fades that have ended drop what they covered."""
    moved = 0.0 if tick.hold else state.velocity.integral(tick.t) - state.velocity.integral(state.t)
    strands = tuple(replace(strand, position=_moved(strand, moved, show)) for strand in state.strands)
    covered = max((i for i, strand in enumerate(strands) if strand.fade.arrived(tick.t)), default=0)
    strands = strands[covered:]
    state = replace(
        state,
        index=tick.index,
        t=tick.t,
        strands=strands,
        picks={name: settled(picks, tick.t) for name, picks in state.picks.items()},
        pressed=(),
        velocity=_kept_short(state.velocity, tick.t),
    )
    if state.pending is not None and len(strands) < MOST_STRANDS:
        jump = state.pending
        state = _jump(replace(state, pending=None), jump.strand, jump.fade_s)
    return state


def _kept_short(velocity: Glide, t: float) -> Glide:
    """The velocity with its start moved up to t once it has arrived.

    Its integral then never grows large: the difference of two integrals months after the start would lose digits.
    """
    return Glide(velocity.target, velocity.target, t) if velocity.arrived(t) else velocity


def _moved(strand: Strand, by: float, show: Show) -> float:
    if strand.mode == "hold":
        return strand.position
    position = strand.position + by
    length = length_of(strand.mode, show)
    if length is None:
        return position
    if strand.mode == "tour" and not show.walk.repeat:
        return min(max(position, 0.0), length - 1.0)
    return position % length


def length_of(walk: str, show: Show) -> float | None:
    """Keyframes after which the walk repeats; None for an endless one."""
    if walk == "loop":
        return float(show.walk.loop_keyframes)
    return float(len(show.walk.tour)) if walk == "tour" else None


def _apply(state: ShowState, message: ControlMessage, table: ParamTable, show: Show) -> ShowState:
    row = table.get(message.name)
    if row is None:
        return state
    if row.kind == "button":
        state = replace(state, pressed=(*state.pressed, row.name))
        if row.name in ("record/start", "record/stop"):
            return replace(state, values={**state.values, "record/on": row.name == "record/start"})
        return _turn_page(state, row.name, show) if row.name in ("walk/next", "walk/previous") else state
    if message.value is None:
        return state
    state = replace(state, values={**state.values, row.name: message.value})
    span_s, shape = (row.smoothing_s, "lag") if message.ramp_s is None else (message.ramp_s, "ramp")
    if row.name in ("drift/speed", "drift/pause"):
        target = 0.0 if state.values["drift/pause"] else float(state.values["drift/speed"])
        return replace(state, velocity=state.velocity.to(target, state.t, span_s, shape))
    if row.name in state.glides:
        glide = state.glides[row.name].to(float(message.value), state.t, span_s, shape)
        return replace(state, glides={**state.glides, row.name: glide})
    if row.name == "look/select":
        looks = {
            name: glide.to(float(name == message.value), state.t, span_s, shape) for name, glide in state.looks.items()
        }
        return replace(state, looks=looks)
    fade_name = "model/crossfade_s" if row.name == "model/select" else "walk/fade_s"
    fade_s = float(state.values[fade_name]) if message.ramp_s is None else message.ramp_s
    if row.name in PICKED:
        picks = choose(state.picks[row.name], message.value, state.t, fade_s)
        return replace(state, picks={**state.picks, row.name: picks})
    if row.name == "walk/seed":
        return _go_to_seed(state, int(message.value), fade_s)
    if row.name == "walk/mode":
        return _change_mode(state, str(message.value), fade_s, show)
    return state


def _last(state: ShowState) -> Strand:
    """Where the walk is going to be once every fade has ended."""
    return state.strands[-1] if state.pending is None else state.pending.strand


def _go_to_seed(state: ShowState, seed: int, fade_s: float) -> ShowState:
    """A tour has its own stops, so a seed leaves it; the other walks have the seed as their keyframe 0."""
    mode = _last(state).mode
    if mode == "tour":
        mode = "wander"
        state = replace(state, values={**state.values, "walk/mode": mode})
    return _jump(state, Strand(mode, seed, 0.0, still(1.0)), fade_s)


def _change_mode(state: ShowState, mode: str, fade_s: float, show: Show) -> ShowState:
    last = _last(state)
    if mode == last.mode:
        return state
    if mode == "tour" and not show.walk.tour:
        return replace(state, values={**state.values, "walk/mode": last.mode})
    # A hold keeps its walk's place, and that walk goes on from there; another walk begins at its first keyframe.
    stays = mode in ("hold", last.walk)
    return _jump(state, Strand(mode, last.seed, last.position if stays else 0.0, still(1.0), held=last.walk), fade_s)


def _turn_page(state: ShowState, name: str, show: Show) -> ShowState:
    last = _last(state)
    if name == "walk/next":
        position = math.floor(last.position + _NEAR) + 1.0
    else:
        position = math.ceil(last.position - _NEAR) - 1.0
    length = length_of(last.walk, show)
    if length is not None:
        position = position % length
    return _jump(state, replace(last, position=position), float(state.values["walk/fade_s"]))


def _jump(state: ShowState, strand: Strand, fade_s: float) -> ShowState:
    """The walk goes over to the strand in fade_s; 0 cuts. With too many fades under way the newest jump waits."""
    if fade_s <= 0.0:
        return replace(state, strands=(replace(strand, fade=still(1.0)),), pending=None)
    if len(state.strands) >= MOST_STRANDS:
        return replace(state, pending=Jump(strand, fade_s))
    strand = replace(strand, fade=Glide(0.0, 1.0, state.t, fade_s, "ease"))
    return replace(state, strands=(*state.strands, strand))
