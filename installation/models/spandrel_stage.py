"""Any single-image upscaler that spandrel knows, as a stage. spandrel is an optional extra (`upscalers`).

spandrel detects the architecture from tensor names and shapes alone; only its network code runs, none from the file. In a checkpoint of
ours the tensors have the prefix `net.` and the config names the architecture that was detected.
"""

from __future__ import annotations

import copy
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load as tensors_of
from torch import Tensor
from torch.overrides import TorchFunctionMode

from installation.errors import CheckpointError, ModelError, install_extra
from installation.models.allowance import allowance
from installation.models.importers.safe_pickle import MAX_BYTES, SourceFile, read_file, read_pickle
from installation.models.importers.state import check_claims
from installation.models.network import Upscaler, check_faults
from installation.models.receptive_field import trace

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor

PREFIX = "net."
_STAND_IN = "torchvision.transforms.functional"
_CHANNELS = (1, 3, 4)  # grey, RGB, RGB and opacity
_LUMINANCE = (0.299, 0.587, 0.114)  # Rec. 601, as OpenCV makes the grey pictures that such networks are trained with
# What spandrel does not tell of a network. GFPGAN ends in a StyleGAN2, whose sizes begin with a constant's.
_FIXED_SIDES = {"GFPGAN": 512}
_BY_CHANCE = ("AuraSR", "GFPGAN")  # draw noise while they draw a picture
_MAX_BYTES = 4 << 30  # of a .safetensors file; the largest network that spandrel knows, AuraSR, has 2.3 GiB
_SMALL = 16  # px; little work, and enough for the padding within most architectures
_LESS_SMALL = 80  # and within SwinIR with windows of 32 and 48


class UnknownNetworkError(CheckpointError):
    """There is no network among these tensors that spandrel knows, or there are no tensors."""


def require_spandrel() -> ModuleType:
    """The spandrel module. ModelError names the extra if it is not installed."""
    if "spandrel" in sys.modules:
        return sys.modules["spandrel"]
    try:
        with _torchvision_stand_in():
            return importlib.import_module("spandrel")
    except ImportError as error:
        fix = f"Install the extra: {install_extra('upscalers')}"
        raise ModelError(f"this network needs spandrel, which cannot be imported ({error})", fix=fix) from error


