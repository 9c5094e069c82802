"""The verbs that judge what was trained: judge, runs. Everything is imported when a verb runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from installation.cli.training import Device, pairs, shared
from installation.terminal import answer, say

if TYPE_CHECKING:
    from installation.training.judge.judgement import Judgement
    from installation.training.tour import TourPlan

judge_app = typer.Typer(help="Networks judged by a frozen kit, by people, by the next stage.", no_args_is_help=True)
runs_app = typer.Typer(help="What was trained, and how it went.", no_args_is_help=True)

KitFolder = Annotated[Path, typer.Argument(help="The folder that `judge kit` made.")]
Network = Annotated[Path, typer.Argument(help="A checkpoint, or a run's folder.")]
Psi = Annotated[float, typer.Option(help="Truncation of the pictures.", min=0.0, max=1.5)]
Seeds = Annotated[int, typer.Option(help="How many seeds are looked at.", min=2, max=1_000_000)]
First = Annotated[int, typer.Option(help="The first of them.", min=0, max=4_000_000_000)]
Stops = Annotated[int, typer.Option(help="How many of the best make the tour.", min=1, max=1000)]
Hold = Annotated[float, typer.Option(help="Seconds of rest at each.", min=0.0, max=3600.0)]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="Where the judgement is kept; beside the checkpoint if not given.")
]


@judge_app.command()
def kit(
    dataset: Path,
    out: Path,
    n: Annotated[int, typer.Option(help="Pictures each judgement makes.", min=50, max=50000)] = 1000,
    held_out: Annotated[float, typer.Option(help="The share the trainers hold out.", min=0.01, max=0.9)] = 0.08,
    device: Device = "auto",
) -> None:
    """Freezes what networks are judged by: features, seeds, held-out pictures."""
    from installation.models import device as devices
    from installation.training.dataset import open_dataset
    from installation.training.judge.kit import make_kit

    place = devices.choose(device).device
    with shared("freezing") as tell:
        made = make_kit(open_dataset(dataset), out, n=n, held_out=held_out, device=place, progress=tell)
    answer(f"{out}: {made.describe()}")


@judge_app.command()
def base(kit: KitFolder, network: Network, psi: Psi = 1.0, out: Out = None, device: Device = "auto") -> None:
    """Judges a generator."""
    from installation.models import device as devices
    from installation.training.judge.base import judge_base
    from installation.training.judge.kit import open_kit
    from installation.training.run_info import network_in

    checkpoint, place = network_in(network), devices.choose(device).device
    with shared("judging") as tell:
        judgement = judge_base(checkpoint, open_kit(kit), psi=psi, device=place, progress=tell, write=False)
    _keep(judgement, checkpoint, out, psi)


@judge_app.command()
def stage(
    kit: KitFolder,
    network: Network,
    base: Annotated[
        list[Path] | None,
        typer.Option(
            help="A checkpoint or run on whose walk steadiness is measured; once for each network before it, base first."
        ),
    ] = None,
    psi: Psi = 1.0,
    out: Out = None,
    device: Device = "auto",
) -> None:
    """Judges a stage, by a kit of pictures of the size it makes."""
    from installation.models import device as devices
    from installation.training.judge.kit import open_kit
    from installation.training.judge.stage import judge_stage
    from installation.training.run_info import network_in

    checkpoint, place = network_in(network), devices.choose(device).device
    walked = [network_in(path) for path in base or ()]
    with shared("judging") as tell:
        judgement = judge_stage(
            checkpoint, open_kit(kit), base=walked, psi=psi, device=place, progress=tell, write=False
        )
    _keep(judgement, checkpoint, out, psi)


@judge_app.command("compare")
def judge_compare(first: Path, second: Path) -> None:
    """Two judgements (.judgement.json) side by side: says where there is no difference, and refuses different kits."""
    from installation.training import run_report
    from installation.training.judge.judgement import SUFFIX, compare, read_judgement

    for path in (first, second):
        if path.suffix == ".safetensors":
            raise typer.BadParameter(
                f"{str(path)!r} is a network: name its {SUFFIX}, which `judge base` or `judge stage` wrote"
            )
    judgements = [read_judgement(path) for path in (first, second)]
    names = [one.subject for one in judgements]
    if names[0] == names[1]:
        names = [str(first), str(second)]
    answer(run_report.verdicts_text(compare(*judgements), *names))


@judge_app.command()
def ab(
    first: Annotated[Path, typer.Argument(help="A generator, a run's folder, a dataset, or a folder of pictures.")],
    second: Annotated[Path, typer.Argument(help="Likewise.")],
    answers: Annotated[Path, typer.Option(help="Where the answers are kept; given again, it goes on.")],
    base: Annotated[
        list[Path] | None,
        typer.Option(help="What a stage enlarges: a generator or its run; the cascade before it, base first."),
    ] = None,
    count: Annotated[int, typer.Option(help="Pairs that are asked.", min=1, max=5000)] = 200,
    size: Annotated[int, typer.Option(help="Edge of the pictures, px.", min=16, max=2048)] = 256,
    psi: Psi = 0.7,
    question: Annotated[str, typer.Option(help="What the page asks.")] = "Which is the better portrait?",
    seed: Annotated[int, typer.Option(help="Another seed asks other pairs.", min=0, max=2**31)] = 0,
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 0,
) -> None:
    """A page on this machine for people, who do not know which picture is whose. Ends after the last pair, or with Ctrl-C."""
    from installation.training.judge.ab import Blind, serve
    from installation.training.judge.pictures import name_of, pictures_of

    with shared("making pictures") as tell:
        sets = [
            pictures_of(source, size, count=count, psi=psi, base=base or (), progress=tell)
            for source in (first, second)
        ]
    a, b = name_of(first), name_of(second)
    names = (a, b) if a != b else (str(first), str(second))
    blind = Blind(sets[0], sets[1], answers, names=names, question=question, count=count, seed=seed)
    found = serve(blind, port, ready=lambda address: answer(f"{address}  (left, right; down for no difference)"))
    answer(found.text)
    answer(f"{a} {found.a_wins} · {b} {found.b_wins} · no difference {found.same} · answers in {answers}")


@judge_app.command()
def rank(
    run: Annotated[Path, typer.Argument(help="The folder of a stage's run: its critic ranks.")],
    previous: Annotated[list[Path], typer.Argument(help="The cascade before it, base first: checkpoints or runs.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder for tour.toml, scores.csv, sheet.png.")],
    seeds: Seeds = 500,
    first: First = 0,
    stops: Stops = 12,
    hold: Hold = 4.0,
    psi: Psi = 0.7,
    device: Device = "auto",
) -> None:
    """Ranks seeds by a stage's critic, and writes the best as a tour for a show."""
    from installation.training.run_info import network_in
    from installation.training.stage.curate import curate, follows

    networks = [network_in(path) for path in previous]
    if not follows(run, networks):
        say("the run was trained after other networks than these: its critic may not know their faults")
    plan = _tour(out, seeds, first, stops, hold, psi)
    with shared("ranking") as tell:
        files = curate(run, networks, plan, device=device, progress=tell)
    answer("\n".join(map(str, files)))


