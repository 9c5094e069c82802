"""The one reader of pickle-based files: NVIDIA's `.pkl`, TensorFlow's legacy `.pkl`, and torch's `.pt` and `.pth`, zip and old.

Nothing in a file is run: `machine.py` builds plain data, and the tables here say for which names. Files are read whole, once.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from installation.errors import CheckpointError
from installation.models.importers import budget, numpy_values, torch_values
from installation.models.importers.inert import Inert
from installation.models.importers.machine import Constructor, as_key, interpret
from installation.models.importers.torch_values import STORAGES, Storage, StorageId, storage_id

MAX_BYTES = 2 << 30  # a training checkpoint of a StyleGAN3 at 1024 px, with its optimisers, has under one
MAX_MEMBERS = 100_000

_MAGIC = 0x1950A86A20F9469CFC6C
_OLD = b"\x80\x02\x8a\x0a" + _MAGIC.to_bytes(10, "little") + b"."
_ZIP = b"PK\x03\x04"

# Names of which only a record is kept: classes of networks, options and devices. Whatever follows a prefix is a class like the others.
INERT_PREFIXES = (
    "torch.nn.modules.",
    "torch.nn.utils.spectral_norm.",
    "torch_utils.",
    "training.",
    "dnnlib.",
    "R3GAN.",
    "pg_modules.",
    "timm.",
)
INERT = frozenset(
    {
        "argparse.Namespace",
        *(
            f"{builtins}.{kind}"
            for builtins in ("builtins", "__builtin__")
            for kind in ("dict", "float", "int", "list")
        ),
        "models.utils.config.BaseConfig",
        "numpy.ndarray",
        "numpy.core.multiarray.ndarray",
        "pathlib.PosixPath",
        "pathlib.WindowsPath",
        "torch.device",
        *(
            f"torch.{dtype}"
            for dtype in ("float16", "float32", "float64", "bfloat16", "int32", "int64", "uint8", "bool")
        ),
    }
)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A foreign file's bytes as they were at one moment, and their sha256."""

    path: Path
    data: bytes
    sha256: str


def read_pickle(source: Path | SourceFile, *, inert: Sequence[str] = ()) -> Any:
    """What a pickle-based file holds, as plain data: dict, list, tuple, set, str, bytes, numbers, `torch.Tensor` (CPU), `numpy.ndarray`,
    `Inert` for objects of foreign classes (name, args, state) and `Name` for classes and dtypes that are only mentioned.

    inert: prefixes of further names to keep records of; a name that is on no list is refused, and the error says which it was.
    OrderedDict, EasyDict and defaultdict come as dict. Modules that were stored as objects come as `Inert`: `module_tensors` gives
    their state dict. Tensors may be views of one storage; as float32 they are together at most
    `budget.REPEATS` times the file, or `budget.SMALL`.
    Memory: about twice the file here; an importer makes float32 of the tensors, and holds some three copies at its highest.
    CheckpointError if the file is damaged, hostile, too large, a TorchScript program, or of another kind; no code in it runs.
    """
    source = source if isinstance(source, SourceFile) else read_file(source)
    return decode(source.data, where=str(source.path), inert=inert)


def decode(data: bytes, *, where: str, inert: Sequence[str] = ()) -> Any:
    """`read_pickle` of bytes that came from somewhere else than a file of their own."""
    try:
        return _Reader(len(data), tuple(inert)).read(data)
    except CheckpointError as error:
        raise CheckpointError(error.what, where=where, fix=error.fix) from error


