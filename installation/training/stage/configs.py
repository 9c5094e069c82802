"""What a stage's run is made of: one frozen record, the table of ready ones, and overrides by name. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from installation.training import recipe


@dataclass(frozen=True, slots=True)
class StageConfig:
    """Images (crops), not steps, are the unit of time: kimg is thousands of them.

    widths, blocks: of the network, see `models.stage.Stage`. w_dim: 0, or the size of the previous cascade's w, on which the stage is
    then conditioned: samples come with their own, real crops with the neutral one. critic_widths: of the critic, from the large size
    down by halves.
    crop: side of what is trained on, large px. batch: crops a step. previous_share: how many of them are the previous stage's samples,
    0..1 (0 without one). blur: most sigma of the degradation, small px. noise: most sigma, 8-bit levels. colour: most change of each
    channel's gain and offset. l1: weight of the paired difference, from the first number down to the second over ramp_kimg.
    perceptual: of the EfficientNet-Lite0 distance, where its weights are given. gan: of the critic, from warm_kimg on, risen over as
    many again. gamma: of R1, every 8 steps; the critic amplifies detail, so it is small: with 0.003 it did not learn to tell broken
    small pictures from sound ones, with 0.03 it learnt nothing. steady: of the steadiness losses, every 4 steps; sway: how much of
    the small picture's change may come back as change in detail. calm: the contrast at which half of the detail is drawn, see `Stage`.
    lr_*: at their peak, before the cosine to a tenth at horizon_kimg.
    ema_kimg: half-life of the shown average. held_out: share of the sources that is never trained on.
    """

    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    critic_widths: tuple[int, ...]
    crop: int
    batch: int
    w_dim: int = 0
    previous_share: float = 0.5
    blur: float = 0.8
    noise: float = 4.0
    colour: float = 0.02
    l1_start: float = 1.0
    l1_end: float = 0.5
    ramp_kimg: float = 100.0
    perceptual: float = 0.2
    gan: float = 0.01
    warm_kimg: float = 40.0
    gamma: float = 0.0003
    steady: float = 0.25
    calm: float = 0.012
    sway: float = 0.5
    lr_stage: float = 4e-4
    lr_critic: float = 2e-4
    beta2: float = 0.99
    horizon_kimg: float = 2000.0
    ema_kimg: float = 10.0
    held_out: float = 0.08
    show_kimg: float = 20.0

    @property
    def crop_multiple(self) -> int:
        """Of what `crop` must be a multiple, for either scale."""
        return 4 * 2 ** (len(self.widths) - 1)


CONFIGS: dict[str, StageConfig] = {
    # Live on two CPU cores: 256 -> 1024 px is 4.0 GFLOP and 23 ms there (a plain 3 x 32 compact net 12 ms), 128 -> 512 px 6 ms; with a
    # StyleGAN2 base of 256 px 33 ms in all. Widths (16, 32, 64) save nothing; channels last is 23 against 45 ms.
    "nano": StageConfig(
        widths=(16, 48, 64), blocks=(0, 1, 2), critic_widths=(16, 32, 48, 64), crop=128, batch=8,
        warm_kimg=10.0, ramp_kimg=40.0, horizon_kimg=500.0, show_kimg=10.0,
    ),
    # 256 -> 1024 px at 60 pictures a second on a mid-range GPU, with a base generator before it: 42 GFLOP; 0.13 s on two CPU cores.
    "realtime": StageConfig(
        widths=(48, 96, 128), blocks=(2, 3, 4), critic_widths=(32, 64, 128, 128, 256), crop=256, batch=32,
        warm_kimg=200.0, ramp_kimg=500.0, horizon_kimg=4000.0, show_kimg=50.0,
    ),
    # 1024 -> 4096 px in tiles, off line, 1.9 TFLOP: no pyramid, for there is nothing large left to understand.
    "tile4k": StageConfig(
        widths=(64,), blocks=(12,), critic_widths=(32, 64, 128, 128), crop=256, batch=16,
        warm_kimg=200.0, ramp_kimg=500.0, horizon_kimg=2000.0, show_kimg=50.0,
    ),
}  # fmt: skip


def resolve(name: str, overrides: Mapping[str, str]) -> StageConfig:
    """The config of that name with fields changed: {"gamma": "0.1"}. ConfigError lists every fault."""
    return recipe.resolve(CONFIGS, name, overrides, _faults)


def _faults(config: StageConfig) -> list[str]:
    multiple = config.crop_multiple
    rules = {
        "widths and blocks need as many numbers, 1..6, of at least 1 and 0": len(config.widths) == len(config.blocks)
        and 1 <= len(config.widths) <= 6
        and min(config.widths) >= 1
        and min(config.blocks) >= 0,
        "critic_widths needs 3..8 numbers of at least 1": 3 <= len(config.critic_widths) <= 8
        and min(config.critic_widths) >= 1,
        f"crop must be a multiple of {multiple}, and not below {2 ** len(config.critic_widths)}": config.crop % multiple
        == 0
        and config.crop >= 2 ** len(config.critic_widths) > 0,
        "batch must be at least 1": config.batch >= 1,
        "previous_share and held_out must be 0..1": 0 <= config.previous_share <= 1 and 0 <= config.held_out < 1,
        "learning rates and show_kimg must be above 0": min(config.lr_stage, config.lr_critic, config.show_kimg) > 0,
        "beta2 must be 0..1": 0 <= config.beta2 < 1,
        "no other number may be below 0": min(
            config.w_dim, config.blur, config.noise, config.colour, config.l1_start, config.l1_end, config.ramp_kimg, config.perceptual,
            config.gan, config.warm_kimg, config.gamma, config.steady, config.calm, config.sway, config.horizon_kimg, config.ema_kimg,
        ) >= 0,
    }  # fmt: skip
    return [rule for rule, kept in rules.items() if not kept]
