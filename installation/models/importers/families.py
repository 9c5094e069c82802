"""Which network a foreign file holds: told from what is in it, or as the user says, and converted to a network of ours.

One row a family in FAMILIES: a look that recognises it, and the converter. Imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from installation.errors import CheckpointError, ModelError
from installation.models.checkpoint import describe
from installation.models.header import Header
from installation.models.importers import (
    dcgan,
    fastgan,
    lightweightgan,
    lucidrains,
    nvidia,
    onnx_generator,
    pggan,
    rosinality,
    stylegan2_tf,
)
from installation.models.importers.safe_pickle import SourceFile, read_pickle
from installation.models.network import Network, restore


@dataclass(frozen=True, slots=True)
class Converted:
    """A foreign network in our terms. kind: the network's class. config: its arguments. title: what exactly the file was taken for.

    facts: further fields of the header that the file tells, such as nimg.
    """

    kind: type[Network]
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    title: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Family:
    """name: what `--family` takes. matches: whether what `read_pickle` gave looks like it. convert: that and where -> Converted, or
    ModelError. title: for people.
    """

    name: str
    title: str
    matches: Callable[[Any], bool]
    convert: Callable[[Any, str], Converted]


def _of(converter: Callable[..., tuple[Any, ...]]) -> Callable[[Any, str], Converted]:
    return lambda value, where: Converted(*converter(value, where=where))


FAMILIES = (
    Family("stylegan2", "StyleGAN2 (PyTorch)", nvidia.is_stylegan2, _of(nvidia.stylegan2)),
    Family("stylegan3", "StyleGAN3", nvidia.is_stylegan3, _of(nvidia.stylegan3)),
    Family("r3gan", "R3GAN", nvidia.is_r3gan, _of(nvidia.r3gan)),
    Family("stylegan2-tf", "StyleGAN2 (TensorFlow)", stylegan2_tf.matches, _of(stylegan2_tf.convert)),
    Family("rosinality", "StyleGAN2 (rosinality)", rosinality.matches, _of(rosinality.convert)),
    Family("lucidrains", "StyleGAN2 (lucidrains)", lucidrains.matches, _of(lucidrains.convert)),
    Family("lightweight-gan", "lightweight-gan", lightweightgan.matches, _of(lightweightgan.convert)),
    Family("fastgan", "FastGAN", fastgan.matches, _of(fastgan.convert)),
    Family("projected-gan", "Projected GAN's FastGAN", fastgan.is_projected, _of(fastgan.convert_projected)),
    Family("pggan", "progressive GAN", pggan.matches, _of(pggan.convert)),
    Family("dcgan", "DCGAN", dcgan.matches, _of(dcgan.convert)),
    Family("onnx", "ONNX", onnx_generator.matches, _of(onnx_generator.convert)),
)


# What one falls over in a file that was made for it to fall over.
_TRIPS = (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)


def detect(value: Any) -> Family | None:
    """The family of what `read_pickle` gave, or None. CheckpointError as `state.check_claims`."""
    for family in FAMILIES:
        with suppress(*_TRIPS):
            if family.matches(value):
                return family
    return None


def convert(source: SourceFile, family: str | None = None) -> Converted | None:
    """The network in a pickle-based file; None where no family of ours recognises it. family: its name, if the user says so.

    The weights are checked: names, shapes, finite numbers. CheckpointError for a damaged or hostile file; ModelError for an unknown
    family, or for a file that is not of the one that was asked for.
    """
    where = str(source.path)
    names = [row.name for row in FAMILIES]
    if family is not None and family not in names:
        raise ModelError(f"no family is named {family!r}", where="--family", fix="Use one of " + ", ".join(names))
    value = source if onnx_generator.matches(source) else read_pickle(source)
    try:
        found = detect(value)
    except CheckpointError as error:
        raise CheckpointError(error.what, where=where, fix=error.fix) from error
    wanted = found if family is None else FAMILIES[names.index(family)]
    if wanted is None:
        return None
    try:
        converted = wanted.convert(value, where)
        with torch.device("meta"):
            network = converted.kind(**converted.config)
        restore(network, converted.tensors)
    except ModelError as error:
        if wanted is not found:
            raise _other(wanted, found, error.what, where=where, fix=error.fix) from error
        raise CheckpointError(f"taken for {wanted.title}, but {error.what}", where=where, fix=error.fix) from error
    except _TRIPS as error:
        if wanted is not found:
            raise _other(wanted, found, "", where=where) from error
        raise CheckpointError(
            f"taken for {wanted.title}, but damaged: its parts do not fit together", where=where
        ) from error
    return converted


def _other(wanted: Family, found: Family | None, why: str, *, where: str, fix: str = "") -> ModelError:
    """What to raise for a file that is not of the family that the user says."""
    looks = (
        f"it looks like {found.title}" if found else "it looks like none of " + ", ".join(row.name for row in FAMILIES)
    )
    what = f"not a {wanted.title} file{why and f' ({why[:300]})'}: {looks}"
    return ModelError(what, where=where, fix="Leave --family out" if found else fix)


def header(converted: Converted, source: SourceFile, name: str) -> Header:
    """The header of the converted network. The file states no licence, so neither does the header."""
    with torch.device("meta"):
        network = converted.kind(**converted.config)
    facts: Mapping[str, Any] = {"notes": f"Converted from {converted.title}"} | converted.facts
    return describe(network, name=name, source=source.path.name, source_sha256=source.sha256, **facts)
