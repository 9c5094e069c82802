"""One step of generator and critic: the losses, the lazy penalties, the gradients. It owns the networks and their optimisers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from installation.training.augment import Augment, Draw
from installation.training.base.batch import Batch
from installation.training.base.config import BaseConfig
from installation.training.base.critic_net import CriticNet
from installation.training.base.eyes import Anchor, EyeCritic, learning
from installation.training.base.generator import Generator
from installation.training.base.grid import Grid
from installation.training.base.plan import Plan, half_dtype
from installation.training.base.projected import ProjectedCritic
from installation.training.base.recorded import GraphedSteps
from installation.training.losses import (
    LossKind,
    difference_penalty,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    path_lengths,
    path_penalty,
)
from installation.training.optimiser import Adam
from installation.training.team import Team

_DIFFERENCE = 0.01
_PATH_EVERY = 4


@dataclass(frozen=True, slots=True)
class _Told:
    """How a critic told real pictures from generated ones. total: loss and weighted penalty. penalty: None in steps without."""

    total: Tensor
    loss: Tensor
    penalty: Tensor | None
    real: Tensor
    fake: Tensor


@dataclass(frozen=True, slots=True)
class _Judge:
    """A critic of pixels. look: (img as made, draw) -> what it is shown. fast: `net`, maybe compiled. weight: in the generator's loss."""

    name: str
    net: CriticNet
    fast: nn.Module
    look: Callable[[Tensor, Draw], Tensor]
    adam: Adam
    weight: float = 1.0


