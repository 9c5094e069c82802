"""FastGAN's `.pth` files and Projected GAN's `.pkl` files -> our FastGAN, with spectral norm and batch norm multiplied in.

FastGAN keeps no averaged statistics of its batch norms for the averaged weights, and its author runs it in training mode, where a picture
depends on its neighbours in the batch. Here the statistics are estimated again with the averaged weights, over many z, and then fixed.
Projected GAN's files hold the statistics they are meant to run with. Its conditional networks have a norm whose scale and shift are made
from the class.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from installation.errors import CheckpointError, ModelError
from installation.models.fastgan import MAX_LEVELS, FastGAN
from installation.models.importers.inert import Inert, module_tensors
from installation.models.importers.state import nothing_left, seeded_noise, state_under, take
from installation.models.stylegan2 import normalise

BN_EPS = 1e-5
BATCH = 16
PIXELS = 1 << 27  # of all pictures of the estimate together: 2,048 of 256 px, 128 of 1024 px
FEATURES = 512 << 20  # bytes of a batch at its widest layer; at 1024 px the batch is then the author's 8
_BUFFERS = (".weight_u", ".weight_v", ".running_mean", ".running_var", ".num_batches_tracked")

# Conditional blocks name their layers; the others number them.
_NUMBERS = {
    "conv": ("1",),
    "bn": ("2",),
    "conv1": ("1",),
    "bn1": ("3",),
    "conv2": ("5",),
    "bn2": ("7",),
    "noise": ("2", "6"),
}
_NAMED = re.compile(r"(feat_\d{1,4})\.(" + "|".join(_NUMBERS) + r")\.(.+)")

# x after the convolution, name of the norm's tensors -> x normalised.
Norm = Callable[[Tensor, str], Tensor]
Result = tuple[type[FastGAN], dict[str, Any], dict[str, Tensor], str]


def matches(value: Any) -> bool:
    """Whether what `read_pickle` gave has the names of FastGAN's training script, `g`. CheckpointError as `state.check_claims`."""
    state = state_under(value, ("g",))
    return state is not None and {"init.init.0.weight_orig", "to_big.weight_orig"} <= state.keys()


def is_projected(value: Any) -> bool:
    """Whether what `read_pickle` gave is NVIDIA's layout around Projected GAN's FastGAN."""
    return "init.init.0.weight_orig" in _synthesis(value)


def convert(value: Any, *, where: str) -> Result:
    """Kind, config, tensors, title of a FastGAN file. ModelError for another layout."""
    state = state_under(value, ("g",))
    if state is None:
        raise ModelError("no state dict under 'g'")
    averaged = value.get("g_ema") if "g" in value else None
    if isinstance(averaged, (list, tuple)):
        state = _with_parameters(state, averaged)
    plain = Plain(state, normalise=False)
    plain.estimate_statistics()
    return (
        FastGAN,
        plain.config,
        plain.baked(),
        f"FastGAN, {plain.size} px, batch norm estimated over {plain.samples} z",
    )


def convert_projected(value: Any, *, where: str) -> Result:
    """Kind, config, tensors, title of a Projected GAN file. ModelError for another layout."""
    state = _synthesis(value)
    # The original makes room for 1,000 classes, however many it is trained with.
    classes = value["G_ema"].get("c_dim")
    plain = Plain(numbered(state), normalise=True, classes=classes if isinstance(classes, int) and classes > 0 else 0)
    said = f", {count} classes" if (count := plain.config["c_dim"]) else ""
    return FastGAN, plain.config, plain.baked(), f"Projected GAN's FastGAN, {plain.size} px{said}"


