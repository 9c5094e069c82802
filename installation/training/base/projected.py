"""A second critic that looks through a frozen, trained network: from the first step on it knows an eye from a smear.

Sauer et al. 2021, "Projected GANs Converge Faster" (arXiv:2111.01007): features of four resolutions are mixed by fixed random
convolutions, across channels and from coarse to fine, and a small critic judges each. It hastens the first hours of training and does
not replace the critic that sees pixels: alone it is blind to what the features are blind to, and people are fooled less often than
the distances that such features measure. A network trained with it is flattered by judges that use EfficientNet-Lite0.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from installation.training.base.batch import Batch
from installation.training.base.config import BaseConfig
from installation.training.base.critics import Critic
from installation.training.base.plan import Plan, half_dtype
from installation.training.features.efficientnet import Features, scaled

# Features are taken at 1/4 .. 1/32 of the side that pictures have for the network.
_TAPS = (2, 4, 10, 15)
_CHANNELS = (24, 40, 112, 320)
# 1 / root mean square of each on portraits, so that all weigh alike in the mixture.
_GAINS = (0.12, 0.13, 0.13, 0.37)
_LEAST_SIDE = 128
_WIDTH = 64
_SLOPE = 0.2


class ProjectedCritic(Critic):
    """img [N, 3, size, size] float32, -1..1 -> logits [N, 4] float32, one for each resolution; larger for real pictures.

    Only the four heads learn. Pictures below 128 px are enlarged to it. ModelError without the features' weights.
    """

    # Its heads would know a small set's pictures by heart within minutes.
    always_augmented = True

    def __init__(self, config: BaseConfig, plan: Plan, device: torch.device) -> None:
        self.side = max(config.size, _LEAST_SIDE)
        self.features = Features(device)
        # In bfloat16 a GPU reads half as much, and has depthwise kernels that are fast; the heads are float32.
        self.dtype = half_dtype(device) or torch.float32
        self.features.net.to(self.dtype)
        rng = torch.Generator().manual_seed(0)
        self.across = [_random((_WIDTH, inputs, 1, 1), rng).to(device) for inputs in _CHANNELS]
        self.down = [_random((_WIDTH, _WIDTH, 3, 3), rng).to(device) for _ in _CHANNELS]
        self.heads = nn.ModuleList(_head(self.side >> i) for i in range(2, 6)).to(device)
        super().__init__("projected", self.heads, lr=config.lr_projected, weight=config.projected, beta2=config.beta2)

    def project(self, img: Tensor) -> list[Tensor]:
        """The mixed features [N, 64, side/4, side/4] .. [N, 64, side/32, side/32] that the heads judge; gradients flow to img."""
        x = img
        if img.shape[2] != self.side:
            x = F.interpolate(img, (self.side, self.side), mode="bilinear", align_corners=False)
        x = scaled(x).to(self.dtype, memory_format=torch.channels_last)
        mixed: list[Tensor] = []
        y: Tensor | None = None
        for i, layer in reversed(list(enumerate(self.features.layers(x, _TAPS)))):
            z = F.conv2d(layer.float() * _GAINS[i], self.across[i])
            if y is not None:
                z = (z + F.interpolate(y, z.shape[2:], mode="bilinear", align_corners=False)) / math.sqrt(2)
            y = F.conv2d(z, self.down[i], padding=1)
            mixed.append(y)
        return mixed[::-1]

    def logits(self, mixed: list[Tensor]) -> Tensor:
        """What `project` gave -> logits [N, 4]."""
        return torch.stack([head(x) for head, x in zip(self.heads, mixed, strict=True)], dim=1)[..., 0]

    def __call__(self, img: Tensor) -> Tensor:
        return self.logits(self.project(img))

    def hinge(self, real: Tensor, fake: Tensor) -> Tensor:
        """The heads' loss; pictures as `project` takes them, without a gradient. 2: they know nothing."""
        with torch.no_grad():
            mixed = self.project(torch.cat([real, fake]))
        on_real, on_fake = self.logits(mixed).chunk(2)
        return (F.relu(1 - on_real) + F.relu(1 + on_fake)).mean()

    def loss(self, batch: Batch, made: Tensor, penalised: bool) -> tuple[Tensor, dict[str, Tensor]]:
        draw_real, draw_fake, _ = batch.draws[4:]
        loss = self.hinge(draw_real.apply(batch.real), draw_fake.apply(made))
        return loss, {"loss": loss}

    def fool(self, batch: Batch, made: Tensor) -> Tensor:
        return -self(batch.draws[6].apply(made)).mean()


def _head(size: int) -> nn.Sequential:
    """[N, 64, size, size] -> [N, 1]: halved to 4 px, spectrally normalised throughout (Miyato et al. 2018, arXiv:1802.05957)."""
    layers: list[nn.Module] = []
    while size > 4:
        layers += [spectral_norm(nn.Conv2d(_WIDTH, _WIDTH, 4, stride=2, padding=1)), nn.LeakyReLU(_SLOPE)]
        size //= 2
    layers += [spectral_norm(nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1)), nn.LeakyReLU(_SLOPE)]
    return nn.Sequential(*layers, spectral_norm(nn.Conv2d(_WIDTH, 1, 4)), nn.Flatten())


def _random(shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    """Fixed weights of a convolution that keeps the mean square."""
    return torch.randn(shape, generator=rng) / math.sqrt(math.prod(shape[1:]))
