"""`installation atelier`: from photographs to a show, the whole way in one call: data, base, stage, judge, show.

It does nothing that the single verbs do not do, and leaves what they leave, so any part can be taken up by hand afterwards:

    OUT/wishes.json                                                          what was asked for, for the next call
    OUT/manifest.jsonl, crops/, faces64.safetensors, faces256.safetensors    data
    OUT/kit64/, kit256/                                                      what is judged by
    OUT/runs/base/, runs/stage/                                              train, judge
    OUT/show.toml                                                            what the wall plays

What is there already is not made again: killed anywhere, the same call goes on. The base is done when the stage has begun, since a stage
is trained on the samples of one base.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from installation.errors import ConfigError, OutputError
from installation.files import fingerprint
from installation.models import device as devices
from installation.training.base import config as base_configs
from installation.training.base.train import train_base
from installation.training.data.align import align
from installation.training.data.manifest import Manifest
from installation.training.data.pack import pack
from installation.training.data.rules import Rules
from installation.training.data.scan import scan
from installation.training.dataset import Dataset, open_dataset
from installation.training.judge.base import judge_base
from installation.training.judge.judgement import Judgement, beside, read_judgement
from installation.training.judge.kit import KIT_FILE, Kit, make_kit, open_kit
from installation.training.judge.stage import judge_stage
from installation.training.loop import Progress, owed_at
from installation.training.progress import Counted, Shared
from installation.training.records import mark_made, write_bytes
from installation.training.run_info import network_in, read_run
from installation.training.runs import EXPORT_NAME, RUN_FILE, STATE_NAME
from installation.training.stage import configs as stage_configs
from installation.training.stage.trainer import train_stage
from installation.training.team import launched

LEAST_FACES = LEAST_LARGE = 48
SCALES = (4, 2)
OPTIONS_FILE = "wishes.json"
BASE_SHARE = 0.6
_HELD_OUT, _WANTED_HELD_OUT, _MOST_HELD_OUT = 0.08, 20, 0.35


@dataclass(frozen=True, slots=True)
class AtelierOptions:
    """What may be chosen. minutes: of training, over all calls together, base and stage; or kimg for each; one of them.

    config, stage_config: by name; base_set, stage_set: changes to their fields. n: pictures a judgement makes. licences: by folder name.
    with_text: look for text in the pictures too. scales: of the stage, the first that the pictures are large enough for.
    """

    minutes: float | None = 30.0
    kimg: float | None = None
    config: str = "tiny"
    stage_config: str = "nano"
    base_set: Mapping[str, str] = field(default_factory=dict)
    stage_set: Mapping[str, str] = field(default_factory=dict)
    n: int = 1000
    seed: int = 0
    device: str = "auto"
    licences: Mapping[str, str] = field(default_factory=dict)
    with_text: bool = True
    scales: Sequence[int] = SCALES


@dataclass(frozen=True, slots=True)
class Listeners:
    """Who is told. begins: a part of the work. counted: done, of, name. shared: what, share 0..1 or None. trained: by the loop."""

    begins: Callable[[str], None] = lambda text: None
    counted: Counted = lambda done, of, name: None
    shared: Shared = lambda what, share: None
    trained: Callable[[Progress], None] = lambda progress: None


@dataclass(frozen=True, slots=True)
class Made:
    """show: the file, None where training was interrupted. judgements: of base and stage. scale: of the stage; 0 without one."""

    show: Path | None
    judgements: tuple[Judgement, ...] = ()
    scale: int = 0


def make(folders: Sequence[Path], out: Path, options: AtelierOptions, listeners: Listeners | None = None) -> Made:
    """Everything, or what is missing of it, in the folder `out`.

    OutputError where too few pictures are fit to train on or the disk refuses; ConfigError where `out` was begun with other folders or
    options; else as the parts. Nothing that was made is lost.
    """
    listeners = listeners or Listeners()
    for resolve, name, changes in (
        (base_configs.resolve, options.config, options.base_set),
        (stage_configs.resolve, options.stage_config, options.stage_set),
    ):
        resolve(name, changes)  # an hour of scanning would be a long way to a misspelt word
    if launched():
        raise ConfigError("an atelier is one process", where="torchrun", fix="Start it without torchrun")
    place = devices.choose(options.device).device
    mark_made(out)
    _same_options(out, options)
    faces, large = _data(folders, out, options, listeners)
    fewest = min(len(one) for one in (faces, large) if one is not None)
    # Rounded once, for kits and runs alike: a picture between two roundings would be trained on and judged by.
    held_out = round(min(_MOST_HELD_OUT, max(_HELD_OUT, _WANTED_HELD_OUT / fewest)), 4)
    kits = [_kit(one, out, held_out, options, place, listeners) for one in (faces, large) if one is not None]
    common = {"held_out": str(held_out)}

    if not _base(faces, large is not None, out / "runs", common, options, listeners):
        return Made(None)
    base = network_in(out / "runs" / "base")
    listeners.begins("judging the base")
    judgements = [_judged(base, kits[0], lambda: judge_base(base, kits[0], device=place, progress=listeners.shared))]
    if large is None:
        return Made(write_show(out, 0), tuple(judgements))
    scale = large.size // faces.size
    if not _stage(large, scale, base, out / "runs", common, options, listeners):
        return Made(None)
    stage = network_in(out / "runs" / "stage")
    listeners.begins("judging the stage")
    judgements.append(
        _judged(stage, kits[1], lambda: judge_stage(stage, kits[1], base=base, device=place, progress=listeners.shared))
    )
    return Made(write_show(out, scale), tuple(judgements), scale)


def _base(
    faces: Dataset, staged: bool, runs: Path, common: Mapping[str, str], options: AtelierOptions, listeners: Listeners
) -> bool:
    """Trains the base, unless the stage has begun; False where it was interrupted."""
    run = runs / "base"
    limits = None if (runs / "stage" / RUN_FILE).exists() else _left(run, BASE_SHARE if staged else 1.0, options)
    if limits is None:
        return True
    listeners.begins("training the base")
    outcome = train_base(
        faces.path,
        run,
        config=options.config,
        minutes=limits[0],
        kimg=limits[1],
        seed=options.seed,
        device=options.device,
        overrides={**common, **options.base_set},
        progress=listeners.trained,
    )
    return outcome.reason != "signal"


def _stage(
    large: Dataset,
    scale: int,
    base: Path,
    runs: Path,
    common: Mapping[str, str],
    options: AtelierOptions,
    listeners: Listeners,
) -> bool:
    """Trains the stage; False where it was interrupted."""
    run = runs / "stage"
    limits = _left(run, 1 - BASE_SHARE, options)
    if limits is None:
        return True
    listeners.begins(f"training the stage, ×{scale}")
    outcome = train_stage(
        large.path,
        run,
        config=options.stage_config,
        scale=scale,
        minutes=limits[0],
        kimg=limits[1],
        seed=options.seed,
        device=options.device,
        overrides={**common, **_crop(options, large.size, scale), **options.stage_set},
        previous=[base],
        progress=listeners.trained,
    )
    return outcome.reason != "signal"


def _data(
    folders: Sequence[Path], out: Path, options: AtelierOptions, listeners: Listeners
) -> tuple[Dataset, Dataset | None]:
    """Faces of the base's size, and larger ones for a stage where enough pictures are large enough."""
    size = base_configs.resolve(options.config, options.base_set).size
    manifest, small = out / "manifest.jsonl", _dataset(out, size)
    if small.exists():
        _same_folders(manifest, folders)
    else:
        listeners.begins("scanning the pictures")
        found = scan(folders, manifest, progress=listeners.counted, rules=Rules(size=size), with_text=options.with_text)
        # The larger ones first: the small dataset is written last, and says that all is done.
        for scale in options.scales:
            listeners.begins(f"cutting faces of {size * scale} px")
            cut = align(manifest, out / "crops" / str(size * scale), size=size * scale, progress=listeners.counted)
            if cut.crops >= LEAST_LARGE:
                pack(manifest, _dataset(out, size * scale), size=size * scale, licences=options.licences)
                break
        listeners.begins(f"cutting faces of {size} px")
        cut = align(manifest, out / "crops" / str(size), size=size, progress=listeners.counted)
        if cut.crops < LEAST_FACES:
            counts = ", ".join(f"{decision} {count}" for decision, count in found.counts.items())
            fit = "1 face is" if cut.crops == 1 else f"{cut.crops} faces are"
            what = f"only {fit} fit to train on, {LEAST_FACES} at least are needed ({counts})"
            fix = ["Add photographs"]
            if found.counts["drop"]:
                fix.append(f"`installation data sheet {manifest} --decision drop` shows what was dropped, and why")
            if found.counts["uncertain"]:
                fix.append(f"`installation data review {manifest}` asks about the uncertain ones")
            raise OutputError(what, where=", ".join(map(str, folders)), fix="; ".join(fix))
        pack(manifest, small, size=size, licences=options.licences, progress=listeners.counted)
    large = [path for scale in options.scales if (path := _dataset(out, size * scale)).exists()]
    return open_dataset(small), open_dataset(large[0]) if large else None


