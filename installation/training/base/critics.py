"""What tells real pictures from generated ones, learns to, and says to the generator how far it is from fooling it.

A new critic is a class with this face in a file of its own, and its row in `steps.py`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import cast

import torch
from torch import Tensor, nn

from installation.training.augment import Draw
from installation.training.base.batch import Batch
from installation.training.base.config import BaseConfig
from installation.training.losses import (
    LossKind,
    difference_penalty,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
)
from installation.training.optimiser import Adam
from installation.training.state import State, joined

_DIFFERENCE = 0.01


class Critic(ABC):
    """name: in the numbers of a step and in a run's state. net: what of it learns, by `adam`. lr: its rate at the peak.

    weight: in the generator's loss; 0: it is kept as it is, neither asked nor taught. always_augmented: it sees the batch's last three
    draws instead of the first four. `loss` and `fool` may be recorded (`recorded.py`): they read nothing but the batch and tensors that
    keep their place.
    """

    always_augmented = False

    def __init__(self, name: str, net: nn.Module, *, lr: float, weight: float, beta2: float) -> None:
        self.name, self.net, self.lr, self.weight = name, net, lr, weight
        self.adam = Adam(dict(net.named_parameters()), beta2=beta2)

    @abstractmethod
    def loss(self, batch: Batch, made: Tensor, penalised: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """(what it descends; numbers: `loss` without penalties, and what else it can tell), 0-d. made [N, 3, size, size]: from z[0]."""

    @abstractmethod
    def fool(self, batch: Batch, made: Tensor) -> Tensor:
        """The generator's loss before it, 0-d. made [N, 3, size, size]: from z[1], with a gradient."""

    def tensors(self) -> dict[str, Tensor]:
        """What a run's state keeps of it, besides `adam.steps`."""
        return joined({self.name: self.net.state_dict(), f"{self.name}_v": self.adam.state()})

    def restore(self, state: State) -> None:
        """KeyError, RuntimeError or ValueError if it does not fit."""
        self.net.load_state_dict(state.part(self.name))
        self.adam.restore(state.part(f"{self.name}_v"), int(state.facts[f"{self.name}_steps"]))


class PixelCritic(Critic):
    """A critic of pixels, with the loss and the penalties that the config names. net: (img, group, full) -> logits, as `CriticNet`."""

    def __init__(
        self, name: str, net: nn.Module, config: BaseConfig, *, weight: float = 1.0, compiled: bool = False
    ) -> None:
        super().__init__(name, net, lr=config.lr_critic, weight=weight, beta2=config.beta2)
        self.config = config
        self.kind: LossKind = "ns" if config.loss == "ns" else "rp"
        self.fast = cast("nn.Module", torch.compile(net, dynamic=False)) if compiled else net

    def look(self, img: Tensor, draw: Draw) -> Tensor:
        """img [N, 3, size, size], not augmented -> what the network is shown of it."""
        return draw.apply(img)

    def loss(self, batch: Batch, made: Tensor, penalised: bool) -> tuple[Tensor, dict[str, Tensor]]:
        config = self.config
        draw_real, draw_fake = batch.draws[:2]
        # torch.compile cannot differentiate twice; and in bfloat16 the penalty would be noise.
        exact = penalised and config.penalty != "difference"
        # The penalty is on what the critic is shown, so the augmentation is not differentiated twice.
        img = torch.cat([self.look(batch.real, draw_real), self.look(made, draw_fake)]).requires_grad_(exact)
        # Real and generated pictures in one call: half the launches, and their groups stay apart.
        group = math.gcd(config.group, len(made))
        logits = self.net(img, group, full=True) if exact else self.fast(img, group)
        real, fake = logits.chunk(2)
        loss = discriminator_loss(self.kind, real, fake)
        told = {"loss": loss, "r_t": self._sureness(real.detach(), fake.detach())}
        if not penalised:
            return loss, told
        if exact:
            penalty = gradient_penalty(logits, img)
        else:
            direction = torch.randn(img.shape, generator=batch.rng).to(img)
            penalty = difference_penalty(logits, self.fast(img + _DIFFERENCE * direction, group), _DIFFERENCE)
        # R1 + R2: the mean over the real and the mean over the generated ones, together twice the mean over all.
        penalty = 2 * penalty
        # As of pictures of its own size: `penalty_weight` goes with the square of the side.
        weight = config.penalty_weight * (img.shape[2] / config.size) ** 2
        return loss + penalty * (0.5 * weight * config.penalised_every), told | {"penalty": penalty}

    def fool(self, batch: Batch, made: Tensor) -> Tensor:
        draw_real, draw_fake = batch.draws[2:4]
        group = math.gcd(self.config.group, len(made))
        logits = self.fast(self.look(made, draw_fake), group)
        if self.kind == "ns":
            return generator_loss(self.kind, logits, None)
        with torch.no_grad():
            real_logits = self.fast(self.look(batch.real, draw_real), group)
        return generator_loss(self.kind, logits, real_logits)

    def _sureness(self, real: Tensor, fake: Tensor) -> Tensor:
        """How much more often it is right than wrong about real pictures, -1..1: r_t of arXiv:2006.06676. Of logits.

        Relativistic logits have no zero of their own, so there a real picture is held against its generated partner.
        """
        return (real - fake if self.kind == "rp" else real).sign().mean()
