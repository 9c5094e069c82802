"""The two contracts a network can keep, and the checks their constructors share. Owns no weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor, nn

from installation.errors import ModelError
from installation.models.header import Arch


class Network(nn.Module):
    """What both contracts have in common.

    A network is built by its constructor (without meaningful weights), given weights by `restore` or `load_state_dict`, and made ready by
    `prepare`. The float32 weights stay as they were stored; what the fast path runs on is kept in non-persistent buffers.
    `config` holds the constructor's arguments as JSON.
    """

    arch: ClassVar[Arch]
    cpu_channels_last: ClassVar[bool] = False  # the faster memory format on a CPU, by measurement
    on_host: ClassVar[bool] = (
        False  # computes on the CPU whatever the device: the host waits, and no CUDA graph can record it
    )
    config: dict[str, Any]
    file_sha256: str = (
        ""  # of a generator with w: its checkpoint's bytes as they were loaded; the file may be another since
    )
    compute: torch.dtype = torch.float32  # dtype of the heavy layers
    memory_format: torch.memory_format = torch.contiguous_format

    def prepare(self) -> None:
        """Compute the fast path's buffers from the weights. Call again after any change to the weights."""

    def place(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> Self:
        """Move to a device, choose its faster memory format, and prepare with `dtype` for the heavy layers. Returns self."""
        device = torch.device(device)
        channels_last = device.type == "cuda" or (device.type == "cpu" and self.cpu_channels_last)
        self.compute = dtype
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.to(device)
        self.prepare()
        return self

    @property
    def parameter_count(self) -> int:
        """Numbers stored, buffers such as w_avg included."""
        return sum(tensor.numel() for tensor in self.state_dict().values())


class Generator(Network):
    """Stage 0: makes pictures from latents. Height and width are `shape`; `size` is the longer side, px.

    mapping: z [N, z_dim] float32 -> ws [N, num_ws, w_dim] float32; without w, ws is z as [N, 1, z_dim]. Where c_dim is not 0 it takes
    a second argument c [N, c_dim] float32, the weights of the classes (one-hot, or a mix that sums to 1); None is the first class.
    A network without w carries the class behind z: ws is [N, 1, z_dim + embedding].
    synthesis: ws -> img [N, 3, height, width] float32, about -1..1. Where has_transform is true it takes a second argument
    transform [3, 3] or [N, 3, 3] float32 on the network's device: from places on the picture to places on the network's plane
    (`transform.py` makes it); None is the identity. It moves what the network draws, not the finished pixels, so nothing is cut off.
    """

    z_dim: int
    w_dim: int  # 0: the network has no w, and ws is z itself
    c_dim: int = 0  # classes of a conditional network
    has_transform: bool = False
    num_ws: int
    shape: tuple[int, int]
    mapping: Callable[..., Tensor]
    synthesis: Callable[..., Tensor]

    @property
    def size(self) -> int:
        """The longer side of its pictures, px."""
        return max(self.shape)

    @property
    def stage_w_dim(self) -> int:
        """Length of `stage_w`: w_dim, or z_dim where the network has no w."""
        return self.w_dim or self.z_dim

    def stage_w(self, ws: Tensor) -> Tensor:
        """ws -> [N, stage_w_dim] float32, the one w of each picture that later stages are given: the mean of its rows; z without w."""
        return ws.float().mean(dim=1)[:, : self.stage_w_dim]

    def truncate(self, ws: Tensor, psi: Tensor | float) -> Tensor:
        """ws pulled towards the centre: centre + psi * (ws - centre). psi: a number or a tensor that broadcasts to [N, num_ws, w_dim]."""
        raise NotImplementedError

    def style_weights(self) -> Sequence[Sequence[Tensor]]:
        """For each layer of ws the matrices [outputs, w_dim] that make styles of it, all to one scale; nothing where they are not told."""
        return ()

    def forward(self, z: Tensor, psi: Tensor | float = 1.0) -> Tensor:
        """z -> img: the three steps in a row, of the first class."""
        return self.synthesis(self.truncate(self.mapping(z), psi))


class ZGenerator(Generator):
    """A generator without w: ws is z as [N, 1, z_dim], and psi scales it, since the centre of a normal distribution is 0.

    embed: where c_dim is not 0, what turns the weights of the classes into what stands behind z, the embedding.
    """

    w_dim = 0
    num_ws = 1
    embed: nn.Linear

    def mapping(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """z [N, z_dim] -> ws [N, 1, z_dim + embedding]: the same numbers, and those of the class behind them."""
        if not self.c_dim:
            return z[:, None, :]
        if c is None:
            c = torch.eye(1, self.c_dim, device=z.device).expand(len(z), -1)
        return torch.cat([z, self.embed(c)], dim=1)[:, None, :]

    def truncate(self, ws: Tensor, psi: Tensor | float) -> Tensor:
        """psi scales z, not the class."""
        if not self.c_dim:
            return ws * psi
        return torch.cat([ws[..., : self.z_dim] * psi, ws[..., self.z_dim :]], dim=-1)


class Upscaler(Network):
    """A later stage: img [N, 3, h, w] -> img [N, 3, h*scale, w*scale], both float32, -1..1.

    receptive_field: input pixels on each side that one output pixel can depend on; None when not bounded (such a stage cannot be
    tiled). input_multiple: h and w must be multiples of it. min_input: the smallest h and w. fixed_side: where it is not 0, the only h
    and w; such a stage is drawn whole whatever the tile.
    w_dim: where it is not 0, forward takes a second argument w [N, w_dim] float32, the generator's `stage_w`; None is the neutral style,
    which is that of w = 0.
    """

    scale: int
    receptive_field: int | None
    input_multiple: int = 1
    min_input: int = 1
    fixed_side: int = 0
    w_dim: int = 0

    def styled(self, img: Tensor, w: Tensor | None) -> Tensor:
        """The enlargement in the style of w; a network that takes none is given none."""
        return self(img, w) if self.w_dim else self(img)


_MOST_NAMED = 5  # faults of a file that are named


def no_state_dict(of: str, error: Exception) -> ModelError:
    """What to raise where a state dict's names and shapes are not a network's; error: what reading its sizes stumbled over."""
    why = f"no tensor {error}" if isinstance(error, KeyError) else "its tensors have other names or shapes"
    return ModelError(f"not {of} state dict: {why}")


N = TypeVar("N", bound=Network)


def restore(network: N, tensors: Mapping[str, Tensor]) -> N:
    """Give a network (built on the meta device, so that nothing was allocated for it) its weights, numbers as float32, and prepare it.

    ModelError on missing or unknown names, wrong shapes, or numbers that are not finite.
    """
    expected = network.state_dict()
    faults = [f"no tensor {name!r}" for name in expected if name not in tensors]
    faults += [f"unknown tensor {name[:80]!r}" for name in tensors if name not in expected]
    for name, want in expected.items():
        if name in tensors and tensors[name].shape != want.shape:
            faults.append(f"{name!r} has shape {list(tensors[name].shape)}, {list(want.shape)} expected")
    check_faults(faults)
    weights = {
        name: tensor.detach()
        .to(torch.float32 if expected[name].is_floating_point() else expected[name].dtype)
        .contiguous()
        for name, tensor in tensors.items()
    }
    check_faults(
        [f"{name!r} holds NaN or infinity" for name, tensor in weights.items() if not bool(tensor.isfinite().all())]
    )
    network.load_state_dict(weights, assign=True)
    network.requires_grad_(False).eval()
    network.prepare()
    check_faults(
        [
            f"{name!r} gives numbers that are not finite"
            for name, b in network.named_buffers()
            if not bool(b.isfinite().all())
        ]
    )
    return network


def keep(module: nn.Module, name: str, tensor: Tensor) -> None:
    """Store a derived tensor as a non-persistent buffer: it moves with the network and is not in its state dict."""
    module.register_buffer(name, tensor.detach(), persistent=False)


def check_faults(faults: Sequence[str]) -> None:
    """One ModelError listing the first faults, if there are any."""
    if faults:
        more = f"; and {len(faults) - _MOST_NAMED} more" if len(faults) > _MOST_NAMED else ""
        raise ModelError("; ".join(faults[:_MOST_NAMED]) + more)


def whole(name: str, value: Any, lo: int, hi: int) -> int:
    """value as an int in lo..hi, or ModelError: constructor arguments come from files."""
    if not isinstance(value, int) or isinstance(value, bool) or not lo <= value <= hi:
        raise ModelError(f"{name} must be a whole number {lo}..{hi}, not {str(value)[:40]}")
    return value


def wholes(name: str, value: Any, lo: int, hi: int, *, least: int, most: int) -> list[int]:
    """value as a list of least..most ints in lo..hi, or ModelError."""
    if not isinstance(value, (list, tuple)) or not least <= len(value) <= most:
        raise ModelError(f"{name} must be a list of {least}..{most} whole numbers")
    return [whole(name, item, lo, hi) for item in value]


def real(name: str, value: Any, lo: float, hi: float) -> float:
    """value as a finite float in lo..hi, or ModelError."""
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or not lo <= value <= hi
    ):
        raise ModelError(f"{name} must be a number {lo}..{hi}, not {str(value)[:40]}")
    return float(value)


def flag(name: str, value: Any) -> bool:
    """value as a bool, or ModelError."""
    if not isinstance(value, bool):
        raise ModelError(f"{name} must be true or false, not {str(value)[:40]}")
    return value