def _dataset(out: Path, size: int) -> Path:
    return out / f"faces{size}.safetensors"


def _same_folders(manifest: Path, folders: Sequence[Path]) -> None:
    there = set(Manifest.read(manifest).sources.values())
    if there != {str(folder.resolve()) for folder in folders}:
        what = f"the folder was begun with other pictures: {', '.join(sorted(there))}"
        raise ConfigError(what, where=str(manifest.parent), fix="Name another folder for these")


def _same_options(out: Path, options: AtelierOptions) -> None:
    """ConfigError where what is made of them is there already, and they were others. What a run is made of, the run knows itself."""
    path, made = out / OPTIONS_FILE, any(out.glob("faces*.safetensors"))
    asked = {"--n": options.n, "--licence": dict(options.licences), "--no-text": not options.with_text}
    bound = {"--licence", "--no-text"} if made else set()
    bound |= {"--n"} if any(out.glob(f"kit*/{KIT_FILE}")) else set()
    if not (bound and path.exists()):
        write_bytes(path, json.dumps(asked, indent=1, sort_keys=True).encode())
        return
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
        changed = [option for option, value in asked.items() if option in bound and there[option] != value]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise OutputError(
            f"cannot be read ({error})", where=str(path), fix="Delete it to say again what it said"
        ) from error
    if changed:
        what = "the folder was begun with another " + " and ".join(f"{option} ({there[option]})" for option in changed)
        raise ConfigError(what, where=str(out), fix="Say the same again, or name another folder")
    if there != asked:
        write_bytes(path, json.dumps(asked, indent=1, sort_keys=True).encode())


