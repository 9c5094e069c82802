"""One step of generator and discriminator: the losses, the lazy penalties, the gradients. It owns the networks and their optimisers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from installation.training.augment import Augment
from installation.training.base.batch import Batch
from installation.training.base.config import BaseConfig
from installation.training.base.discriminator import Discriminator
from installation.training.base.eyes import EyeCritic
from installation.training.base.generator import Generator
from installation.training.base.plan import Plan, half_dtype
from installation.training.base.projected import ProjectedCritic
from installation.training.base.recorded import Recorder
from installation.training.losses import (
    LossKind,
    difference_penalty,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    grid_energy,
    path_lengths,
    path_penalty,
)
from installation.training.optimiser import Adam, average_gradients

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


class Steps:
    """The pair of networks on a device, and how they learn."""

    def __init__(self, config: BaseConfig, plan: Plan, device: torch.device, *, seed: int) -> None:
        self.config, self.plan, self.device = config, plan, device
        half = half_dtype(device)
        self.recorder = Recorder(device) if plan.recorded else None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.generator = Generator(config, half, plan.layout).to(device)
            self.critic = Discriminator(config, half, plan.layout).to(device)
        self.fast_generator: Callable[[Tensor], Tensor] = self.generator
        self.fast_critic: nn.Module = self.critic
        if plan.compiled:
            self.fast_generator = cast("Callable[[Tensor], Tensor]", torch.compile(self.generator, dynamic=False))
            self.fast_critic = cast(nn.Module, torch.compile(self.critic, dynamic=False))
        self.generator_adam = Adam(dict(self.generator.named_parameters()), beta2=config.beta2)
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
        self.augment = Augment(colour=config.augment_colour)
        self.path_mean = torch.zeros((), device=device)

    def step(
        self, batch: Batch, count: int, *, lr_critic: float, lr_projected: float, lr_generator: float, paths: bool
    ) -> dict[str, Tensor]:
        """Step number `count` (from 0). lr_generator 0: only the critics learn. paths: path lengths are regularised."""
        config = self.config
        penalised, alone = count % config.penalised_every == 0 and config.penalty_weight > 0, lr_generator == 0
        paths = paths and not alone and count % _PATH_EVERY == 0
        self.critic_adam.announce(lr_critic)
        if self.projected is not None:
            self.projected.adam.announce(lr_projected)
        if self.eyes is not None:
            self.eyes.adam.announce(lr_critic)
        if not alone:
            self.generator_adam.announce(lr_generator)
        work = partial(self._work, penalised=penalised, alone=alone, paths=paths)
        # Numbers that are drawn on the way would be recorded too, and come again and again.
        if self.recorder is None or paths or (penalised and config.penalty == "difference"):
            return work(batch)
        return self.recorder.run((penalised, alone, tuple(draw.kinds for draw in batch.draws)), work, batch)

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
        n = len(batch.real)
        self.critic_adam.zero_grad()
        for other in (self.projected, self.eyes):
            if other is not None:
                other.adam.zero_grad()
        for rows in self._passes(n):
            share = (rows.stop - rows.start) / n
            on_real, on_fake = draw_real.part(rows), draw_fake.part(rows)
            real = batch.real[rows]
            with torch.no_grad():
                made = self.fast_generator(batch.z[0, rows])
                pair = on_real.apply(real), on_fake.apply(made)
            # Of each critic in turn, so that no two of their graphs are in memory together.
            told = self._tell_apart(self.critic, self.fast_critic, *pair, batch.rng, penalised)
            sureness = _sureness(self.config, told.real, told.fake)
            numbers |= {
                "loss_critic": _add(numbers, "loss_critic", told.loss, share),
                "r_t": _add(numbers, "r_t", sureness, share),
            }
            if told.penalty is not None:
                numbers["penalty"] = _add(numbers, "penalty", told.penalty, share)
            (told.total * share).backward()
            if self.eyes is not None:
                pair = self.eyes.look(real, on_real), self.eyes.look(made, on_fake)
                told = self._tell_apart(self.eyes.net, self.eyes.net, *pair, batch.rng, penalised)
                numbers["loss_eyes"] = _add(numbers, "loss_eyes", told.loss, share)
                (told.total * share).backward()
            if self.projected is not None:
                on_real, on_fake = (draw.part(rows) for draw in batch.draws[4:6])
                loss = self.projected.loss(on_real.apply(real), on_fake.apply(made))
                numbers["loss_projected"] = _add(numbers, "loss_projected", loss, share)
                (loss * share).backward()
        average_gradients(list(self.critic.parameters()))
        self.critic_adam.descend()
        if self.eyes is not None:
            average_gradients(list(self.eyes.net.parameters()))
            self.eyes.adam.descend()
        if self.projected is not None:
            average_gradients(list(self.projected.heads.parameters()))
            self.projected.adam.descend()
        return numbers

    def _tell_apart(
        self, critic: Discriminator, fast: nn.Module, real: Tensor, fake: Tensor, rng: torch.Generator, penalised: bool
    ) -> _Told:
        """real, fake [N, C, size, size] as the critic is shown them; fast: the same critic, maybe compiled."""
        config = self.config
        # torch.compile cannot derive twice; and in bfloat16 the penalty would be noise.
        exact = penalised and config.penalty != "difference"
        # The penalty is on what the critic is shown, so the augmentation is not derived twice.
        img = torch.cat([real, fake]).requires_grad_(exact)
        # Real and generated pictures in one call: half the launches, and their groups stay apart.
        group = math.gcd(config.group, len(real))
        logits = critic(img, group, full=True) if exact else fast(img, group)
        on_real, on_fake = logits.chunk(2)
        loss = discriminator_loss(_kind(config), on_real, on_fake)
        if not penalised:
            return _Told(loss, loss, None, on_real, on_fake)
        if exact:
            penalty = gradient_penalty(logits, img)
        else:
            direction = torch.randn(img.shape, generator=rng).to(img)
            penalty = difference_penalty(logits, fast(img + _DIFFERENCE * direction, group), _DIFFERENCE)
        # R1 + R2: the mean over the real and the mean over the generated ones, together twice the mean over all.
        penalty = 2 * penalty
        # As of pictures of its own size: `penalty_weight` goes with the square of the side.
        weight = config.penalty_weight * (img.shape[2] / config.size) ** 2
        return _Told(loss + penalty * (0.5 * weight * config.penalised_every), loss, penalty, on_real, on_fake)

    def _generator_step(self, batch: Batch, paths: bool) -> dict[str, Tensor]:
        config = self.config
        numbers: dict[str, Tensor] = {}
        n = len(batch.real)
        self.generator_adam.zero_grad()
        draw_again, draw_new = batch.draws[2:4]
        critics: list[nn.Module] = [self.critic]
        critics += [] if self.eyes is None else [self.eyes.net]
        critics += [] if self.projected is None else [self.projected.heads]
        for critic in critics:
            critic.requires_grad_(False)
        try:
            for rows in self._passes(n):
                share = (rows.stop - rows.start) / n
                made = self.fast_generator(batch.z[1, rows])
                on_real, on_fake, real = draw_again.part(rows), draw_new.part(rows), batch.real[rows]
                loss = self._fool(self.fast_critic, on_fake.apply(made), on_real.apply(real))
                numbers["loss_generator"] = _add(numbers, "loss_generator", loss, share)
                if self.eyes is not None:
                    seen = self.eyes.look(made, on_fake), self.eyes.look(real, on_real)
                    loss = loss + config.eyes * self._fool(self.eyes.net, *seen)
                if self.projected is not None:
                    seen = batch.draws[6].part(rows).apply(made)
                    loss = loss - config.projected * self.projected(seen).mean()
                if config.grid:
                    times = grid_energy(made) / grid_energy(real)
                    numbers["grid"] = _add(numbers, "grid", times, share)
                    loss = loss + config.grid * torch.relu(times - 1)
                (loss * share).backward()
        finally:
            for critic in critics:
                critic.requires_grad_(True)
        if paths:
            numbers["path_length"] = self._path_step(batch)
        average_gradients(list(self.generator.parameters()))
        self.generator_adam.descend()
        return numbers

    def _fool(self, critic: nn.Module, fake: Tensor, real: Tensor) -> Tensor:
        """The generator's loss before that critic; pictures as the critic is shown them."""
        kind, group = _kind(self.config), math.gcd(self.config.group, len(fake))
        logits = critic(fake, group)
        if kind == "ns":
            return generator_loss(kind, logits, None)
        with torch.no_grad():
            real_logits = critic(real, group)
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


def _add(numbers: dict[str, Tensor], name: str, value: Tensor, share: float) -> Tensor:
    value = value.detach() * share
    return numbers[name] + value if name in numbers else value


def _sureness(config: BaseConfig, real: Tensor, fake: Tensor) -> Tensor:
    """How much more often the discriminator is right than wrong about real pictures, -1..1: r_t of arXiv:2006.06676.

    Relativistic logits have no zero of their own, so there a real picture is held against its generated partner.
    """
    return (real.detach() - fake.detach() if _kind(config) == "rp" else real.detach()).sign().mean()
