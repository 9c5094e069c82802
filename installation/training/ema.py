"""The average of a network's weights along its training: what is shown and judged. Half-lives are in images, so batches do not matter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn


@dataclass(frozen=True, slots=True)
class HalfLife:
    """How many images it takes until the average has forgotten half: at most `images`, and at most the share `ramp` of those seen.

    The ramp lets a young average forget the random weights it began with (0.05 in StyleGAN2-ADA). ramp 0: no ramp.
    """

    images: float
    ramp: float = 0.05

    def decay(self, nimg: int, batch: int) -> float:
        """What remains of the average after a step of `batch` images that ends at `nimg`; 0..1."""
        half = min(self.images, nimg * self.ramp) if self.ramp else self.images
        return 0.5 ** (batch / half) if half > 0 else 0.0


def follow(average: Iterable[Tensor], live: Iterable[Tensor], decay: float) -> None:
    """average ← decay · average + (1 − decay) · live, in place. Same order, shapes and device; float32."""
    get_ema_multi_avg_fn(decay)([*average], [*live], 0)
