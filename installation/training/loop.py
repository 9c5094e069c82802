"""The loop around a network in training: how long, when to save and show, and back to the last good state when numbers become NaN.

Shared by the trainers. It can be killed at any moment: the same command goes on from the newest state, which is less than a minute old.
It owns the clock, the state file and the signals; what a step does is the trainee's.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntFlag
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from installation.errors import ConfigError, EngineError, OutputError
from installation.training.state import State, load_state, previous, save_state
from installation.training.team import Team

StopReason = Literal["kimg", "minutes", "signal"]
_SHARED = "All processes of a run need one folder: put it on a disk that they share"


class Trainee(Protocol):
    """What is trained. nimg: real images shown so far."""

    nimg: int

    def step(self) -> Mapping[str, Tensor]:
        """One step of all networks. 0-d tensors on any device, by name; one that is not finite means that the step failed."""
        ...

    def sound(self) -> bool:
        """Whether every weight is finite."""
        ...

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that the next step depends on: tensors, and facts as JSON (`loop` is taken)."""
        ...

    def restore(self, state: State) -> None:
        """Be as `state` says."""
        ...

    def retry(self, count: int, lr_factor: float) -> None:
        """Called after `restore`: the run went back `count` times so far; multiply learning rates by `lr_factor` and draw other numbers."""
        ...

    def show(self) -> Mapping[str, float]:
        """Make sample pictures and checkpoints; numbers worth a line. Called in every process, at times that nimg alone decides."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """When things happen. save_s: age of the newest state at which it is written again. show_kimg: images between two shows, thousands."""

    save_s: float = 45.0
    log_s: float = 10.0
    check_s: float = 1.0
    show_kimg: float = 25.0
    retries: int = 6


@dataclass(frozen=True, slots=True)
class Progress:
    """What a caller may print. images_per_s: since the last report. numbers: means since the last report. event: "" or what happened."""

    nimg: int
    images_per_s: float
    numbers: Mapping[str, float] = field(default_factory=dict)
    event: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. rolled_back: how often it had to go back, over its whole life."""

    nimg: int
    reason: StopReason
    rolled_back: int
    images_per_s: float


class _Order(IntFlag):
    NOTHING = 0
    SAVE = 1
    SHOW = 2
    BACK = 4
    END = 8


class _Means:
    """Means of what steps tell, of each number over the steps that told it. Sums are kept where the numbers are, so that reading them is
    the only wait for a GPU."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, numbers: Mapping[str, Tensor]) -> None:
        for name, value in numbers.items():
            value = value.detach()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.counts[name] = self.counts.get(name, 0) + 1

    def read(self) -> dict[str, float]:
        if not self.sums:
            return {}
        values = torch.stack([value.double() for value in self.sums.values()]).tolist()
        return {name: value / self.counts[name] for name, value in zip(self.sums, values, strict=True)}


def check_resume(resume: str, state_path: Path) -> None:
    """ConfigError where `resume` is neither `auto` nor `never`, or is `never` and there is a state to go on from."""
    if resume not in ("auto", "never"):
        raise ConfigError(f"resume must be auto or never, not {resume!r}", where="resume")
    if resume == "never" and (state_path.exists() or previous(state_path).exists()):
        fix = "Choose another folder, or resume auto"
        raise ConfigError("the folder already holds a run", where=str(state_path.parent), fix=fix)


def owed_at(state_path: Path, product: Path) -> int | None:
    """The images after which a run was cut short before it had shown what it learnt, or after which its product was lost; None where it
    owes no show."""
    state = load_state(state_path)
    return int(state.facts["nimg"]) if state is not None and _owing(state, product) else None


def _owing(state: State, product: Path | None) -> bool:
    """Whether what it holds has not been shown, or the product is gone: a state may have been carried to another machine alone. A state
    of before this was kept may owe the show of a run's beginning."""
    owing = bool(state.facts.get("loop", {}).get("owing", state.facts["nimg"] == 0))
    return owing or (product is not None and not product.exists())


