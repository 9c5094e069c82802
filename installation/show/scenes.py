"""Scenes: parameters that go to their values together, at one press."""

from __future__ import annotations

from collections.abc import Iterable

from installation.show.config import Show
from installation.show.messages import ControlMessage
from installation.show.params import SCENE


def played(messages: Iterable[ControlMessage], show: Show) -> list[ControlMessage]:
    """The messages, with what a scene sets in place of its press.

    A take so holds what was set and not who set it, and the ramp time of the press, if it has one, counts before the scene's own.
    """
    out: list[ControlMessage] = []
    for message in messages:
        scene = show.scenes.get(message.name.removeprefix(SCENE)) if message.name.startswith(SCENE) else None
        if scene is None:
            out.append(message)
            continue
        ramp_s = scene.fade_s if message.ramp_s is None else message.ramp_s
        out += [ControlMessage(name, value, ramp_s, message.source) for name, value in scene.values.items()]
    return out
