"""The verbs that make films: record, shard, join. Part of the command line; everything is imported when a verb runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from installation import opening
from installation.cli.options import DEFAULT_SHOW, MOST_S, OptionalShow, parse_size
from installation.errors import OutputError
from installation.files import home
from installation.terminal import answer, log_to_stderr, say

if TYPE_CHECKING:
    from installation.film.recording import Recording
    from installation.film.wish import Wish
    from installation.session import Session
    from installation.show.config import Show

shard_app = typer.Typer(name="shard", help="A film in parts, for farms and schedulers.", no_args_is_help=True)

Size = Annotated[str, typer.Option(help="WIDTHxHEIGHT, such as 3840x2160; the cascade's own size if not given.")]
Fps = Annotated[str, typer.Option(help="24, 25, 30000/1001, 50, 60; 29.97 means 30000/1001.")]
Seconds = Annotated[float | None, typer.Option(help="Length, without leader.", min=0.0, max=MOST_S)]
Frames = Annotated[int | None, typer.Option(help="Length in frames, instead.", min=1)]
Loop = Annotated[bool, typer.Option("--loop", help="A walk that closes: the last frame joins the first.")]
From = Annotated[float, typer.Option("--from", help="Show time of the first frame, in seconds.", min=0.0, max=MOST_S)]
To = Annotated[float | None, typer.Option("--to", help="Show time of the end.", min=0.0, max=MOST_S)]
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
        from installation.cli import filming

        answer(filming.presets_table())
        raise typer.Exit


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
    from installation.cli import filming

    log_to_stderr(False)
    recording = _planned(
        show,
        take,
        size=size,
        fps=fps,
        seconds=seconds,
        frames=frames,
        loop=loop,
        start_s=start,
        end_s=end,
        leader=leader,
        preset=preset,
        fit=fit,
        seed=seed,
        out=out,
        threads=threads,
        shards=shards,
    )
    filming.run(recording, resume=resume, keep=keep, workers=workers, executor=executor, say=say)


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
        show,
        take,
        size=size,
        fps=fps,
        seconds=seconds,
        frames=frames,
        loop=loop,
        start_s=start,
        end_s=end,
        leader=leader,
        preset=preset,
        fit=fit,
        seed=seed,
        out=out,
        threads=threads,
        shards=shards,
    )
    # Whoever plans for a cluster may be without its GPUs.
    plan = home(plan)
    recording.model_copy(update={"placement": ""}).write(plan)
    say(f"{plan}: {recording.shards} shards of {recording.segments} segments, {recording.film.total} frames")


PlanFile = Annotated[Path, typer.Argument(help="A file that `shard plan` wrote.", metavar="PLAN")]


@shard_app.command("run")
def shard_run(plan: PlanFile, number: Annotated[int, typer.Argument(metavar="K", min=0)]) -> None:
    """Makes shard K. Run again, it makes what is missing."""
    from installation.cli import filming
    from installation.film.recording import Recording

    log_to_stderr(False)
    filming.run_shard(Recording.read(plan), number, say)


@shard_app.command("join")
def shard_join(
    plan: PlanFile,
    keep: Annotated[bool, typer.Option("--keep-segments", help="Leave the segments beside the film.")] = False,
) -> None:
    """Joins the shards into the film; nothing is encoded again."""
    from installation.cli import filming
    from installation.film.recording import Recording

    filming.join_shards(Recording.read(plan), keep=keep, say=say)


@shard_app.command("work", hidden=True)
def shard_work(plan: PlanFile) -> None:
    """One of a farm's workers."""
    from installation.cli import filming

    filming.work(plan)


def _planned(show: str | None, take: Path | None, *, size: str, **wishes: Any) -> Recording:
    """The Recording that the options of `record` and `shard plan` ask for. wishes: the other fields of a Wish."""
    from installation.film.wish import Wish

    wish = Wish(size=parse_size(size) if size else None, **wishes)
    return _of_show(show or DEFAULT_SHOW, wish) if take is None else of_take(take, show, wish)


def _of_show(show: str, wish: Wish) -> Recording:
    from installation.film.wish import plan

    path, config = opening.load_show(show, {"screen": {"fit": wish.fit}} if wish.fit else {})
    return plan(
        path, config, wish, lambda changed: opening.open_session(path, changed, headless=True, verbose=False), say
    )


def of_take(folder: Path, show: str | None, wish: Wish) -> Recording:
    """The Recording of a Wish for a performance. show: whose table [record] counts instead of the take's own."""
    from installation import takes
    from installation.film.wish import cut_to, plan

    changes: dict[str, dict[str, Any]] = {"screen": {"fit": wish.fit}} if wish.fit else {}
    place = folder = home(folder).resolve()
    if show is not None:
        path, config = opening.load_show(show, {})
        place, changes["record"] = path.parent, config.record.model_dump()
    header = takes.header(folder, changes)
    played = takes.checked(folder, header.show)
    wish = cut_to(played.duration_s, wish)
    files = takes.networks(header, played.models)
    absent = set(header.show.networks) - files.keys()

    def open_session(config: Show) -> Session:
        """The take's own networks, and those of [record] behind them."""
        found = opening.find_networks(config, place, files, absent)
        session = opening.open_session(folder, config, headless=True, verbose=False, files=found, whole=False)
        return session.model_copy(update={"refused": played.refused})

    recording = plan(folder, header.show, wish, open_session, say)
    shown = tuple(name for name in header.show.model_names() if name in played.models)
    return recording.model_copy(update={"take": folder, "take_sha256": takes.log_sha256(folder), "shown": shown})


def join_film(
    folder: Annotated[Path, typer.Argument(help="NAME.mp4.segments, which a recording left when it was killed.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The film; NAME.mp4 if not given.")] = None,
    gaps: Annotated[bool, typer.Option("--gaps", help="Without what is missing or damaged: a cut for each.")] = False,
) -> None:
    """Makes a film of the closed segments of a recording that was cut off. The segments stay."""
    from installation.cli import filming
    from installation.film.wish import film_path
    from installation.output.video.join import join
    from installation.output.video.manifest import require_head
    from installation.output.video.presets import preset

    kind = preset(require_head(folder).preset)
    name = folder.absolute().with_name(folder.absolute().name.removesuffix(".segments"))
    out = film_path(folder, out or name, kind)
    if out.exists():
        raise OutputError("is there already", where=str(out), fix="Name another file with --out")
    with filming.stoppable("the same command makes the film"):
        frames = join(folder, out, remedy=lambda _: "With --gaps it is left out", leave_out=say if gaps else None)
    say(f"{out}: {frames} frames")
