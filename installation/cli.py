"""The verbs. The only place, with its helpers session.py and wall.py, that wires parts together, and the only one that
reads arguments and the environment.

Nothing heavy is imported before a verb needs it: `installation --help` loads neither torch nor GL nor numpy.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from installation import cli_judging, cli_models, cli_training, opening
from installation.errors import InstallationError, OutputError
from installation.terminal import answer, cell, log_to_stderr, say

if TYPE_CHECKING:
    from installation.session import Session
    from installation.show.config import Show
    from installation.show.replay import Extent

DEFAULT_SHOW = "portraits"

# Thirty years: no show is longer, and positions on the walk are still exact to a millionth of a keyframe.
_MOST_S = 1e9

EXIT_CODES = (
    "Exit codes: 0 ok · 1 a fault in the program · 2 usage or config · 3 display · 4 engine · 5 model · "
    "6 files, ports, disk · 75 temporary: start again"
)

app = typer.Typer(
    name="installation",
    help="Portraits of imaginary people on a wall: walks a GAN's latent space live, full-screen, under OSC and MIDI.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.add_typer(cli_models.models_app)
app.command()(cli_training.atelier)
shard_app = typer.Typer(name="shard", help="A film in parts, for farms and schedulers.", no_args_is_help=True)
app.add_typer(shard_app)
app.add_typer(cli_training.data_app, name="data")
app.add_typer(cli_training.train_app, name="train")
app.add_typer(cli_judging.judge_app, name="judge")
app.add_typer(cli_judging.runs_app, name="runs")

# None tells "none was named" from the default show's name: a take has its own.
OptionalShow = Annotated[
    str | None,
    typer.Argument(help="A default show's name or a .toml file.", metavar="[SHOW]", show_default=DEFAULT_SHOW),
]
ShowArgument = Annotated[str, typer.Argument(help="A default show's name or a .toml file.", metavar="[SHOW]")]


def main() -> None:
    """The console script. An InstallationError becomes one clear message and its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # none where it was closed
            stream.reconfigure(errors="replace")  # a terminal of another time has no ×, and is no reason to fail
    tune_libraries()
    try:
        app()
    except InstallationError as error:
        say(f"installation: {error}")
        raise SystemExit(error.exit_code) from None


def tune_libraries() -> None:
    """Settings that torch reads when it is loaded, here and in every child. What the environment already says stays."""
    # OpenMP's waiting threads spin by default and so take the cores from wall and engine: on two busy cores a picture of 0.9 s took
    # 3 to 16.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Large tensors in huge pages, where Linux has them: StyleGAN2 of 1024 px 1.2 s against 1.5, of 256 px 0.50 against 0.55.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