class Steps:
    """The pair of networks on a device, and how they learn."""

    def __init__(
        self, config: BaseConfig, plan: Plan, device: torch.device, *, seed: int, team: Team | None = None
    ) -> None:
        self.config, self.plan, self.device, self.team = config, plan, device, team or Team()
        half = half_dtype(device)
        self.graphed = GraphedSteps(device) if plan.recorded else None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.generator = Generator(config, half, plan.layout).to(device)
            self.critic = CriticNet(config, half, plan.layout).to(device)
        self.fast_generator: Callable[[Tensor], Tensor] = self.generator
        self.fast_critic: nn.Module = self.critic
        if plan.compiled:
            self.fast_generator = cast("Callable[[Tensor], Tensor]", torch.compile(self.generator, dynamic=False))
            self.fast_critic = cast(nn.Module, torch.compile(self.critic, dynamic=False))
        # All but a generator whose eyes or patterns alone are to change.
        self.anchor = Anchor(self.generator, config.size, eyes=config.eyes > 0) if config.keep else None
        learns = learning(self.generator, config.size) if config.keep else dict(self.generator.named_parameters())
        self.generator.requires_grad_(False)
        for parameter in learns.values():
            parameter.requires_grad_(True)
        self.generator_adam = Adam(learns, beta2=config.beta2)
        self.critic_adam = Adam(dict(self.critic.named_parameters()), beta2=config.beta2)
        self.projected: ProjectedCritic | None = None
        if config.projected:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.projected = ProjectedCritic(config.size, device, beta2=config.beta2)
        self.eyes: EyeCritic | None = None
        if config.eyes:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.eyes = EyeCritic(config, device, plan.layout)
        self.judges: list[_Judge] = []
        if not config.keep:
            whole = _Judge("critic", self.critic, self.fast_critic, lambda img, draw: draw.apply(img), self.critic_adam)
            self.judges.append(whole)
        if self.eyes is not None:
            net = self.eyes.net
            self.judges.append(_Judge("eyes", net, net, self.eyes.look, self.eyes.adam, weight=config.eyes))
        self.augment = Augment(colour=config.augment_colour)
        self.path_mean = torch.zeros((), device=device)
        self.grid = Grid(config.size, device) if config.grid else None

    def step(
        self, batch: Batch, count: int, *, lr_critic: float, lr_projected: float, lr_generator: float, paths: bool
    ) -> dict[str, Tensor]:
        """Step number `count` (from 0). lr_generator 0: only the critics learn. paths: path lengths are regularised."""
        config = self.config
        penalised, alone = count % config.penalised_every == 0 and config.penalty_weight > 0, lr_generator == 0
        paths = paths and not alone and count % _PATH_EVERY == 0
        for judge in self.judges:
            judge.adam.announce(lr_critic)
        if self.projected is not None:
            self.projected.adam.announce(lr_projected)
        if not alone:
            self.generator_adam.announce(lr_generator)
        work = partial(self._work, penalised=penalised, alone=alone, paths=paths)
        # Numbers that are drawn on the way would be recorded too, and come again and again.
        if self.graphed is None or paths or (penalised and config.penalty == "difference"):
            return work(batch)
        return self.graphed.run((penalised, alone, tuple(draw.kinds for draw in batch.draws)), work, batch)

    def _work(self, batch: Batch, *, penalised: bool, alone: bool, paths: bool) -> dict[str, Tensor]:
        numbers = self._critic_step(batch, penalised)
        return numbers if alone else numbers | self._generator_step(batch, paths)

    def _passes(self, n: int) -> Iterator[slice]:
        """A batch of n in equal parts of at most `micro`."""
        passes = -(-n // self.plan.micro)
        while n % passes:
            passes += 1
        return (slice(i * n // passes, (i + 1) * n // passes) for i in range(passes))

    def _critic_step(self, batch: Batch, penalised: bool) -> dict[str, Tensor]:
        draw_real, draw_fake = batch.draws[:2]
        numbers: dict[str, Tensor] = {}
        if not self.judges:
            return numbers
        n = len(batch.real)
        for judge in self.judges:
            judge.adam.zero_grad()
        if self.projected is not None:
            self.projected.adam.zero_grad()
        for rows in self._passes(n):
            share = (rows.stop - rows.start) / n
            real = batch.real[rows]
            with torch.no_grad():
                made = self.fast_generator(batch.z[0, rows])
            # Each in turn, so that no two of their graphs are in memory together.
            for judge in self.judges:
                told = self._tell_apart(
                    judge, real, draw_real.part(rows), made, draw_fake.part(rows), batch.rng, penalised
                )
                _note(numbers, f"loss_{judge.name}", told.loss, share)
                if judge is self.judges[0]:
                    _note(numbers, "r_t", _sureness(self.config, told.real, told.fake), share)
                    if told.penalty is not None:
                        _note(numbers, "penalty", told.penalty, share)
                (told.total * share).backward()
            if self.projected is not None:
                on_real, on_fake = (draw.part(rows) for draw in batch.draws[4:6])
                loss = self.projected.loss(on_real.apply(real), on_fake.apply(made))
                _note(numbers, "loss_projected", loss, share)
                (loss * share).backward()
        for judge in self.judges:
            self.team.average_gradients(list(judge.net.parameters()))
            judge.adam.descend()
        if self.projected is not None:
            self.team.average_gradients(list(self.projected.heads.parameters()))
            self.projected.adam.descend()
        return numbers

    def _tell_apart(
        self,
        judge: _Judge,
        real: Tensor,
        draw_real: Draw,
        fake: Tensor,
        draw_fake: Draw,
        rng: torch.Generator,
        penalised: bool,
    ) -> _Told:
        """real, fake [N, 3, size, size] without augmentation; what it does to them."""
        config = self.config
        # torch.compile cannot derive twice; and in bfloat16 the penalty would be noise.
        exact = penalised and config.penalty != "difference"
        # The penalty is on what the critic is shown, so the augmentation is not derived twice.
        img = torch.cat([judge.look(real, draw_real), judge.look(fake, draw_fake)]).requires_grad_(exact)
        # Real and generated pictures in one call: half the launches, and their groups stay apart.
        group = math.gcd(config.group, len(real))
        logits = judge.net(img, group, full=True) if exact else judge.fast(img, group)
        on_real, on_fake = logits.chunk(2)
        loss = discriminator_loss(_kind(config), on_real, on_fake)
        if not penalised:
            return _Told(loss, loss, None, on_real, on_fake)
        if exact:
            penalty = gradient_penalty(logits, img)
        else:
            direction = torch.randn(img.shape, generator=rng).to(img)
            penalty = difference_penalty(logits, judge.fast(img + _DIFFERENCE * direction, group), _DIFFERENCE)
        # R1 + R2: the mean over the real and the mean over the generated ones, together twice the mean over all.
        penalty = 2 * penalty
        # As of pictures of its own size: `penalty_weight` goes with the square of the side.
        weight = config.penalty_weight * (img.shape[2] / config.size) ** 2
        return _Told(loss + penalty * (0.5 * weight * config.penalised_every), loss, penalty, on_real, on_fake)

    def _generator_step(self, batch: Batch, paths: bool) -> dict[str, Tensor]:
        config = self.config
        numbers: dict[str, Tensor] = {}
        n = len(batch.real)
        apart: list[Tensor] = []
        self.generator_adam.zero_grad()
        draw_again, draw_new = batch.draws[2:4]
        critics: list[nn.Module] = [judge.net for judge in self.judges]
        critics += [] if self.projected is None else [self.projected.heads]
        for critic in critics:
            critic.requires_grad_(False)
        try:
            for rows in self._passes(n):
                share = (rows.stop - rows.start) / n
                made, real = self.fast_generator(batch.z[1, rows]), batch.real[rows]
                loss = torch.zeros((), device=made.device)
                for judge in self.judges:
                    fooled = self._fool(judge, made, draw_new.part(rows), real, draw_again.part(rows))
                    loss = loss + judge.weight * fooled
                    if judge is self.judges[0]:
                        _note(numbers, "loss_generator", fooled, share)
                if self.anchor is not None:
                    moved = self.anchor.loss(batch.z[1, rows], made)
                    _note(numbers, "moved", moved, share)
                    loss = loss + config.keep * moved
                if self.projected is not None:
                    seen = batch.draws[6].part(rows).apply(made)
                    loss = loss - config.projected * self.projected(seen).mean()
                if self.grid is not None:
                    spectrum = self.grid.spectrum(made)
                    loss = loss + config.grid * self.grid.loss(spectrum)
                    apart.append((spectrum.detach() - self.grid.spectrum(real)) * share)
                (loss * share).backward()
        finally:
            for critic in critics:
                critic.requires_grad_(True)
        if self.grid is not None:
            numbers["grid"] = self.grid.learn(torch.stack(apart).sum(dim=0), self.team)
        if paths:
            numbers["path_length"] = self._path_step(batch)
        self.team.average_gradients(list(self.generator.parameters()))
        self.generator_adam.descend()
        return numbers

    def _fool(self, judge: _Judge, fake: Tensor, on_fake: Draw, real: Tensor, on_real: Draw) -> Tensor:
        """The generator's loss before that critic."""
        kind, group = _kind(self.config), math.gcd(self.config.group, len(fake))
        logits = judge.fast(judge.look(fake, on_fake), group)
        if kind == "ns":
            return generator_loss(kind, logits, None)
        with torch.no_grad():
            real_logits = judge.fast(judge.look(real, on_real), group)
        return generator_loss(kind, logits, real_logits)

    def _path_step(self, batch: Batch) -> Tensor:
        """Adds the path-length penalty's gradient, from half a pass of pictures; gives the mean length."""
        n = max(min(len(batch.real), self.plan.micro) // 2, 1)
        w = self.generator.mapping(batch.z[1, :n])
        ws = w[:, None].expand(-1, self.generator.num_ws, -1)
        img = self.generator.synthesis(ws)
        noise = torch.randn(img.shape, generator=batch.rng).to(img.device)
        lengths = path_lengths(img, ws, noise)
        penalty, self.path_mean = path_penalty(lengths, self.path_mean)
        (penalty * (self.config.path_weight * _PATH_EVERY)).backward()
        return lengths.detach().mean()


def _kind(config: BaseConfig) -> LossKind:
    return "ns" if config.loss == "ns" else "rp"


def _note(numbers: dict[str, Tensor], name: str, value: Tensor, share: float) -> None:
    """Adds a share of the batch to its mean."""
    value = value.detach() * share
    numbers[name] = numbers[name] + value if name in numbers else value


def _sureness(config: BaseConfig, real: Tensor, fake: Tensor) -> Tensor:
    """How much more often the critic is right than wrong about real pictures, -1..1: r_t of arXiv:2006.06676.

    Relativistic logits have no zero of their own, so there a real picture is held against its generated partner.
    """
    return (real.detach() - fake.detach() if _kind(config) == "rp" else real.detach()).sign().mean()
