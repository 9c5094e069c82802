"""Where networks run and in which number type. Decided once, before the first picture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from installation.errors import ConfigError, EngineError

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Placement:
    """A device and the dtype of the heavy layers on it; mapping, demodulation, small resolutions and colour sums are always float32."""

    device: torch.device
    dtype: torch.dtype

    def __str__(self) -> str:
        return f"{self.device} {str(self.dtype).removeprefix('torch.')}"


def choose(device: str = "auto", dtype: str = "auto") -> Placement:
    """device: auto | cpu | mps | cuda | cuda:N. dtype: auto | float32 | float16 | bfloat16.

    auto: the first of CUDA (float16), MPS (float32), CPU (float32). EngineError if the device is not there; ConfigError for an unknown
    name, or for half precision on a CPU, where it is emulated: gemm in half was measured 100 times slower than float32.
    """
    if dtype != "auto" and dtype not in DTYPES:
        raise ConfigError(f"unknown dtype {dtype!r}", where="dtype", fix="Use auto, " + ", ".join(DTYPES))
    place = _device(device)
    if dtype == "auto":
        return Placement(place, torch.float16 if place.type == "cuda" else torch.float32)
    if place.type == "cpu" and dtype != "float32":
        fix = 'Set dtype to "auto" or "float32", or choose a device that has it'
        raise ConfigError(f"{dtype} on a CPU would be many times slower than float32", where="dtype", fix=fix)
    return Placement(place, DTYPES[dtype])


def name(device: torch.device) -> str:
    """What it is called: the card's own name, else its kind."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device. A copy to a GPU starts from pinned memory, so the host does not wait for what is queued there."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _device(wanted: str) -> torch.device:
    mps = torch.backends.mps.is_available()
    if wanted == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("mps" if mps else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "mps", "cuda"):
        raise ConfigError(
            f"unknown device {wanted!r}", where="device", fix="Use auto, cpu, mps, cuda or cuda:0, cuda:1, ..."
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        here = f"{torch.cuda.device_count()} CUDA devices here" if torch.cuda.is_available() else "no CUDA device here"
        fix = 'Check the driver (nvidia-smi) and that this torch is a CUDA build, or set device to "auto"'
        raise EngineError(f"{wanted} is not there: {here}", where="device", fix=fix)
    if device.type == "mps" and not mps:
        raise EngineError(
            "mps is not there: it needs macOS on Apple silicon", where="device", fix='Set device to "auto"'
        )
    # With its number, as torch.cuda.set_device wants it.
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device
