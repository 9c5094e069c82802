"""A base generator in training, as the loop sees it: schedules, average, state, and what is shown now and then."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from installation.models import device as devices
from installation.models.device import send
from installation.training.augment import Schedule
from installation.training.base.batch import Batch
from installation.training.base.config import BaseConfig
from installation.training.base.generator import Generator
from installation.training.base.plan import Plan
from installation.training.base.steps import Steps
from installation.training.base.threads import ThreadChoice
from installation.training.ema import HalfLife, follow
from installation.training.feed import Feed
from installation.training.optimiser import Rate
from installation.training.state import State, joined, misfit
from installation.training.streams import torch_stream
from installation.training.team import Team

# How often the augmentation's target is looked at, in images: each look waits for the GPU.
_ADA_EVERY = 4096
_OVERFIT_IMAGES = 64
# By the first word of a tensor's name. One Adam step of 2.5e-3 moves a weight (of size 1) about as far as bfloat16 rounds it (0.2 % at
# most), so half the bytes lose nothing that the next steps would not have changed. The average is what is shown, and gets float16.
_COMPACT = {
    "generator": torch.bfloat16,
    "generator_v": torch.bfloat16,
    "critic": torch.bfloat16,
    "critic_v": torch.bfloat16,
    "average": torch.float16,
    "anchor": torch.float16,
}


class BaseTrainee:
    """Keeps the contract `loop.Trainee`. `on_show` gets this trainee and gives numbers worth a line; only the leader's is called.

    held_out: pictures that are never trained on, for the overfitting gauge; None where there are too few.
    """

    def __init__(
        self,
        config: BaseConfig,
        plan: Plan,
        feed: Feed,
        held_out: Feed | None,
        *,
        seed: int,
        device: torch.device,
        team: Team,
        on_show: Callable[[BaseTrainee], Mapping[str, float]],
        licence: str = "",
    ) -> None:
        """licence: what a checkpoint of it says, kept in the state for whoever begins with that alone."""
        self.config, self.plan, self.feed, self.held_out = config, plan, feed, held_out
        self.seed, self.device, self.team, self.on_show = seed, device, team, on_show
        self.licence = licence
        self.nimg = self.count = self.retries = 0
        self.lr_factor, self.p = 1.0, 0.0
        self.critic_alone_until = 0
        self.steps = Steps(config, plan, device, seed=seed, team=team)
        self.average: Generator = copy.deepcopy(self.steps.generator).requires_grad_(False)
        self.half_life = HalfLife(1000 * config.ema_kimg, config.ema_ramp)
        kind = "ada" if config.augment == "ada" else "ramp"
        most = 0.0 if config.augment == "off" else config.augment_p
        self.schedule = Schedule(kind, most, int(1000 * config.augment_kimg), config.augment_target)
        self.threads = ThreadChoice(torch.get_num_threads()) if device.type == "cpu" else None
        self.signs: list[Tensor] = []
        self.judged_nimg = 0

    def let_critic_learn_first(self) -> None:
        """For the images of the warm-up the generator stays as it is: a critic that knows nothing yet would only do it harm."""
        self.critic_alone_until = int(1000 * self.config.warm_kimg) if self.steps.active else 0

    def step(self) -> dict[str, Tensor]:
        """`loss_NAME` of each critic that learns; `r_t` of the first and, in every so many steps, its `penalty`; unless the critics learn
        alone `loss_generator`, what each term tells (`moved`, `grid`), and `path_length` in every fourth step that wants it."""
        config, nimg = self.config, self.nimg
        began = time.perf_counter()
        numbers = self.steps.step(
            self._batch(),
            self.count,
            rate=self._rate,
            alone=nimg < self.critic_alone_until,
            paths=config.path_weight > 0 and nimg >= 1000 * config.path_kimg,
        )
        if self.threads is not None and "penalty" not in numbers:
            self.threads.done(time.perf_counter() - began)
        self.nimg += config.batch
        self.count += 1
        decay = self.half_life.decay(self.nimg, config.batch)
        follow(self.average.parameters(), self.steps.generator.parameters(), decay)
        if "r_t" in numbers:
            self._move_p(numbers["r_t"])
        return numbers

    def sound(self) -> bool:
        steps = self.steps
        networks = [steps.generator, self.average, *(critic.net for critic in steps.critics)]
        return all(bool(torch.stack([p.isfinite().all() for p in net.parameters()]).all()) for net in networks)

    def show(self) -> Mapping[str, float]:
        self.average.centre()
        return self.on_show(self) if self.team.leads else {}

    def retry(self, count: int, lr_factor: float) -> None:
        self.retries, self.lr_factor = count, lr_factor

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        steps = self.steps
        tensors = joined(
            {
                "generator": dict(steps.generator.named_parameters()),
                "average": dict(self.average.named_parameters()),
                "generator_v": steps.generator_adam.state(),
            }
        )
        for part in (*steps.critics, *steps.terms):
            tensors |= part.tensors()
        if self.config.compact:
            # A generator that is kept does not learn the rounding away.
            dtypes = _COMPACT | ({"generator": torch.float16} if self.config.keep else {})
            tensors = {
                name: tensor.detach().to(dtypes.get(name.partition(".")[0], tensor.dtype))
                for name, tensor in tensors.items()
            }
        tensors["path_mean"] = steps.path_mean
        tensors["signs"] = torch.stack(self.signs) if self.signs else torch.zeros(0)
        facts = {
            "kind": "base",
            "config": asdict(self.config),
            "nimg": self.nimg,
            "count": self.count,
            "p": self.p,
            "judged_nimg": self.judged_nimg,
            "critic_alone_until": self.critic_alone_until,
            "generator_steps": steps.generator_adam.steps,
            **{f"{critic.name}_steps": critic.adam.steps for critic in steps.critics},
            "plan": asdict(self.plan),
            "licence": self.licence,
            "processes": self.team.size,
            "device": devices.name(self.device),
        }
        return tensors, facts

    def restore(self, state: State) -> None:
        facts, steps = state.facts, self.steps
        try:
            steps.generator.take(state.part("generator"))
            self.average.take(state.part("average"))
            steps.generator_adam.restore(state.part("generator_v"), int(facts["generator_steps"]))
            for part in (*steps.critics, *steps.terms):
                part.restore(state)
            steps.path_mean = state.tensors["path_mean"].to(self.device)
            self.nimg, self.count, self.p = int(facts["nimg"]), int(facts["count"]), float(facts["p"])
            self.critic_alone_until, self.judged_nimg = int(facts["critic_alone_until"]), int(facts["judged_nimg"])
            self.signs = list(state.tensors["signs"].to(self.device))
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise misfit(state, error) from error

    @torch.no_grad()
    def overfit(self) -> float | None:
        """r_v of arXiv:2006.06676: 0 while the critic takes pictures it never saw for as real as those it did, 1 if it takes them
        for generated ones. None without enough held-out pictures."""
        if self.held_out is None:
            return None
        n, critic, group = _OVERFIT_IMAGES, self.steps.critic.net, math.gcd(self.config.group, _OVERFIT_IMAGES)
        z = torch.randn(n, self.config.z_dim, generator=torch_stream(self.seed, "overfit")).to(self.device)
        batches = (self.feed.batch(0, n), self.held_out.batch(0, n), self.steps.generator(z))
        seen, unseen, made = (critic(img, group).mean().item() for img in batches)
        return (seen - unseen) / (seen - made) if seen != made else 0.0

    def _batch(self) -> Batch:
        """All draws are made for the whole batch and a share is taken, so that any number of processes trains the same."""
        n, share = self.config.batch, self.team.share(self.config.batch)
        rng = torch_stream(self.seed, "step", self.nimg, self.retries)
        z = torch.randn(2, n, self.config.z_dim, generator=rng)
        draws = [self.steps.augment.draw(n, self.p, rng).part(share) for _ in range(4)]
        if any(critic.always_augmented for critic in self.steps.critics):
            draws += [self.steps.augment.draw(n, 1.0, rng).part(share) for _ in range(3)]
        tables = send(torch.stack([draw.table for draw in draws]), self.device)
        return Batch(
            real=self.feed.batch(self.nimg, n, share),
            z=send(z[:, share], self.device),
            draws=tuple(replace(draw, table=table) for draw, table in zip(draws, tables, strict=True)),
            rng=torch_stream(self.seed, "within", self.nimg, self.retries, self.team.rank),
        )

    def _rate(self, peak: float) -> float:
        config = self.config
        rate = Rate(peak, warm_up=int(1000 * config.warm_kimg), horizon=int(1000 * config.horizon_kimg))
        return self.lr_factor * rate.at(self.nimg)

    def _move_p(self, r_t: Tensor) -> None:
        schedule = self.schedule
        if schedule.kind == "ramp":
            self.p = schedule.next(self.p, nimg=self.nimg, images=self.config.batch, r_t=0.0)
            return
        self.signs.append(r_t)
        if self.nimg // _ADA_EVERY != (self.nimg - self.config.batch) // _ADA_EVERY:
            mean = self.team.mean(torch.stack(self.signs).mean().item())
            self.p = schedule.next(self.p, nimg=self.nimg, images=self.nimg - self.judged_nimg, r_t=mean)
            self.signs, self.judged_nimg = [], self.nimg
