"""Film: which states the frames of a recording show. Pure; the live loop's `step` under a clock that counts frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from installation.errors import ConfigError
from installation.show.clock import FrameClock, Tick
from installation.show.config import Show
from installation.show.messages import ControlMessage
from installation.show.replay import Replay
from installation.show.state import ShowState, first_state
from installation.show.step import length_of, step

Messages = Callable[[Tick], Iterable[ControlMessage]]


@dataclass(frozen=True, slots=True)
class Film:
    """fps: exact. frames: of the show, black ones not counted. start_s: show time of the first. leader_frames: black ones before
    the show, and as many after it.
    """

    fps: Fraction
    frames: int
    start_s: float = 0.0
    leader_frames: int = 0

    @property
    def total(self) -> int:
        """All frames of the film."""
        return self.frames + 2 * self.leader_frames

    def states(
        self, show: Show, messages: Messages = lambda tick: (), *, state: ShowState | None = None
    ) -> Iterator[ShowState | None]:
        """What each frame of the film shows; None is black.

        Every tick is stepped, also for whoever wants only the last: the same numbers come out wherever a recording is
        taken up again. messages: what was said at a tick. state: where the show begins, if not at its first.
        """
        for _ in range(self.leader_frames):
            yield None
        state = first_state(show) if state is None else state
        clock = FrameClock(self.fps, start_s=self.start_s)
        for _ in range(self.frames):
            tick = clock.tick()
            state = step(state, messages(tick), tick, show)
            yield state
        for _ in range(self.leader_frames):
            yield None

    def replayed(self, take: Replay) -> Iterator[ShowState | None]:
        """What each frame of a take's film shows. start_s is in its time."""
        for _ in range(self.leader_frames):
            yield None
        for number in range(self.frames):
            yield take.at(self.start_s + float(number / self.fps))
        for _ in range(self.leader_frames):
            yield None


def loop_of(show: Show, fps: Fraction, frames: int | None) -> tuple[Show, int]:
    """The show as a walk that closes, and the frames of one turn: the frame after the last would be the first.

    A tour stays one; every other walk becomes a loop of walk.loop_keyframes. frames: how many the turn is to have;
    None for what the show's own drift speed gives. The speed is set so that a turn is a whole number of frames.
    ConfigError where the walk stands still.
    """
    mode = "tour" if show.first_value("walk/mode") == "tour" else "loop"
    if mode == "tour" and not show.walk.repeat:
        raise ConfigError("a tour that does not repeat has no loop", where="walk.repeat", fix="Set it to true")
    length, speed = length_of(mode, show), float(show.first_value("drift/speed"))
    assert length is not None
    if speed == 0.0 or show.first_value("drift/pause"):
        raise ConfigError("the walk stands still, so no loop closes", where="drift.speed", fix="Give it a speed")
    frames = frames or max(round(length / abs(speed) * fps), 1)
    turned = length * float(fps) / frames * (1 if speed > 0 else -1)
    limit = show.table()["drift/speed"].hi
    if abs(turned) > limit:
        raise ConfigError(
            f"a loop of {length:g} keyframes in {frames} frames drifts at {abs(turned):.3g} keyframes/s, more than {limit:g}",
            where="walk.loop_keyframes",
            fix="Make the film longer or the loop shorter",
        )
    return show.model_copy(update={"params": {**show.params, "walk/mode": mode, "drift/speed": turned}}), frames
