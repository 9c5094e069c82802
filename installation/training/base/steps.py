"""One step of the generator and its critics: losses, lazy penalties, gradients. It owns the networks and their optimisers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Protocol, cast

import torch
from torch import Tensor

from installation.training.augment import Augment
from installation.training.base.anchor import Anchor, learning
from installation.training.base.batch import Batch
from installation.training.base.config import BaseConfig
from installation.training.base.critic_net import CriticNet
from installation.training.base.critics import Critic, PixelCritic
from installation.training.base.eyes import EyeCritic
from installation.training.base.generator import Generator
from installation.training.base.grid import Grid
from installation.training.base.plan import Plan, half_dtype
from installation.training.base.projected import ProjectedCritic
from installation.training.base.recorded import GraphedSteps
from installation.training.losses import path_lengths, path_penalty
from installation.training.optimiser import Adam
from installation.training.state import State
from installation.training.team import Team

_PATH_EVERY = 4


class Term(Protocol):
    """What a generator is held to besides what its critics say. name: of its number. weight: in the generator's loss. Recorded too."""

    name: str
    weight: float

    def hold(self, batch: Batch, made: Tensor) -> tuple[Tensor, Tensor]:
        """(its loss, 0-d; what `learn` gets the whole batch's mean of). made [N, 3, size, size]: from z[1], with a gradient."""
        ...

    def learn(self, seen: Tensor, team: Team) -> Tensor:
        """After the last pass of a step: what it tells, 0-d."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """What a run's state keeps of it."""
        ...

    def restore(self, state: State) -> None:
        """KeyError, RuntimeError or ValueError if it does not fit."""
        ...


