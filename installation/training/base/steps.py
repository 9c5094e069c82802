"""One step of generator and discriminator: the losses, the lazy penalties, the gradients. It owns the networks and their optimisers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from installation.training.augment import Augment
from installation.training.base.batch import Batch
from installation.training.base.config import BaseConfig
from installation.training.base.discriminator import Discriminator
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

    def _group(self, rows: slice) -> int:
        return math.gcd(self.config.group, rows.stop - rows.start)

    def _critic_step(self, batch: Batch, penalised: bool) -> dict[str, Tensor]:
        config = self.config
        differences = config.penalty == "difference"
        draw_real, draw_fake = batch.draws[:2]
        # torch.compile cannot derive twice; and in bfloat16 the penalty would be noise.
        exact = penalised and not differences
        critic = self.critic if exact else self.fast_critic
        numbers: dict[str, Tensor] = {}
        n = len(batch.real)
        self.critic_adam.zero_grad()
        if self.projected is not None:
            self.projected.adam.zero_grad()
        for rows in self._passes(n):
            share = (rows.stop - rows.start) / n
            with torch.no_grad():
                made = self.fast_generator(batch.z[0, rows])
                fake = draw_fake.part(rows).apply(made)
                real = draw_real.part(rows).apply(batch.real[rows])
                img = torch.cat([real, fake])
            # The penalty is on what the discriminator is shown, so the augmentation is not derived twice.
            img.requires_grad_(exact)
            # Real and generated pictures in one call: half the launches, and their groups stay apart.
            group = self._group(rows)
            logits = critic(img, group, full=True) if exact else critic(img, group)
            real_logits, fake_logits = logits.chunk(2)
            loss = discriminator_loss(_kind(config), real_logits, fake_logits)
            numbers |= {
                "loss_critic": _add(numbers, "loss_critic", loss, share),
                "r_t": _add(numbers, "r_t", _sureness(config, real_logits, fake_logits), share),
            }
            if penalised:
                if differences:
                    direction = torch.randn(img.shape, generator=batch.rng).to(img)
                    moved = critic(img + _DIFFERENCE * direction, group)
                    penalty = difference_penalty(logits, moved, _DIFFERENCE)
                else:
                    penalty = gradient_penalty(logits, img)
                # R1 + R2: the mean over the real and the mean over the generated ones, together twice the mean over all.
                penalty = 2 * penalty
                numbers["penalty"] = _add(numbers, "penalty", penalty, share)
                loss = loss + penalty * (0.5 * config.penalty_weight * config.penalised_every)
            (loss * share).backward()
            if self.projected is not None:
                on_real, on_fake = (draw.part(rows) for draw in batch.draws[4:6])
                loss = self.projected.loss(on_real.apply(batch.real[rows]), on_fake.apply(made))
                numbers["loss_projected"] = _add(numbers, "loss_projected", loss, share)
                (loss * share).backward()
        average_gradients(list(self.critic.parameters()))
        self.critic_adam.descend()
        if self.projected is not None:
            average_gradients(list(self.projected.heads.parameters()))
            self.projected.adam.descend()
        return numbers

    def _generator_step(self, batch: Batch, paths: bool) -> dict[str, Tensor]:
        kind = _kind(self.config)
        numbers: dict[str, Tensor] = {}
        n = len(batch.real)
        self.generator_adam.zero_grad()
        draw_again, draw_new = batch.draws[2:4]
        critics = [self.critic] if self.projected is None else [self.critic, self.projected.heads]
        for critic in critics:
            critic.requires_grad_(False)
        try:
            for rows in self._passes(n):
                share = (rows.stop - rows.start) / n
                made = self.fast_generator(batch.z[1, rows])
                fake = draw_new.part(rows).apply(made)
                group = self._group(rows)
                fake_logits = self.fast_critic(fake, group)
                real_logits = None
                if kind == "rp":
                    with torch.no_grad():
                        real = draw_again.part(rows).apply(batch.real[rows])
                        real_logits = self.fast_critic(real, group)
                loss = generator_loss(kind, fake_logits, real_logits)
                numbers["loss_generator"] = _add(numbers, "loss_generator", loss, share)
                if self.projected is not None:
                    seen = batch.draws[6].part(rows).apply(made)
                    loss = loss - self.config.projected * self.projected(seen).mean()
                if self.config.grid:
                    times = grid_energy(made) / grid_energy(batch.real[rows])
                    numbers["grid"] = _add(numbers, "grid", times, share)
                    loss = loss + self.config.grid * torch.relu(times - 1)
                (loss * share).backward()
        finally:
            for critic in critics:
                critic.requires_grad_(True)
        if paths:
            numbers["path_length"] = self._path_step(batch)
        average_gradients(list(self.generator.parameters()))
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
