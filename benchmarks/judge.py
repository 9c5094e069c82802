"""Does the judge rank? Faults planted into real pictures, in two strengths each, and judged again and again on redrawn sets.

    python -m benchmarks.judge PICTURES...            folders of portraits; or one packed dataset (.safetensors)
    python -m benchmarks.judge DATASET --run FOLDER   also: the run's earlier checkpoints below its later ones
    python -m benchmarks.judge DATASET --stage 4      instead: faults in what a stage of x4 adds, by the score of stages

Pictures are split into a reference and the rest, from which the clean set and every fault are made. Each trial redraws, with
replacement, the N pictures of every set, each set for itself (of checkpoints the same seeds), and the reference, the same for all
sets. An ordering counts as right when the clean set scores above the weak fault and the weak above the strong, or the later checkpoint
above the earlier. Prints one table; the exit code is 1 when a share by Q is below 95 %. Two checkpoints that the judge itself calls no
different are shown and not counted: a run that has come to rest is no fault of the judge. At N = 1,000 about six minutes on two quiet
cores, and half a minute for each checkpoint.

With --stage the real pictures stand for a stage without a fault; each fault is planted into them, and each trial redraws pictures, not
patches: those of one picture are alike. A kit keeps 128 pictures, of which one half is judged against the other.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from installation.models.header import read_header
from installation.training.dataset import Dataset, open_dataset, write_dataset
from installation.training.judge import planted
from installation.training.judge.base import load_generator, made
from installation.training.judge.judgement import SIGMAS
from installation.training.judge.kit import Kit, KitFeatures, make_kit
from installation.training.judge.measures import Measures, Sample, Scale, numbers, score
from installation.training.judge.stage import Yardstick
from installation.training.picture import PictureError, read_picture, resize, to_uint8

WANTED = 0.95
SETS = ("q", "kd", "sw", "lb")
STAGE_SETS = ("q", "kd", "lb", "hf_distance")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("pictures", nargs="+", type=Path)
    arguments.add_argument("--n", type=int, default=1000)
    arguments.add_argument("--size", type=int, default=64)
    arguments.add_argument("--trials", type=int, default=200)
    arguments.add_argument("--held-out", type=float, default=0.25)
    arguments.add_argument("--bands-only", action="store_true", help="without trained features")
    arguments.add_argument("--run", type=Path, help="a run's folder, or any folder of checkpoints of one run")
    arguments.add_argument("--stage", type=int, choices=(2, 4), help="judge what a stage of this scale adds")
    options = arguments.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="judge-", ignore_cleanup_errors=True) as work:
        dataset = dataset_of(options.pictures, options.size, Path(work) / "pictures.safetensors")
        trained = False if options.bands_only else None
        kit = make_kit(dataset, Path(work) / "kit", n=options.n, held_out=options.held_out, trained=trained)
        names = SETS if options.stage is None else STAGE_SETS
        rows = list(
            rank_planted(dataset, kit, options.held_out, options.trials)
            if options.stage is None
            else rank_stage_faults(kit, options.stage, options.trials)
        )
        if options.run is not None:
            rows += rank_checkpoints(options.run, kit, options.trials)
    table = Table("planted", "Q, best to worst", "right by Q", *(f"by {name.upper()} alone" for name in names[1:]))
    table.title = f"{kit.describe()}; {options.trials} trials, {(time.monotonic() - began) / 60:.1f} minutes"
    for row in rows:
        table.add_row(*row.cells(names))
    Console(width=140).print(table)
    sys.exit(0 if all(row.good for row in rows) else 1)


@dataclass(frozen=True, slots=True)
class Row:
    """One ordering. sets: best first, each the score and minus each distance in every trial. counts: False for one that is not claimed."""

    name: str
    sets: tuple[Mapping[str, np.ndarray], ...]
    counts: bool = True

    @property
    def good(self) -> bool:
        return not self.counts or self.share("q") >= WANTED

    def share(self, name: str) -> float:
        """How often the order was right."""
        return float(np.mean(np.all([a[name] > b[name] for a, b in pairwise(self.sets)], axis=0)))

    def cells(self, names: tuple[str, ...]) -> list[str]:
        scores = " > ".join(f"{one['q'].mean():.1f} ± {one['q'].std():.1f}" for one in self.sets)
        shares = [f"{self.share(name):.1%}" if name in self.sets[0] else "–" for name in names]
        return [self.name, scores, shares[0] + ("" if self.counts else " (no difference)"), *shares[1:]]


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


def rank_planted(dataset: Dataset, kit: Kit, held_out: float, trials: int) -> Iterator[Row]:
    train, _ = dataset.split(held_out)
    images, features = np.ascontiguousarray(dataset.images[train]), KitFeatures.of(kit)
    whole = features.look(images)
    clean = drawn(part(whole, clean_set(len(images), kit.n)), kit, trials, 0)
    found: dict[str, list[Mapping[str, np.ndarray]]] = {}
    for number, (fault, strength, changed) in enumerate(conditions(images, whole.main, kit.n), 1):
        began = time.monotonic()
        sample = part(whole, changed) if changed.ndim == 1 else features.look(changed)
        found.setdefault(fault, []).append(drawn(sample, kit, trials, number))
        print(f"{fault}: {strength} ({time.monotonic() - began:.0f} s)", file=sys.stderr)
    for fault, (weak, strong) in found.items():
        yield Row(fault, (clean, weak, strong))


def stage_conditions(real: np.ndarray, plain: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(fault, weak, strong): uint8 [N, 3, P, P]. plain: the pictures without what a stage should add."""
    half = ((real.astype(np.uint16) + plain) // 2).astype(np.uint8)
    yield "half the detail / none", half, plain
    yield "blur σ 0.5 / 1", planted.blur(real, 0.5), planted.blur(real, 1.0)
    yield "noise σ 3 / 8", planted.noise(real, 3.0), planted.noise(real, 8.0)
    yield "JPEG 80 / 30", planted.jpeg(real, 80), planted.jpeg(real, 30)
    yield "checkerboard ±2 / ±5", planted.checkerboard(real, 2.0), planted.checkerboard(real, 5.0)


def rank_stage_faults(kit: Kit, scale: int, trials: int) -> Iterator[Row]:
    yardstick = Yardstick(kit, scale)

    def redrawn(made: np.ndarray, seed: int) -> dict[str, np.ndarray]:
        return redraw(yardstick.gap(made).at, yardstick.sizes, yardstick.scales, trials, seed)

    clean = redrawn(yardstick.real, 0)
    for number, (fault, weak, strong) in enumerate(stage_conditions(yardstick.real, yardstick.plain), 1):
        began = time.monotonic()
        yield Row(fault, (clean, redrawn(weak, 2 * number), redrawn(strong, 2 * number + 1)))
        print(f"{fault} ({time.monotonic() - began:.0f} s)", file=sys.stderr)


def rank_checkpoints(folder: Path, kit: Kit, trials: int) -> Iterator[Row]:
    """A row for each two neighbours in the history of a run: the later one has to be the better."""
    files = {read_header(path).nimg or 0: path for path in sorted(folder.rglob("*.safetensors")) if _is_generator(path)}
    features, before = KitFeatures.of(kit), None
    for nimg, path in sorted(files.items()):
        began = time.monotonic()
        sample = features.look(made(load_generator(path), kit, 1.0, lambda what, share: None))
        q = numbers(sample, kit.reference, kit.scales)["q"]
        now = (nimg, q, drawn(sample, kit, trials, 0))
        print(f"{path.name}: Q {q.value:.1f} ± {q.se:.1f} ({time.monotonic() - began:.0f} s)", file=sys.stderr)
        if before is not None:
            se = float(np.std(np.subtract(q.halves, before[1].halves), ddof=1))
            differs = abs(q.value - before[1].value) > SIGMAS * se
            yield Row(f"{nimg / 1000:.4g} kimg over {before[0] / 1000:.4g}", (now[2], before[2]), differs)
        before = now


def part(sample: Sample, index: np.ndarray) -> Sample:
    """The pictures of these numbers as a set of its own: one that comes twice is two pictures, as in a collapsed network."""
    return Sample(sample.bands[index], None if sample.trained is None else sample.trained[index])


def drawn(sample: Sample, kit: Kit, trials: int, seed: int) -> dict[str, np.ndarray]:
    sizes = len(sample), len(kit.reference)
    return redraw(Measures(sample, kit.reference).at, sizes, kit.scales, trials, seed)


def redraw(
    distances: Callable[[np.ndarray, np.ndarray], Mapping[str, float]],
    sizes: tuple[int, int],
    scales: Mapping[str, Scale],
    trials: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """The score and minus each distance (so that higher is better) in every trial. distances: of parts of both sides, as large as sizes."""
    ours, shared = np.random.RandomState(100 + seed), np.random.RandomState(99)
    rows: dict[str, list[float]] = {}
    for _ in range(trials):
        found = distances(*(rng.randint(0, size, size) for rng, size in zip((ours, shared), sizes, strict=True)))
        for name, value in {"q": score(found, scales), **{key: -d for key, d in found.items()}}.items():
            rows.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in rows.items()}


def _is_generator(path: Path) -> bool:
    from installation.errors import CheckpointError

    try:
        return read_header(path).role == "generator"
    except CheckpointError:  # a training state, or a dataset
        return False


if __name__ == "__main__":
    main()