class Steps:
    """The networks on a device, and how they learn.

    critic: of whole pictures. critics: it and all others. active: those that are asked and taught; of a network that is kept (`keep`)
    the first one is not. terms: see `Term`.
    """

    def __init__(
        self, config: BaseConfig, plan: Plan, device: torch.device, *, seed: int, team: Team | None = None
    ) -> None:
        self.config, self.plan, self.device, self.team = config, plan, device, team or Team()
        half = half_dtype(device)
        self.graphed = GraphedSteps(device) if plan.recorded else None
        with _seeded(seed):
            self.generator = Generator(config, half, plan.layout).to(device)
            net = CriticNet(config, half, plan.layout).to(device)
        self.fast_generator: Callable[[Tensor], Tensor] = self.generator
        if plan.compiled:
            self.fast_generator = cast("Callable[[Tensor], Tensor]", torch.compile(self.generator, dynamic=False))
        self.critic = PixelCritic("critic", net, config, weight=float(not config.keep), compiled=plan.compiled)
        self.critics: list[Critic] = [self.critic]
        for weight, make in ((config.eyes, EyeCritic), (config.projected, ProjectedCritic)):
            if weight:
                with _seeded(seed):
                    self.critics.append(make(config, plan, device))
        self.active = [critic for critic in self.critics if critic.weight]
        self.terms: list[Term] = []
        if config.keep:
            self.terms.append(Anchor(self.generator, config))
        if config.grid:
            self.terms.append(Grid(config.size, device, config.grid))
        # All but a generator whose eyes or patterns alone are to change.
        learns = learning(self.generator, config.size) if config.keep else dict(self.generator.named_parameters())
        self.generator.requires_grad_(False)
        for parameter in learns.values():
            parameter.requires_grad_(True)
        self.generator_adam = Adam(learns, beta2=config.beta2)
        self.augment = Augment(colour=config.augment_colour)
        self.path_mean = torch.zeros((), device=device)

    def step(
        self, batch: Batch, count: int, *, rate: Callable[[float], float], alone: bool, paths: bool
    ) -> dict[str, Tensor]:
        """Step number `count` (from 0). rate: today's of the one at its peak. alone: only the critics learn. paths: path lengths count."""
        config = self.config
        penalised = count % config.penalised_every == 0 and config.penalty_weight > 0
        paths = paths and not alone and count % _PATH_EVERY == 0
        for critic in self.active:
            critic.adam.announce(rate(critic.lr))
        if not alone:
            self.generator_adam.announce(rate(config.lr_generator))
        work = partial(self._work, penalised=penalised, alone=alone, paths=paths)
        # Numbers that are drawn on the way would be recorded too, and come again and again.
        if self.graphed is None or paths or (penalised and config.penalty == "difference"):
            return work(batch)
        return self.graphed.run((penalised, alone, tuple(draw.kinds for draw in batch.draws)), work, batch)

    def _work(self, batch: Batch, *, penalised: bool, alone: bool, paths: bool) -> dict[str, Tensor]:
        numbers = self._teach_critics(batch, penalised) if self.active else {}
        return numbers if alone else numbers | self._teach_generator(batch, paths)

    def _passes(self, batch: Batch) -> Iterator[tuple[Batch, float]]:
        """A batch in equal parts of at most `micro`, each with its share of the whole."""
        n = len(batch.real)
        passes = -(-n // self.plan.micro)
        while n % passes:
            passes += 1
        for i in range(passes):
            yield batch.part(slice(i * n // passes, (i + 1) * n // passes)), 1 / passes

    def _teach_critics(self, batch: Batch, penalised: bool) -> dict[str, Tensor]:
        numbers: dict[str, Tensor] = {}
        for critic in self.active:
            critic.adam.zero_grad()
        for part, share in self._passes(batch):
            with torch.no_grad():
                made = self.fast_generator(part.z[0])
            # Each in turn, so that no two of their graphs are in memory together.
            for critic in self.active:
                total, told = critic.loss(part, made, penalised)
                _note(numbers, f"loss_{critic.name}", told.pop("loss"), share)
                if critic is self.active[0]:
                    for name, value in told.items():
                        _note(numbers, name, value, share)
                (total * share).backward()
        for critic in self.active:
            self.team.average_gradients(list(critic.net.parameters()))
            critic.adam.descend()
        return numbers

    def _teach_generator(self, batch: Batch, paths: bool) -> dict[str, Tensor]:
        numbers: dict[str, Tensor] = {}
        seen: dict[str, Tensor] = {}
        self.generator_adam.zero_grad()
        for critic in self.active:
            critic.net.requires_grad_(False)
        try:
            for part, share in self._passes(batch):
                made = self.fast_generator(part.z[1])
                loss = torch.zeros((), device=made.device)
                for critic in self.active:
                    fooled = critic.fool(part, made)
                    loss = loss + critic.weight * fooled
                    if critic is self.active[0]:
                        _note(numbers, "loss_generator", fooled, share)
                for term in self.terms:
                    held, one = term.hold(part, made)
                    loss = loss + term.weight * held
                    _note(seen, term.name, one, share)
                (loss * share).backward()
        finally:
            for critic in self.active:
                critic.net.requires_grad_(True)
        for term in self.terms:
            numbers[term.name] = term.learn(seen[term.name], self.team)
        if paths:
            numbers["path_length"] = self._path_step(batch)
        self.team.average_gradients(list(self.generator.parameters()))
        self.generator_adam.descend()
        return numbers

    def _path_step(self, batch: Batch) -> Tensor:
        """Adds the path-length penalty's gradient, from half a pass of pictures; gives the mean length."""
        n = max(min(len(batch.real), self.plan.micro) // 2, 1)
        w = self.generator.mapping(batch.z[1, :n])
        ws = w[:, None].expand(-1, self.generator.num_ws, -1)
        img = self.generator.synthesis(ws)
        noise = torch.randn(img.shape, generator=batch.rng).to(img.device)
        lengths = path_lengths(img, ws, noise)
        penalty, mean = path_penalty(lengths, self.path_mean)
        (penalty * (self.config.path_weight * _PATH_EVERY)).backward()
        # One length for all processes, and the one that the state keeps.
        self.path_mean = self.team.average(mean)
        return lengths.detach().mean()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _note(numbers: dict[str, Tensor], name: str, value: Tensor, share: float) -> None:
    """Adds a share of the batch to its mean."""
    value = value.detach() * share
    numbers[name] = numbers[name] + value if name in numbers else value
