"""importers/safe_pickle: what every kind of file gives, and what hostile and damaged ones do not: run, grow, or last."""

from __future__ import annotations

import argparse
import copy
import io
import os
import pickle
import random
import struct
import tracemalloc
import typing
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from installation.errors import CheckpointError
from installation.models.importers import budget, numpy_values, safe_pickle, stylegan2_tf
from installation.models.importers.inert import Inert, Name, module_tensors
from installation.models.importers.safe_pickle import SourceFile, read_file, read_pickle
from tests.models import nvidia_pickle

MIB = 1 << 20


def read(data: bytes, **options: Any) -> Any:
    return read_pickle(SourceFile(Path("some.pkl"), data, ""), **options)


def refused(data: bytes, words: str = ".") -> None:
    with pytest.raises(CheckpointError, match=words):
        read(data)


def saved(content: Any, *, old: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not old)
    return buffer.getvalue()


class Payload:
    """Runs a command where it is unpickled in full."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"echo > {self.path}",)


class Nested:
    """torch's own loader of nested bytes, which unpickles them in full."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce__(self) -> tuple:
        return torch.storage._load_from_bytes, (self.data,)


# What is read ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("old", [False, True], ids=["zip", "old"])
def test_a_file_of_torchs_gives_the_same_tensors(old: bool) -> None:
    a = torch.randn(4, 6)
    state = {
        "plain": a,
        "transposed": a.t(),
        "part": a[1:3, ::2],
        "half": a.half(),
        "bfloat16": a.bfloat16(),
        "double": a.double(),
        "whole": torch.arange(5),
        "truth": torch.tensor([True, False]),
        "number": torch.tensor(3.0),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(a),
    }
    found = read(saved({"g_ema": state, "args": argparse.Namespace(size=64), "step": 7}, old=old))
    assert found["g_ema"].keys() == state.keys()
    for name, tensor in state.items():
        assert found["g_ema"][name].dtype == tensor.dtype
        assert torch.equal(found["g_ema"][name], tensor)
    assert isinstance(found["args"], Inert)
    assert (found["args"].name, found["args"].get("size"), found["step"]) == ("argparse.Namespace", 64, 7)


def test_tensors_that_shared_their_numbers_still_do() -> None:
    a = torch.randn(50)
    found = read(saved({"a": a, "b": a, "c": a[10:]}))
    found["a"][10] = 7
    assert found["b"][10] == 7
    assert found["c"][0] == 7


def test_plain_data_of_every_kind() -> None:
    content = {
        "list": [1, -2, 2**40, 2**70, 1.5, None, True, "ä", b"bytes"],
        "tuple": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
        "sets": [set(), {1, 2}, frozenset({"a"})],
        "ordered": OrderedDict([("b", 1), ("a", 2)]),
        "default": defaultdict(list, {"a": [1]}),
    }
    for protocol in (2, 3, 4, 5):
        assert read(pickle.dumps(content, protocol)) == content


@pytest.mark.parametrize("old", [False, True])
def test_the_alias_that_typing_has_of_an_ordered_dict(old: bool) -> None:
    class Alias(dict[str, torch.Tensor]):
        def __reduce__(self) -> tuple:
            return typing.OrderedDict, (), None, None, iter(self.items())

    weight = torch.randn(3, 2)
    data = saved({"params": Alias(weight=weight)}, old=old)
    assert b"ctyping\nOrderedDict" in data
    assert torch.equal(read(data)["params"]["weight"], weight)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_and_numbers_of_numpys(protocol: int) -> None:
    content = {
        "float": np.arange(6, dtype=np.float32).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "big": np.arange(4, dtype=">f4"),
        "truth": np.array([True, False]),
        "empty": np.zeros((0, 2)),
        "number": np.float32(1.5),
    }
    found = read(pickle.dumps(content, protocol))
    for name, array in content.items():
        assert np.array_equal(found[name], array)
    assert found["float"].dtype == np.float32


