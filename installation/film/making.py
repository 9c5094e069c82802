"""Making a film: the live loop with a clock that counts frames and a file for a sink.

Three threads in a line: this one steps the show and draws pictures, one runs the look and reads it back, one feeds the
encoder's process. Queues between them are short and block, so memory does not grow and the slowest sets the pace.
moderngl keeps the interpreter's lock while GL draws and reads back: a few milliseconds on a GPU, but under llvmpipe 50 ms
at 960 x 960, in which the drawing thread may stand still.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from installation import takes
from installation.errors import ConfigError, EngineError, InstallationError, ModelError, TakeError
from installation.files import fingerprint, write_whole
from installation.film.recording import FILE, Recording
from installation.models import axes, checkpoint
from installation.models import device as devices
from installation.models.header import axes_file
from installation.models.network import Generator
from installation.output.video import disk, ffmpeg
from installation.output.video.claims import claim
from installation.output.video.join import join
from installation.output.video.look import FilmLook
from installation.output.video.manifest import Head, intact, read_segments, require_head, require_same
from installation.output.video.relay import Relay
from installation.output.video.segments import SegmentWriter
from installation.render.film import FilmRenderer
from installation.render.switch import Switch
from installation.resources import shaders_dir
from installation.session import Session
from installation.show.film import Messages
from installation.show.replay import Replay, granted
from installation.show.state import ShowState, first_state

Progress = Callable[[int, int], None]
_AHEAD = 2


def open_renderer(recording: Recording) -> FilmRenderer:
    """ModelError where the networks do not fit, EngineError where the device is missing or one of the models that the film
    shows makes no picture. ConfigError where networks or shaders are
    not those that the recording was planned with: a shard may be made much later, and on another machine.
    """
    session = recording.session
    if recording.placement not in ("", here := placement(session)):
        raise ConfigError(
            f"the recording was planned for {recording.placement}, and here it would be drawn by {here}",
            where=str(recording.folder),
            fix="Make it where such a device is there, or plan the recording anew",
        )
    networks = [path for files in session.files.values() for path in files]
    for path in networks:
        if not path.is_file():
            raise ModelError("the network is not there", where=str(path), fix="Put its file back, or plan anew")
    here = hashes(session)
    if changed := sorted(name for name in {*here, *recording.hashes} if here.get(name) != recording.hashes.get(name)):
        raise ConfigError(
            f"not what the recording was planned with: {', '.join(changed)}",
            where=str(recording.folder),
            fix="Put the files back as they were, or plan the recording anew",
        )
    first = str(session.show.first_value("model/select"))
    if recording.shown and first not in recording.shown:
        first = recording.shown[0]
    switch = Switch(session.show, session.files, session.size, first=first, wait=True)
    switch.prove(recording.shown, first_state(session.show))
    return FilmRenderer(switch, recording.picture)


def placement(session: Session) -> str:
    """What draws: the kind of device and its numbers, where the show leaves both to the machine. EngineError where it is not there."""
    chosen = devices.choose(session.show.cascade.device, session.show.cascade.dtype)
    return f"{chosen.device.type} {str(chosen.dtype).removeprefix('torch.')}"


def hashes(session: Session) -> dict[str, str]:
    """sha256 of the networks, of the axes beside them and of the shaders of the look, by file name. What an editor leaves beside
    a shader is none. Axes that are not there yet are found first: in another process they might come out otherwise.
    """
    found: dict[str, str] = {}
    networks = [path for files in session.files.values() for path in files]
    chains, measured = session.show.chains(), session.show.measured()
    for model, (base, *_) in session.files.items():
        if chains[model][0] in measured and base.is_file():
            if not axes_file(base).is_file():
                network = checkpoint.load(base)
                if isinstance(network, Generator) and network.w_dim:
                    axes.spread_of(network, base)
            networks.append(axes_file(base))
    shaders = (path for path in sorted(shaders_dir().iterdir()) if not path.name.startswith((".", "#")))
    for path in dict.fromkeys((*networks, *(path for path in shaders if not path.name.endswith("~")))):
        if path.is_file():
            found[path.name] = found.get(path.name, "") + fingerprint(path)  # two folders may hold networks of one name
    return found


def missing(recording: Recording, among: range | None = None) -> list[int]:
    """The segments that are not closed, or are not whole any more. Reads every one that is. among: None is all.

    OutputError where what is closed is another recording's.
    """
    require_same(recording.folder, Head.of(recording.spec, recording.digest(), ffmpeg.version()))
    closed = read_segments(recording.folder)
    return [
        index
        for index in (range(recording.segments) if among is None else among)
        if index not in closed
        or closed[index].frames != recording.frames_of(index)
        or not intact(recording.folder, closed[index])
    ]


def require_space(recording: Recording, segments: Collection[int]) -> None:
    """OutputError when the disk cannot hold these segments and, after them, the film."""
    spec = recording.spec
    frames = sum(map(recording.frames_of, segments)) + (recording.film.total if spec.preset.suffix else 0)
    disk.require(recording.folder, spec.estimated_bytes(frames) + disk.RESERVE_BYTES)


def make(
    recording: Recording,
    segments: Collection[int],
    renderer: FilmRenderer,
    *,
    messages: Messages = lambda tick: (),
    state: ShowState | None = None,
    writer: str = "0",
    progress: Progress = lambda frames, size: None,
) -> None:
    """Makes and closes these segments. messages, state: see Film.states. progress(frames written, bytes closed): in another thread.

    At the first fault everything open is thrown away, everything closed stays, and the fault is raised.
    """
    wanted = set(segments)
    if not wanted:
        return
    last = max(wanted)
    line = _Line(recording, renderer, writer, progress)
    try:
        for number, shown in enumerate(_states(recording, messages, state)):
            segment = number // recording.segment_frames
            if segment > last:
                break
            if segment in wanted:
                line.put(number, shown)
        line.close()
    except InstallationError:
        raise
    except Exception as error:
        from installation.engine.worker import is_device_fault

        if not is_device_fault(error):
            raise
        raise EngineError(
            f"the device failed: {str(error).splitlines()[0][:200]}",
            where="engine",
            fix="Give the command again (`record`: with --resume)",
        ) from error
    finally:
        line.drop()


def make_shard(
    recording: Recording,
    shard: int,
    renderer: FilmRenderer,
    *,
    progress: Progress = lambda frames, size: None,
) -> None:
    """Makes what is missing of one shard. Doing it again does nothing."""
    with claim(recording.folder, str(shard)):
        wanted = missing(recording, recording.shard(shard))
        make(recording, wanted, renderer, writer=str(shard), progress=progress)


def finish(recording: Recording, remedy: Callable[[int], str]) -> None:
    """Joins the closed segments into the film. They stay. OutputError where they are another recording's, or not all there; remedy:
    see `join`."""
    # Any FFmpeg joins what one of them made.
    require_same(recording.folder, Head.of(recording.spec, recording.digest(), require_head(recording.folder).encoder))

    def sign(draft: Path) -> None:
        # Before the film is there: a kill after that would leave one that nobody knows. Without it --resume only refuses.
        with suppress(OSError):
            write_whole(_signature(recording), json.dumps(_stamp(recording, draft)).encode(), only_writer=True)

    join(recording.folder, recording.out, frames=recording.film.total, remedy=remedy, made=sign)


def is_finished(recording: Recording) -> bool:
    """Whether the film that is there is this recording's, whole, and not another of that name."""
    try:
        return json.loads(_signature(recording).read_bytes()) == _stamp(recording, recording.out)
    except (OSError, ValueError):
        return False


