"""The verbs that make: data, train, atelier. Everything is imported when a verb runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from installation.terminal import answer, say

if TYPE_CHECKING:
    from installation.training.loop import Outcome, Progress

MOST_NAMED = 20

data_app = typer.Typer(help="Pictures in: judged, cropped, packed.", no_args_is_help=True)
train_app = typer.Typer(help="Networks trained, continued.", no_args_is_help=True)

Minutes = Annotated[float | None, typer.Option(help="Stop after so many minutes.", min=0.0)]
Kimg = Annotated[float | None, typer.Option(help="Stop at so many thousand images in all.", min=0.0)]
Resume = Annotated[
    str, typer.Option(help="`auto` goes on with what the folder holds, `never` begins no run where one is.")
]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE changes one field of the config.")]
Workers = Annotated[
    int | None,
    typer.Option(
        help="Processes; one a core if not given. A picture of 100 megapixels takes one of them 3 GB.", min=1, max=61
    ),
]
# What every generator of random numbers takes, also with one added.
Seed = Annotated[int, typer.Option(help="Of everything that is drawn.", min=0, max=4_000_000_000)]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]


@data_app.command("scan")
def data_scan(
    folders: list[Path],
    manifest: Annotated[Path, typer.Option(help="Where every picture and score is written.")],
    size: Annotated[
        int | None,
        typer.Option(help="Edge of the crops that are wanted, px: what it hides is no reason.", min=16, max=4096),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Measure everything anew.")] = False,
    text: Annotated[bool, typer.Option(help="Look for text and watermarks too.")] = True,
    drawings: Annotated[
        bool, typer.Option("--drawings", help="Engravings, paintings and drawings are as welcome as photographs.")
    ] = False,
    workers: Workers = None,
) -> None:
    """Scores every picture below the folders and decides: keep, drop, uncertain. Interrupted, it goes on."""
    from installation.training.data.rules import DRAWINGS_TOO, Rules
    from installation.training.data.scan import scan

    rules = Rules(size=size, drawing=DRAWINGS_TOO) if drawings else Rules(size=size)
    with counted("scanning") as tell:
        summary = scan(folders, manifest, workers=workers, progress=tell, resume=not again, rules=rules, with_text=text)
    answer(" · ".join(f"{decision} {count}" for decision, count in summary.counts.items()))
    for reason, count in sorted(summary.dropped.items(), key=lambda row: -row[1]):
        answer(f"  dropped for {reason}: {count}")
    for reason, count in sorted(summary.asked.items(), key=lambda row: -row[1]):
        answer(f"  uncertain for {reason}: {count}")
    for name, why in list(summary.unreadable.items())[:MOST_NAMED]:
        say(f"  {name}: {why}")
    if (more := len(summary.unreadable) - MOST_NAMED) > 0:
        say(f"  and {more} more that cannot be read: they are in the manifest")
    if summary.gone:
        say(f"  of the manifest's pictures not there now: {summary.gone} (what was decided by hand is kept)")
    for missing in summary.missing:
        say(f"  not measured: {missing}")


@data_app.command("review")
def data_review(manifest: Path, port: Annotated[int, typer.Option(min=0, max=65535)] = 0) -> None:
    """A page on this machine to keep or drop the uncertain ones quickly. Ends with Ctrl-C."""
    from installation.training.data.review import serve

    counts = serve(manifest, port, ready=lambda address: answer(f"{address}  (k keep, d drop, u undo)"))
    answer(" · ".join(f"{decision} {count}" for decision, count in counts.items()))


@data_app.command("sheet")
def data_sheet(
    manifest: Path,
    out: Annotated[Path, typer.Option("--out", "-o", help="The PNG to write.")] = Path("sheet.png"),
    decision: Annotated[str, typer.Option(help="keep, drop or uncertain.")] = "uncertain",
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=4096)] = 64,
) -> None:
    """A contact sheet of the pictures so decided."""
    from installation.training.data.sheet import sheet

    if decision not in ("keep", "drop", "uncertain"):
        raise typer.BadParameter("keep, drop or uncertain is wanted", param_hint="--decision")
    if out.suffix.lower() != ".png":
        raise typer.BadParameter(f"{str(out)!r} is not a .png file", param_hint="--out")
    made = sheet(manifest, out, decision=decision, limit=limit)
    among = f" of {made.among}" if made.shown < made.among else ""
    answer(f"{out}: {made.shown}{among} pictures")


@data_app.command("align")
def data_align(
    manifest: Path,
    out: Path,
    size: Annotated[int, typer.Option(help="Edge of the crops, px.", min=16, max=4096)],
    uncertain: Annotated[bool, typer.Option("--uncertain", help="The uncertain ones too.")] = False,
    workers: Workers = None,
) -> None:
    """Cuts the faces of the kept pictures, FFHQ's way, never enlarged."""
    from installation.training.data.align import align

    with counted("aligning") as tell:
        aligned = align(manifest, out, size=size, uncertain=uncertain, workers=workers, progress=tell)
    answer(f"{aligned.crops} crops of {aligned.pictures} pictures")
    for reason, count in sorted(aligned.passed.items(), key=lambda row: -row[1]):
        answer(f"  none for {reason}: {count}")


