"""What a checkpoint says about itself, and the bounded reader of that part of the file. Imports no torch: listing models is instant.

A checkpoint is one `.safetensors` file: 8 bytes little-endian length, a JSON index of the tensors, the tensor bytes. Our JSON header is
the string `installation` in the index's `__metadata__`. Nothing is ever unpickled; a file is believed only after its index fits its size.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
import struct
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from installation.errors import CheckpointError

Arch = Literal[
    "stylegan2",
    "stylegan3",
    "r3gan",
    "dcgan",
    "fastgan",
    "lightweightgan",
    "lucidrains",
    "mobilestylegan",
    "onnx",
    "pggan",
    "srvgg",
    "spandrel",
    "stage",
]
Role = Literal["generator", "upscaler"]

FORMAT = 1
METADATA_KEY = "installation"
AXES_SUFFIX = ".axes.safetensors"  # beside a checkpoint: data found about it (axes.py), and no checkpoint itself
# A StyleGAN2 of 1024 px has 170 tensors and an index of 20 KB; the largest upscalers about 3,000 tensors.
MAX_INDEX_BYTES = 8 << 20
MAX_HEADER_CHARS = 1 << 20
DTYPE_BYTES = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_SHA256 = re.compile(r"([0-9a-f]{64})?")
_FIX = "Fetch or convert the model again"


def axes_file(checkpoint: Path) -> Path:
    """Where the axes of a checkpoint are kept."""
    return checkpoint.with_name(f"{checkpoint.stem}{AXES_SUFFIX}")


@dataclass(frozen=True, slots=True)
class Header:
    """Everything a checkpoint says about its network, its origin and its licence.

    config: the network's constructor arguments (JSON). scale: 1 for a generator. size: the generator's longer side in px, 0 for an
    upscaler. z_dim, w_dim: 0 where the network has none; an upscaler's w_dim is that of the w it is conditioned on. commercial_use: None
    where the licence does not say. source: where the weights came from, with source_sha256 of that file ("" when unknown). nimg:
    images seen in training, None when unknown. parameters: numbers stored; `checkpoint.save` counts them.
    """

    name: str
    arch: Arch
    config: dict[str, Any]
    role: Role
    scale: int = 1
    size: int = 0
    z_dim: int = 0
    w_dim: int = 0
    licence: str = ""
    licence_url: str = ""
    commercial_use: bool | None = None
    source: str = ""
    source_sha256: str = ""
    training_data: str = ""
    nimg: int | None = None
    notes: str = ""
    parameters: int = 0
    format: int = FORMAT

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of a generator's pictures, px."""
        height, width = self.config.get("base", (1, 1))
        return self.size * height // max(height, width), self.size * width // max(height, width)

    @property
    def fixed_side(self) -> int:
        """The one side of the square pictures that an upscaler takes, px; 0 where it takes others too."""
        return self.config.get("fixed_side", 0)

    def to_json(self) -> str:
        """The header as stored in the file. ValueError if it holds something JSON cannot."""
        return json.dumps(asdict(self), ensure_ascii=False, allow_nan=False, sort_keys=True)


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One row of the index: safetensors dtype name ("F32"), shape, bytes."""

    dtype: str
    shape: tuple[int, ...]
    nbytes: int


def read_header(path: Path) -> Header:
    """The header of a checkpoint, after its index was checked against the file's size. CheckpointError on anything odd."""
    return read_index(path)[0]


def read_index(path: Path) -> tuple[Header, dict[str, TensorInfo]]:
    """Header and tensor index of a checkpoint; reads at most MAX_INDEX_BYTES. CheckpointError on anything odd."""
    where = str(path)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # to open a pipe would be to wait for it
            raise CheckpointError("not a file", where=where)
        with Path(path).open("rb") as file:
            total = os.fstat(file.fileno()).st_size
            prefix = file.read(8)
            if len(prefix) < 8:
                raise CheckpointError("the file is too short to be a checkpoint", where=where, fix=_FIX)
            (length,) = struct.unpack("<Q", prefix)
            if length > MAX_INDEX_BYTES:
                what = "not a safetensors file, or its index is larger than 8 MiB"
                raise CheckpointError(
                    what, where=where, fix="Only checkpoints of this program's format can be opened; convert others"
                )
            if 8 + length > total:
                raise CheckpointError("the file is cut short within its index", where=where, fix=_FIX)
            raw = file.read(length)
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror or error}", where=where) from error
    index = _parse(raw, "the index", where)
    metadata = index.pop("__metadata__", None)
    tensors = {name: _tensor_info(name, row, where) for name, row in index.items()}
    _check_layout(index, tensors, total - 8 - length, where)
    text = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        fix = "Convert it first: it is a safetensors file, but it was not written by this program"
        raise CheckpointError("the file has no header of ours", where=where, fix=fix)
    if len(text) > MAX_HEADER_CHARS:
        raise CheckpointError("the header is larger than 1 MiB", where=where, fix=_FIX)
    return header_from(_parse(text, "the header", where), where), tensors


