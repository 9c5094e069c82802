"""`installation judge rank`: the seeds that a stage's critic believes in, as a tour for a show, as a list, and as a picture to check it by.

The critic is no judge of taste. It finds what is broken: the sheet shows its best and its worst, and the artist strikes out the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from installation.errors import OutputError
from installation.files import fingerprint
from installation.models import checkpoint
from installation.models.cascade import Cascade
from installation.training.progress import Shared
from installation.training.run_info import network_in, read_run
from installation.training.runs import RUN_FILE, STATE_NAME
from installation.training.stage.rank import rank_seeds
from installation.training.tour import TourPlan, begin_tour, write_tour


def curate(
    run: Path,
    previous: Sequence[Path],
    plan: TourPlan,
    *,
    device: str = "auto",
    progress: Shared = lambda what, share: None,
) -> list[Path]:
    """Ranks the plan's seeds and writes the files of `write_tour`, the sheet enlarged by the stage; their paths.

    run: a stage's folder. previous: the checkpoints before it, base first. OutputError where `run` is no run or the disk refuses; else as
    `rank_seeds`.
    """
    if not (run / RUN_FILE).is_file():
        raise OutputError(
            "is no run's folder: its critic is wanted", where=str(run), fix="Name what `train stage` made"
        )
    begin_tour(plan.out)
    stage = network_in(run)
    scores = rank_seeds(run / STATE_NAME, previous, stage, plan.seeds, psi=plan.psi, device=device, progress=progress)
    first, *between = (checkpoint.load(path) for path in (*previous, stage))
    cascade = Cascade(first, between, device=device, graph=False)
    by = f"the critic of the stage {run.resolve().name!r}"
    return write_tour(plan, cascade, scores, by=by, progress=progress)


def follows(run: Path, previous: Sequence[Path]) -> bool:
    """Whether a stage's run was trained after these very networks: of others its critic knows less. True where one of them is not there."""
    if not (run / RUN_FILE).is_file() or not all(path.is_file() for path in previous):
        return True
    parents = read_run(run).parents
    return [fingerprint(path) for path in previous] == [
        parents[role] for role in sorted(parents) if role.startswith("previous")
    ]