class SpandrelUpscaler(Upscaler):
    """A spandrel network as a stage. Made by `from_tensors` or `from_file`.

    The picture is clamped to 0..1 on the way out, as spandrel does. In half precision the float32 weights are not kept. A network of
    grey pictures (1 -> 1 channel) draws red, green and blue, each as a grey picture; one that colours (1 -> 3) is given the luminance;
    what one that makes grey (3 -> 1) makes stands in all three. Opacity is 1 on the way in, and left out on the way out. Noise that a
    network draws is the same for every picture, or a resting one would flicker.
    """

    arch = "spandrel"
    cpu_channels_last = True  # as for the compact upscaler: plain 3x3 convolutions dominate

    def __init__(self, descriptor: ImageModelDescriptor[Any]) -> None:
        super().__init__()
        needs, channels = descriptor.size_requirements, (descriptor.input_channels, descriptor.output_channels)
        if not {*channels} <= {*_CHANNELS}:
            raise ModelError(f"it has {channels[0]} input and {channels[1]} output channels, not 1, 3 or 4")
        self.net = descriptor.model
        self._descriptor = descriptor
        architecture = str(descriptor.architecture.id)
        self.config = {"architecture": architecture}
        self.scale = descriptor.scale
        self.input_multiple, self.min_input = needs.multiple_of, max(needs.minimum, 1)
        self.fixed_side = _FIXED_SIDES.get(architecture, 0)
        if self.fixed_side:
            self.config["fixed_side"] = self.fixed_side
        self._noise = ConstantNoise() if architecture in _BY_CHANCE else None

    @cached_property
    def receptive_field(
        self,
    ) -> int | None:  # asked for only where tiles are: torch takes seconds to load what tracing needs
        if self._descriptor.size_requirements.square:
            return None  # what is not square is made so by reflection, and a tile would be so too
        return trace(self.net, self._side(64), self._descriptor.input_channels)

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        """The network in a checkpoint of ours. ModelError if spandrel does not know it, or it is not the one the config names."""
        check_faults(
            [f"tensor {name[:80]!r} does not begin with {PREFIX!r}" for name in tensors if not name.startswith(PREFIX)]
        )
        network = cls.from_state({name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()})
        if dict(config) != network.config:
            raise ModelError(f"the header's config is {str(config)[:80]}, spandrel finds {network.config}")
        return network

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Self:
        """The network whose plain state dict this is; spandrel finds out which. ModelError if none fits."""
        spandrel = require_spandrel()
        state = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
        finite = (not tensor.is_floating_point() or bool(tensor.isfinite().all()) for tensor in state.values())
        check_faults(
            [f"{name[:80]!r} holds NaN or infinity" for name, good in zip(state, finite, strict=True) if not good]
        )
        nbytes = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
        try:
            with allowance(len(state), nbytes):
                descriptor = spandrel.ModelLoader("cpu").load_from_state_dict(dict(state))
        except ModelError:
            raise
        except spandrel.UnsupportedModelError as error:
            raise UnknownNetworkError("spandrel knows no network with these tensors") from error
        except Exception as error:
            # Detection reads sizes out of names and shapes; on a defective file it fails with whatever comes first.
            raise ModelError(
                f"spandrel cannot build the network ({type(error).__name__}: {str(error)[:120]})"
            ) from error
        if not isinstance(descriptor, spandrel.ImageModelDescriptor):
            raise ModelError("the network needs a mask beside the picture, so it is no upscaler")
        network = cls(descriptor)
        network.requires_grad_(False).eval()
        return network

    @classmethod
    def from_file(cls, file: Path | SourceFile) -> Self:
        """A foreign .pth, .ckpt, .pt or .safetensors of tensors only. CheckpointError on any other content, UnknownNetworkError where
        there is no such network; nothing in it is run."""
        spandrel = require_spandrel()
        # Read, not mapped: a file that is made shorter meanwhile would end the process with SIGBUS.
        source = file if isinstance(file, SourceFile) else read_upscaler(file)
        path = source.path
        if path.suffix.lower() == ".safetensors":
            try:
                raw: Any = tensors_of(source.data)
            except SafetensorError as error:
                raise CheckpointError(f"damaged ({str(error)[:120]})", where=str(path), fix="Fetch it again") from error
            except KeyError as error:  # of 4 or 6 bits: torch has none such
                what = f"holds numbers of the type {error.args[0]}, which cannot be read"
                raise CheckpointError(what, where=str(path), fix="Take the file with float16 or float32") from error
        else:
            raw = read_pickle(source)
        try:
            state = spandrel.canonicalize_state_dict(raw) if isinstance(raw, dict) else {}
        except AttributeError:  # of a name that is no text
            state = {}
        if not state or not all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()):
            raise UnknownNetworkError("the file holds no plain state dict", where=str(path))
        check_claims(state.values(), where=str(path))
        try:
            return cls.from_state(state)
        except ModelError as error:
            kind = UnknownNetworkError if isinstance(error, UnknownNetworkError) else CheckpointError
            raise kind(error.what, where=str(path)) from error

    def macs(self, side: int) -> int | None:
        """Multiply-adds for a picture of side x side px, counted by torch on tensors without contents. Where contents decide (SeemoRe's
        experts), on a small picture, and scaled by area; None where that cannot be drawn."""
        ghost = copy.deepcopy(self._descriptor)  # not its network alone: IPT's takes pieces of a picture
        ghost.model.to("meta")
        channels = self._descriptor.input_channels
        times = 3 if channels == self._descriptor.output_channels == 1 else 1
        try:
            return times * _macs(ghost, torch.empty(1, channels, side, side, device="meta"))
        except RuntimeError:  # what a tensor without contents answers to a question for one
            pass
        few = self._side(_SMALL)
        small = torch.rand(1, channels, few, few, generator=torch.Generator().manual_seed(0))
        try:
            return round(times * _macs(self._descriptor, small) * (side / few) ** 2)
        except RuntimeError:
            return None

    def _side(self, least: int) -> int:
        """The side of the smallest picture from `least` px on that it takes."""
        side = self.fixed_side or max(least, self.min_input)
        return side + -side % self.input_multiple

    def place(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> Self:
        half = {torch.float16: self._descriptor.supports_half, torch.bfloat16: self._descriptor.supports_bfloat16}
        super().place(device, dtype if half.get(dtype, True) else torch.float32)
        self.net.to(dtype=self.compute)
        self._lay_out()
        return self

    @torch.inference_mode(False)  # data of a parameter may not be replaced by what is made in it
    def _lay_out(self) -> None:
        """The weights of convolutions over pictures in the chosen memory format; it is defined for four axes, and some have five."""
        for tensor in (*self.net.parameters(), *self.net.buffers()):
            if tensor.ndim == 4:
                tensor.data = tensor.data.contiguous(memory_format=self.memory_format)

    def forward(self, img: Tensor) -> Tensor:
        # Always a new tensor: RCAN changes its input.
        x = (img.float() * 0.5 + 0.5).to(self.compute, memory_format=self.memory_format)
        try:
            with self._noise.again() if self._noise else nullcontext():
                return self._coloured(x).float() * 2 - 1
        except RuntimeError as error:
            # What torch says to `view` of channels_last, as in IPT: found out by the first picture, which no graph is recorded of.
            if self.memory_format == torch.contiguous_format or "view size is not compatible" not in str(error):
                raise
            self.memory_format = torch.contiguous_format
            self._lay_out()
            return self(img)

    def _coloured(self, x: Tensor) -> Tensor:
        """x [N, 3, h, w] in 0..1 -> the same of what the network draws, whose channels may be others."""
        takes, gives = self._descriptor.input_channels, self._descriptor.output_channels
        if takes == gives == 1:  # one by one: spandrel promises pictures of one alone
            return torch.cat([self._descriptor(colour) for colour in x.split(1, dim=1)], dim=1)
        if takes == 1:
            red, green, blue = (weight * x[:, i : i + 1] for i, weight in enumerate(_LUMINANCE))
            x = red + green + blue
        elif takes == 4:
            x = F.pad(x, (0, 0, 0, 0, 0, 1), value=1.0)
        y = self._descriptor(x)
        return y.expand(-1, 3, -1, -1) if gives == 1 else y[:, :3]

    def check_drawing(self) -> None:
        """Draws one small picture on the CPU, higher than wide, or one of the size it takes. ModelError where the network cannot: what
        spandrel tells of a network is not all it asks for."""
        self.place("cpu")
        for least in (_SMALL, _LESS_SMALL):
            width = self._side(least)
            height = width if self.fixed_side else width + self.input_multiple
            try:
                with torch.inference_mode():
                    shape = tuple(self(torch.zeros(1, 3, height, width)).shape)
                break
            except ModelError:
                raise
            except Exception as error:  # others' code, which fails with whatever comes first
                fault = error
        else:
            what = f"it cannot draw a picture of {width}x{height} ({type(fault).__name__}: {str(fault)[:120]})"
            raise ModelError(what) from fault
        if shape != (1, 3, height * self.scale, width * self.scale):
            raise ModelError(
                f"of {width}x{height} it makes {shape[-1]}x{shape[-2]}, and spandrel says it enlarges x{self.scale}"
            )


def read_upscaler(path: Path) -> SourceFile:
    """A file that may hold a network of spandrel's. CheckpointError as of `read_file`; one of tensors alone may be larger."""
    return read_file(path, most=_MAX_BYTES if path.suffix.lower() == ".safetensors" else MAX_BYTES)


def _macs(draw: Callable[[Tensor], Tensor], x: Tensor) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        draw(x)
    return counter.get_total_flops() // 2


class ConstantNoise(TorchFunctionMode):
    """Within it, what torch draws from a normal distribution is drawn once, of a fixed seed, and given again after `again`."""

    def __init__(self) -> None:
        super().__init__()
        self._drawn: list[Tensor] = []
        self._given = 0

    def again(self) -> Self:
        self._given = 0
        return self

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func not in (torch.randn, torch.randn_like, Tensor.normal_) or out.is_meta:
            return out
        i, self._given = self._given, self._given + 1
        kept = self._drawn[i] if i < len(self._drawn) else None
        if kept is None or (kept.shape, kept.dtype, kept.device) != (out.shape, out.dtype, out.device):
            kept = torch.empty(out.shape).normal_(generator=torch.Generator().manual_seed(i)).to(out)
            self._drawn[i:] = [kept]
        return out.copy_(kept)


def normalize(tensor: Tensor, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> Tensor:
    """(tensor - mean) / std of each channel, [..., C, H, W], as torchvision documents its function of this name.

    Numbers stay Python's: made a tensor on the device, as torchvision does, they would have the host wait.
    """
    channels = zip(tensor.unbind(-3), mean, std, strict=True)
    out = torch.stack([(channel - m) / s for channel, m, s in channels], dim=-3)
    return tensor.copy_(out) if inplace else out


@contextmanager
def _torchvision_stand_in() -> Iterator[None]:
    """Let spandrel be imported without torchvision.

    spandrel imports three names of torchvision: one for a face-restoring network, `normalize` above, and two for an inpainting one, which
    is no upscaler. torchvision is bound to one torch build and fails to import beside any other (RuntimeError: operator torchvision::nms
    does not exist). So modules with these names stand in for the duration of the import.
    """

    def missing(*_: Any, **__: Any) -> Any:
        raise ModelError("inpainting needs torchvision")

    def take() -> dict[str, ModuleType]:
        names = [name for name in sys.modules if name == "torchvision" or name.startswith("torchvision.")]
        return {name: sys.modules.pop(name) for name in names}

    true = take()
    for name in ("torchvision", "torchvision.transforms", _STAND_IN):
        sys.modules[name] = ModuleType(name)
    for name, value in {"normalize": normalize, "rotate": missing, "InterpolationMode": missing}.items():
        setattr(sys.modules[_STAND_IN], name, value)
    try:
        yield
    finally:
        take()
        sys.modules.update(true)
