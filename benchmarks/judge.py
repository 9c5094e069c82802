"""Does the judge rank? Faults planted into real pictures, in two strengths each, and judged again and again on redrawn sets.

    python -m benchmarks.judge PICTURES...            folders of portraits; or one packed dataset (.safetensors)
    python -m benchmarks.judge DATASET --run FOLDER   also: earlier checkpoints of a run below later ones

Pictures are split into a reference and the rest, from which the clean set and every fault are made. Each trial redraws, with
replacement, the N pictures of every set, each set for itself, and the reference, the same for all sets. An ordering counts as right
when the clean set scores above the weak fault and the weak above the strong. Prints a table; the exit code is 1 when a share is below
95 %.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from installation.models.header import read_header
from installation.training.dataset import Dataset, open_dataset, write_dataset
from installation.training.judge import planted
from installation.training.judge.base import judge_base
from installation.training.judge.judgement import SIGMAS
from installation.training.judge.kit import Kit, Rulers, make_kit
from installation.training.judge.measures import Measures, Sample, score
from installation.training.picture import PictureError, read_picture, resize, to_uint8

WANTED = 0.95
SETS = ("q", "kd", "sw", "lb")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("pictures", nargs="+", type=Path)
    arguments.add_argument("--n", type=int, default=1000)
    arguments.add_argument("--size", type=int, default=64)
    arguments.add_argument("--trials", type=int, default=200)
    arguments.add_argument("--held-out", type=float, default=0.25)
    arguments.add_argument("--bands-only", action="store_true", help="without trained features")
    arguments.add_argument("--run", type=Path, help="a run's folder, or any folder of checkpoints of one run")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="judge-", ignore_cleanup_errors=True) as work:
        dataset = dataset_of(options.pictures, options.size, Path(work) / "pictures.safetensors")
        trained = False if options.bands_only else None
        kit = make_kit(dataset, Path(work) / "kit", n=options.n, held_out=options.held_out, trained=trained)
        print(kit.describe())
        good = rank_planted(dataset, kit, options.held_out, options.trials)
        if options.run is not None:
            good = rank_checkpoints(options.run, kit, options.trials) and good
    sys.exit(0 if good else 1)


def dataset_of(paths: list[Path], size: int, out: Path) -> Dataset:
    """A packed dataset as it is, or the middle squares of every picture in folders."""
    if paths[0].suffix == ".safetensors":
        return open_dataset(paths[0])
    files = [path for folder in paths for path in sorted(folder.rglob("*")) if path.suffix.lower() in (".jpg", ".png")]
    images, names = [], []
    for path in files:
        try:
            images.append(middle(read_picture(path).pixels, size))
            names.append(str(path))
        except PictureError as error:
            print(f"passed over: {error}")
    return write_dataset(out, images, names=names, manifest={}, size=size)


def middle(pixels: np.ndarray, size: int) -> np.ndarray:
    """uint8 [H, W, 3] -> the middle square as uint8 [3, size, size]."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    return to_uint8(resize(pixels, size, size, (left, top, left + side, top + side))).transpose(2, 0, 1)