def read_file(path: Path, *, most: int = MAX_BYTES) -> SourceFile:
    """A file's bytes, read whole. CheckpointError if it is none, is larger than `most` bytes, or changes meanwhile."""
    where = str(path)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # to open a pipe would be to wait for it
            raise CheckpointError("not a file", where=where)
        with Path(path).open("rb") as file:
            before = os.fstat(file.fileno())
            if before.st_size > most:
                raise CheckpointError(f"{before.st_size >> 20} MiB, over the limit of {most >> 20} MiB", where=where)
            data = file.read(before.st_size + 1)
            after = os.fstat(file.fileno())
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror or error}", where=where) from error
    if len(data) != before.st_size or (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise CheckpointError("the file changed while it was read", where=where, fix="Try again when it is complete")
    return SourceFile(Path(path), data, hashlib.sha256(data).hexdigest())


class _Reader:
    """One file, with all that is nested in it, under one budget."""

    def __init__(self, nbytes: int, inert: tuple[str, ...]) -> None:
        self._budget = budget.Budget(budget.limit(nbytes))
        self._inert = INERT_PREFIXES + inert
        # What a file of torch's may hold; `_load_from_bytes` is not among it, so files are nested once at most.
        self._torch: dict[str, Constructor] = {
            "collections.OrderedDict": self._mapping,
            "collections.defaultdict": lambda factory=None, *items: self._mapping(*items),
            "collections.Counter": self._mapping,
            "typing.OrderedDict": self._mapping,  # its alias, as spandrel reads it too
            **{
                f"{builtins}.{name}": self._set
                for builtins in ("builtins", "__builtin__")
                for name in ("set", "frozenset")
            },
            # How protocol 2 writes empty bytes.
            **{f"{builtins}.bytes": lambda: b"" for builtins in ("builtins", "__builtin__")},
            "torch.Size": lambda sides=(): sides,
            "torch._utils._rebuild_tensor": partial(torch_values.tensor, self._budget),
            "torch._utils._rebuild_tensor_v2": partial(torch_values.tensor, self._budget),
            "torch._utils._rebuild_parameter": torch_values.parameter,
            "torch.nn.parameter.Parameter": torch_values.parameter,
            "numpy.dtype": numpy_values.number_type,
            "_codecs.encode": partial(numpy_values.encoded, self._budget),
            **dict.fromkeys(STORAGES, _no_call),
        }
        for core in ("numpy.core", "numpy._core"):
            self._torch[f"{core}.multiarray._reconstruct"] = numpy_values.empty_array
            self._torch[f"{core}.multiarray.scalar"] = partial(numpy_values.number, self._budget)
            self._torch[f"{core}.numeric._frombuffer"] = partial(numpy_values.array, self._budget)
        self._bare = self._torch | {
            "dnnlib.util.EasyDict": self._mapping,
            "dnnlib.EasyDict": self._mapping,
            "torch_utils.persistence._reconstruct_persistent_obj": _persistent_object,
            "torch.storage._load_from_bytes": self._nested,
        }

    def read(self, data: bytes) -> Any:
        """The value in a file's bytes, of any of the three kinds. CheckpointError for all else."""
        if data.startswith(_ZIP):
            return self._zip(data)
        if data.startswith(_OLD):
            return self._old(data)
        if not data.startswith(b"\x80"):
            raise CheckpointError("neither a pickle nor a file of torch's", fix=_KINDS)
        return self._interpret(io.BytesIO(data), self._bare)

    def _nested(self, data: Any, *_: Any) -> Storage:
        """The one storage in a torch file within a pickle: the bytes of one tensor."""
        if not isinstance(data, (bytes, bytearray)):
            raise CheckpointError("damaged: a nested file that is no bytes")
        self._budget.take(len(data))
        value = (self._zip if data.startswith(_ZIP) else self._old)(bytes(data))
        if not isinstance(value, Storage):
            raise CheckpointError("a nested file that holds more than one tensor's numbers")
        return value

    def _zip(self, data: bytes) -> Any:
        """torch's format since 1.6: an archive of `data.pkl` and one member a storage, stored as they are."""
        try:
            archive = zipfile.ZipFile(io.BytesIO(data))
        except Exception as error:  # zipfile meets damage with a dozen kinds of error
            raise CheckpointError(f"a damaged archive ({str(error)[:80]})") from None
        with archive:
            members = {info.filename.partition("/")[2]: info for info in archive.infolist()}
            if any(name == "constants.pkl" or name.startswith("code/") for name in members):
                fix = "A TorchScript file is a program. Save the network's state dict instead"
                raise CheckpointError("a TorchScript file, which would have to be run", fix=fix)
            if "data.pkl" not in members:
                raise CheckpointError("an archive, but not one of torch's: it holds no data.pkl", fix=_KINDS)
            if len(members) > MAX_MEMBERS:
                raise CheckpointError(f"an archive of more than {MAX_MEMBERS} members")
            if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
                raise CheckpointError("an archive with packed members, which torch never writes")
            if sum(info.file_size for info in archive.infolist()) > len(data):
                raise CheckpointError("an archive whose members are larger than itself")

            def member(name: str) -> bytearray:
                if name not in members:
                    raise CheckpointError(f"the archive has no member {name[:40]!r}")
                try:
                    content = bytearray(archive.read(members[name]))
                except Exception as error:  # zipfile meets damage with a dozen kinds of error
                    raise CheckpointError(f"the archive's {name[:40]} is damaged ({str(error)[:80]})") from None
                if len(content) != members[name].file_size:
                    raise CheckpointError(f"the archive's {name[:40]} is cut short")
                return content

            if "byteorder" in members and bytes(member("byteorder")) != b"little":
                raise CheckpointError("written on a machine with the other byte order")
            storages: dict[str, Storage] = {}

            def storage(pid: Any) -> Storage:
                wanted = storage_id(pid)
                if wanted.key not in storages:
                    storages[wanted.key] = wanted.storage(member(f"data/{wanted.key}"))
                return storages[wanted.key]

            return self._interpret(io.BytesIO(member("data.pkl")), self._torch, storage)

    def _old(self, data: bytes) -> Any:
        """torch's format before 1.6: pickles (mark, version, machine, value, storage keys), then the storages' bytes.

        The value is interpreted twice: which storages there are stands in it, and their numbers behind it.
        """
        stream = io.BytesIO(data)
        mark, version, machine = (self._interpret(stream, {}) for _ in range(3))
        if mark != _MAGIC or version != 1001 or not isinstance(machine, dict):
            raise CheckpointError("not a file of torch's")
        if machine.get("little_endian") is not True:
            raise CheckpointError("written on a machine with the other byte order")
        begin = stream.tell()
        ids: dict[str, StorageId] = {}

        def note(pid: Any) -> Storage:
            wanted = storage_id(pid)
            if ids.setdefault(wanted.key, wanted) != wanted:
                raise CheckpointError("damaged: one storage with two descriptions")
            return Storage(None)

        self._interpret(stream, self._torch, note)
        keys = self._interpret(stream, {})
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(ids):
            raise CheckpointError("damaged: the storages are not those that the tensors use")
        storages: dict[str, Storage] = {}
        position = stream.tell()
        for key in keys:
            end = position + 8 + ids[key].nbytes
            if end > len(data):
                raise CheckpointError("the file is cut short")
            if struct.unpack_from("<q", data, position) != (ids[key].numel,):
                raise CheckpointError("damaged: a storage of another size than its tensors want")
            storages[key] = ids[key].storage(bytearray(memoryview(data)[position + 8 : end]))
            position = end
        stream.seek(begin)
        return self._interpret(stream, self._torch, lambda pid: storages[storage_id(pid).key])

    def _mapping(self, items: Any = ()) -> dict[Any, Any]:
        """dict(items), for pairs whose keys are text."""
        self._budget.step(len(items))
        pairs = items.items() if isinstance(items, dict) else items
        if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs):
            raise CheckpointError("damaged: a dict without keys")
        return dict(pairs)

    def _set(self, items: Any = ()) -> frozenset[Any]:
        self._budget.step(len(items))
        return frozenset(as_key(item, self._budget) for item in items)

    def _interpret(
        self,
        stream: io.BytesIO,
        constructors: Mapping[str, Constructor],
        persistent: Callable[[Any], Any] | None = None,
    ) -> Any:
        return interpret(
            stream, self._budget, constructors=constructors, is_inert=self._is_inert, persistent=persistent
        )

    def _is_inert(self, name: str) -> bool:
        return name in INERT or name.startswith(self._inert)


_KINDS = "StyleGAN's .pkl and torch's .pt and .pth can be read"


def _persistent_object(meta: Any) -> Inert:
    """An object of a class that the file carries as source text: the class's name and the object's state. The text is not looked at."""
    if not isinstance(meta, dict) or meta.get("type") != "class" or not isinstance(meta.get("class_name"), str):
        raise CheckpointError("damaged: an object of NVIDIA's that is described wrongly")
    return Inert(meta["class_name"], (), meta.get("state"))


def _no_call(*_: Any) -> Any:
    raise CheckpointError("damaged: makes a storage out of nothing")
