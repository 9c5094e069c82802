"""Checkpoint files: write one atomically, read one into a network. One `.safetensors` file with a JSON header (see header.py).

save(path, network.state_dict(), describe(network, name="portraits", licence="CC0-1.0"))
network = load(path)
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_of
from safetensors.torch import save_file
from torch import Tensor

from installation.errors import CheckpointError, ModelError, OutputError
from installation.models.header import METADATA_KEY, Arch, Header, header_from, read_index
from installation.models.network import Generator, Network, Upscaler, restore

_FIX = "Fetch or convert the model again"


def describe(network: Network, *, name: str, **facts: Any) -> Header:
    """A Header for a network of ours. facts: licence, source, training_data and the other fields of Header."""
    if isinstance(network, Generator):
        sizes: dict[str, Any] = {
            "role": "generator",
            "size": network.size,
            "z_dim": network.z_dim,
            "w_dim": network.w_dim,
        }
    elif isinstance(network, Upscaler):
        sizes = {"role": "upscaler", "scale": network.scale, "w_dim": network.w_dim}
    else:
        raise ModelError(f"{type(network).__name__} is neither a generator nor an upscaler")
    return Header(
        name=name, arch=network.arch, config=dict(network.config), parameters=network.parameter_count, **sizes, **facts
    )


def save(path: Path, tensors: Mapping[str, Tensor], header: Header) -> None:
    """Write a checkpoint: into a temporary file in the same folder, flushed to the disk, then renamed over `path`.

    Counts the parameters into the header. CheckpointError if the header is wrong; OutputError if the disk refuses, and then the
    old file is untouched.
    """
    header = replace(header, parameters=sum(tensor.numel() for tensor in tensors.values()))
    header_from({field: getattr(header, field) for field in header.__slots__}, str(path))
    # clone: safetensors refuses tensors that share memory, as views of one storage do.
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    try:
        metadata = {"format": "pt", METADATA_KEY: header.to_json()}
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"the header's config cannot be written as JSON ({error})", where=str(path)) from error
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        mode = temporary.stat().st_mode  # as this user's files are; safetensors would make it unreadable for all others
        save_file(plain, temporary, metadata=metadata)
        temporary.chmod(mode)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except (OSError, SafetensorError) as error:
        fix = "Is there space on the disk, and may this user write there?"
        raise OutputError(f"the checkpoint could not be written ({error})", where=str(path), fix=fix) from error
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path, *, device: torch.device | str = "cpu") -> Network:
    """The network in a checkpoint, float32, in eval mode, ready to run on `device`.

    Memory used before the weights are known to fit is at most twice the file's size. The file may be replaced or written over as soon
    as this returns. CheckpointError on any fault in the file;
    ModelError where an optional extra is missing.
    """
    path = Path(path)
    header, _ = read_index(path)
    try:
        # Read, not mapped: weights that lie in the file would change with it, and one that is copied over in the middle of a
        # show and so made shorter would end the process with SIGBUS.
        tensors = tensors_of(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"the tensors cannot be read ({error})", where=str(path), fix=_FIX) from error
    build = _builder(header.arch)  # may say that an extra is missing; what follows is about the file
    try:
        network = build(header.config, tensors)
    except ModelError as error:
        raise CheckpointError(error.what, where=str(path), fix=_FIX) from error
    _check_claims(header, network, path)
    return network.to(device)


def fingerprint(path: Path) -> str:
    """sha256 of a file, as hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _builder(arch: Arch) -> Callable[[dict[str, Any], Mapping[str, Tensor]], Network]:
    """config, tensors -> Network. Imports only the architecture that is asked for."""
    if arch == "spandrel":
        from installation.models.spandrel_stage import SpandrelUpscaler, require_spandrel

        require_spandrel()
        return SpandrelUpscaler.from_tensors
    network_type: type[Network]
    if arch == "stylegan2":
        from installation.models import stylegan2

        network_type = stylegan2.StyleGAN2
    elif arch == "stylegan3":
        from installation.models import stylegan3

        network_type = stylegan3.StyleGAN3
    elif arch == "r3gan":
        from installation.models import r3gan

        network_type = r3gan.R3GAN
    elif arch == "dcgan":
        from installation.models import dcgan

        network_type = dcgan.DCGAN
    elif arch == "fastgan":
        from installation.models import fastgan

        network_type = fastgan.FastGAN
    elif arch == "onnx":
        from installation.models import onnx_generator

        onnx_generator.require_onnxruntime()
        network_type = onnx_generator.OnnxGenerator
    elif arch == "lightweightgan":
        from installation.models import lightweightgan

        network_type = lightweightgan.LightweightGAN
    elif arch == "lucidrains":
        from installation.models import lucidrains

        network_type = lucidrains.LucidrainsStyleGAN2
    elif arch == "pggan":
        from installation.models import pggan

        network_type = pggan.PGGAN
    elif arch == "mobilestylegan":
        from installation.models import mobilestylegan

        network_type = mobilestylegan.MobileStyleGAN
    elif arch == "stage":
        from installation.models import stage

        network_type = stage.Stage
    else:
        from installation.models import srvgg

        network_type = srvgg.SRVGG

    def build(config: dict[str, Any], tensors: Mapping[str, Tensor]) -> Network:
        try:
            with torch.device("meta"):
                network = network_type(**config)
        except TypeError as error:
            raise ModelError(f"the header's config does not fit {arch} ({error})") from error
        return restore(network, tensors)

    return build


def _check_claims(header: Header, network: Network, path: Path) -> None:
    """What the header says about sizes is what the network is: a show is planned from headers alone."""
    true = describe(network, name=header.name)
    for field in ("role", "scale", "size", "z_dim", "w_dim"):
        said, is_ = getattr(header, field), getattr(true, field)
        if said != is_:
            raise CheckpointError(f"the header says {field} {said}, the network has {is_}", where=str(path), fix=_FIX)


def _flush_folder(folder: Path) -> None:
    """Make a rename last through a power cut. Windows cannot open folders and needs no such call."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
