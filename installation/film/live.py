"""The recorder process: films a running wall at the cascade's own size, whatever the window shows.

It reads what lies on the board, the engine's frames and the newest state, blends and grades them as the wall does with
a playhead and compositor of its own, and writes closed segments. The wall is never asked and never waits. When it is
told to stop, or the wall is gone, it closes the film and joins its segments.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from installation.engine.board import Board
from installation.errors import InstallationError, OutputError
from installation.output.compositor import Compositor
from installation.output.headless import HeadlessSurface
from installation.output.intake import Intake
from installation.output.playhead import Playhead
from installation.output.video.join import join
from installation.output.video.live import LiveFilm
from installation.output.video.manifest import read_segments
from installation.output.video.presets import preset
from installation.output.video.spec import VideoSpec
from installation.resources import shaders_dir
from installation.service.processes import step_back
from installation.service.runfolder import BOARD
from installation.session import SHADERS, Session
from installation.show.state import ShowState, from_json

log = logging.getLogger(__name__)

SEGMENTS = ".segments"
_HISTORY = 16
_REPORT_S = 0.5
# The film is less than the show: it has what engine and wall leave.
_NICENESS = 19

Setup = Callable[[bool], None]


def recorder_main(run_folder: Path, film: Path, set_up_log: Setup) -> int:
    """film: the file to be made. Gives the exit code; a fault is said to the wall and passes through."""
    step_back(_NICENESS)
    stop = _until_told()
    session = Session.read(run_folder)
    set_up_log(session.verbose)
    board = Board.open(run_folder / BOARD)
    try:
        _film(session, board, film, stop, run_folder / SHADERS)
        return 0
    except InstallationError as error:
        _tell(f"fault {error.what}")
        raise
    finally:
        board.close()


def _until_told() -> threading.Event:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def listen() -> None:
        # os.read and not sys.stdin: a thread inside a buffered file at the interpreter's end is a fatal error.
        try:
            while os.read(0, 64):
                continue
        except OSError:
            pass
        stop.set()

    threading.Thread(target=listen, name="stop", daemon=True).start()
    return stop


def _tell(line: str) -> None:
    """A line to the wall; one that is gone hears nothing."""
    try:
        os.write(1, line.replace("\n", " ").encode() + b"\n")
    except OSError:
        return


def _film(session: Session, board: Board, path: Path, stop: threading.Event, kept: Path) -> None:
    folder = path.with_name(path.name + SEGMENTS)
    config = session.show.record
    try:
        spec = VideoSpec.of(session.size, Fraction(config.live_fps), preset(config.live_preset), depth=8)
        live = LiveFilm(folder, spec)
        log.info("a recording begins: %s", path)
        try:
            _run(session, board, live, stop, path, kept)
        finally:
            live.close()
    except InstallationError as error:
        # What is advised to a film that is made afterwards, to go on with it, cannot be done with an evening.
        fix = "Put right what it says; the next recording begins a new film"
        if read_segments(folder):
            fix = f"`installation join {folder}` makes a film of what is closed"
        else:
            shutil.rmtree(folder, ignore_errors=True)
        raise OutputError(error.what, where=error.where, fix=fix) from error
    if not live.written:
        shutil.rmtree(folder, ignore_errors=True)
        fix = "It begins with the first picture, when the wall counts its seconds"
        raise OutputError("it was stopped before its first picture, and nothing is kept", where=str(path), fix=fix)
    frames = join(folder, path)
    shutil.rmtree(folder, ignore_errors=True)
    seconds = frames / config.live_fps
    log.info("recorded: %s, %.1f s, %d frames, %d dropped", path, seconds, frames, live.dropped)


def _run(session: Session, board: Board, live: LiveFilm, stop: threading.Event, path: Path, kept: Path) -> None:
    """One picture for each frame of the film, until told to stop."""
    fps = session.show.record.live_fps
    surface = HeadlessSurface(session.size)
    try:
        compositor = Compositor(surface.ctx, shaders_dir(), size=session.size, history=_HISTORY, kept=kept)
        playhead = Playhead(_HISTORY)
        intake = Intake(board, compositor, playhead)
        state: ShowState | None = None
        began_s = told_s = time.monotonic()
        number = -1
        while not stop.is_set():
            now_s = time.monotonic() - began_s
            if number >= 0 and int(now_s * fps) <= number:
                stop.wait(max((number + 1) / fps - now_s, 0.0) + 1e-4)
                continue
            intake.take(now_s)
            view, state = playhead.view(now_s), _newest(board, state)
            if view is None or state is None:
                stop.wait(1 / fps)
                continue
            if number < 0:
                log.info("recording: %s", path)
            number = int(now_s * fps)
            if time.monotonic() - told_s >= _REPORT_S:
                told_s = time.monotonic()
                _tell(f"{live.written / fps:.1f} {live.written} {live.dropped}")
            if live.full:  # a picture costs more to draw than to encode, and this one would only take another's place
                continue
            compositor.show(state, session.show, view)
            live.offer(number, compositor.read_look())
        _tell(f"{live.written / fps:.1f} {live.written} {live.dropped}")
    finally:
        surface.close()


def _newest(board: Board, before: ShowState | None) -> ShowState | None:
    """The state on the board; the one before where a new one cannot be read."""
    newest = board.read_state()
    if newest is None or (before is not None and newest[0] == before.index):
        return before
    try:
        return from_json(newest[1])
    except ValueError:
        return before