def test_a_module_stored_by_nvidias_code_gives_its_state_dict() -> None:
    tensors = {"mapping.fc0.weight": torch.randn(3, 2), "mapping.w_avg": torch.randn(3), "scale": torch.tensor(2.0)}
    stored = nvidia_pickle.persistent_module(tensors, _init_kwargs={"z_dim": 2})
    found = read(nvidia_pickle.dumps({"G_ema": stored}))["G_ema"]
    assert (found.name, found.get("_init_kwargs")) == ("Generator", {"z_dim": 2})
    assert module_tensors(found, where="").keys() == tensors.keys()
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in module_tensors(found, where="").items())


def test_classes_on_the_list_become_records_and_mentions_become_names() -> None:
    stored = nvidia_pickle.instance("R3GAN.Networks.Generator", {"a": 1})
    found = read(nvidia_pickle.dumps({"G": stored, "dtype": torch.bfloat16}))
    assert (found["G"].name, found["G"].state) == ("R3GAN.Networks.Generator", {"a": 1})
    assert found["dtype"] == Name("torch.bfloat16")


def test_further_names_are_kept_where_the_caller_lists_them() -> None:
    data = nvidia_pickle.dumps([nvidia_pickle.instance("house.of.Cards", {"a": 1})])
    refused(data, r"house\.of\.Cards")
    assert read(data, inert=["house."])[0].name == "house.of.Cards"


@pytest.mark.parametrize("name", ["sg2", "sg2c", "sg3sg2", "sg3t", "sg3r", "r3gan"])
def test_files_of_the_original_code(name: str, shared_dir: Path) -> None:
    found = read_pickle(shared_dir / "fixtures" / "checkpoints" / f"{name}.pkl")
    assert {"G", "D", "G_ema"} <= found.keys()
    assert len(module_tensors(found["G_ema"], where=name)) > 50