def _kit(
    dataset: Dataset, out: Path, share: float, options: AtelierOptions, place: torch.device, listeners: Listeners
) -> Kit:
    folder = out / f"kit{dataset.size}"
    if not (folder / KIT_FILE).exists():
        listeners.begins(f"freezing the kit for {dataset.size} px")
        make_kit(dataset, folder, n=options.n, held_out=share, device=place, progress=listeners.shared)
    return open_kit(folder)


def _left(run: Path, share: float, options: AtelierOptions) -> tuple[float | None, float | None] | None:
    """(minutes, kimg), one of them None: what is left of the run's share of the time, if only to show what it
    learnt. None where nothing is."""
    if options.kimg is not None:
        return None, options.kimg
    left = (options.minutes or 0.0) * share - spent_minutes(run)
    if left > 0:
        return left, None
    owed = owed_at(run / STATE_NAME, run / EXPORT_NAME)
    return None if owed is None else (None, owed / 1000)


def spent_minutes(run: Path) -> float:
    """By the run's own lines: images over images a second, and what was taken off `minutes` before the first step, or a run that has had
    its share would lack that much for ever. What was lost with a kill counts once, as it should."""
    seconds, before = 0.0, 0
    for row in read_run(run).rows if (run / RUN_FILE).exists() else ():
        seconds += row.get("set_up_s") or 0.0
        if rate := row.get("images_per_s"):
            seconds += (row["nimg"] - before) / rate
            before = row["nimg"]
    return seconds / 60


def _crop(options: AtelierOptions, side: int, scale: int) -> dict[str, str]:
    """The stage's crop, smaller where the pictures are: a crop is shifted by `scale` px within one."""
    recipe = stage_configs.resolve(options.stage_config, options.stage_set)
    multiple = 4 * 2 ** (len(recipe.widths) - 1)
    return {"crop": str(min(recipe.crop, (side - scale) // multiple * multiple))}


def _judged(network: Path, kit: Kit, judge: Callable[[], Judgement]) -> Judgement:
    """The judgement that lies beside the network, if it is of this network."""
    path = beside(network, kit.hash)
    if path.exists() and (there := read_judgement(path)).sha256 == fingerprint(network):
        return there
    return judge()


def write_show(out: Path, scale: int) -> Path:
    """The show in the folder. Written once: from then on it is the artist's. scale: of the stage, 0 without one."""
    path = out / "show.toml"
    if not path.exists():
        # A folder's name may hold what TOML or a title may not: quotes, line ends, bytes that are no Unicode, more than 200 letters.
        title = "".join(sign for sign in out.resolve().name if sign.isprintable() and sign not in '"\\')[:200]
        stages = '"runs/stage/G_ema.safetensors"' if scale else ""
        text = f"""\
# Made by `installation atelier`. Play it with `installation run {path.name}`; docs/show.md says what else can stand here.

title = "{title}"

[cascade]
base = "runs/base/G_ema.safetensors"
stages = [{stages}]

[params]
drift.speed = 0.06
latent.psi = 0.7
walk.fade_s = 3.0

[looks.neutral]

[screen]
fit = "contain"
"""
        write_bytes(path, text.encode("utf-8"))
    return path
