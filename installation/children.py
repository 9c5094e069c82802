"""The two processes that the supervisor starts: how each is put together from the run folder.

Both end when the supervisor asks or dies. A fault before the first picture passes through as InstallationError.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from installation.counted_log import CountedLog
from installation.engine.board import Board, Phase
from installation.errors import EXIT_TEMPORARY, InstallationError
from installation.service.processes import FAULT, ParentWatch, step_back
from installation.service.runfolder import BOARD
from installation.service.store import Store
from installation.session import CUE, SHADERS, Session
from installation.show.clock import Tick
from installation.show.messages import ControlMessage
from installation.show.state import ShowState, first_state, from_json, resumed, to_json
from installation.show.status import Standing, Status
from installation.show.step import step

if TYPE_CHECKING:
    import numpy as np

    from installation.control.replay import ReplaySource
    from installation.control.source import Source
    from installation.control.take_log import TakeLog
    from installation.output.preview import Preview
    from installation.output.surface import Surface
    from installation.output.video.remote import Recorder
    from installation.render.switch import Switch
    from installation.wall import Wall

log = logging.getLogger(__name__)

Setup = Callable[[bool], None]
_Source = TypeVar("_Source", bound="Source")

# Between two bytecodes of the loop the receiver's thread may keep the interpreter this long at most; the default of
# 5 ms is a third of a frame.
_SWITCH_S = 0.001

# Under Mesa's llvmpipe a 1024 px picture on 1280x720 costs about 10 ms of a core.
_SOFTWARE_FPS = 30.0

_AWAKE = (
    ControlMessage("look/blackout", False, 0.0),
    ControlMessage("drift/pause", False, 0.0),
    ControlMessage("record/on", False),
)

# On a machine whose cores do everything, a late wall is seen and a late engine is not.
_ENGINE_NICENESS = 5


def engine_main(run_folder: Path, set_up_log: Setup) -> int:
    """The engine process. Gives the exit code."""
    step_back(_ENGINE_NICENESS)
    session, board, parent, stop = _begin(run_folder, set_up_log)
    counted = CountedLog("installation.engine")

    made: list[Switch] = []

    def make_renderer() -> Switch:
        from installation.render.switch import Switch

        renderer = Switch(
            session.show,
            session.files,
            session.size,
            first=_model(board, session),
            tell=board.put_model,
        )
        log.info("engine: %s", renderer.describe())
        made.append(renderer)
        return renderer

    from installation.engine import worker

    try:
        return worker.run(
            board,
            make_renderer,
            decode=_decode,
            parent_alive=parent.alive,
            stop=stop,
            report=counted.say,
        )
    except InstallationError as error:
        return _told(board, "engine", error)
    finally:
        for renderer in made:
            renderer.close()
        board.close()
        parent.finish()


def wall_main(run_folder: Path, set_up_log: Setup) -> int:
    """The wall process. Gives the exit code: 0 is the end of the show, 75 when a signal ended this process alone."""
    sys.setswitchinterval(_SWITCH_S)
    session, board, parent, stop = _begin(run_folder, set_up_log)
    board.beat("wall", Phase.STARTING)
    with ExitStack() as ends:
        ends.callback(parent.finish)
        ends.callback(board.close)
        try:
            _wall(session, run_folder, board, ends).run(lambda: stop.is_set() or not parent.alive())
            return EXIT_TEMPORARY if stop.is_set() and parent.alive() else 0
        except InstallationError as error:
            return _told(board, "wall", error)
        finally:
            board.beat("wall", Phase.STOPPING)


def _wall(session: Session, run_folder: Path, board: Board, ends: ExitStack) -> Wall:
    """The loop with all its parts; ends: closes them, the last one first."""
    from installation import resources
    from installation.control.keyboard import KeyboardSource
    from installation.engine.refusals import Refusals
    from installation.output.compositor import Compositor
    from installation.output.pacing import Pacer
    from installation.output.snapshots import Snapshots
    from installation.wall import HISTORY, Wall, WallParts

    def heard(source: _Source) -> _Source:
        sources.append(source)
        return ends.enter_context(closing(source))

    show = session.show
    sources: list[Source] = []
    surface = ends.enter_context(closing(_surface(session)))
    log.info("wall: %s", surface.describe())
    compositor = Compositor(
        surface.ctx, resources.shaders_dir(), size=session.size, history=HISTORY, kept=run_folder / SHADERS
    )
    again = board.newest() > 0
    standing = Standing(Status(show=show.title))
    heard(Refusals(board))
    keyboard = heard(KeyboardSource(show.table()))
    for make in _sources(session, standing):
        heard(_source(make, again))
    recorder = heard(_recorder(session, run_folder))
    if (preview := _preview(session, again, standing)) is not None:
        ends.enter_context(closing(preview))
    state = _where_it_was(board, session)
    take: TakeLog | None = None
    if (replay := _replay(session, board, state)) is not None:
        heard(replay)
    else:
        if show.cues:  # a take has the evening's own
            from installation.control.cues import CueSource

            heard(CueSource(show.cues, kept=run_folder / CUE))
        if session.take is not None:
            from installation.control.take_log import TakeLog

            take = ends.enter_context(closing(TakeLog(session.take, show.table(), state)))
    parts = WallParts(
        show=show,
        board=board,
        surface=surface,
        compositor=compositor,
        pacer=Pacer(surface.refresh_hz, fps=show.screen.fps or _software_fps(surface)),
        sources=sources,
        keyboard=keyboard,
        preview=preview,
        snapshots=ends.enter_context(closing(Snapshots(session.pictures))),
        title=show.title,
        recorder=recorder,
        clock=replay,
        take=take,
        standing=standing,
    )
    return Wall(parts, state, _still(session, board))


def _begin(run_folder: Path, set_up_log: Setup) -> tuple[Session, Board, ParentWatch, threading.Event]:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    # Ctrl-C is the supervisor's to hear; it then asks its children.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    session = Session.read(run_folder)
    set_up_log(session.verbose)
    return session, Board.open(run_folder / BOARD), ParentWatch(run_folder), stop


def _told(board: Board, role: str, error: InstallationError) -> int:
    """The exit code of a fault. Before the first picture it passes through, for the command line to say in full; later it
    comes back with each start, and the supervisor says it, counted."""
    if not board.newest():
        raise error
    board.put_status(role, f"{FAULT}{error}")
    return error.exit_code


def _decode(payload: bytes) -> tuple[float, ShowState]:
    state = from_json(payload)
    return state.t, state


def resume(board: Board, session: Session, store: Store) -> None:
    """Puts the state of the run before on the board, if it is of this very show. Supervisor's process.

    Awake: whoever starts a show that was left blacked out or paused wants to see it, and not to record it.
    """
    payload = store.load_state()
    state = None if payload is None else _fitting(payload, session)
    if state is not None:
        log.info("the show goes on where it was; --fresh begins at its beginning")
        state = step(state, _AWAKE, Tick(state.index, state.t, 0.0), session.show)
        board.write_state(state.index, to_json(state))


def _where_it_was(board: Board, session: Session) -> ShowState:
    """The state on the board: of the wall before this one, or of the run before."""
    newest = board.read_state()
    state = None if newest is None else _fitting(newest[1], session)
    return first_state(session.show) if state is None else state


def _model(board: Board, session: Session) -> str | None:
    """The model that the state on the board shows: an engine that is started again begins with it."""
    newest = board.read_state()
    try:
        name = None if newest is None else str(from_json(newest[1]).values["model/select"])
    except (ValueError, LookupError):
        return None
    return name if name in session.files else None


def _fitting(payload: bytes, session: Session) -> ShowState | None:
    try:
        state = resumed(from_json(payload), session.show)
    except ValueError as error:
        log.warning("the kept state cannot be read (%s): the show begins at its beginning", error)
        return None
    if state is None:
        log.info("the kept state does not fit this show: it begins at its beginning")
    return state


def _surface(session: Session) -> Surface:
    screen = session.show.screen
    if session.headless:
        from installation.output.headless import HeadlessSurface

        return HeadlessSurface(screen.size)
    from installation.output.window import GlfwSurface

    return GlfwSurface(
        f"{session.show.title} — installation",
        monitor=screen.monitor,
        fullscreen=screen.fullscreen,
        windowed_size=screen.size,
    )


def _software_fps(surface: Surface) -> float | None:
    """A frame rate that leaves the engine its cores where the wall is drawn on them too; None on a real GPU."""
    renderer = str(surface.ctx.info["GL_RENDERER"]).lower()
    return _SOFTWARE_FPS if any(name in renderer for name in ("llvmpipe", "softpipe", "swiftshader")) else None


def _sources(session: Session, standing: Standing) -> Iterator[Callable[[], Source]]:
    show, table = session.show, session.show.table()
    if show.osc.enabled:
        from installation.control.osc import OscSource

        osc = show.osc
        yield lambda: OscSource(
            table, host=osc.host, port=osc.port, allow=osc.allow, feedback=osc.feedback, standing=standing
        )
    if show.midi.map:
        from installation.control.midi import MidiMap, MidiSource

        maps = [MidiMap(**entry.model_dump()) for entry in show.midi.map]
        yield lambda: MidiSource(table, maps, port=show.midi.port)


def _recorder(session: Session, run_folder: Path) -> Recorder:
    from installation.output import stills
    from installation.output.video.presets import preset
    from installation.output.video.remote import Recorder

    suffix = preset(session.show.record.live_preset).suffix

    def name_film() -> Path:
        return session.films / stills.snapshot_name(time.time()).replace(".png", suffix)

    def command(film: Path) -> list[str]:
        return [sys.executable, "-m", "installation", "recorder-process", str(run_folder), str(film)]

    return Recorder(command, name_film)


def _replay(session: Session, board: Board, state: ShowState) -> ReplaySource | None:
    """The take that is played; a wall that was started again goes on where the one before it was."""
    if session.take is None or not session.replay:
        return None
    from installation.control import take_files
    from installation.control.replay import ReplaySource
    from installation.show.replay import granted
    from installation.show.take import read_lines

    records = granted(read_lines(take_files.lines(session.take), session.show), session.refused)
    resume = None if board.read_state() is None else state
    return ReplaySource(session.show.table(), records, time.monotonic, resume=resume)


def _source(make: Callable[[], Source], again: bool) -> Source:
    """again: the wall was started again during the show, and goes on without its faders until they are back."""
    try:
        return make()
    except InstallationError as error:
        if not again:
            raise
        from installation.control.late import LateSource

        log.warning("%s The show goes on meanwhile", error)
        return LateSource(make)


def _preview(session: Session, again: bool, standing: Standing) -> Preview | None:
    config = session.show.preview
    if config.on == "never" or (config.on == "headless" and not session.headless):
        return None
    from installation.output.preview import Preview

    try:
        preview = Preview(session.show.title, host=config.host, port=config.port, standing=standing)
    except InstallationError as error:
        if not again:
            raise
        log.warning("no preview: %s", error)
        return None
    log.info("the wall is shown at %s", preview.url)
    return preview


def _still(session: Session, board: Board) -> np.ndarray | None:
    """A Frame for the time before the first new one: the last good picture of the run before,
    or the show's own still; None where there is neither, or frames are there already.
    """
    if board.newest():
        return None
    from installation.output import stills

    kept = Store(session.identity, session.state_folder).load_picture()
    if kept is None and session.still is not None:
        try:
            kept = stills.load(session.still)
        except InstallationError as error:
            log.warning("the show's still is not shown: %s", error)
    return kept
