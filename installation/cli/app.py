"""The program, and the verbs of a running show.

Only the command line reads arguments and the environment. Nothing heavy is imported before a verb needs it:
`installation --help` loads neither torch nor GL nor numpy.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from installation import opening
from installation.cli import judging, models, record, training
from installation.cli.options import DEFAULT_SHOW, MOST_S, OptionalShow, ShowArgument, parse_size
from installation.errors import ConfigError, InstallationError, OutputError
from installation.files import home
from installation.terminal import answer, cell, fill_streams, log_to_stderr, printable, say, width

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from installation.show.config import Show
    from installation.show.replay import Extent

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


def main() -> None:
    """The console script. An InstallationError becomes one clear message and its exit code."""
    fill_streams()
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
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log more: also what is heard by OSC and MIDI.")
    ] = False,
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
            written = takes.begin(home(take), opening.anchored(config, path.parent), files)
            if written is not None:
                log.info("the performance is written down in %s", written)
                session = session.model_copy(update={"take": written.resolve()})
        store = Store(session.identity, session.state_folder)
        folder, board, notes = runfolder.prepare(width=session.size[0], height=session.size[1])
        for note in notes:
            log.info(note)
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
    at: Annotated[float | None, typer.Option(help="Show time in seconds; 0 if not given.", min=0.0, max=MOST_S)] = None,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT; the cascade's own size if not given.")] = "",
    out: Annotated[Path, typer.Option("--out", "-o", help="The PNG to write.")] = Path("still.png"),
    seed: Annotated[int | None, typer.Option(help="Instead of the show's own.", min=0, max=4294967295)] = None,
    fit: Annotated[
        str | None, typer.Option(help="contain, cover, fill or native; the show's own if not given.")
    ] = None,
    like: Annotated[
        Path | None, typer.Option(help="A snapshot or still of this show, drawn again from what stands in its file.")
    ] = None,
) -> None:
    """Makes one picture of the show: what the wall shows at a show time when nobody touches it, or what it showed once (--like)."""
    wanted = parse_size(size) if size else None
    if out.suffix.lower() != ".png" or out.is_dir():
        raise typer.BadParameter(f"{str(out)!r} is not a .png file", param_hint="--out")
    if like is not None and (at is not None or seed is not None):
        raise typer.BadParameter("the picture has a time and a seed of its own", param_hint="--like")
    path, config = opening.load_show(show, {"screen": {"fit": fit}} if fit else {})
    if seed is not None:
        config = config.model_copy(update={"params": {**config.params, "walk/seed": seed}})
    from installation.output import stills
    from installation.show import recall

    again = None
    if like is not None:
        note = stills.note(like, recall.NOTE)
        if note is None:
            fix = "Snapshots and stills do, until another program saves them anew"
            raise ConfigError("does not say what made it", where=str(like), fix=fix)
        again = recall.recalled(note, config, str(like))
        if not again.same:
            say(f"{like}: the show's networks, axes, walk or looks were changed since; the picture may be another")
    session = opening.open_session(path, config, headless=True, verbose=False)
    from installation.film.still import picture, state_at

    state, rotate = (again.state, again.rotate) if again else (state_at(config, at or 0.0), config.screen.rotate)
    frame = picture(session, state, wanted, rotate=rotate)
    stills.save(out, frame, notes=recall.notes(recall.seen(state, state), config, rotate=rotate))
    say(f"{out}: {frame.shape[1]}x{frame.shape[0]}")


@app.command()
def params(
    form: Annotated[str, typer.Option("--format", help="table, markdown or json.")] = "table",
    show: Annotated[str | None, typer.Option(help="Of this show: its looks and first values.")] = None,
) -> None:
    """The live parameters: OSC address, range, unit, what each does."""
    from installation.show.params import parameter_table

    table = list(parameter_table())
    if show is not None:
        _, config = opening.load_show(show, {})
        table = [
            row if row.kind == "button" else replace(row, default=config.first_value(row.name))
            for row in config.table()
        ]
    from installation.cli import listing

    if form == "json":
        answer(json.dumps(listing.as_json(table), indent=2))
    elif form == "markdown":
        answer(listing.as_markdown(table).removesuffix("\n"))
    elif form == "table":
        answer(listing.as_table(table, width()))
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
            row.place,
            f"{row.width}x{row.height}",
            f"{row.refresh_hz:g} Hz" if row.refresh_hz else "unknown",
            f"{row.mm[0]}x{row.mm[1]}",
            "primary" if row.primary else "",
        )
    answer(table)


def _addresses(incomplete: str) -> list[str]:
    """For the shell's completion: every parameter's address, and the axes of the shows that ship and of those in this folder."""
    from installation import resources
    from installation.show import reading
    from installation.show.params import parameter_table

    addresses = {row.address: None for row in parameter_table()}
    for path in [*(resources.show_config(name) for name in resources.shows()), *sorted(Path().glob("*.toml"))]:
        try:
            addresses |= {row.address: None for row in reading.load(path).table()}
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
    wait: Annotated[
        float, typer.Option(help="Seconds to wait for a reply; 0: none is wanted.", min=0.0, max=86400.0)
    ] = 1.0,
) -> None:
    """Sends one OSC message, and says so if the wall did not take it; without arguments it asks for the value and prints the reply."""
    from installation.control.osc_send import agrees, errand, put, send, typed
    from installation.control.pattern import is_pattern

    for text in (address, *(args or [])):
        if re.match("--?[a-zA-Z]", text):
            raise typer.BadParameter(f"no such option; as text, write '\"{text}\"'", param_hint=text)
    if not args and is_pattern(address):
        raise typer.BadParameter("a pattern sets and does not ask: give a value", param_hint="address")
    args, wanted = args or [], errand(address, args or [])
    fix = (
        "Is a show running there, with this OSC port, does its `allow` name this machine, and has it this address? "
        "(`installation params` names all)"
    )
    silence = OutputError("no reply", where=f"{host}:{port}", fix=fix)
    if wanted == "ask":
        if not (reply := send(host, port, address, args, wait_reply=wait)):
            raise silence
        for _, values in reply:
            answer(" ".join(map(_osc_text, values)))
    elif wanted == "set" and wait > 0.0:
        if (said := put(host, port, address, args, wait_s=wait)) is None:
            raise silence
        if not agrees(address, typed(args[0])[1], said):
            fix = f"The show has no {args[0]:.60} there or refused the ramp time, or something else plays it; the wall's log says more"
            raise ConfigError(f"is still {_osc_text(said, quoted=True)}", where=address, fix=fix)
    else:
        send(host, port, address, args)


def _osc_text(value: object, *, quoted: bool = False) -> str:
    # OSC's floats have seven digits; the rest would be noise.
    return f"{value:.7g}" if isinstance(value, float) else repr(value) if quoted else str(value)


@app.command()
def listen(
    port: Annotated[str, typer.Option(help="A part of the MIDI port's name; empty = the first there is.")] = "",
    to: Annotated[str, typer.Option(help="The parameter that the stanzas name, as axis/smile.")] = "",
    osc: Annotated[
        int | None, typer.Option(help="Hears OSC on this port of this machine, too.", min=0, max=65535)
    ] = None,
    show: Annotated[str | None, typer.Option(help="Whose parameters count; else those that every show has.")] = None,
) -> None:
    """Prints what a MIDI controller sends, each control once and ready for the show's file; with --osc what a console sends.

    Ctrl-C ends it.
    """
    from installation.show.params import PREFIX, parameter_table

    table = parameter_table() if show is None else opening.load_show(show, {})[1].table()
    target = to.removeprefix(f"{PREFIX}/")
    # Without a show nobody knows its axes and scenes.
    if target and target not in table and (show or not re.fullmatch("(axis|scene)/[a-z0-9_-]{1,32}", target)):
        raise typer.BadParameter(f"no parameter {to!r:.60}; `installation params` names all", param_hint="--to")
    from installation.control import hearing

    with contextlib.suppress(KeyboardInterrupt):
        hearing.run(
            table, port=port, to=target or "NAME", osc=osc, print_=lambda text: answer(printable(text)), say=say
        )


@app.command()
def doctor() -> None:
    """What this machine can do, and what to do about what it cannot."""
    from installation.service import doctor as examiner

    findings = examiner.examine(display=_display())
    answer(examiner.render(findings))
    raise typer.Exit(examiner.exit_code(findings))


app.command()(record.record)
app.command(name="join")(record.join_film)
app.add_typer(record.shard_app)
app.add_typer(models.models_app)
app.command()(training.atelier)
app.add_typer(training.data_app, name="data")
app.add_typer(training.train_app, name="train")
app.add_typer(judging.judge_app, name="judge")
app.add_typer(judging.runs_app, name="runs")


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
    from installation.film.live import recorder_main

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
    folder = home(folder).resolve()
    # A take may be a stranger's, or another house's: here it opens no port to a network and tells no console.
    changes["osc"] = {"host": "127.0.0.1", "allow": [], "feedback": [], **changes.get("osc", {})}
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
        changes["screen"]["monitor"] = monitor
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