@data_app.command("pack")
def data_pack(
    manifest: Path,
    out: Path,
    size: Annotated[int, typer.Option(help="Edge of the pictures, px.", min=16, max=4096)],
    licence: Annotated[list[str] | None, typer.Option(help="FOLDER=LICENCE, goes into every model card.")] = None,
    uncertain: Annotated[bool, typer.Option("--uncertain", help="The uncertain ones too.")] = False,
) -> None:
    """Packs the crops of the kept pictures into one dataset file that loads at once."""
    from installation.training.data.pack import pack

    with counted("packing") as tell:
        licences = pairs(licence, "--licence")
        dataset = pack(manifest, out, size=size, licences=licences, uncertain=uncertain, progress=tell)
    answer(f"{out}: {len(dataset)} pictures of {dataset.size} px")


@data_app.command("check")
def data_check(dataset: Path) -> None:
    """Reads a dataset file whole and holds it against the sum it was written with."""
    from installation.training.dataset import open_dataset

    found = open_dataset(dataset)
    found.verify()
    answer(f"{dataset}: {len(found)} pictures of {found.size} px, as they were written")


@data_app.command("crops")
def data_crops(
    folder: Path,
    out: Path,
    size: Annotated[int, typer.Option(help="Edge of the windows, px.", min=32, max=1024)] = 256,
    per_picture: Annotated[int, typer.Option(min=1, max=1000)] = 8,
    licence: Annotated[str, typer.Option(help="The pictures' licence, goes into every model card.")] = "",
) -> None:
    """Packs detailed windows of high-resolution pictures, for training a stage."""
    from installation.training.stage.crops import make_crops

    with shared("cropping") as tell:
        dataset = make_crops(folder, out, size=size, per_picture=per_picture, licence=licence, progress=tell)
    answer(f"{out}: {len(dataset)} windows of {dataset.size} px")
    if passed := {why: count for why, count in dataset.manifest["dropped"].items() if count}:
        answer("passed over: " + ", ".join(f"{why.replace('_', ' ')} {count}" for why, count in passed.items()))


@train_app.command()
def base(
    dataset: Path,
    out: Path,
    config: Annotated[str, typer.Option(help="tiny, c64, b128, b256 or a256.")] = "tiny",
    minutes: Minutes = None,
    kimg: Kimg = None,
    resume: Resume = "auto",
    seed: Seed = 0,
    device: Device = "auto",
    warm_start: Annotated[Path | None, typer.Option(help="A checkpoint of the same shape, or a run's folder.")] = None,
    overrides: Overrides = None,
) -> None:
    """Trains stage 0. Killed at any moment, the same command goes on."""
    from installation.training.base.train import train_base

    outcome = train_base(
        dataset,
        out,
        config=config,
        minutes=minutes,
        kimg=kimg,
        resume=resume,
        seed=seed,
        device=device,
        overrides=pairs(overrides, "--set"),
        warm_start_from=warm_start,
        progress=_say_progress,
    )
    _say_outcome(outcome)


@train_app.command()
def stage(
    dataset: Path,
    out: Path,
    config: Annotated[str, typer.Option(help="nano, realtime or tile4k.")] = "nano",
    scale: Annotated[int, typer.Option(min=2, max=4)] = 4,
    previous: Annotated[list[Path] | None, typer.Option(help="The cascade before it, base first.")] = None,
    perceptual: Annotated[
        bool,
        typer.Option(
            "--perceptual", help="EfficientNet-Lite0 features in the loss (extra `eval`); flatters KD and SW2."
        ),
    ] = False,
    minutes: Minutes = None,
    kimg: Kimg = None,
    resume: Resume = "auto",
    seed: Seed = 0,
    device: Device = "auto",
    overrides: Overrides = None,
) -> None:
    """Trains an enlarging stage on windows of high-resolution pictures and on samples of the cascade before it."""
    from installation.training.features.efficientnet import find_weights
    from installation.training.run_info import network_in
    from installation.training.stage.trainer import train_stage

    outcome = train_stage(
        dataset,
        out,
        config=config,
        scale=scale,
        minutes=minutes,
        kimg=kimg,
        resume=resume,
        seed=seed,
        device=device,
        overrides=pairs(overrides, "--set"),
        previous=[network_in(path) for path in previous or ()] or None,
        features=find_weights() if perceptual else None,
        progress=_say_progress,
    )
    _say_outcome(outcome)


