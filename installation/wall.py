"""The wall process: the loop that hears, steps the show and puts pictures on the surface. Wires control, show, output.

Runs on the process's main thread. It shows the frames it has: what makes them lives in another process, and when that
one is away the walk waits and the wall keeps moving over its last good frames.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from installation.control.keyboard import KeyboardSource
from installation.control.source import Source
from installation.control.take_log import TakeLog
from installation.engine.board import Board, Phase
from installation.latent.walk import nearest_key
from installation.output.compositor import Compositor
from installation.output.hud import HudText
from installation.output.intake import Intake
from installation.output.pacing import Pacer
from installation.output.playhead import Playhead
from installation.output.preview import Preview
from installation.output.snapshots import Snapshot, Snapshots
from installation.output.surface import Surface
from installation.output.video.remote import Recorder
from installation.show import recall
from installation.show.clock import LiveClock, Tick
from installation.show.config import Show
from installation.show.scenes import played
from installation.show.state import ShowState, to_json
from installation.show.status import Standing, Status
from installation.show.step import step

log = logging.getLogger(__name__)

ROLE = "wall"

# The picture of the run before stands where a frame of this much earlier would be: the first new ones melt out of it.
_STILL_BEFORE_S = 1.5
_HUD_EVERY_S = 0.5
HISTORY = 16
_STATUS_EVERY_S = 1.0
_RATE_OVER = 6  # of these: the rate of a slow engine, too, is a number that stands still
_TOLD = 1024  # states, each the one of some tick: the engine draws one of the last few seconds


@dataclass(slots=True)
class WallParts:
    """What the loop is wired from. keyboard is one of the sources. clock: None = the monotonic clock's. take: where the
    performance is written down, None = nowhere. standing: where the status is left.
    """

    show: Show
    board: Board
    surface: Surface
    compositor: Compositor
    pacer: Pacer
    sources: Sequence[Source]
    keyboard: KeyboardSource
    preview: Preview | None
    snapshots: Snapshots
    title: str
    recorder: Recorder | None = None
    clock: Clock | None = None
    take: TakeLog | None = None
    standing: Standing = field(default_factory=Standing)


class Clock(Protocol):
    """What gives the ticks of the loop: LiveClock, or a take."""

    @property
    def now_s(self) -> float: ...

    def ticks(self, *, hold: bool = False) -> Iterable[Tick | ShowState]: ...


class Wall:
    """The loop. state: where the show begins. still: a Frame for the time before the first new one."""

    def __init__(self, parts: WallParts, state: ShowState, still: np.ndarray | None) -> None:
        self._parts = parts
        self._state = state
        self._settled = state  # what the next tick goes on from: `Tick.between` leaves it
        self._clock = parts.clock or LiveClock(time.monotonic, start_s=state.t, index=state.index)
        self._playhead = Playhead(HISTORY)
        self._intake = Intake(parts.board, parts.compositor, self._playhead)
        self._hud_text: HudText | None = None
        self._shown: Hashable = None
        self._hud_due_s = self._status_due_s = 0.0
        self._came: deque[tuple[float, int]] = deque(maxlen=_RATE_OVER)
        self._newest_at: float | None = None
        self._told: deque[ShowState] = deque(maxlen=_TOLD)
        self._closing = False
        self._warm = False
        self._aim()
        black = np.zeros((parts.board.height, parts.board.width, 4), np.uint8)
        parts.compositor.upload(self._playhead.spare, black if still is None else still)
        if still is not None:
            self._playhead.arrive(self._intake.seen, state.t - _STILL_BEFORE_S, self._clock.now_s)

    @property
    def state(self) -> ShowState:
        return self._state

    def run(self, ended: Callable[[], bool]) -> None:
        """Turns until `ended` or the surface is closed."""
        pacer, surface = self._parts.pacer, self._parts.surface
        while not (ended() or self._closing or surface.closed):
            changed = self.turn()
            pacer.retarget(surface.refresh_hz)
            # Where the swap is what makes the loop wait, it is done even for a picture that did not change.
            pacer.frame(surface.present if changed or pacer.paced_by == "swap" else _nothing)
            self._parts.board.beat(ROLE, Phase.RUNNING)
            if not self._warm:
                self._warm_up()

    def turn(self) -> bool:
        """One tick: hear, step, tell the engine, take in frames, draw. Whether there is something new to present."""
        parts = self._parts
        self._hear_surface()
        pressed = self._step()
        state, now_s = self._state, self._clock.now_s
        parts.board.write_state(state.index, to_json(state))
        self._told.append(state)
        for source in parts.sources:
            source.publish(state.values)
        if self._aim():
            self._intake.take_again()
        before = self._intake.seen
        self._intake.take(now_s)
        if self._intake.live and self._intake.seen != before:
            self._newest_at = time.monotonic()
        changed = self._draw(state, now_s)
        self._press(pressed)
        self._report(state)
        return changed

    def _step(self) -> list[str]:
        """The state of this turn, through all its ticks. Gives the buttons that were pressed."""
        parts, pressed = self._parts, []
        for tick in self._clock.ticks(hold=not self._intake.live or self._playhead.starved(self._clock.now_s)):
            if isinstance(tick, ShowState):
                self._state = self._settled = tick
                continue
            messages = played((message for source in parts.sources for message in source.poll()), parts.show)
            self._state = step(self._settled, messages, tick, parts.show)
            if messages or not tick.between:
                self._settled = self._state
            pressed += self._state.pressed
            if parts.take is not None:
                parts.take.write(tick, messages, self._state)
        return pressed

    def _hear_surface(self) -> None:
        for event in self._parts.surface.poll():
            if event.kind == "close":
                self._closing = True
            elif event.kind == "key":
                self._parts.keyboard.press(event.name)

    def _warm_up(self) -> None:
        """With the first picture on the wall and the engine not there yet: nobody sees the time this takes."""
        surface, screen = self._parts.surface, self._parts.show.screen
        if 0 not in surface.size:
            self._parts.compositor.warm_up(surface.framebuffer, surface.size, fit=screen.fit, rotate=screen.rotate)
            self._warm, self._shown = True, None

    def _aim(self) -> bool:
        """Tells the compositor at what size frames are shown now. Whether that is another than before."""
        size, screen = self._parts.surface.size, self._parts.show.screen
        return 0 not in size and self._parts.compositor.aim(size, fit=screen.fit, rotate=screen.rotate)

    def _draw(self, state: ShowState, now_s: float) -> bool:
        """Draws, unless every pixel would be the same as before."""
        parts = self._parts
        parts.compositor.show(state, parts.show, self._playhead.view(now_s))
        size, screen, hud = parts.surface.size, parts.show.screen, self._hud(state)
        if 0 in size:
            return False
        signature = parts.compositor.signature(size, fit=screen.fit, rotate=screen.rotate, hud=hud)
        changed = signature != self._shown or parts.pacer.paced_by == "swap"
        if changed:
            parts.compositor.mount(parts.surface.framebuffer, size, fit=screen.fit, rotate=screen.rotate, hud=hud)
            self._shown = signature
        if parts.preview is not None:
            parts.preview.offer(parts.surface.read)
        return changed

    def _press(self, pressed: Iterable[str]) -> None:
        for name in dict.fromkeys(pressed):  # pressed twice in one turn is one picture
            if name == "snapshot":
                self._parts.snapshots.offer(self._snapshot)
            elif name == "shader/reload":
                self._say_shaders(self._parts.compositor.reload())
        self._say_shaders(self._parts.compositor.reload_if_changed(time.monotonic()))

    def _say_shaders(self, fault: str | None) -> None:
        if fault is not None:
            log.warning("%s", fault)

    def _snapshot(self) -> Snapshot:
        """The newest frame under the grade on the wall, without the HUD, and what made it.

        It comes from the board, because the compositor's may be no larger than the window.
        """
        parts, newest = self._parts, self._intake.newest_whole()
        if newest is None:
            return parts.compositor.read_look(), {}
        pixels, stamp = newest
        drawn = next((state for state in self._told if state.t == stamp), self._state)
        said = parts.board.model()
        state = recall.seen(drawn, self._state, None if said is None else said[0])
        return parts.compositor.still(pixels), recall.notes(state, parts.show)

    def _hud(self, state: ShowState) -> HudText | None:
        if not state.values["hud/show"]:
            return None
        now = time.monotonic()
        if now >= self._hud_due_s or self._hud_text is None:
            self._hud_due_s = now + _HUD_EVERY_S
            self._hud_text = HudText(self._figures(state))
        return self._hud_text

    def _figures(self, state: ShowState) -> tuple[str, ...]:
        stats = self._parts.pacer.stats()
        engine = (
            "waiting for the engine"
            if self._playhead.starved(self._clock.now_s)
            else self._parts.board.status("engine")
        )
        key = nearest_key(state.strands[-1], self._parts.show)
        portrait = f"seed {key.seed}" if key.stop is None else f"stop {key.stop + 1}"
        return (
            self._parts.title + self._model(state),
            *self._written(),
            f"{stats.fps:.1f} fps   p99 {stats.p99_ms:.1f} ms   late {stats.late}",
            f"engine {engine}",
            f"{portrait}   position {state.strands[-1].position:.2f}   drift {state.velocity.at(state.t):+.3f} kf/s",
        )

    def _model(self, state: ShowState) -> str:
        """Which model is on the wall, and which one is on its way; nothing where there is one."""
        chosen, said = str(state.values["model/select"]), self._parts.board.model()
        if len(self._parts.show.model_names()) < 2:
            return ""
        shown = chosen if said is None else said[0]
        return f"   model {shown}" + (f", {chosen} is being loaded" if chosen != shown else "")

    def _written(self) -> list[str]:
        """How film, take and snapshots are doing that are being written; nothing when all is well and no film is made."""
        recorder, take = self._parts.recorder, self._parts.take
        words = [recorder.text()] if recorder is not None and recorder.text() else []
        if take is not None and (dropped := take.counters()["dropped"]):
            words.append(f"take: {dropped} ticks lost")
        snapshots = self._parts.snapshots
        lost = [
            f"{count} {how}" for count, how in ((snapshots.refused, "refused"), (snapshots.failed, "failed")) if count
        ]
        if lost:
            words.append(f"snapshots: {', '.join(lost)}")
        return words

    def _report(self, state: ShowState) -> None:
        """The wall's own line for the board and the preview page, once a second."""
        now = time.monotonic()
        if now < self._status_due_s:
            return
        self._status_due_s = now + _STATUS_EVERY_S
        stats = self._parts.pacer.stats()
        text = f"{stats.fps:.1f} fps · p50 {stats.p50_ms:.1f} ms · p99 {stats.p99_ms:.1f} ms · late {stats.late}"
        text += f" · torn {self._intake.torn} · t {state.t:.1f} s"
        text += "".join(f" · {what}" for what in self._written())
        self._parts.board.put_status(ROLE, text)
        self._parts.standing.status = self._status(state, now)
        if self._parts.preview is not None:
            self._parts.preview.publish({"wall": text, "engine": self._parts.board.status("engine")})

    def _status(self, state: ShowState, now: float) -> Status:
        said = self._parts.board.model()
        self._came.append((now, self._intake.seen))
        (since, first), (until, last) = self._came[0], self._came[-1]
        waits = self._playhead.starved(self._clock.now_s)
        return Status(
            show=self._parts.title,
            model=str(state.values["model/select"]) if said is None else said[0],
            pictures_per_s=None if waits else (last - first) / (until - since) if until > since else 0.0,
            newest_at=self._newest_at,
            recording=bool(state.values["record/on"]),
        )


def _nothing() -> None:
    """Presents nothing: what is on the wall stays."""