def header_from(data: dict[str, Any], where: str = "") -> Header:
    """A checked Header from decoded JSON. CheckpointError names every field that is wrong."""
    if isinstance(data.get("format"), int) and data["format"] > FORMAT:
        fix = "Update this program"
        raise CheckpointError(
            f"the header has format {data['format']}, this program reads {FORMAT}", where=where, fix=fix
        )
    known = {field.name for field in fields(Header)}
    required = {"name", "arch", "config", "role"}
    faults = [f"unknown field {key!r}" for key in sorted(data.keys() - known)]
    faults += [f"no field {key!r}" for key in sorted(required - data.keys())]
    faults += [fault for key in sorted(data.keys() & known) if (fault := _field_fault(key, data[key]))]
    if faults:
        raise CheckpointError("the header is wrong: " + "; ".join(faults[:8]), where=where, fix=_FIX)
    return Header(**data)


def _field_fault(key: str, value: Any) -> str:
    """Why `value` cannot stand in header field `key`, or ""."""
    if key == "name":
        good, want = (
            isinstance(value, str) and bool(_NAME.fullmatch(value)),
            "letters, digits and . _ + - (at most 100)",
        )
    elif key == "arch":
        good, want = value in get_args(Arch), "one of " + ", ".join(get_args(Arch))
    elif key == "role":
        good, want = value in get_args(Role), "generator or upscaler"
    elif key == "config":
        good, want = (
            isinstance(value, dict)
            and _is_base(value.get("base", [1, 1]))
            and _whole(value.get("fixed_side", 0), 65536),
            "an object (its base: two sides; its fixed_side: a whole number)",
        )
    elif key == "commercial_use":
        good, want = value is None or isinstance(value, bool), "true, false or null"
    elif key == "nimg":
        good, want = value is None or _whole(value, 1 << 53), "a whole number or null"
    elif key in ("scale", "size", "z_dim", "w_dim", "parameters", "format"):
        good, want = (
            _whole(value, 1 << 53 if key == "parameters" else 65536) and (key != "scale" or value >= 1),
            "a whole number in range",
        )
    elif key == "source_sha256":
        good, want = isinstance(value, str) and bool(_SHA256.fullmatch(value)), "64 hexadecimal digits or nothing"
    else:
        good, want = isinstance(value, str), "text"
    return "" if good else f"{key} must be {want}"


def _is_base(value: Any) -> bool:
    """Height and width of a generator's first layer; with an upscaler's fixed_side all that is read of a config without building the
    network."""
    return isinstance(value, list) and len(value) == 2 and all(_whole(side, 64) and side > 0 for side in value)


def _whole(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _parse(raw: bytes | str, part: str, where: str) -> dict[str, Any]:
    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is not JSON")

    try:
        data = json.loads(raw if isinstance(raw, str) else raw.decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{part} is not valid JSON ({str(error)[:80]})", where=where, fix=_FIX) from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{part} is not a JSON object", where=where, fix=_FIX)
    return data


def _tensor_info(name: str, row: Any, where: str) -> TensorInfo:
    shape = row.get("shape") if isinstance(row, dict) else None
    dtype = row.get("dtype") if isinstance(row, dict) else None
    if (
        not isinstance(shape, list)
        or len(shape) > 8
        or not all(_whole(n, 1 << 40) for n in shape)
        or not isinstance(dtype, str)
    ):
        raise CheckpointError(f"tensor {name[:60]!r} is described wrongly", where=where, fix=_FIX)
    if dtype not in DTYPE_BYTES:
        raise CheckpointError(
            f"tensor {name[:60]!r} has dtype {dtype[:20]!r}", where=where, fix="Use " + ", ".join(DTYPE_BYTES)
        )
    return TensorInfo(dtype, tuple(shape), DTYPE_BYTES[dtype] * math.prod(shape))


def _check_layout(index: dict[str, Any], tensors: dict[str, TensorInfo], payload: int, where: str) -> None:
    """Every tensor's bytes follow the one before, without gap or overlap, up to the last byte of the file."""
    spans = []
    for name, info in tensors.items():
        offsets = index[name].get("data_offsets")
        if not isinstance(offsets, list) or len(offsets) != 2 or not all(_whole(n, 1 << 53) for n in offsets):
            raise CheckpointError(f"tensor {name[:60]!r} is described wrongly", where=where, fix=_FIX)
        if offsets[1] - offsets[0] != info.nbytes:
            raise CheckpointError(f"tensor {name[:60]!r}: its bytes do not fit its shape", where=where, fix=_FIX)
        spans.append((offsets[0], offsets[1]))
    end = 0
    for begin, stop in sorted(spans):
        if begin != end:
            raise CheckpointError("the tensors in the file overlap or leave gaps", where=where, fix=_FIX)
        end = stop
    if end != payload:
        what = "the file is cut short" if payload < end else "the file has bytes after its last tensor"
        raise CheckpointError(f"{what}: {payload} bytes of tensors, {end} expected", where=where, fix=_FIX)