def train(
    trainee: Trainee,
    state_path: Path,
    *,
    pace: Pace,
    minutes: float | None = None,
    kimg: float | None = None,
    product: Path | None = None,
    team: Team | None = None,
    log: Callable[..., None] = lambda nimg, **numbers: None,
    progress: Callable[[Progress], None] = lambda progress: None,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Train until `kimg` thousand images were seen in all, or for `minutes` from now, or until SIGINT or SIGTERM; then save.

    Begins with what `state_path` holds, if there is a state. With neither limit it goes on until it is stopped. product: a file that
    every show writes; where it is missing beside a state, that is shown first.

    EngineError when the run cannot get past a point after `pace.retries` returns with halved learning rates; OutputError when the disk
    is full, and then the last state is still there; CheckpointError when the state is damaged.
    """
    return _Loop(trainee, state_path, product, pace, team or Team(), log, progress, clock).run(minutes, kimg)


class _Loop:
    def __init__(
        self,
        trainee: Trainee,
        state_path: Path,
        product: Path | None,
        pace: Pace,
        team: Team,
        log: Callable[..., None],
        progress: Callable[[Progress], None],
        clock: Callable[[], float],
    ) -> None:
        self.trainee, self.state_path, self.product, self.pace, self.team = trainee, state_path, product, pace, team
        self.log, self.progress, self.clock = log, progress, clock
        self.rolled_back, self.lr_factor, self.tries = 0, 1.0, 0
        self.means = _Means()

    def run(self, minutes: float | None, kimg: float | None) -> Outcome:
        trainee, pace = self.trainee, self.pace
        owing = self._resume()
        if owing is None:
            # Now the run can always go back, and a disk that is full is known at once.
            self._save(owing=True)
            owing = True
        self.began = self.saved_at = self.checked_at = self.logged_at = self.clock()
        self.logged_nimg = first_nimg = trainee.nimg
        deadline = math.inf if minutes is None else self.began + 60 * minutes
        target = math.inf if kimg is None else 1000 * kimg
        reason: StopReason = "kimg"
        if owing:
            self._show()
        shown = self._shows()
        with _signals() as asked_to_stop:
            while trainee.nimg < target:
                self.means.add(trainee.step())
                order = _Order.NOTHING
                if self.team.leads:
                    late, asked = self.clock() >= deadline, asked_to_stop.is_set()
                    if late or asked:
                        reason = "signal" if asked else "minutes"
                    if late or asked or trainee.nimg >= target:
                        order |= _Order.END
                    if self._shows() != shown:
                        order |= _Order.SHOW
                    if self.clock() - self.saved_at >= pace.save_s:
                        order |= _Order.SAVE
                    order |= self._report(due=bool(order))
                order = _Order(self.team.agree(int(order)))
                if order & _Order.BACK:
                    self._go_back()
                elif order & (_Order.SHOW | _Order.END):
                    # Before the show, which may find the disk full.
                    self._save(owing=True)
                    self._show()
                elif order:
                    self._save()
                shown = self._shows()
                # A step at the end that failed is made good first, unless there is no time.
                if order & _Order.END and (not order & _Order.BACK or reason != "kimg"):
                    break
        elapsed = max(self.clock() - self.began, 1e-9)
        return Outcome(trainee.nimg, reason, self.rolled_back, (trainee.nimg - first_nimg) / elapsed)

    def _shows(self) -> int:
        """How many shows are due up to now: a matter of nimg alone, so that a resumed run shows at the same places."""
        return int(self.trainee.nimg / (1000 * self.pace.show_kimg))

    def _resume(self) -> bool | None:
        """Be as the state says. Whether it owes a show; None where there is no state."""
        state = load_state(self.state_path)
        # The leader's finding counts, and nobody writes before everybody has looked.
        found = bool(self.team.agree(int(state is not None)))
        self.team.wait()
        if not found:
            return None
        if state is None:
            raise OutputError("this process does not see the leader's state", where=str(self.state_path), fix=_SHARED)
        loop = state.facts.get("loop", {})
        self.rolled_back, self.lr_factor = int(loop.get("rolled_back", 0)), float(loop.get("lr_factor", 1.0))
        self.trainee.restore(state)
        self.trainee.retry(self.rolled_back, self.lr_factor)
        return bool(self.team.agree(int(_owing(state, self.product))))

    def _report(self, *, due: bool) -> _Order:
        """Look at the numbers now and then, and whenever something is about to be kept. BACK if they are none."""
        now = self.clock()
        if not due and now - self.checked_at < self.pace.check_s:
            return _Order.NOTHING
        self.checked_at = now
        numbers = self.means.read()
        if not all(map(math.isfinite, numbers.values())) or (due and not self.trainee.sound()):
            return _Order.BACK
        if due or now - self.logged_at >= self.pace.log_s:
            seconds = max(now - self.logged_at, 1e-9)
            rate = (self.trainee.nimg - self.logged_nimg) / seconds
            self.log(self.trainee.nimg, images_per_s=rate, **numbers)
            self.progress(Progress(self.trainee.nimg, rate, numbers))
            self.logged_at, self.logged_nimg = now, self.trainee.nimg
            self.means = _Means()
        return _Order.NOTHING

    def _save(self, *, owing: bool = False) -> None:
        """owing: what the state holds has not been shown yet, and whoever goes on from it begins with that."""
        if self.team.leads:
            tensors, facts = self.trainee.state()
            loop = {"rolled_back": self.rolled_back, "lr_factor": self.lr_factor, "owing": owing}
            save_state(self.state_path, tensors, {**facts, "loop": loop})
        self.tries = 0
        self.saved_at = self.clock()
        self.team.wait()

    def _show(self) -> None:
        """And saves, so that it is known to be done."""
        numbers = self.trainee.show()
        if self.team.leads:
            if numbers:
                self.log(self.trainee.nimg, **numbers)
            self.progress(Progress(self.trainee.nimg, 0.0, numbers, "shown"))
        self._save()
        # The time was spent on pictures, not on steps.
        self.logged_at, self.logged_nimg = self.clock(), self.trainee.nimg

    def _go_back(self) -> None:
        failed_at = self.trainee.nimg
        self.tries += 1
        self.rolled_back += 1
        self.lr_factor /= 2
        state = load_state(self.state_path)
        if self.tries > self.pace.retries or state is None:
            what = f"training breaks down at {failed_at / 1000:.1f} kimg, {self.tries} times in a row"
            fix = "Begin with a lower learning rate or a larger gamma; the last good state is kept"
            raise EngineError(what, where=str(self.state_path.parent), fix=fix)
        self.trainee.restore(state)
        self.trainee.retry(self.rolled_back, self.lr_factor)
        self.means = _Means()
        self.logged_at, self.logged_nimg = self.clock(), self.trainee.nimg
        if self.team.leads:
            here = f"{self.trainee.nimg / 1000:.1f} kimg"
            event = f"not a number at {failed_at / 1000:.1f} kimg: back to {here}, learning rates halved"
            self.log(self.trainee.nimg, rolled_back=self.rolled_back, lr_factor=self.lr_factor)
            self.progress(Progress(self.trainee.nimg, 0.0, {}, event))
        self.team.wait()


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """Set by SIGINT or SIGTERM, so that the run ends between two steps; a second one ends it at once. Only the main thread gets any."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.getsignal(kind) for kind in kinds}

    def ask(kind: int, frame: object) -> None:
        asked.set()
        signal.signal(kind, before[signal.Signals(kind)] or signal.SIG_DFL)

    try:
        for kind in kinds:
            signal.signal(kind, ask)
        yield asked
    finally:
        for kind in kinds:
            signal.signal(kind, before[kind] or signal.SIG_DFL)
