"""One thread or all of them: on a CPU that other programs use too, threads that wait for each other are slower than one alone.

Measured on two cores with three other programs running: 42 images a second with one thread, 4 with two; alone, two are faster. So both
are tried, now and again, for a few steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch

_STEPS = 5
_AGAIN_S, _LATEST_S = 90.0, 1500.0
# Below this the two count as equal, and nothing is changed.
_WORTH = 1.1


class ThreadChoice:
    """Call `done` after each step with the seconds it took. Sets torch's number of threads for the whole process: 1 or `most`."""

    def __init__(
        self,
        most: int,
        *,
        use: Callable[[int], None] = torch.set_num_threads,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._use, self._clock = use, clock
        self._choices = (1, most)
        self._chosen = self._trying = 1
        self._seconds: dict[int, list[float]] = {choice: [] for choice in self._choices}
        self._next_at, self._wait_s = clock(), _AGAIN_S
        if most > 1:
            use(1)

    def done(self, seconds: float) -> None:
        """A step of the usual kind took that long; with others among them nothing could be compared."""
        if self._choices[1] == 1:
            return
        times = self._seconds[self._trying]
        times.append(seconds)
        del times[:-_STEPS]
        if self._trying == self._chosen:
            if len(times) == _STEPS and self._clock() >= self._next_at:
                self._try(self._choices[1] if self._chosen == 1 else 1)
            return
        usual = median(self._seconds[self._chosen])
        # Far slower at once: the trial itself is what would cost.
        if len(times) == _STEPS or seconds > 2 * usual:
            better = median(times) * _WORTH < usual
            self._chosen = self._trying if better else self._chosen
            self._wait_s = _AGAIN_S if better else min(2 * self._wait_s, _LATEST_S)
            self._try(self._chosen)
            self._next_at = self._clock() + self._wait_s

    def _try(self, threads: int) -> None:
        self._trying = threads
        self._seconds[threads].clear()
        self._use(threads)