def atelier(
    pictures: Annotated[list[Path], typer.Argument(help="One or more folders of photographs.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for everything that is made.")],
    minutes: Annotated[float, typer.Option(help="Of training, over all calls together.", min=0.1)] = 30.0,
    kimg: Annotated[
        float | None, typer.Option(help="Instead of minutes: thousands of images for each network.", min=0.001)
    ] = None,
    config: Annotated[str, typer.Option(help="Of the base: tiny, c64, b128, b256 or a256.")] = "tiny",
    stage_config: Annotated[str, typer.Option(help="nano, realtime or tile4k.")] = "nano",
    n: Annotated[int, typer.Option(help="Pictures each judgement makes.", min=50, max=50000)] = 1000,
    licence: Annotated[list[str] | None, typer.Option(help="FOLDER=LICENCE, goes into every model card.")] = None,
    text: Annotated[bool, typer.Option(help="Look for text and watermarks too.")] = True,
    seed: Seed = 0,
    device: Device = "auto",
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="base.KEY=VALUE or stage.KEY=VALUE changes a config's field.")
    ] = None,
    run: Annotated[bool, typer.Option("--run", help="Then play the show on the wall.")] = False,
) -> None:
    """The whole way: photographs judged and cropped, a base and a stage trained and judged, a show for the wall.

    Killed at any moment, the same command goes on.
    """
    from installation.training.atelier import AtelierOptions, Listeners, make

    sets: dict[str, dict[str, str]] = {"base": {}, "stage": {}}
    for key, value in pairs(overrides, "--set").items():
        network, dot, name = key.partition(".")
        if not dot or network not in sets:
            raise typer.BadParameter(f"{key!r} begins with neither base. nor stage.", param_hint="--set")
        sets[network][name] = value
    options = AtelierOptions(
        minutes=minutes,
        kimg=kimg,
        config=config,
        stage_config=stage_config,
        base_set=sets["base"],
        stage_set=sets["stage"],
        n=n,
        seed=seed,
        device=device,
        licences=pairs(licence, "--licence"),
        with_text=text,
    )
    with counted("") as tell:
        listeners = Listeners(
            begins=lambda what: say(f"{what} …"),
            counted=tell,
            shared=lambda what, share: tell(round(1000 * share), 1000, what) if share is not None else None,
            trained=_say_progress,
        )
        made = make(pictures, out, options, listeners)
    if made.show is None:
        answer("stopped; the same command goes on")
        return
    for judgement in made.judgements:
        answer(f"{judgement.kind}: {judgement.headline()}")
    if not made.scale:
        answer("no stage: too few faces are large enough for one; `installation train stage` takes any large pictures")
    if not run:
        answer(f"{made.show}\nplay it:  installation run {made.show}")
        return
    answer(str(made.show))
    sys.stdout.flush()
    words = [sys.executable, "-m", "installation", "run", str(made.show)]
    if sys.platform == "win32":  # where exec leaves the shell without waiting
        raise typer.Exit(subprocess.call(words))
    # In this process's place: the show gets its signals, and nothing of the training stays in memory.
    os.execv(sys.executable, words)


@contextmanager
def counted(what: str) -> Iterator[Any]:
    """A progress bar as (done, of, name) -> None."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, of, name: bar.update(task, completed=done, total=of)


@contextmanager
def shared(what: str) -> Iterator[Any]:
    """A progress bar as (what, share 0..1 or None) -> None."""
    with counted(what) as tell:
        yield lambda text, share: tell(round(1000 * share), 1000, text) if share is not None else None


def pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    """What was given as KEY=VALUE, by key. BadParameter, with the option's name, for a text without `=`."""
    pairs = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        if not equals:
            raise typer.BadParameter(f"{text!r} is not KEY=VALUE", param_hint=option)
        pairs[key] = value
    return pairs


def _say_progress(progress: Progress) -> None:
    numbers = "  ".join(f"{name} {value:.3g}" for name, value in progress.numbers.items())
    event = f"  {progress.event}" if progress.event else ""
    say(f"{progress.nimg / 1000:9.1f} kimg  {progress.images_per_s:6.1f} img/s  {numbers}{event}")


def _say_outcome(outcome: Outcome) -> None:
    if os.environ.get("RANK", "0") != "0":  # torchrun's processes end alike, and the first one says so for all
        return
    done = "that is all of --kimg" if outcome.reason == "kimg" else f"{outcome.reason}; the same command goes on"
    answer(f"{outcome.nimg / 1000:.1f} kimg: {done}")
