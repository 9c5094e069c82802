"""A stage and its critic in training: one step of both, everything a later step depends on, and the average that is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from installation.models.stage import Stage
from installation.training.base.export import licence_line
from installation.training.ema import HalfLife, follow
from installation.training.features.efficientnet import Features, scaled
from installation.training.losses import discriminator_loss, generator_loss, gradient_penalty
from installation.training.optimiser import Adam, Rate
from installation.training.stage.configs import StageConfig
from installation.training.stage.degrade import Degradation, pair
from installation.training.stage.networks import Critic, new_stage
from installation.training.stage.source import Crops, Previous
from installation.training.stage.steadiness import shift_loss, walk_loss
from installation.training.state import State, joined, misfit

PENALTY_EVERY = 8
STEADY_EVERY = 4
STEADY_CROPS = 2  # the steadiness losses cost two more passes each
PERCEPTUAL_TAPS = (0, 2, 4)  # blocks at a half, a quarter and an eighth of the crop: texture, not what is shown
EMA_RAMP = 0.05


class StageTrainee:
    """What `training.loop` trains. All draws follow from the seed, nimg and how often the run went back, so a resumed run goes on alike."""

    def __init__(
        self,
        config: StageConfig,
        scale: int,
        seed: int,
        crops: Crops,
        *,
        previous: Previous | None = None,
        features: Features | None = None,
    ) -> None:
        """crops: of config.crop + scale px, so that a crop can move within one."""
        self.config, self.scale, self.seed, self.crops = config, scale, seed, crops
        self.previous, self.features = previous, features
        self.on_show: Callable[[StageTrainee], Mapping[str, float]] = lambda trainee: {}
        # What a checkpoint of it owes; kept in the state, so that whoever goes on from it alone owes it too.
        self.licence = licence_line(crops.dataset.manifest)
        self.device = crops.device
        self.stage = new_stage(config, scale, seed).to(self.device)
        self.average = new_stage(config, scale, seed).to(self.device).requires_grad_(False)
        self.critic = Critic(config.critic_widths, scale, seed + 1).to(self.device)
        for network in (self.stage, self.average, self.critic):
            for weight in network.parameters():
                if weight.ndim == 4:  # nano on one thread: 71 against 63 crops a second
                    weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        self.optimiser = Adam(dict(self.stage.named_parameters()), beta2=config.beta2)
        self.critic_optimiser = Adam(dict(self.critic.named_parameters()), beta2=config.beta2)
        self.degradation = Degradation(config.blur, config.noise, config.colour)
        self.half_life = HalfLife(1000 * config.ema_kimg, EMA_RAMP)
        self.nimg, self.steps, self.went_back, self.lr_factor = 0, 0, 0, 1.0

    def step(self) -> Mapping[str, Tensor]:
        """`l1` and `perceptual` of the pairs; once the critic is there `critic`, `sure` (share of patches it is right about, 0..1), `gan`,
        and `r1` in every eighth step; `shift` and `walk` in every fourth. Those with a weight of 0 are not there."""
        config = self.config
        rng = self._generator()
        real = self.crops.draw(config.batch, rng)
        lo, target = pair(real[:, :, : config.crop, : config.crop], self.scale, self.degradation, rng)
        seen, w = lo, None
        samples = round(config.batch * config.previous_share) if self.previous is not None else 0
        paired = config.batch - samples
        if self.previous is not None and samples:
            drawn, own = self.previous.draw(samples, config.crop // self.scale, rng)
            seen = torch.cat([lo[:paired], drawn])
            w = torch.cat([own.new_zeros(paired, own.shape[1]), own])  # a real picture has no w: the neutral style
        with self._half():
            fake = self.stage(seen, w)
        numbers: dict[str, Tensor] = {}
        weight = self._gan_weight()
        if weight > 0:
            numbers |= self._teach_critic(target, lo, fake.detach(), seen)
        loss = fake.new_zeros(())
        if paired:
            numbers["l1"] = (fake[:paired] - target[:paired]).abs().mean()
            loss = loss + self._l1_weight() * numbers["l1"]
            if self.features is not None and config.perceptual:
                numbers["perceptual"] = self._perceptual(fake[:paired], target[:paired])
                loss = loss + config.perceptual * numbers["perceptual"]
        if weight > 0:
            with torch.no_grad(), self._half():
                on_real = self.critic(target, lo)
            self.critic.requires_grad_(False)
            with self._half():
                numbers["gan"] = generator_loss("rp", self.critic(fake, seen), on_real)
            self.critic.requires_grad_(True)
            loss = loss + weight * numbers["gan"]
        if config.steady and self.steps % STEADY_EVERY == 0:
            loss = loss + config.steady * STEADY_EVERY * self._steadiness(real, rng, numbers)
        self.optimiser.zero_grad()
        if loss.requires_grad:
            loss.backward()
        self.optimiser.step(self._rate(config.lr_stage))
        self.nimg += config.batch
        self.steps += 1
        decay = self.half_life.decay(self.nimg, config.batch)
        follow(self.average.parameters(), self.stage.parameters(), decay)
        return {name: value.detach() for name, value in numbers.items()}

    def sound(self) -> bool:
        return all(
            bool(p.isfinite().all()) for net in (self.stage, self.critic, self.average) for p in net.parameters()
        )

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        parts = {
            "stage": self.stage.state_dict(),
            "critic": self.critic.state_dict(),
            "average": self.average.state_dict(),
            "stage_v": self.optimiser.state(),
            "critic_v": self.critic_optimiser.state(),
        }
        tensors = joined(parts)
        facts = {
            "nimg": self.nimg,
            "steps": self.steps,
            "stage_steps": self.optimiser.steps,
            "critic_steps": self.critic_optimiser.steps,
            "scale": self.scale,
            "critic_widths": list(self.config.critic_widths),
            "licence": self.licence,
        }
        return tensors, facts

    def restore(self, state: State) -> None:
        try:
            self.stage.load_state_dict(state.part("stage"))
            self.critic.load_state_dict(state.part("critic"))
            self.average.load_state_dict(state.part("average"))
            for optimiser, name in ((self.optimiser, "stage"), (self.critic_optimiser, "critic")):
                # A state that was made small for a journey or a repository may be without moments: they begin anew.
                if moments := state.part(f"{name}_v"):
                    optimiser.restore(moments, int(state.facts[f"{name}_steps"]))
            self.nimg, self.steps = int(state.facts["nimg"]), int(state.facts["steps"])
            self.licence = licence_line(self.crops.dataset.manifest, str(state.facts["licence"]))
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise misfit(state, error) from error

    def retry(self, count: int, lr_factor: float) -> None:
        self.went_back, self.lr_factor = count, lr_factor

    def show(self) -> Mapping[str, float]:
        return self.on_show(self)

    def shown(self) -> Stage:
        """The average as a network ready to run, on its own."""
        stage = Stage(**self.stage.config)
        stage.load_state_dict(self.average.state_dict())
        return stage.requires_grad_(False).eval().place(self.device)

    def _teach_critic(self, target: Tensor, lo: Tensor, fake: Tensor, seen: Tensor) -> dict[str, Tensor]:
        with self._half():
            on_real, on_fake = self.critic(target, lo), self.critic(fake, seen)
        loss = discriminator_loss("rp", on_real, on_fake)
        numbers = {"critic": loss, "sure": (on_real > on_fake).float().mean()}
        if self.config.gamma and self.critic_optimiser.steps % PENALTY_EVERY == 0:
            watched = target.detach().requires_grad_()
            logits = self.critic(watched, lo).flatten(1)
            # Of patches that overlap little, this gradient's square is the mean over patches of each logit's own.
            penalty = gradient_penalty(logits.sum(dim=1) / logits.shape[1] ** 0.5, watched)
            numbers["r1"] = penalty
            loss = loss + penalty * (self.config.gamma / 2 * PENALTY_EVERY)
        self.critic_optimiser.zero_grad()
        loss.backward()
        self.critic_optimiser.step(self._rate(self.config.lr_critic))
        return numbers

    def _steadiness(self, real: Tensor, rng: torch.Generator, numbers: dict[str, Tensor]) -> Tensor:
        side, scale = self.config.crop, self.scale
        down_by, right_by = (int(torch.randint(scale, (), generator=rng)) for _ in range(2))
        offset = (down_by, max(right_by, 0 if down_by else 1))
        with self._half():
            numbers["shift"] = shift_loss(self.stage, real[:STEADY_CROPS], scale, offset, side // 8)
            loss = numbers["shift"]
            if self.previous is not None:
                here, there, w = self.previous.walk(STEADY_CROPS, side // scale, rng)
                numbers["walk"] = walk_loss(lambda both: self.stage(both, w), here, there, scale, self.config.sway)
                loss = loss + numbers["walk"]
        return loss

    def _perceptual(self, fake: Tensor, target: Tensor) -> Tensor:
        """Mean distance of unit-length activations, as LPIPS without its learned weights (Zhang et al. 2018, arXiv:1801.03924)."""
        assert self.features is not None
        layers = self.features.layers(scaled(torch.cat([fake, target]).clamp(-1, 1)), PERCEPTUAL_TAPS)
        pairs = [F.normalize(layer, dim=1).chunk(2) for layer in layers]
        return torch.stack([(a - b.detach()).square().sum(dim=1).mean() for a, b in pairs]).mean()

    def _generator(self) -> torch.Generator:
        # Its own key instead of `torch_stream`'s: with another, a run that goes on from a state would draw other numbers.
        key = (self.seed * 1_000_003 + self.went_back) * (1 << 40) + self.nimg
        return torch.Generator().manual_seed(key % (1 << 63))

    def _gan_weight(self) -> float:
        """0 until warm_kimg, all of it one warm_kimg later."""
        warm = 1000 * self.config.warm_kimg
        if self.nimg < warm:
            return 0.0
        return self.config.gan * (min(1.0, (self.nimg - warm + self.config.batch) / warm) if warm else 1.0)

    def _l1_weight(self) -> float:
        ramp = 1000 * self.config.ramp_kimg
        share = min(1.0, self.nimg / ramp) if ramp else 1.0
        return self.config.l1_start + (self.config.l1_end - self.config.l1_start) * share

    def _rate(self, peak: float) -> float:
        rate = Rate(peak, warm_up=1000, horizon=int(1000 * self.config.horizon_kimg), floor=0.1)
        return rate.at(self.nimg) * self.lr_factor

    def _half(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")