# What is refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", ["bare", "zip", "old", "nested zip", "nested old"])
def test_a_command_in_a_file_is_named_and_not_run(wrap: str, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    payload = Payload(ran)
    if wrap == "bare":
        data = pickle.dumps({"G_ema": payload}, 4)
    elif wrap.startswith("nested"):
        data = pickle.dumps({"G_ema": Nested(saved({"net": payload}, old=wrap.endswith("old")))}, 4)
    else:
        data = saved({"g_ema": payload}, old=wrap == "old")
    refused(data, f"asks for '{os.system.__module__}.system'")
    assert not ran.exists()


@pytest.mark.parametrize(
    "name",
    [
        "builtins eval", "builtins exec", "builtins getattr", "builtins __import__", "os system", "subprocess Popen", "torch load",
        "torch.storage _load_from_bytes", "torch.hub load", "numpy load", "operator attrgetter", "functools partial",
        "collections OrderedDict.__reduce__", "torch._utils _rebuild_tensor_v2.__globals__", "importlib import_module",
        "torch.jit load", "copyreg _reconstructor", "__main__ Generator", "", ". .", "torch.nn", "torch",
    ],
)  # fmt: skip
def test_every_other_name_is_refused_in_a_torch_file(name: str) -> None:
    """`_load_from_bytes` too: only NVIDIA's files nest, once."""
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02c" + name.replace(" ", "\n").encode() + b"\n(tR.")
    refused(buffer.getvalue())


def test_nesting_twice_is_refused() -> None:
    inner = saved(torch.zeros(2).untyped_storage(), old=True)
    middle = b"\x80\x02ctorch.storage\n_load_from_bytes\n" + b"T" + struct.pack("<i", len(inner)) + inner + b"\x85R."
    head = saved({}, old=True)
    data = pickle.dumps(Nested(head[: head.index(b"}")] + middle[2:]), 4)
    refused(data, "_load_from_bytes|damaged")


def test_a_torchscript_program_is_refused() -> None:
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"net/{name}", b"\x80\x02}.")
    refused(buffer.getvalue(), "TorchScript")


def test_a_whole_module_is_refused_with_its_name() -> None:
    data = nvidia_pickle.dumps({"net": nvidia_pickle.instance("mynets.Generator", {})})
    refused(data, r"mynets\.Generator")


@pytest.mark.parametrize(
    "data",
    [b"", b"\x89PNG\r\n", b"PK\x05\x06" + bytes(18), b"\x80", b"\x80\x04", b"I1\n.", random.Random(1).randbytes(99)],
)
def test_other_files_are_refused(data: bytes) -> None:
    refused(data)


def test_an_array_of_objects_is_refused() -> None:
    refused(pickle.dumps(np.array([1, "a"], dtype=object), 4), "no plain numbers")


# Bombs -----------------------------------------------------------------------------------------------------------------

_LAUGHS = b"".join(b"(" + b"h%c" % i * 10 + b"lq%c" % (i + 1) for i in range(100))
# Numbers that Python hashes alike: each is held against all before it. Small ones can be chosen so too, by where a dict looks next.
_ALIKE = b"".join(b"\x8a\x0a" + (i * (2**61 - 1)).to_bytes(10, "little") for i in range(1, 20_000))
BOMBS = {
    "many number keys": pickle.dumps(dict.fromkeys(range(20_000)), 2),
    "many float keys": pickle.dumps(dict.fromkeys(map(float, range(20_000))), 2),
    "keys hashed alike": b"\x80\x02}(" + _ALIKE.replace(b"\x8a\x0a", b"N\x8a\x0a")[1:] + b"Nu.",
    "set hashed alike": b"\x80\x02c__builtin__\nset\n](" + _ALIKE + b"e\x85R.",
    "frozenset hashed alike": b"\x80\x04(" + _ALIKE + b"\x91.",
    "billion laughs": b"\x80\x02]q\x00" + _LAUGHS + b".",
    "hashed tuples": b"\x80\x02)q\x00" + b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(60)) + b"}h\x3cK\x01s.",
    "set of tuples": b"\x80\x04)\x94" + b"".join(b"h%ch%c\x86\x94" % (i, i) for i in range(60)) + b"(h\x3c\x91.",
    "deep lists": b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b".",
    "deep tuples": b"\x80\x02)" + b"\x85" * 20_000 + b".",
    "deep dicts": b"\x80\x02" + b"}K\x01" * 5000 + b"N" + b"s" * 5000 + b".",
    "marks": b"\x80\x02" + b"(" * 60_000 + b".",
    "many sets": b"\x80\x04" + b"\x8f" * 60_000 + b".",
    "sparse memo": b"\x80\x02N" + b"".join(b"r" + struct.pack("<I", 2**32 - 1 - i) for i in range(1000)) + b"l.",
    "long text claimed": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 62) + b"a.",
    "long bytes claimed": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"a.",
    "large number": b"\x80\x02\x8b" + struct.pack("<i", 4 * MIB) + b"\x7f" * 4 * MIB + b".",
    "decimal number": b"\x80\x02L" + b"9" * 4 * MIB + b"L\n.",
    "decimal int": b"\x80\x02I" + b"9" * 4 * MIB + b"\n.",
    "giant array": b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00f4K\x00K\x01\x87R" + b"." ,
    "array of bytes by count": b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x00\x7f\x85R.",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_neither_grows_nor_lasts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "MAX_STEPS", 50_000)
    data = BOMBS[name]
    tracemalloc.start()
    try:
        try:
            read(data)  # what is small as data may be read
        except CheckpointError:
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30 * MIB


@pytest.mark.parametrize(
    "name",
    [
        "hashed tuples",
        "set of tuples",
        "deep lists",
        "deep tuples",
        "deep dicts",
        "marks",
        "many sets",
        "keys hashed alike",
        "set hashed alike",
        "frozenset hashed alike",
    ],
)
def test_a_bomb_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "MAX_STEPS", 50_000)
    refused(BOMBS[name])