@judge_app.command()
def gaze(
    cascade: Annotated[list[Path], typer.Argument(help="A cascade, base first: checkpoints or runs.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder for tour.toml, scores.csv, sheet.png.")],
    seeds: Seeds = 500,
    first: First = 0,
    stops: Stops = 12,
    hold: Hold = 4.0,
    psi: Psi = 0.7,
    device: Device = "auto",
) -> None:
    """Ranks seeds by whether their eyes look back, and writes the best as a tour for a show."""
    from installation.training.judge.gaze import gaze_tour
    from installation.training.run_info import network_in

    plan = _tour(out, seeds, first, stops, hold, psi)
    with shared("looking") as tell:
        files = gaze_tour([network_in(path) for path in cascade], plan, device=device, progress=tell)
    answer("\n".join(map(str, files)))


def _tour(out: Path, seeds: int, first: int, stops: int, hold_s: float, psi: float) -> TourPlan:
    from installation.training.tour import TourPlan

    return TourPlan(out, range(first, first + seeds), stops, hold_s, psi)


@runs_app.command("list")
def runs_list(root: Annotated[Path, typer.Argument(help="The folder of run folders.")] = Path("runs")) -> None:
    """Every run in a folder, read afresh."""
    from installation.errors import OutputError
    from installation.training import run_report
    from installation.training.run_info import list_runs

    if not root.is_dir():
        raise OutputError(
            "there is no such folder", where=str(root), fix="Name the folder that holds the runs' folders"
        )
    found = list_runs(root)
    answer(run_report.as_text(run_report.LIST_HEADS, run_report.list_rows(found)) if found else f"no run in {root}")