class Plain:
    """The network as it was trained: spectral norm already divided out, batch norm and noise still on their own.

    classes: how many of the state's are meant, where it has some; 0 for all.
    """

    def __init__(self, state: Mapping[str, Tensor], *, normalise: bool, classes: int = 0) -> None:
        left = {name: t for name, t in state.items() if not name.endswith("num_batches_tracked")}
        for name in [name for name in left if name.startswith("to_128.")]:
            del left[name]  # the small picture that only training looks at
        weights = self.weights = _without_spectral_norm(left)
        z_dim, double_start = take(dict(weights), "init.init.0.weight", None, None, 4, 4).shape[:2]
        channels, double = [double_start // 2], []
        while (name := f"feat_{4 << len(channels)}.1.weight") in weights:
            double.append(f"feat_{4 << len(channels)}.5.weight" in weights)
            channels.append(weights[name].shape[0] // 2)
            if len(channels) > MAX_LEVELS:  # before a map of noise is made for each
                raise ModelError(f"more than {MAX_LEVELS} resolutions, which no FastGAN has")
        coloured = take(dict(weights), "to_big.weight", 3, None, 3, 3).shape[1]
        if normalise and len(channels) == 7 and coloured != channels[-1]:
            # Projected GAN's network of 128 px has the layers of 256 px, and does not run them.
            del channels[-1], double[-1]
            for name in [name for name in weights if name.startswith(("feat_256.", "se_256."))]:
                del weights[name]
        gates = [[i - 4, i] for i in range(len(channels)) if f"se_{4 << i}.main.1.weight" in weights and i >= 4]
        self.size = 4 << len(channels) - 1
        self.samples = max(128, min(4096, PIXELS // self.size**2))
        self.config: dict[str, Any] = {
            "z_dim": z_dim,
            "channels": channels,
            "double": double,
            "gates": gates,
            "normalise": normalise,
            "tanh": not normalise and self.size >= 1024,
            "c_dim": 0,
            "embedding": 0,
        }
        if normalise and "embed.weight" in weights:
            embed = weights["embed.weight"] = take(dict(weights), "embed.weight", None, None)[: classes or None]
            self.config["c_dim"], self.config["embedding"] = embed.shape
        self._check_names()
        rng = torch.Generator().manual_seed(0)
        self.noise = {
            f"feat_{8 << i}.{position}": seeded_noise(8 << i, 8 << i, rng)
            for i, two in enumerate(double)
            if two
            for position in (2, 6)
        }

    def batch(self) -> int:
        """Pictures at a time, as many as FEATURES holds. ModelError where it does not hold one."""
        channels = self.config["channels"]
        widths = [2 * channels[0], *(max(inputs, 2 * outputs) for inputs, outputs in pairwise(channels))]
        features = [4 * width * (4 << i) ** 2 for i, width in enumerate(widths)]
        if (largest := max(features)) > FEATURES:
            side = 4 << features.index(largest)
            what = f"a picture's features at {side} px would take {largest >> 20} MiB"
            raise ModelError(f"{what}, over the limit of {FEATURES >> 20} MiB")
        batch = BATCH
        while batch * largest > FEATURES:
            batch //= 2
        return batch

    @torch.inference_mode()
    def estimate_statistics(self) -> None:
        """The running statistics: means over batches, of training mode's. ModelError where a picture needs too much memory."""
        rng = torch.Generator().manual_seed(0)
        sums: dict[str, tuple[Tensor, Tensor]] = {}

        def norm(x: Tensor, name: str) -> Tensor:
            var, mean = torch.var_mean(x, dim=(0, 2, 3))
            before = sums.get(name, (0.0, 0.0))
            sums[name] = (before[0] + mean, before[1] + var)
            return F.batch_norm(
                x, None, None, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], training=True, eps=BN_EPS
            )

        batch = self.batch()
        batches = self.samples // batch
        for _ in range(batches):
            self.picture(torch.randn(batch, self.config["z_dim"], generator=rng), norm)
        for name, (mean, var) in sums.items():
            self.weights[f"{name}.running_mean"], self.weights[f"{name}.running_var"] = mean / batches, var / batches

    def picture(self, z: Tensor, norm: Norm) -> Tensor:
        """z -> img, layer by layer."""
        weights = self.weights
        x = normalise(z) if self.config["normalise"] else z
        x = F.conv_transpose2d(x[:, :, None, None], weights["init.init.0.weight"])
        features = [F.glu(norm(x, "init.init.1"), dim=1)]
        sources = {large: small for small, large in self.config["gates"]}
        for i, two in enumerate(self.config["double"], start=1):
            name = f"feat_{4 << i}"
            x = F.interpolate(features[-1], scale_factor=2.0)
            for conv, noise, batch_norm in ((1, 2, 3), (5, 6, 7)) if two else ((1, 0, 2),):
                x = F.conv2d(x, weights[f"{name}.{conv}.weight"], padding=1)
                if noise:
                    x = x + weights[f"{name}.{noise}.weight"] * self.noise[f"{name}.{noise}"]
                x = F.glu(norm(x, f"{name}.{batch_norm}"), dim=1)
            if i in sources:
                y = F.conv2d(F.adaptive_avg_pool2d(features[sources[i]], 4), weights[f"se_{4 << i}.main.1.weight"])
                x = x * F.conv2d(F.silu(y), weights[f"se_{4 << i}.main.3.weight"]).sigmoid()
            features.append(x)
        x = F.conv2d(features[-1], weights["to_big.weight"], weights.get("to_big.bias"), padding=1)
        return x.tanh() if self.config["tanh"] else x

    def baked(self) -> dict[str, Tensor]:
        """Our FastGAN's tensors."""
        weights, found = self.weights, {}
        scale, shift = self._folded("init.init.1")
        kernel = weights["init.init.0.weight"] * scale[None, :, None, None]
        found["start.weight"] = kernel.flatten(1).T.contiguous()
        found["start.bias"] = shift.repeat_interleave(16)
        for i, two in enumerate(self.config["double"]):
            name = f"feat_{8 << i}"
            for j, (conv, noise, norm) in enumerate(((1, 2, 3), (5, 6, 7)) if two else ((1, 0, 2),)):
                scale, shift = self._folded(f"{name}.{norm}")
                new = f"blocks.{i}.layers.{j}"
                found[f"{new}.weight"] = weights[f"{name}.{conv}.weight"] * scale[:, None, None, None]
                found[f"{new}.bias"] = shift
                if self.config["c_dim"]:
                    kernels, shifts = (
                        [weights[f"{name}.{norm}.{part}.{kind}"] for part in ("gain", "bias")]
                        for kind in ("weight", "bias")
                    )
                    found[f"{new}.affine.weight"] = torch.cat(kernels)
                    found[f"{new}.affine.bias"] = torch.cat([shifts[0] + 1, shifts[1]])
                if noise:
                    found[f"{new}.gain"] = scale * weights[f"{name}.{noise}.weight"]
                    found[f"{new}.noise"] = self.noise[f"{name}.{noise}"]
        for k, (_, large) in enumerate(self.config["gates"]):
            found[f"gates.{k}.squeeze"] = weights[f"se_{4 << large}.main.1.weight"]
            found[f"gates.{k}.excite"] = weights[f"se_{4 << large}.main.3.weight"]
        if self.config["c_dim"]:
            found["embed.weight"] = weights["embed.weight"].T.contiguous()
        found["final.weight"] = weights["to_big.weight"]
        found["final.bias"] = weights.get("to_big.bias", torch.zeros(3))
        return found

    def _folded(self, name: str) -> tuple[Tensor, Tensor]:
        """Batch norm as scale and shift; of a conditional one what no class changes."""
        scale = self.weights.get(f"{name}.weight", 1.0) / (self.weights[f"{name}.running_var"] + BN_EPS).sqrt()
        return scale, self.weights.get(f"{name}.bias", 0.0) - self.weights[f"{name}.running_mean"] * scale

    def _check_names(self) -> None:
        """ModelError unless every tensor is there, with its shape, and no other."""
        left, channels, embedding = dict(self.weights), self.config["channels"], self.config["embedding"]

        def norm(name: str, width: int, embedding: int = embedding) -> None:
            for part in ("gain", "bias") if embedding else ():
                take(left, f"{name}.{part}.weight", width, embedding)
                take(left, f"{name}.{part}.bias", width)
            for part in ("running_mean", "running_var", *(() if embedding else ("weight", "bias"))):
                take(left, f"{name}.{part}", width)

        if embedding:
            take(left, "embed.weight", None, embedding)
        take(left, "init.init.0.weight", self.config["z_dim"], 2 * channels[0], 4, 4)
        norm("init.init.1", 2 * channels[0], 0)
        for i, two in enumerate(self.config["double"]):
            name, inputs, outputs = f"feat_{8 << i}", channels[i], channels[i + 1]
            take(left, f"{name}.1.weight", 2 * outputs, inputs, 3, 3)
            norm(f"{name}.{3 if two else 2}", 2 * outputs)
            if two:
                take(left, f"{name}.2.weight", 1)
                take(left, f"{name}.5.weight", 2 * outputs, outputs, 3, 3)
                take(left, f"{name}.6.weight", 1)
                norm(f"{name}.7", 2 * outputs)
        for small, large in self.config["gates"]:
            take(left, f"se_{4 << large}.main.1.weight", channels[large], channels[small], 4, 4)
            take(left, f"se_{4 << large}.main.3.weight", channels[large], channels[large], 1, 1)
        take(left, "to_big.weight", 3, channels[-1], 3, 3)
        if "to_big.bias" in left:
            take(left, "to_big.bias", 3)
        nothing_left(left)


def numbered(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The names of conditional blocks as those of the others. Both convolutions of a block share one strength of the noise."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if (parts := _NAMED.fullmatch(name)) is None:
            found[name] = tensor
            continue
        for number in _NUMBERS[parts[2]]:
            found[f"{parts[1]}.{number}.{parts[3].replace('stored_', 'running_')}"] = tensor
    return found


def _synthesis(value: Any) -> dict[str, Tensor]:
    """The tensors of the averaged generator's synthesis in an NVIDIA-style file; nothing if there is none."""
    generator = value.get("G_ema") if isinstance(value, dict) else None
    if not isinstance(generator, Inert):
        return {}
    try:
        tensors = module_tensors(generator, where="")
    except CheckpointError:
        return {}
    start = "synthesis."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _with_parameters(state: Mapping[str, Tensor], averaged: Any) -> dict[str, Tensor]:
    """The state with its parameters replaced by a list of them, in order."""
    names = [name for name in state if not name.endswith(_BUFFERS)]
    good = len(names) == len(averaged) and all(
        isinstance(tensor, Tensor) and tensor.shape == state[name].shape
        for name, tensor in zip(names, averaged, strict=False)
    )
    if not good:
        raise ModelError("'g_ema' is not a list of the network's parameters")
    return dict(state) | dict(zip(names, averaged, strict=True))


def _without_spectral_norm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """float32 weights divided by their spectral norm u . (W v), W as [outputs, rest]; a transposed convolution has its outputs second."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.endswith("weight_orig"):
            stem = name.removesuffix("_orig")
            u, v = state.get(f"{stem}_u"), state.get(f"{stem}_v")
            weight = tensor.float()
            if weight.ndim not in (2, 4):
                raise ModelError(f"{name!r} has shape {list(weight.shape)}, which no layer has")
            matrix = (weight.transpose(0, 1) if stem.startswith("init.") else weight).flatten(1)
            if u is None or v is None or (u.numel(), v.numel()) != tuple(matrix.shape):
                raise ModelError(f"{name!r} has no vectors of its spectral norm that fit")
            found[stem] = weight / torch.dot(u.float().flatten(), matrix @ v.float().flatten())
        elif not name.endswith(("weight_u", "weight_v")):
            found[name] = tensor.float()
    return found
