"""What a base run leaves in its folder as it goes: the checkpoint, sample sheets, a walk, curves."""

from __future__ import annotations

import math
from collections.abc import Mapping

from installation.training.base import pictures
from installation.training.base.export import export
from installation.training.base.trainee import BaseTrainee
from installation.training.curves import draw_curves
from installation.training.dataset import Dataset
from installation.training.records import write_png
from installation.training.run_info import read_metrics
from installation.training.runs import EXPORT_NAME, METRICS_FILE, Run

SNAPSHOTS = "snapshots"
CURVES = (
    "loss_critic", "loss_generator", "r_t", "penalty", "overfit", "augment_p", "images_per_s", "lr_factor", "path_length",
)  # fmt: skip
_SHEET_PSI = (1.0, 0.7)


class Gallery:
    """Writes into a run's folder at every show. Owns no network."""

    def __init__(self, run: Run, dataset: Dataset, *, name: str, notes: str, seed: int) -> None:
        self.run, self.dataset, self.name, self.notes, self.seed = run, dataset, name, notes, seed

    def __call__(self, trainee: BaseTrainee) -> Mapping[str, float]:
        """Numbers for the curves. The checkpoint comes first: it is what a kill must not cost."""
        generator, nimg, folder = trainee.average, trainee.nimg, self.run.folder
        facts = {
            "name": self.name,
            "nimg": nimg,
            "dataset": self.dataset,
            "notes": self.notes,
            "inherited_licence": self.run.inherited_licence,
        }
        export(folder / EXPORT_NAME, generator, trainee.config, **facts)
        every = int(1000 * trainee.config.show_kimg)
        kept = (int(path.stem[-10:]) for path in (folder / SNAPSHOTS).glob(f"G_ema-{'[0-9]' * 10}.safetensors"))
        if _age(nimg, every) not in {_age(one, every) for one in kept if one <= nimg}:
            export(folder / SNAPSHOTS / f"G_ema-{nimg:010d}.safetensors", generator, trainee.config, **facts)
        columns = 8 if trainee.config.size <= 128 else 6
        w = pictures.latents(generator, 4 * columns, self.seed)
        for psi in _SHEET_PSI:
            frames = pictures.synthesise(generator, w, psi)
            self.run.picture("samples" if psi == 1 else f"samples-psi{psi:g}", pictures.sheet(frames, columns), nimg)
        strip = pictures.walk(generator, 3, columns, seed=self.seed, psi=0.7)
        self.run.picture("walk", pictures.sheet(strip, columns), nimg)
        if nimg == 0:
            self._reals(trainee, 4 * columns, columns)
        if pictures.can_write_video():
            pictures.write_video(folder / "walk.mp4", pictures.walk(generator, 6, 48, seed=self.seed, psi=0.7))
        numbers = {"augment_p": trainee.p, "lr_factor": trainee.lr_factor}
        if (overfit := trainee.overfit()) is not None:
            numbers["overfit"] = overfit
        self._curves()
        return numbers

    def _reals(self, trainee: BaseTrainee, n: int, columns: int) -> None:
        real = pictures.to_frames(trainee.feed.batch(0, n))
        self.run.picture("reals", pictures.sheet(real, columns), 0)

    def _curves(self) -> None:
        rows = read_metrics(self.run.folder / METRICS_FILE)
        write_png(self.run.folder / "curves.png", draw_curves({self.name: rows}, CURVES))


def _age(nimg: int, every: int) -> int:
    """Of each age one checkpoint is kept for good, so that a run's history can be judged later: two for each doubling of nimg."""
    shows = nimg // every
    return math.floor(2 * math.log2(shows)) if shows else -1