@runs_app.command()
def show(folder: Path) -> None:
    """One run: its config, newest numbers, and what the judge said."""
    from installation.errors import OutputError
    from installation.training import run_report
    from installation.training.run_info import read_run

    run = read_run(folder)
    if run.fault:
        raise OutputError(run.fault, where=str(folder))
    answer(run_report.as_text(("", ""), run_report.show_rows(run)))


@runs_app.command("compare")
def runs_compare(
    folders: Annotated[list[Path], typer.Argument(help="Two or more runs; the others are held against the first.")],
    plot: Annotated[Path | None, typer.Option(help="A PNG of all curves to write.")] = None,
) -> None:
    """Runs side by side: config, newest numbers, the judge's verdicts. Refuses runs that different kits judged."""
    from installation.training import run_report
    from installation.training.run_info import read_run

    if len(folders) < 2:
        raise typer.BadParameter("two runs at least are wanted", param_hint="FOLDERS")
    if plot is not None and plot.suffix.lower() != ".png":
        raise typer.BadParameter(f"{str(plot)!r} is not a .png file", param_hint="--plot")
    runs = [read_run(folder) for folder in folders]
    answer(run_report.comparison_text(run_report.compare(runs)))
    if plot is not None:
        answer(f"\n{run_report.write_curves(runs, plot)}")


@runs_app.command()
def card(
    folder: Annotated[Path, typer.Argument(help="The run's folder.")],
    dataset: Annotated[Path, typer.Argument(help="What it learnt from.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The .md file to write; printed if not given.")
    ] = None,
    fault: Annotated[list[str] | None, typer.Option(help="What somebody saw who looked; may be repeated.")] = None,
    sheet: Annotated[list[str] | None, typer.Option(help="PICTURE=CAPTION, a path from the card's folder.")] = None,
) -> None:
    """A run's model card: pictures, licences, recipe, hours, what the judge said, known faults."""
    from installation.models import cost
    from installation.models.header import read_header, read_index
    from installation.training.card import Card
    from installation.training.dataset import open_dataset
    from installation.training.records import write_bytes
    from installation.training.run_info import network_in, read_run

    run = read_run(folder)
    network = network_in(folder)
    text = Card(
        header=read_header(network),
        parameters=cost.parameters(read_index(network)[1]),
        run=run,
        dataset=open_dataset(dataset),
        judgement=run.judgement,
        faults=tuple(fault or ()),
        sheets=tuple((caption, path) for path, caption in pairs(sheet, "--sheet").items()),
    ).text()
    if out is None:
        answer(text)
    else:
        write_bytes(out, text.encode("utf-8"))
        answer(out)


def _keep(judgement: Judgement, checkpoint: Path, out: Path | None, psi: float) -> None:
    """Said before it is written, so that a disk that refuses costs no work."""
    from installation.training import run_report
    from installation.training.judge.judgement import beside

    answer(f"{judgement.subject}: {judgement.headline()}, kit {judgement.kit[:8]}")
    answer(run_report.as_text(("", ""), run_report.judgement_rows(judgement)))
    answer(judgement.write(out or beside(checkpoint, judgement.kit, psi)))