def _signature(recording: Recording) -> Path:
    """Beside the film, for it outlives the segments."""
    return recording.out.with_name(f".{recording.out.name}.joined.json")


def _stamp(recording: Recording, film: Path) -> list[str | int]:
    """What tells a film, or a folder of pictures, from another that is put in its place."""
    facts = film.stat()
    size = sum(1 for _ in film.iterdir()) if film.is_dir() else facts.st_size
    return [recording.digest(), size, facts.st_mtime_ns]


def remove_segments(recording: Recording) -> bool:
    """Takes the folder of a finished film away, the description last, so that what a kill leaves is known for what it is. False, and
    it stays, where another process is at work there."""
    with claim(recording.folder, "join") as own:
        return own.remove(FILE)


def _states(recording: Recording, messages: Messages, state: ShowState | None) -> Iterator[ShowState | None]:
    """What each frame shows: of the show, or of the performance in a take. TakeError where that has changed meanwhile."""
    show, film = recording.session.show, recording.film
    if recording.take is None:
        return film.states(show, messages, state=state)
    if takes.log_sha256(recording.take) != recording.take_sha256:
        fix = "Put the take back as it was, or begin the film anew"
        raise TakeError("the take has changed since the film was begun", where=str(recording.take), fix=fix)
    records = granted(takes.records(recording.take, show), recording.session.refused)
    return film.replayed(Replay(records, show))


