"""What a base run is made of: one frozen record, the table of ready ones, and overrides by name. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from installation.training import recipe

LOSSES = ("rp", "ns")
PENALTIES = ("exact", "difference")
AUGMENTS = ("ramp", "ada", "off")


@dataclass(frozen=True, slots=True)
class BaseConfig:
    """Images, not steps, are the unit of time: kimg is thousands of real images shown.

    size: px, a power of two. channels, critic_channels: width of each resolution from 4x4 up, generator and critic.
    batch: over all processes. gamma: weight of R1 and R2, None for the loss's own rule (`penalty_weight`);
    the one number worth a sweep, from a quarter to four times. penalty: exact every `penalty_every` steps, or by differences of width
    0.01 every `difference_every`. augment: `ramp` to augment_p over augment_kimg, `ada` towards augment_target (at most augment_p), or off.
    path_weight: of path-length regularisation every 4 steps from path_kimg on, 0 for none. lr_*: Adam's, at their peak, after
    warm_kimg and before the cosine to a quarter at horizon_kimg. ema_kimg: half-life of the shown average.
    grid: weight of patterns of 2 to 5 px that the real pictures do not have (`grid.py`), 0 for none.
    eyes: weight of a critic of the eyes alone (`eyes.py`), 0 for none. For aligned faces of at least 32 px.
    keep: weight of staying with the network that the run begins from, but for eyes that have a critic, 0 for a whole run. Then no critic
    but that of the eyes judges, after warm_kimg in which it learns alone, and only layers from a quarter of the size up learn.
    projected: weight of a second critic that judges trained features (`projected.py`), 0 for none; its rate is lr_projected.
    compact: keep a run's state in 16-bit numbers. held_out: share of the sources that is never trained on.
    """

    size: int
    channels: tuple[int, ...]
    critic_channels: tuple[int, ...]
    z_dim: int
    w_dim: int
    batch: int
    mapping_layers: int = 2
    group: int = 4
    loss: str = "rp"
    gamma: float | None = None
    penalty: str = "exact"
    penalty_every: int = 16
    difference_every: int = 4
    augment: str = "ramp"
    augment_p: float = 0.3
    augment_kimg: float = 300.0
    augment_target: float = 0.6
    augment_colour: float = 0.5
    flip: bool = True
    path_weight: float = 0.0
    path_kimg: float = 200.0
    grid: float = 0.0
    lr_generator: float = 2.5e-3
    lr_critic: float = 2.5e-3
    eyes: float = 0.0
    keep: float = 0.0
    projected: float = 0.0
    lr_projected: float = 4e-4
    beta2: float = 0.99
    warm_kimg: float = 4.0
    horizon_kimg: float = 5000.0
    ema_kimg: float = 200.0
    ema_ramp: float = 0.05
    compact: bool = False
    held_out: float = 0.08
    show_kimg: float = 25.0

    @property
    def penalty_weight(self) -> float:
        """γ: R1 and R2 enter the loss with γ/2 each.

        0.0002 size² / batch suits the non-saturating loss (Karras et al. 2020, arXiv:2006.06676). The relativistic one wants twenty
        times that: tiny on 2,298 portraits drew thick contours and no faces after 30 kimg with 0.05, shaded faces after 20 with 1.
        Huang et al. (arXiv:2501.05441) end at 0.2 and begin with 2 at 64 px.
        """
        if self.gamma is not None:
            return self.gamma
        return (4e-3 if self.loss == "rp" else 2e-4) * self.size**2 / self.batch

    @property
    def penalised_every(self) -> int:
        """Steps from one with penalties to the next."""
        return self.difference_every if self.penalty == "difference" else self.penalty_every


CONFIGS: dict[str, BaseConfig] = {
    # About 50 images a second on two CPU cores.
    "tiny": BaseConfig(
        size=64,
        channels=(64, 64, 64, 32, 16),
        critic_channels=(64, 64, 64, 32, 16),
        z_dim=64,
        w_dim=64,
        batch=16,
        warm_kimg=2.0,
        horizon_kimg=1000.0,
        augment_kimg=200.0,
        ema_kimg=10.0,
        show_kimg=10.0,
    ),
    "c64": BaseConfig(
        size=64,
        channels=(128, 128, 96, 64, 32),
        critic_channels=(128, 128, 96, 64, 32),
        z_dim=128,
        w_dim=128,
        batch=32,
        horizon_kimg=2000.0,
        ema_kimg=20.0,
    ),
    "b128": BaseConfig(
        size=128,
        channels=(256, 256, 192, 128, 64, 32),
        critic_channels=(256, 256, 192, 128, 64, 32),
        z_dim=256,
        w_dim=256,
        batch=128,
        warm_kimg=25.0,
        horizon_kimg=5000.0,
        ema_kimg=100.0,
        compact=True,
        show_kimg=50.0,
    ),
    "b256": BaseConfig(
        size=256,
        channels=(256, 256, 256, 256, 128, 64, 32),
        critic_channels=(256, 256, 256, 256, 128, 64, 32),
        z_dim=512,
        w_dim=512,
        batch=64,
        lr_critic=2e-3,
        warm_kimg=25.0,
        horizon_kimg=10000.0,
        compact=True,
        show_kimg=50.0,
    ),
    "a256": BaseConfig(
        size=256,
        channels=(512, 512, 512, 512, 256, 128, 64),
        critic_channels=(512, 512, 512, 512, 256, 128, 64),
        z_dim=512,
        w_dim=512,
        batch=64,
        lr_critic=2e-3,
        warm_kimg=25.0,
        horizon_kimg=25000.0,
        compact=True,
        show_kimg=50.0,
    ),
}


def resolve(name: str, overrides: Mapping[str, str]) -> BaseConfig:
    """The config of that name with fields changed: {"gamma": "0.1"}. ConfigError lists every fault."""
    return recipe.resolve(CONFIGS, name, overrides, _faults)


def _faults(config: BaseConfig) -> list[str]:
    levels = config.size.bit_length() - 2
    rules = {
        "size must be a power of two, 8..1024": 8 <= config.size <= 1024 and config.size & (config.size - 1) == 0,
        f"channels and critic_channels need {levels} widths, 4 px to {config.size} px": (
            len(config.channels) == levels == len(config.critic_channels)
            and min(config.channels + config.critic_channels) >= 1
        ),
        "z_dim, w_dim, batch, group, mapping_layers and *_every must be at least 1": (
            min(config.z_dim, config.w_dim, config.batch, config.group, config.mapping_layers,
                config.penalty_every, config.difference_every) >= 1
        ),
        f"loss must be one of {', '.join(LOSSES)}": config.loss in LOSSES,
        f"penalty must be one of {', '.join(PENALTIES)}": config.penalty in PENALTIES,
        f"augment must be one of {', '.join(AUGMENTS)}": config.augment in AUGMENTS,
        "augment_p and held_out must be 0..1": 0 <= config.augment_p <= 1 and 0 <= config.held_out < 1,
        "learning rates must be above 0": min(config.lr_generator, config.lr_critic, config.lr_projected) > 0,
        "beta2 must be 0..1": 0 <= config.beta2 < 1,
        "gamma must not be below 0": config.gamma is None or config.gamma >= 0,
        "eyes needs a size of at least 32": config.eyes == 0 or config.size >= 32,
        "keep needs eyes or grid, else nothing is to change": config.keep == 0 or config.eyes + config.grid > 0,
        "keep goes without path_weight and projected": config.keep == 0 or config.path_weight == config.projected == 0,
        "show_kimg must be above 0": config.show_kimg > 0,
        "no other number may be below 0": min(
            config.warm_kimg, config.horizon_kimg, config.ema_kimg, config.ema_ramp, config.augment_kimg,
            config.path_kimg, config.path_weight, config.grid, config.augment_colour, config.eyes, config.keep, config.projected,
        ) >= 0,
    }  # fmt: skip
    return [rule for rule, kept in rules.items() if not kept]