@pytest.mark.parametrize("kind", ["array", "nested file", "encoded text", "ordered", "set"])
def test_what_is_stored_once_cannot_be_copied_for_ever(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes and lists that the memo holds are used again and again by instructions of a few bytes."""
    monkeypatch.setattr(budget, "SMALL", 0)
    large, again = b"C\xff" + bytes(255), 2000
    first = {
        "array": b"cnumpy.core.numeric\n_frombuffer\nq\x01cnumpy\ndtype\n(X\x02\x00\x00\x00u1tRq\x02"
        + large
        + b"q\x03",
        "nested file": b"ctorch.storage\n_load_from_bytes\nq\x01B" + _file(2000) + b"q\x03",
        "encoded text": b"c_codecs\nencode\nq\x01X\xff\x00\x00\x00" + bytes(255) + b"q\x03X\x06\x00\x00\x00latin1q\x04",
        "ordered": b"ccollections\nOrderedDict\nq\x01](" + b"X\x01\x00\x00\x00aN\x86" * 1500 + b"eq\x03",
        "set": b"cbuiltins\nset\nq\x01](" + b"K\x01" * 1500 + b"eq\x03",
    }[kind]
    use = {
        "array": b"h\x01(h\x03h\x02K\xff\x85X\x01\x00\x00\x00CtR",
        "encoded text": b"h\x01(h\x03h\x04tR",
    }.get(kind, b"h\x01h\x03\x85R")
    read(b"\x80\x02" + first + use + b".")
    refused(
        b"\x80\x02" + first + use * again + b".", "more numbers than the file holds|instructions|keys that are numbers"
    )


def _file(count: int) -> bytes:
    """A storage in torch's old format, behind its length as pickle writes it."""
    content = saved(torch.zeros(count).untyped_storage(), old=True)
    return struct.pack("<i", len(content)) + content


@pytest.mark.parametrize("chained", [False, True], ids=["list", "chain"])
def test_a_thousand_records_that_share_one_large_tuple_are_looked_at_once(chained: bool) -> None:
    """Once for each of them, a file of 50 KB took hours or all memory."""
    count = 20_000
    shared = b"(" + b")" * count + b"tq\x01"
    record = b"ctraining.X\nY\nq\x02" + b"0" + shared + b"0"
    made = b"h\x02h\x01R"
    if chained:  # each one is the state of the next
        made += b"q\x030" + (made + b"h\x03bq\x030") * 90 + b"h\x03"
    data = b"\x80\x02" + record + b"(" + made * (20 if chained else 2000) + b"l."
    tracemalloc.start()
    try:
        assert len(read(data)) == (20 if chained else 2000)
        assert tracemalloc.get_traced_memory()[1] < 60 * len(data) + 20 * MIB
    finally:
        tracemalloc.stop()


def test_members_of_an_archive_that_lie_upon_one_another_are_refused() -> None:
    """A thousand names for one kilobyte would be a megabyte, and a million names for a gigabyte more than any memory."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
        archive.writestr("archive/data/0", bytes(4000))
        for i in range(1, 4):
            again = copy.copy(archive.filelist[-1])
            again.filename = again.orig_filename = f"archive/data/{i}"
            archive.filelist.append(again)
            archive.NameToInfo[again.filename] = again
    refused(buffer.getvalue(), "members are larger than itself")


def test_an_archive_of_too_many_members_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    content = saved({str(i): torch.ones(1) for i in range(20)})
    assert len(read(content)) == 20
    monkeypatch.setattr(safe_pickle, "MAX_MEMBERS", 20)
    refused(content, "an archive of more than 20 members")


def test_a_name_that_is_a_nest_of_tuples_is_not_spelt_out() -> None:
    nest = b")\x94" + b"".join(b"h%ch%c\x86\x94" % (i, i) for i in range(60))
    refused(b"\x80\x04cnumpy\ndtype\n(h\x3ctR.".replace(b"\x80\x04", b"\x80\x04" + nest, 1), "plain numbers")


@pytest.mark.parametrize("name", ["x" * 1001, 3])
def test_a_long_name_is_not_written_out_for_every_place_it_stands_in(name: Any) -> None:
    part = Inert("A", (), {"_parameters": {name: torch.zeros(1)}, "_buffers": {}, "_modules": {}})
    with pytest.raises(CheckpointError, match="what was stored has a part whose name no network has"):
        module_tensors(part, where="some.pkl")
    components = {str(name) * 1000: Inert(stylegan2_tf.NETWORK, (), {"variables": [["x", 1.0]]})}
    network = Inert(stylegan2_tf.NETWORK, (), {"version": 4, "variables": [], "components": components})
    with pytest.raises(CheckpointError, match="variable 'x' has a name that no network has"):
        stylegan2_tf.convert((network,) * 3, where="some.pkl")


def test_modules_within_themselves_end() -> None:
    state = {"_parameters": {}, "_buffers": {}}
    loop = Inert("A", (), state | {"_modules": {}})
    loop.state["_modules"]["again"] = loop
    wide = Inert("A", (), state | {"_modules": {}})
    for _ in range(40):
        wide = Inert("A", (), state | {"_modules": {"a": wide, "b": wide}})
    for module in (loop, wide):
        with pytest.raises(CheckpointError, match="larger or deeper"):
            module_tensors(module, where="some.pkl")


def _rebuilt(size: str, stride: str, offset: str = "K\x00", numel: int = 4) -> bytes:
    """A zip of torch's with one storage of four floats, and a tensor that is described in pickle's own code."""
    storage = (
        "(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK" + chr(numel) + "tQ"
    )
    program = f"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n({storage}{offset}{size}{stride}\x89}}tR."
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as archive:
        archive.writestr("archive/data.pkl", program.encode("latin1"))
        archive.writestr("archive/data/0", bytes(16))
    return buffer.getvalue()


def test_a_tensor_must_lie_within_its_storage() -> None:
    assert read(_rebuilt("K\x04\x85", "K\x01\x85")).tolist() == [0, 0, 0, 0]
    for fault in (
        _rebuilt("K\x05\x85", "K\x01\x85"),
        _rebuilt("K\x04\x85", "K\x02\x85"),
        _rebuilt("K\x04\x85", "K\x01\x85", "K\x01"),
        _rebuilt("K\xff\x85", "K\x00\x85"),  # one number, 255 times
        _rebuilt("J\xff\xff\xff\xff\x85", "K\x01\x85"),
        _rebuilt("K\x04\x85", "K\x01K\x01\x86"),
        _rebuilt("K\x04\x85", "X\x01\x00\x00\x001\x85"),
        _rebuilt("K\x04\x85", "K\x01\x85", numel=5),
        _rebuilt("N", "K\x01\x85"),
    ):
        refused(fault)


def test_views_together_may_not_outgrow_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    a = torch.randn(10_000)
    many = saved([a[i:] for i in range(30)])
    assert len(read(many)) == 30, "a small file may"
    monkeypatch.setattr(budget, "SMALL", 0)
    refused(many, "more numbers than the file holds")


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.float16, torch.float32])
def test_numbers_count_as_the_float32_that_importers_make_of_them(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "SMALL", 0)
    a = torch.ones(100_000).to(dtype)
    most = dtype.itemsize  # each is stored in so many bytes and claims four, and the file may claim four times its size
    assert len(read(saved([a] + [a.view(1, -1)] * (most - 1)))) == most
    refused(saved([a.view(1, -1), *(a[i:] for i in range(most + 1))]), "more numbers than the file holds")


def test_an_array_of_bytes_counts_so_too() -> None:
    state = (1, (1000,), numpy_values.NumberType("u1"), False, bytes(1000))
    numpy_values.fill(np.empty(0, np.uint8), state, left := budget.Budget(4000))
    assert left.nbytes == 0
    with pytest.raises(CheckpointError, match="more numbers than the file holds"):
        numpy_values.fill(np.empty(0, np.uint8), state, budget.Budget(3999))


def test_packed_and_overlapping_archives_are_refused() -> None:
    with zipfile.ZipFile(buffer := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data/0", bytes(50 * MIB))
    refused(buffer.getvalue(), "packed")


@pytest.mark.parametrize("kind", ["nvidia", "zip", "old"])
def test_a_file_cut_anywhere_is_refused(kind: str) -> None:
    data = small(kind)
    for length in [*range(200), *range(200, len(data), 37), len(data) - 1]:
        refused(data[:length])


def small(kind: str) -> bytes:
    """A file of a few tensors, of 1 to 3 KB."""
    torch.manual_seed(0)
    state = {"fc.weight": torch.randn(2, 3), "w_avg": torch.randn(2)}
    if kind == "nvidia":
        return nvidia_pickle.dumps({"G_ema": nvidia_pickle.persistent_module(state, _init_kwargs={"n": np.float64(1)})})
    return saved({"g": state, "args": argparse.Namespace(size=8)}, old=kind == "old")


@pytest.mark.parametrize(("kind", "count"), [("nvidia", 6000), ("zip", 2000), ("old", 2000)])
def test_ten_thousand_mutated_files(kind: str, count: int) -> None:
    """Each gives plain data or a CheckpointError; anything else that is raised fails the test."""
    rng = random.Random(7)
    original = small(kind)
    refusals = longest = 0
    for _ in range(count):
        data = bytearray(original)
        for _ in range(rng.choice([1, 1, 2, 5])):
            at = rng.randrange(len(data))
            match rng.randrange(4):
                case 0:
                    data[at] ^= 1 << rng.randrange(8)
                case 1:
                    data[at] = rng.randrange(256)
                case 2:
                    del data[at : at + rng.randrange(1, 9)]
                case 3:
                    data[at:at] = data[rng.randrange(len(data)) :][: rng.randrange(1, 40)]
        try:
            _walk(read(bytes(data)))
        except CheckpointError as error:
            refusals += 1
            longest = max(longest, len(str(error)))
    assert longest < 600
    assert count > refusals > count // 5


def _walk(value: Any) -> None:
    """Fails on anything that is not plain data."""
    if isinstance(value, Inert):
        _walk([value.args, value.state])
    elif isinstance(value, dict):
        _walk(list(value.values()))
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            _walk(item)
    else:
        kinds = (str, bytes, int, float, Name, torch.Tensor, np.ndarray, type(None), safe_pickle.Storage)
        assert isinstance(value, (*kinds, bytearray)) or type(value).__name__ == "NumberType", type(value)


# The file itself -------------------------------------------------------------------------------------------------------


def test_a_file_that_is_none_or_too_large_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.pkl"):
        with pytest.raises(CheckpointError, match=str(path.name)):
            read_file(path)
    path = tmp_path / "large.pkl"
    path.write_bytes(bytes(100))
    with pytest.raises(CheckpointError, match="limit"):
        read_file(path, most=99)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "growing.pkl"
    path.write_bytes(small("nvidia"))
    stat = os.fstat

    def grow(handle: int) -> os.stat_result:
        with path.open("ab") as file:
            file.write(b"more")
        return stat(handle)

    def rewrite(handle: int) -> os.stat_result:
        """Other bytes, and as many."""
        before = stat(handle)
        path.write_bytes(bytes(before.st_size))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000))
        return before

    for change in (grow, rewrite):
        with monkeypatch.context() as patch:
            patch.setattr(safe_pickle.os, "fstat", change)
            with pytest.raises(CheckpointError, match="changed while it was read"):
                read_file(path)