@app.command()
def run(
    show: OptionalShow = None,
    windowed: Annotated[bool, typer.Option("--windowed", help="A window instead of the full screen.")] = False,
    headless: Annotated[bool, typer.Option("--headless", help="No window; a live preview page instead.")] = False,
    monitor: Annotated[str | None, typer.Option(help="Name, position (left, +1920+0) or index.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin at the show's beginning, not where it was.")] = False,
    osc_port: Annotated[int | None, typer.Option(help="Instead of the show's own.", min=0, max=65535)] = None,
    preview_port: Annotated[int | None, typer.Option(help="Instead of the show's own.", min=0, max=65535)] = None,
    take: Annotated[Path | None, typer.Option(help="Writes the performance down, into this folder.")] = None,
    replay: Annotated[bool, typer.Option("--replay", help="Plays the performance in the folder of --take.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Plays a show on the wall until it is closed: Escape twice, Ctrl-C, SIGTERM.

    Without a display it says so and runs headless. Models of the catalogue that are missing are added once.
    """
    from installation import takes
    from installation.children import resume
    from installation.service import runfolder
    from installation.service.lock import ShowLock
    from installation.service.notify import Notify
    from installation.service.store import Store
    from installation.service.supervisor import Supervisor

    log_to_stderr(verbose)
    changes = _screen_options(windowed, monitor, osc_port, preview_port)
    played = _take_to_play(take, show, changes) if replay else None
    path, config = played[:2] if played else opening.load_show(show or DEFAULT_SHOW, changes)
    if not headless and not _display():
        say("no display here: the show runs headless")
        headless = True
    lock = ShowLock(path, opening.state_folder())
    try:
        files = played[2] if played else opening.find_networks(config, path.parent)
        session = opening.open_session(
            path, config, headless=headless, verbose=verbose, files=files, whole=played is None
        )
        if played:
            session = session.model_copy(update={"take": path.parent, "replay": True, "refused": played[3].refused})
        elif take is not None:
            written = takes.begin(take.expanduser(), opening.anchored(config, path.parent), files)
            if written is not None:
                logging.info("the performance is written down in %s", written)
                session = session.model_copy(update={"take": written.resolve()})
        store = Store(session.identity, session.state_folder)
        folder, board, notes = runfolder.prepare(width=session.size[0], height=session.size[1])
        for note in notes:
            logging.info(note)
        try:
            session.write(folder.path)
            if not fresh and not replay:
                resume(board, session, store)
        except BaseException:
            board.close()
            folder.remove()
            raise
        commands = {
            role: [sys.executable, "-m", "installation", f"{role}-process", str(folder.path)]
            for role in ("wall", "engine")
        }
        notify = Notify(os.environ.get("NOTIFY_SOCKET"))
        code = Supervisor(folder, board, commands, store=store, notify=notify).run()
    finally:
        lock.close()
    raise typer.Exit(code)


@app.command()
def still(
    show: ShowArgument = DEFAULT_SHOW,
    at: Annotated[float, typer.Option(help="Show time in seconds.", min=0.0, max=_MOST_S)] = 0.0,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT; the cascade's own size if not given.")] = "",
    out: Annotated[Path, typer.Option("--out", "-o", help="The PNG to write.")] = Path("still.png"),
    seed: Annotated[int | None, typer.Option(help="Instead of the show's own.", min=0, max=4294967295)] = None,
    fit: Annotated[
        str | None, typer.Option(help="contain, cover, fill or native; the show's own if not given.")
    ] = None,
) -> None:
    """Makes one picture of the show: what the wall shows at a show time when nobody touches it."""
    wanted = _parse_size(size) if size else None
    if out.suffix.lower() != ".png" or out.is_dir():
        raise typer.BadParameter(f"{str(out)!r} is not a .png file", param_hint="--out")
    path, config = opening.load_show(show, {"screen": {"fit": fit}} if fit else {})
    if seed is not None:
        config = config.model_copy(update={"params": {**config.params, "walk/seed": seed}})
    session = opening.open_session(path, config, headless=True, verbose=False)
    from installation.output import stills
    from installation.still import picture

    frame = picture(session, at, wanted)
    stills.save(out, frame)
    say(f"{out}: {frame.shape[1]}x{frame.shape[0]}")


Size = Annotated[str, typer.Option(help="WIDTHxHEIGHT, such as 3840x2160; the cascade's own size if not given.")]
Fps = Annotated[str, typer.Option(help="24, 25, 30000/1001, 50, 60; 29.97 means 30000/1001.")]
Seconds = Annotated[float | None, typer.Option(help="Length, without leader.", min=0.0, max=_MOST_S)]
Frames = Annotated[int | None, typer.Option(help="Length in frames, instead.", min=1)]
Loop = Annotated[bool, typer.Option("--loop", help="A walk that closes: the last frame joins the first.")]
From = Annotated[float, typer.Option("--from", help="Show time of the first frame, in seconds.", min=0.0, max=_MOST_S)]
To = Annotated[float | None, typer.Option("--to", help="Show time of the end.", min=0.0, max=_MOST_S)]
Leader = Annotated[str, typer.Option(help="Black before and after, such as 5s.")]
PresetName = Annotated[str | None, typer.Option(help="The deliverable (--presets); the show's own if not given.")]
FitName = Annotated[str | None, typer.Option(help="contain, cover, fill or native; the show's own if not given.")]
FilmSeed = Annotated[int | None, typer.Option(help="Instead of the show's own.", min=0, max=4294967295)]
FilmOut = Annotated[Path | None, typer.Option("--out", "-o", help="The file, or folder of pictures.")]
FilmedTake = Annotated[
    Path | None, typer.Option(help="The performance in this folder; of SHOW only \\[record] counts.")
]
EncoderThreads = Annotated[int, typer.Option(help="Threads of the encoder; 0 = its own choice.", min=0, max=256)]


def _print_presets(wanted: bool) -> None:
    if wanted:
        from installation import cli_record

        answer(cli_record.presets_table())
        raise typer.Exit


@app.command()
def record(
    show: OptionalShow = None,
    size: Size = "",
    fps: Fps = "25",
    seconds: Seconds = None,
    frames: Frames = None,
    loop: Loop = False,
    start: From = 0.0,
    end: To = None,
    leader: Leader = "0s",
    preset: PresetName = None,
    fit: FitName = None,
    seed: FilmSeed = None,
    out: FilmOut = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a recording that was interrupted.")] = False,
    shards: Annotated[int, typer.Option(help="Make it in so many parts, by processes of their own.", min=1)] = 1,
    workers: Annotated[int, typer.Option(help="Processes for the shards; 0 = half the cores.", min=0)] = 0,
    executor: Annotated[str, typer.Option(help="local, or ray (extra `farm`).")] = "local",
    keep: Annotated[bool, typer.Option("--keep-segments", help="Leave the segments beside the film.")] = False,
    threads: EncoderThreads = 0,
    take: FilmedTake = None,
    presets: Annotated[
        bool, typer.Option("--presets", help="List the deliverables.", is_eager=True, callback=_print_presets)
    ] = False,
) -> None:
    """Makes a film of the show, or of a performance of it, frame by frame: the wall's loop with another clock, at any size.

    What is closed is never lost: after a kill, a full disk or a power cut the same command with --resume goes on.
    """
    from installation import cli_record

    log_to_stderr(False)
    recording = _planned(
        show, take, size, fps, seconds, frames, loop, start, end, leader, preset, fit, seed, out, threads, shards
    )
    cli_record.run(recording, resume=resume, keep=keep, workers=workers, executor=executor, say=say)


@shard_app.command("plan")
def shard_plan(
    shards: Annotated[int, typer.Option(help="In how many parts.", min=1)],
    plan: Annotated[Path, typer.Option("--plan", help="The file to write.")],
    show: OptionalShow = None,
    size: Size = "",
    fps: Fps = "25",
    seconds: Seconds = None,
    frames: Frames = None,
    loop: Loop = False,
    start: From = 0.0,
    end: To = None,
    leader: Leader = "0s",
    preset: PresetName = None,
    fit: FitName = None,
    seed: FilmSeed = None,
    out: FilmOut = None,
    threads: EncoderThreads = 0,
    take: FilmedTake = None,
) -> None:
    """Writes a plan that any scheduler can run: `shard run PLAN K` for each K from 0, then `shard join PLAN`."""
    from installation import cli_record

    recording = _planned(
        show, take, size, fps, seconds, frames, loop, start, end, leader, preset, fit, seed, out, threads, shards
    )
    # Whoever plans for a cluster may be without its GPUs.
    plan = cli_record.home(plan)
    recording.model_copy(update={"placement": ""}).write(plan)
    say(f"{plan}: {recording.shards} shards of {recording.segments} segments, {recording.film.total} frames")


PlanFile = Annotated[Path, typer.Argument(help="A file that `shard plan` wrote.", metavar="PLAN")]


@shard_app.command("run")
def shard_run(plan: PlanFile, number: Annotated[int, typer.Argument(metavar="K", min=0)]) -> None:
    """Makes shard K. Run again, it makes what is missing."""
    from installation import cli_record
    from installation.recording import Recording

    log_to_stderr(False)
    cli_record.run_shard(Recording.read(plan), number, say)


@shard_app.command("join")
def shard_join(
    plan: PlanFile,
    keep: Annotated[bool, typer.Option("--keep-segments", help="Leave the segments beside the film.")] = False,
) -> None:
    """Joins the shards into the film; nothing is encoded again."""
    from installation import cli_record
    from installation.recording import Recording

    cli_record.join_shards(Recording.read(plan), keep=keep, say=say)


@shard_app.command("work", hidden=True)
def shard_work(plan: PlanFile) -> None:
    """One of a farm's workers."""
    from installation import cli_record

    cli_record.work(plan)


def _planned(show: str | None, take: Path | None, size: str, *wishes: Any) -> Any:
    """The Recording that the options of `record` and `shard plan` ask for. wishes: the fields of a Wish behind its size."""
    from installation import cli_record

    wish = cli_record.Wish(_parse_size(size) if size else None, *wishes)
    return _recording(show or DEFAULT_SHOW, wish) if take is None else _recording_of_take(take, show, wish)


def _recording(show: str, wish: Any) -> Any:
    """The Recording of a Wish."""
    from installation import cli_record

    path, config = opening.load_show(show, {"screen": {"fit": wish.fit}} if wish.fit else {})
    return cli_record.plan(
        path, config, wish, lambda changed: opening.open_session(path, changed, headless=True, verbose=False), say
    )


def _recording_of_take(folder: Path, show: str | None, wish: Any) -> Any:
    """The Recording of a Wish for a performance. show: whose table [record] counts instead of the take's own."""
    from installation import cli_record, takes

    changes: dict[str, dict[str, Any]] = {"screen": {"fit": wish.fit}} if wish.fit else {}
    place = folder = folder.expanduser().resolve()
    if show is not None:
        path, config = opening.load_show(show, {})
        place, changes["record"] = path.parent, config.record.model_dump()
    header = takes.header(folder, changes)
    played = takes.checked(folder, header.show)
    wish = cli_record.of_take(wish, played.duration_s)
    files = takes.networks(header, played.models)
    absent = set(header.show.networks) - files.keys()

    def open_session(config: Show) -> Session:
        """The take's own networks, and those of [record] behind them."""
        found = opening.find_networks(config, place, files, absent)
        session = opening.open_session(folder, config, headless=True, verbose=False, files=found, whole=False)
        return session.model_copy(update={"refused": played.refused})

    recording = cli_record.plan(folder, header.show, wish, open_session, say)
    shown = tuple(name for name in header.show.model_names() if name in played.models)
    return recording.model_copy(update={"take": folder, "take_sha256": takes.log_sha256(folder), "shown": shown})


@app.command(name="join")
def join_segments(
    folder: Annotated[Path, typer.Argument(help="NAME.mp4.segments, which a recording left when it was killed.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The film; NAME.mp4 if not given.")] = None,
    gaps: Annotated[bool, typer.Option("--gaps", help="Without what is missing or damaged: a cut for each.")] = False,
) -> None:
    """Makes a film of the closed segments of a recording that was cut off. The segments stay."""
    from installation import cli_record
    from installation.output.video.join import join
    from installation.output.video.manifest import require_head
    from installation.output.video.presets import preset

    kind = preset(require_head(folder).preset)
    name = folder.absolute().with_name(folder.absolute().name.removesuffix(".segments"))
    out = cli_record.film_path(folder, out or name, kind)
    if out.exists():
        raise OutputError("is there already", where=str(out), fix="Name another file with --out")
    with cli_record.stoppable("the same command makes the film"):
        frames = join(folder, out, remedy=lambda _: "With --gaps it is left out", leave_out=say if gaps else None)
    say(f"{out}: {frames} frames")


@app.command()
def params(
    form: Annotated[str, typer.Option("--format", help="table, markdown or json.")] = "table",
    show: Annotated[str | None, typer.Option(help="Of this show: its looks and first values.")] = None,
) -> None:
    """The live parameters: OSC address, range, unit, what each does."""
    from installation.show.params import parameter_table

    table = parameter_table() if show is None else opening.load_show(show, {})[1].table()
    from installation import listing

    if form == "json":
        answer(json.dumps(listing.as_json(table), indent=2))
    elif form == "markdown":
        answer(listing.as_markdown(table).removesuffix("\n"))
    elif form == "table":
        answer(listing.as_table(table))
    else:
        raise typer.BadParameter("table, markdown or json is wanted", param_hint="--format")


@app.command()
def monitors() -> None:
    """The monitors that `--monitor` and a show's `screen.monitor` can name."""
    from rich.table import Table

    from installation.output.monitors import list_monitors

    table = Table("index", "name", "position", "size", "rate", "millimetres", "")
    for row in list_monitors():
        table.add_row(
            str(row.index),
            cell(row.name),
            f"+{row.x}+{row.y}",
            f"{row.width}x{row.height}",
            f"{row.refresh_hz:g} Hz" if row.refresh_hz else "unknown",
            f"{row.mm[0]}x{row.mm[1]}",
            "primary" if row.primary else "",
        )
    answer(table)


def _addresses(incomplete: str) -> list[str]:
    """For the shell's completion: every parameter's address, and the axes of the shows that ship and of those in this folder."""
    from installation import resources
    from installation.show import config
    from installation.show.params import parameter_table

    addresses = {row.address: None for row in parameter_table()}
    for path in [*(resources.show_config(name) for name in resources.shows()), *sorted(Path().glob("*.toml"))]:
        try:
            addresses |= {row.address: None for row in config.load(path).table()}
        except InstallationError:  # another program's file, or a show in the making
            continue
    return [address for address in addresses if address.startswith(incomplete)]


# Unknown options are passed on: a negative number looks like one.
@app.command(name="osc-send", context_settings={"ignore_unknown_options": True})
def osc_send(
    address: Annotated[str, typer.Argument(help="For example /installation/drift/speed", autocompletion=_addresses)],
    args: Annotated[list[str] | None, typer.Argument(help="Numbers, true, false or text; none asks.")] = None,
    host: Annotated[str, typer.Option(help="Where the wall listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 9000,
    wait: Annotated[float, typer.Option(help="Seconds to wait for a reply to a question.", min=0.0)] = 1.0,
) -> None:
    """Sends one OSC message; without arguments it asks for the value and prints the reply."""
    from installation.control.osc_send import send
    from installation.control.pattern import is_pattern
    from installation.show.params import parameter_table

    for text in (address, *(args or [])):
        if re.match("--?[a-zA-Z]", text):
            raise typer.BadParameter(f"no such option; as text, write '\"{text}\"'", param_hint=text)
    if not args and is_pattern(address):
        raise typer.BadParameter("a pattern sets and does not ask: give a value", param_hint="address")
    # A press is answered by nothing.
    asks = args in (None, [], ["?"]) and not any(
        row.address == address and row.kind == "button" for row in parameter_table()
    )
    reply = send(host, port, address, args or [], wait_reply=wait if asks else None)
    if not asks:
        return
    if not reply:
        fix = "Is a show running there, with this OSC port, and has it this address? (`installation params` names all)"
        raise InstallationError("no reply", where=f"{host}:{port}", fix=fix)
    for _, values in reply:
        # OSC's floats have seven digits; the rest would be noise.
        answer(" ".join(f"{value:.7g}" if isinstance(value, float) else str(value) for value in values))


@app.command()
def doctor() -> None:
    """What this machine can do, and what to do about what it cannot."""
    from installation.service import doctor as examiner

    findings = examiner.examine(display=_display())
    answer(examiner.render(findings))
    raise typer.Exit(examiner.exit_code(findings))


@app.command("wall-process", hidden=True)
def wall_process(run_folder: Path) -> None:
    """One of the supervisor's two children: the wall."""
    from installation.children import wall_main

    raise typer.Exit(wall_main(run_folder, log_to_stderr))


@app.command("engine-process", hidden=True)
def engine_process(run_folder: Path) -> None:
    """One of the supervisor's two children: the engine."""
    from installation.children import engine_main

    raise typer.Exit(engine_main(run_folder, log_to_stderr))


@app.command(name="recorder-process", hidden=True)
def recorder_process(run_folder: Path, film: Path) -> None:
    """The wall's child: films it."""
    from installation.recorder import recorder_main

    raise typer.Exit(recorder_main(run_folder, film, log_to_stderr))


def _take_to_play(
    folder: Path | None, show: str | None, changes: dict[str, dict[str, Any]]
) -> tuple[Path, Show, dict[str, Path], Extent]:
    """A take's header file, its show, the files of its networks, each the very one it was played with, and what is in it."""
    from installation import takes
    from installation.control.take_files import HEADER

    if folder is None:
        raise typer.BadParameter("name the take's folder with --take", param_hint="--replay")
    if show is not None:
        raise typer.BadParameter(f"the take has its own show; leave out {show!r}", param_hint="--replay")
    folder = folder.expanduser().resolve()
    header = takes.header(folder, changes)
    found = takes.checked(folder, header.show)
    say(f"a take of {_duration(found.duration_s)}, {found.messages} messages")
    return folder / HEADER, header.show, takes.networks(header, found.models), found


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _screen_options(
    windowed: bool, monitor: str | None, osc_port: int | None, preview_port: int | None
) -> dict[str, dict[str, Any]]:
    changes: dict[str, dict[str, Any]] = {"screen": {}, "osc": {}, "preview": {}}
    if windowed:
        changes["screen"]["fullscreen"] = False
    if monitor is not None:
        changes["screen"]["monitor"] = int(monitor) if monitor.isdecimal() else monitor
    if osc_port is not None:
        changes["osc"]["port"] = osc_port
    if preview_port is not None:
        changes["preview"]["port"] = preview_port
    return {table: keys for table, keys in changes.items() if keys}


def _display() -> str:
    """The display the environment names; "" for none. macOS and Windows always have one."""
    if sys.platform in ("darwin", "win32"):
        return sys.platform
    return os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY") or ""


def _parse_size(text: str) -> tuple[int, int]:
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 2 or not all(part.isdecimal() and 1 <= int(part) <= 16384 for part in parts):
        raise typer.BadParameter(f"{text!r} is not WIDTHxHEIGHT with 1 to 16384 pixels each", param_hint="--size")
    return int(parts[0]), int(parts[1])
