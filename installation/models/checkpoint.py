"""Checkpoint files: write one atomically, read one into a network. One `.safetensors` file with a JSON header (see header.py).

save(path, network.state_dict(), describe(network, name="portraits", licence="CC0-1.0"))
network = load(path)
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_of
from safetensors.torch import save_file
from torch import Tensor

from installation import files
from installation.errors import DISK_FIX, CheckpointError, ModelError, OutputError
from installation.models.dcgan import DCGAN
from installation.models.fastgan import FastGAN
from installation.models.header import METADATA_KEY, Arch, Header, header_from, read_index
from installation.models.lightweightgan import LightweightGAN
from installation.models.lucidrains import LucidrainsStyleGAN2
from installation.models.mobilestylegan import MobileStyleGAN
from installation.models.network import Generator, Network, Upscaler, restore
from installation.models.onnx_generator import OnnxGenerator, require_onnxruntime
from installation.models.pggan import PGGAN
from installation.models.r3gan import R3GAN
from installation.models.spandrel_stage import SpandrelUpscaler, require_spandrel
from installation.models.srvgg import SRVGG
from installation.models.stage import Stage
from installation.models.stylegan2 import StyleGAN2
from installation.models.stylegan3 import StyleGAN3

_FIX = "Fetch or convert the model again"
# Those that are built from their config alone. All are imported at once: that takes less than 0.1 s, torch itself more than 1 s.
_NETWORKS: dict[Arch, type[Network]] = {
    network.arch: network
    for network in (
        DCGAN,
        FastGAN,
        LightweightGAN,
        LucidrainsStyleGAN2,
        MobileStyleGAN,
        OnnxGenerator,
        PGGAN,
        R3GAN,
        SRVGG,
        Stage,
        StyleGAN2,
        StyleGAN3,
    )
}


def describe(network: Network, *, name: str, **facts: Any) -> Header:
    """A Header for a network of ours. facts: licence, source, training_data and the other fields of Header, each text made one line."""
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
    facts = {field: _line(fact) if isinstance(fact, str) else fact for field, fact in facts.items()}
    return Header(
        name=name, arch=network.arch, config=dict(network.config), parameters=network.parameter_count, **sizes, **facts
    )


def _line(text: str) -> str:
    """Names of files and of data sets come from anywhere: one line, with what is not Unicode (lone surrogates, which no file takes)
    spelt out."""
    return " ".join(text.splitlines()).encode("utf-8", "backslashreplace").decode()


def save(path: Path, tensors: Mapping[str, Tensor], header: Header, *, only_writer: bool = False) -> None:
    """Write a checkpoint, whole or not at all; only_writer as of files.replacing.

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
    try:
        with files.replacing(path, only_writer=only_writer) as draft:
            save_file(plain, draft, metadata=metadata)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"the checkpoint could not be written ({error})", where=str(path), fix=DISK_FIX) from error


def load(path: Path) -> Network:
    """The network in a checkpoint, float32, in eval mode, ready to run on the CPU.

    Memory used before the weights are known to fit is at most twice the file's size. The file may be replaced or written over as soon
    as this returns. CheckpointError on any fault in the file; ModelError where an optional extra is missing.
    """
    path = Path(path)
    header, _ = read_index(path)
    try:
        # Read, not mapped: weights that lie in the file would change with it, and one that is copied over in the middle of a
        # show and so made shorter would end the process with SIGBUS.
        data = path.read_bytes()
        # Asked for by axes alone, which only networks with a w have.
        sha256 = hashlib.sha256(data).hexdigest() if header.role == "generator" and header.w_dim else ""
        tensors = tensors_of(data)
        del data
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"the tensors cannot be read ({error})", where=str(path), fix=_FIX) from error
    build = _builder(header.arch)  # may say that an extra is missing; what follows is about the file
    try:
        network = build(header.config, tensors)
    except ModelError as error:
        raise CheckpointError(error.what, where=str(path), fix=_FIX) from error
    _check_claims(header, network, path)
    network.file_sha256 = sha256
    return network


def _builder(arch: Arch) -> Callable[[dict[str, Any], Mapping[str, Tensor]], Network]:
    """config, tensors -> Network. ModelError where an optional extra is missing."""
    if arch == SpandrelUpscaler.arch:
        require_spandrel()
        return SpandrelUpscaler.from_tensors
    if arch == OnnxGenerator.arch:
        require_onnxruntime()

    def build(config: dict[str, Any], tensors: Mapping[str, Tensor]) -> Network:
        try:
            with torch.device("meta"):
                network = _NETWORKS[arch](**config)
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