class _Line:
    """Renderer, look and encoder, one behind the other."""

    def __init__(self, recording: Recording, renderer: FilmRenderer, writer: str, progress: Progress) -> None:
        self._recording, self._renderer, self._progress = recording, renderer, progress
        spec = recording.spec
        self._writer = SegmentWriter(recording.folder, spec, config=recording.digest(), writer=writer)
        self._look: FilmLook | None = None
        self._next: int | None = None
        self._drawn = self._painted = self._written = 0
        self._encode: Relay[tuple[int, np.ndarray]] = Relay("encode", self._to_encoder, ahead=_AHEAD)
        self._paint: Relay[tuple[int, ShowState | None, np.ndarray]] = Relay(
            "look", self._to_look, ahead=_AHEAD, ending=self._close_look
        )
        width, height = renderer.size
        self._lights = [np.empty((height, width, 4), np.float16) for _ in range(self._paint.buffers)]
        dtype = np.uint8 if spec.depth == 8 else np.uint16
        self._frames = [np.empty(spec.frame_shape, dtype) for _ in range(self._encode.buffers)]

    def put(self, number: int, state: ShowState | None) -> None:
        """Draws one frame of the film and sends it on its way. None: black."""
        light = self._lights[self._drawn % len(self._lights)]
        self._drawn += 1
        if state is not None:
            self._renderer.draw(state, light)
        self._paint.put((number, state, light))

    def close(self) -> None:
        """Waits until everything is in closed segments."""
        self._paint.close()
        self._encode.close()
        self._writer.close()
        self._progress(self._written, self._writer.closed_bytes)

    def drop(self) -> None:
        # From behind: the look may wait for the encoder, and that for a process which takes nothing.
        self._writer.interrupt()
        self._encode.drop()
        self._paint.drop()
        self._writer.abort()

    def _to_look(self, item: tuple[int, ShowState | None, np.ndarray]) -> None:
        number, state, light = item
        frame = self._frames[self._painted % len(self._frames)]
        self._painted += 1
        if state is None:
            frame[...] = 0
        else:
            if self._look is None:  # in this thread, to which its GL context belongs
                recording = self._recording
                self._look = FilmLook(recording.session.show, recording.spec, recording.picture, shaders_dir())
            self._look.draw(state, light, frame)
        self._encode.put((number, frame))

    def _to_encoder(self, item: tuple[int, np.ndarray]) -> None:
        number, frame = item
        if number != self._next:
            self._writer.seek(number // self._recording.segment_frames)
        self._writer.write(frame)
        self._next = number + 1
        self._written += 1
        self._progress(self._written, self._writer.closed_bytes)

    def _close_look(self) -> None:
        if self._look is not None:
            self._look.close()
