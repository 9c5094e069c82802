"""A trained stage's critic as curator: it tells which of the previous stage's samples no real photograph explains.

The critic of stage k sees an enlargement together with what it was made from; shown one made from a broken sample, it is not fooled. Its
scores order the samples of one previous stage under one run. They say nothing across runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from installation.errors import CheckpointError, ModelError
from installation.models import checkpoint
from installation.models.cascade import Cascade
from installation.models.network import Upscaler
from installation.training.progress import Shared
from installation.training.stage.networks import Critic
from installation.training.state import load_state
from installation.training.tour import portrait_ws


def rank_seeds(
    critic_state: Path,
    previous: Sequence[Path],
    stage: Path,
    seeds: Sequence[int],
    *,
    psi: float = 0.7,
    device: str = "auto",
    progress: Shared = lambda what, share: None,
) -> np.ndarray:
    """float64 [number of seeds]: the higher, the better; in the order of `seeds`.

    critic_state: a stage run's state.safetensors. previous: the cascade before the stage, base first. stage: that run's
    checkpoint. seeds: as a show names portraits. psi: truncation. CheckpointError or ModelError where they do not belong together.
    """
    critic = load_critic(critic_state)
    base, *between = (checkpoint.load(path) for path in previous)
    last = checkpoint.load(stage)
    # Built whole, so that a stage that does not fit is refused; used without its last stage.
    whole = Cascade(base, [*between, last], device=device, dtype="float32", graph=False)
    before = Cascade(base, between, device=device, dtype="float32", graph=False)
    critic.to(whole.placement.device)
    if not isinstance(last, Upscaler) or last.scale != 2**critic.joins_at:
        raise ModelError("the critic was trained for another scale", where=str(critic_state))
    scores = []
    with torch.inference_mode():
        for done, seed in enumerate(seeds):
            progress("ranking seeds", done / len(seeds))
            ws = portrait_ws(before, seed, psi)
            lo = before(ws).clamp(-1, 1)
            scores.append(float(score(critic, last, lo, before.generator.stage_w(ws))[0]))
    return np.array(scores)


@torch.inference_mode()
def score(critic: Critic, stage: Upscaler, lo: Tensor, w: Tensor | None = None) -> Tensor:
    """lo [N, 3, h, w], -1..1 -> [N] float32: the critic's mean verdict over the patches of each enlargement.

    w: of each, for a stage that is conditioned on it; None for the neutral style.
    """
    return critic(stage.styled(lo, w), lo).float().mean(dim=(1, 2, 3))


def load_critic(path: Path) -> Critic:
    """The critic in a stage run's state. CheckpointError if there is none."""
    state = load_state(path)
    fix = "Give the state.safetensors of a stage's run"
    if state is None:
        raise CheckpointError("there is no such file", where=str(path), fix=fix)
    weights = state.part("critic")
    try:
        critic = Critic(state.facts["critic_widths"], state.facts["scale"])
        critic.load_state_dict(weights)
    except (KeyError, TypeError, IndexError, RuntimeError) as error:
        raise CheckpointError("it holds no critic of a stage", where=str(path), fix=fix) from error
    return critic.requires_grad_(False).eval()
