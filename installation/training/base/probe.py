"""How fast this machine trains a config: images at once x memory format x CUDA graphs x torch.compile, the batch being the config's.

It takes about a minute, and longer by what torch.compile takes beyond that: nothing breaks a compilation off.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from installation.errors import EngineError
from installation.training.base.config import BaseConfig
from installation.training.base.plan import Plan
from installation.training.base.trainee import BaseTrainee
from installation.training.feed import Feed
from installation.training.team import Team

_MIB = 1 << 20
# What a compilation must bring to be worth its minute and its risk.
_WORTH = 1.1


@dataclass(frozen=True, slots=True)
class Row:
    """One candidate. images_per_s: 0 where it failed; `note` says why. memory_mib: the most that was used on a GPU."""

    plan: Plan
    images_per_s: float
    memory_mib: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """rows: in the order of measuring. best: the plan to train with. seconds: what it all took."""

    rows: tuple[Row, ...]
    best: Plan
    seconds: float

    def table(self) -> str:
        """Plain text, one line a candidate, the chosen one marked; below one that failed, why."""
        lines = ["   at once  layout          recorded  compiled  images/s   kimg/h   memory"]
        for row in self.rows:
            plan, mark = row.plan, "*" if row.plan == self.best else " "
            layout = "channels_last" if plan.channels_last else "contiguous"
            recorded, compiled = ("yes" if flag else "no" for flag in (plan.recorded, plan.compiled))
            speed = f"{row.images_per_s:8.1f} {3.6 * row.images_per_s:8.0f}" if row.images_per_s else f"{'no':>17}"
            memory = f"{row.memory_mib:6d} M" if row.memory_mib else "       -"
            lines.append(f" {mark} {plan.micro:7d}  {layout:14s}  {recorded:8s}  {compiled:8s}  {speed} {memory}")
            lines += [f"   {row.note}"] if row.note else []
        return "\n".join(lines)


def probe(
    config: BaseConfig,
    device: torch.device,
    *,
    batch: int | None = None,
    alone: bool = True,
    seconds: float = 60.0,
    clock: Callable[[], float] = time.perf_counter,
) -> Probe:
    """Measure candidates, most promising first; none is begun when `seconds` are over, and the first always is.

    batch: a process's share of the batch. alone: no other process trains the same network; several average their gradients between a
    step's parts, which no graph holds. EngineError if not even one image at a time can be trained.
    """
    batch = batch or config.batch
    began = clock()
    rows: list[Row] = []

    def left() -> float:
        return seconds - (clock() - began)

    def tried(plan: Plan) -> Row:
        row = measure(replace(config, batch=batch), plan, device, min(5.0, max(left() / 4, 0.5)), clock)
        rows.append(row)
        return row

    for plan in _candidates(batch, device, alone):
        if not rows or left() > seconds / 3:
            tried(plan)
    micro = batch
    while not any(row.images_per_s for row in rows) and micro > 1:
        micro //= 2
        tried(Plan(micro))
    best = max(rows, key=lambda row: row.images_per_s)
    if not best.images_per_s:
        raise EngineError(f"not even one image at a time can be trained ({best.note})", where=str(device))
    if device.type == "cuda" and left() > seconds / 4:
        compiled = tried(replace(best.plan, compiled=True))
        if compiled.images_per_s > _WORTH * best.images_per_s:
            best = compiled
    return Probe(tuple(rows), best.plan, clock() - began)


def _candidates(batch: int, device: torch.device, alone: bool) -> list[Plan]:
    # The batch itself is the config's: a larger one is faster for each image and learns less from each.
    halves = [batch] if batch < 8 else [batch, batch // 2]
    if device.type == "cuda":
        plans = [*(Plan(micro, recorded=alone) for micro in halves), Plan(batch, channels_last=False, recorded=alone)]
        return [*plans, Plan(batch)] if alone else plans
    return [*(Plan(micro) for micro in halves), Plan(batch, channels_last=False)]


def measure(
    config: BaseConfig,
    plan: Plan,
    device: torch.device,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> Row:
    """A round of steps with one penalty step in it, over and over; noise stands for pictures. Of this process alone: each has its clock."""
    images = np.random.default_rng(0).integers(0, 256, (max(config.batch, 16), 3, config.size, config.size), np.uint8)
    feed = Feed(images, np.arange(len(images)), device, seed=0, flip=config.flip)
    config = replace(config, augment="ramp", augment_p=0.3, augment_kimg=0.0)
    on_gpu = device.type == "cuda"
    try:
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(device)
        trainee = BaseTrainee(config, plan, feed, None, seed=0, device=device, team=Team(), on_show=lambda trainee: {})
        plain, penalised = _times(trainee, seconds, clock)
    except torch.cuda.OutOfMemoryError:
        return Row(plan, 0.0, note="out of memory")
    except Exception as error:
        # torch.compile brings its own family of errors, a missing C compiler among them. Uncompiled, a fault is a fault.
        if not plan.compiled:
            raise
        first_line = str(error).strip().partition("\n")[0]
        return Row(plan, 0.0, note=f"{type(error).__name__}: {first_line:.150}")
    finally:
        if on_gpu:
            torch.cuda.empty_cache()
    memory = torch.cuda.max_memory_allocated(device) // _MIB if on_gpu else 0
    every = config.penalised_every
    mean = (plain * (every - 1) + penalised) / every
    return Row(plan, config.batch / mean, memory)


def _times(trainee: BaseTrainee, seconds: float, clock: Callable[[], float]) -> tuple[float, float]:
    """Seconds of a plain step and of one with penalties; each after one that is not counted (compilation, choice of algorithms)."""

    def timed(count: int) -> float:
        trainee.count = count
        _finish(trainee.device)
        began = clock()
        trainee.step()
        _finish(trainee.device)
        return clock() - began

    for count in (0, 1, 0, 1, 2):
        timed(count)
    penalised, plain = [timed(0)], [timed(1)]
    deadline = clock() + seconds
    while clock() < deadline and len(plain) < 50:
        plain.append(timed(1))
        if len(penalised) * 4 < len(plain):
            penalised.append(timed(0))
    return float(np.median(plain)), float(np.median(penalised))


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
