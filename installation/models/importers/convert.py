"""Foreign bytes that are no pickle -> tensors of ours: the catalogue's networks, and ncnn's upscalers. Imports torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from installation.errors import CheckpointError, ModelError
from installation.models.catalogue import Catalogued
from installation.models.checkpoint import describe
from installation.models.dcgan import DCGAN
from installation.models.header import Header
from installation.models.importers.average import average_w
from installation.models.importers.dcgan import rename
from installation.models.importers.mobilestylegan import read_mobilestylegan
from installation.models.importers.ncnn_rrdb import read_rrdb
from installation.models.importers.ncnn_srvgg import read_srvgg
from installation.models.importers.torch_file import read_state_dict
from installation.models.mobilestylegan import MobileStyleGAN
from installation.models.network import Network, restore
from installation.models.spandrel_stage import SpandrelUpscaler, require_spandrel
from installation.models.srvgg import SRVGG


def convert(entry: Catalogued, members: Sequence[bytes]) -> tuple[dict[str, Tensor], Header]:
    """Tensors and header, ready for `checkpoint.save`. members: the bytes of `entry.members`, in that order.

    Numbers keep the type they are stored in (fp16 weights of an ncnn file stay fp16: half the size, and loaded as fp32 without loss).
    CheckpointError where the bytes are not what the catalogue says they are.
    """
    where = entry.source
    if entry.importer == "dcgan":
        tensors = rename(read_state_dict(members[0], entry.state_key, where=where), where=where)
        network = _shaped(DCGAN, DCGAN.config_of, tensors, where)
    elif entry.importer == "mobilestylegan":
        tensors = _mobilestylegan(members, where=where)
        network = _shaped(MobileStyleGAN, MobileStyleGAN.config_of, tensors, where)
    else:
        network, tensors = ncnn_upscaler(*members, where=where)
    return tensors, describe(
        network,
        name=entry.name,
        licence=entry.licence,
        licence_url=entry.licence_url,
        commercial_use=entry.commercial_use,
        source=entry.source,
        source_sha256=entry.wheel.sha256,
        training_data=entry.training_data,
        notes=entry.notes,
    )


def ncnn_upscaler(param: bytes, weights: bytes, *, where: str) -> tuple[Network, dict[str, Tensor]]:
    """The network of the two files of an upscaler of the Real-ESRGAN family, of which only the shape counts, and its tensors.

    Compact ones have a PReLU after each convolution, and no other has one. CheckpointError where it is neither; ModelError where an
    ESRGAN's network is wanted and spandrel, which runs it, is not there (extra `upscalers`).
    """
    if b"PReLU" in param:
        srvgg = read_srvgg(param, weights, where=where)
        tensors = {name: torch.from_numpy(array.copy()) for name, array in srvgg.tensors.items()}
        return _shaped(SRVGG, partial(SRVGG.config_of, unit_range=True, scale=srvgg.scale), tensors, where), tensors
    arrays = read_rrdb(param, weights, where=where)
    require_spandrel()
    try:
        network = SpandrelUpscaler.from_state({name: torch.from_numpy(array.copy()) for name, array in arrays.items()})
    except ModelError as error:
        raise CheckpointError(error.what, where=where) from error
    # Numbers that lose nothing as fp16 are stored so.
    tensors = {
        name: tensor.half() if torch.equal(tensor.half().float(), tensor) else tensor
        for name, tensor in network.state_dict().items()
    }
    return network, tensors


def _shaped(
    kind: Callable[..., Network],
    config_of: Callable[[dict[str, Tensor]], dict[str, Any]],
    tensors: dict[str, Tensor],
    where: str,
) -> Network:
    """The network that has such tensors, without them."""
    try:
        with torch.device("meta"):
            return kind(**config_of(tensors))
    except ModelError as error:
        raise CheckpointError(error.what, where=where) from error


def _mobilestylegan(members: Sequence[bytes], *, where: str) -> dict[str, Tensor]:
    """The tensors of the four files (mapping .xml and .bin, synthesis .xml and .bin), with the w_avg that they do not hold."""
    arrays = read_mobilestylegan(*members, where=where)
    tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    try:
        tensors["mapping.w_avg"] = torch.zeros(tensors["mapping.fc0.weight"].shape[1])
        with torch.device("meta"):
            network = MobileStyleGAN(**MobileStyleGAN.config_of(tensors))
        restore(network, tensors)
    except (KeyError, IndexError, ModelError) as error:
        raise CheckpointError(f"no MobileStyleGAN: {error}", where=where) from error
    return tensors | {"mapping.w_avg": average_w(network)}