def conditions(whole: np.ndarray, features: np.ndarray, n: int) -> Iterator[tuple[str, str, np.ndarray]]:
    """(fault, weak or strong, its set): uint8 [n, 3, S, S] changed pictures, or int64 [n] numbers of unchanged ones in `whole`."""
    images, modes = whole[clean_set(len(whole), n)], planted.modes_of(features)
    yield "blur σ 0.5 / 1", "weak", planted.blur(images, 0.5)
    yield "blur σ 0.5 / 1", "strong", planted.blur(images, 1.0)
    yield "noise σ 3 / 8", "weak", planted.noise(images, 3.0)
    yield "noise σ 3 / 8", "strong", planted.noise(images, 8.0)
    yield "JPEG 80 / 30", "weak", planted.jpeg(images, 80)
    yield "JPEG 80 / 30", "strong", planted.jpeg(images, 30)
    yield "checkerboard ±2 / ±5", "weak", planted.checkerboard(images, 2.0)
    yield "checkerboard ±2 / ±5", "strong", planted.checkerboard(images, 5.0)
    yield "modes 16 / 4 of 32", "weak", planted.of_modes(modes, 16, n)
    yield "modes 16 / 4 of 32", "strong", planted.of_modes(modes, 4, n)
    yield "collapse to 20 % / 4 %", "weak", planted.collapse(n, len(whole), n // 5)
    yield "collapse to 20 % / 4 %", "strong", planted.collapse(n, len(whole), n // 25)
    yield "colour ±5 / ±12", "weak", planted.colour_shift(images, 5.0)
    yield "colour ±5 / ±12", "strong", planted.colour_shift(images, 12.0)


def clean_set(among: int, n: int) -> np.ndarray:
    return np.random.RandomState(20).permutation(among)[:n]


def rank_planted(dataset: Dataset, kit: Kit, held_out: float, trials: int) -> bool:
    """Prints the table of planted faults; whether all were ranked well enough."""
    train, _ = dataset.split(held_out)
    images, rulers = np.ascontiguousarray(dataset.images[train]), Rulers.of(kit)
    whole = rulers.look(images)
    clean_q = drawn(part(whole, clean_set(len(images), kit.n)), kit, trials, 0)
    found: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for number, (fault, strength, made) in enumerate(conditions(images, whole.main, kit.n), 1):
        began = time.monotonic()
        sample = part(whole, made) if made.ndim == 1 else rulers.look(made)
        found.setdefault(fault, {})[strength] = drawn(sample, kit, trials, number)
        print(f"{fault}: {strength} ({time.monotonic() - began:.0f} s)", file=sys.stderr)
    table = Table("fault (weak / strong)", "Q clean", "Q weak", "Q strong", "right by Q", *map(share_title, SETS[1:]))
    good = True
    for fault, by in found.items():
        shares = {name: share(clean_q, by, name) for name in SETS if name in clean_q}
        good = good and shares["q"] >= WANTED
        cells = [f"{rows['q'].mean():.1f} ± {rows['q'].std():.1f}" for rows in (clean_q, by["weak"], by["strong"])]
        table.add_row(fault, *cells, *(f"{shares[name]:.1%}" if name in shares else "–" for name in SETS))
    Console(width=140).print(table)
    return good


def part(sample: Sample, index: np.ndarray) -> Sample:
    """The pictures of these numbers as a set of its own: one that comes twice is two pictures, as in a collapsed network."""
    return Sample(sample.bands[index], None if sample.trained is None else sample.trained[index])


def drawn(sample: Sample, kit: Kit, trials: int, seed: int) -> dict[str, np.ndarray]:
    """The score and minus each distance (so that higher is better) in every trial."""
    held = len(kit.reference)
    measures = Measures(sample, kit.reference)
    ours, shared = np.random.RandomState(100 + seed), np.random.RandomState(99)
    rows: dict[str, list[float]] = {}
    for _ in range(trials):
        distances = measures.at(ours.randint(0, len(sample), len(sample)), shared.randint(0, held, held))
        for name, value in {"q": score(distances, kit.scales), **{key: -d for key, d in distances.items()}}.items():
            rows.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in rows.items()}


def share(clean: Mapping[str, np.ndarray], by: Mapping[str, Mapping[str, np.ndarray]], name: str) -> float:
    """How often clean > weak > strong."""
    weak, strong = by["weak"][name], by["strong"][name]
    return float(np.mean((clean[name] > weak) & (weak > strong)))


def share_title(name: str) -> str:
    return f"by {name.upper()} alone"


def rank_checkpoints(folder: Path, kit: Kit, trials: int) -> bool:
    """Judges every generator in a folder and prints how often an earlier one scored below a later one, by random halves."""
    files = [path for path in folder.rglob("*.safetensors") if _is_generator(path)]
    files.sort(key=lambda path: read_header(path).nimg or 0)
    judgements = [judge_base(path, kit, write=False) for path in files]
    table = Table("checkpoint", "kimg", "Q", "above the one before")
    good = True
    rng = np.random.RandomState(22)
    for i, one in enumerate(judgements):
        cell = ""
        if i:
            before = judgements[i - 1]
            gap, se = one.q.value - before.q.value, float(np.std(np.subtract(one.q.halves, before.q.halves), ddof=1))
            right = float(np.mean(gap + se * rng.standard_normal(trials) > 0))
            cell = f"{right:.1%}" if abs(gap) > SIGMAS * se else f"{right:.1%} (no difference)"
            good = good and (right >= WANTED or abs(gap) <= SIGMAS * se)
        table.add_row(files[i].name, f"{(one.nimg or 0) / 1000:.4g}", one.headline(), cell)
    Console(width=140).print(table)
    return good


def _is_generator(path: Path) -> bool:
    from installation.errors import CheckpointError

    try:
        return read_header(path).role == "generator"
    except CheckpointError:  # a training state, or a dataset
        return False


if __name__ == "__main__":
    main()
