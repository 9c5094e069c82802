"""Checkpoint files: what is written is read back, writing is atomic, and every defect is one clear error."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from installation.errors import CheckpointError, OutputError
from installation.models import checkpoint, random_weights
from installation.models.header import METADATA_KEY, Arch, Header, read_header, read_index
from installation.models.network import Generator, Network, Upscaler

NETWORKS: dict[str, Callable[[], Network]] = {
    "stylegan2": lambda: random_weights.stylegan2(c_dim=2, base=[4, 6]),
    "dcgan": random_weights.dcgan,
    "srvgg": lambda: random_weights.srvgg(unit_range=True),
}


def _write(path: Path, network: Network | None = None, **facts: Any) -> Header:
    network = network or random_weights.srvgg()
    header = checkpoint.describe(network, name="test-net", licence="CC0-1.0", **facts)
    checkpoint.save(path, network.state_dict(), header)
    return header


def _raw(path: Path) -> tuple[dict[str, Any], bytes]:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _rewrite(path: Path, index: dict[str, Any] | str, payload: bytes) -> None:
    text = (index if isinstance(index, str) else json.dumps(index)).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + payload)


def _change_header(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    index, payload = _raw(path)
    header = json.loads(index["__metadata__"][METADATA_KEY])
    change(header)
    index["__metadata__"][METADATA_KEY] = json.dumps(header)
    _rewrite(path, index, payload)


def _refused(path: Path, match: str | None = None) -> None:
    with pytest.raises(CheckpointError, match=match) as caught:
        checkpoint.load(path)
    assert caught.value.where == str(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    network, path = NETWORKS[name](), tmp_path / "net.safetensors"
    _write(path, network)
    again = checkpoint.load(path)
    assert type(again) is type(network)
    assert again.config == network.config
    if isinstance(network, Generator) and isinstance(again, Generator):
        z = torch.randn(2, network.z_dim)
        assert torch.equal(again(z, 0.7), network(z, 0.7))
    if isinstance(network, Upscaler):
        img = torch.rand(1, 3, 9, 7)
        assert torch.equal(again(img), network(img))
    assert not any(parameter.requires_grad for parameter in again.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_that_is_written_over_leaves_the_loaded_network_as_it_is(name: str, tmp_path: Path) -> None:
    """In place, as `cp` does it, and to the same length: a shorter file would end this process were the weights mapped."""
    path = tmp_path / "a.safetensors"
    _write(path, NETWORKS[name]())
    network = checkpoint.load(path)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with path.open("r+b") as file:
        file.write(b"\xff" * path.stat().st_size)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_the_header_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    facts: dict[str, Any] = {"commercial_use": False, "nimg": 25_000_000, "notes": "tête", "source_sha256": "ab" * 32}
    header = _write(path, **facts)
    assert read_header(path) == header
    assert header.parameters == sum(tensor.numel() for tensor in random_weights.srvgg().state_dict().values())


def test_half_precision_tensors_are_loaded_as_float32(tmp_path: Path) -> None:
    network, path = random_weights.srvgg(), tmp_path / "net.safetensors"
    half = {name: tensor.half() for name, tensor in network.state_dict().items()}
    checkpoint.save(path, half, checkpoint.describe(network, name="half"))
    assert {tensor.dtype for tensor in checkpoint.load(path).state_dict().values()} == {torch.float32}


def test_headers_are_read_without_torch(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    _write(path)
    code = (
        "import sys; from pathlib import Path; from installation.models.header import read_header\n"
        f"print(read_header(Path({str(path)!r})).name, 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["test-net", "False", "False"]


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_a_checkpoint_may_be_read_by_whoever_may_read_the_users_other_files(tmp_path: Path) -> None:
    path, other = tmp_path / "net.safetensors", tmp_path / "other"
    _write(path)
    other.touch()
    assert path.stat().st_mode == other.stat().st_mode


def test_every_architecture_of_the_header_can_be_built() -> None:
    assert {*checkpoint._NETWORKS, "spandrel"} == set(get_args(Arch))


# --- writing ---


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.safetensors"
    _write(path)
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        _write(path, random_weights.srvgg(seed=5))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_header_that_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    network, path = random_weights.srvgg(), tmp_path / "net.safetensors"
    good = checkpoint.describe(network, name="net")
    for wrong in (replace(good, name="../up"), replace(good, scale=0), replace(good, config={"x": float("nan")})):
        with pytest.raises(CheckpointError):
            checkpoint.save(path, network.state_dict(), wrong)
    assert not list(tmp_path.iterdir())


def test_tensors_that_share_memory_are_written_in_full(tmp_path: Path) -> None:
    network, path = random_weights.srvgg(), tmp_path / "net.safetensors"
    state = network.state_dict()
    state["body.3.weight"] = state["body.1.weight"]
    checkpoint.save(path, state, checkpoint.describe(network, name="net"))
    weights = checkpoint.load(path).state_dict()
    assert torch.equal(weights["body.3.weight"], weights["body.1.weight"])


# --- defective and hostile files ---


def test_a_file_cut_at_any_length_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    _write(path)
    data = path.read_bytes()
    for length in [*range(40), *range(40, len(data), 97), len(data) - 1]:
        path.write_bytes(data[:length])
        _refused(path)
        with pytest.raises(CheckpointError):
            read_header(path)


def test_bytes_after_the_end_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    _write(path)
    path.write_bytes(path.read_bytes() + b"\0" * 16)
    _refused(path, "after its last tensor")


@given(position=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_byte_gives_a_network_or_a_checkpoint_error(tmp_path: Path, position: float, value: int) -> None:
    path = tmp_path / "net.safetensors"
    if not path.exists():
        _write(path)
        path.with_suffix(".orig").write_bytes(path.read_bytes())
    data = bytearray(path.with_suffix(".orig").read_bytes())
    index_bytes = 8 + struct.unpack("<Q", data[:8])[0]
    data[int(position * index_bytes)] = value
    path.write_bytes(data)
    with contextlib.suppress(CheckpointError):
        checkpoint.load(path)


@pytest.mark.parametrize(
    "data", [b"", b"\x80\x02}q\x00.", b"PK\x03\x04" + b"\0" * 100, b"\xff" * 64, b"\0" * 64], ids=repr
)
def test_foreign_bytes_are_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(data)
    _refused(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"a":NaN}',
        "[" * 100000,
        '{"a":' * 50000 + "1" + "}" * 50000,
        '{"a":1}',
        '{"a":{"dtype":"F32"}}',
        '{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,0]}}',
        '{"a":{"dtype":"F32","shape":[1e3],"data_offsets":[0,4000]}}',
        '{"a":{"dtype":"X","shape":[1],"data_offsets":[0,4]}}',
        '{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
        '{"a":{"dtype":"F32","shape":[1099511627776,1099511627776],"data_offsets":[0,4]}}',
    ],
    ids=range(14),
)
def test_a_wrong_index_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    _rewrite(path, text, b"\0" * 8)
    _refused(path)


def test_an_index_that_claims_to_be_huge_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 62) + b"{}")
    _refused(path, "8 MiB")


def test_tensors_that_overlap_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    _write(path)
    index, payload = _raw(path)
    rows = [row for name, row in index.items() if name != "__metadata__"]
    same = next((a, b) for a in rows for b in rows if a is not b and a["shape"] == b["shape"])
    same[0]["data_offsets"] = same[1]["data_offsets"]
    _rewrite(path, index, payload)
    _refused(path, "overlap")


def test_a_safetensors_file_of_others_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_file({"body.0.weight": torch.zeros(3)}, path)
    _refused(path, "no header of ours")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.pop("arch"), "no field 'arch'"),
        (lambda h: h["config"].update(base=7), "config must be"),
        (lambda h: h["config"].update(base=[0, 0]), "config must be"),
        (lambda h: h["config"].update(base=[1, 2, 3]), "config must be"),
        (lambda h: h.update(arch="pickle"), "arch must be one of"),
        (lambda h: h.update(extra=1), "unknown field 'extra'"),
        (lambda h: h.update(name="../../etc/passwd"), "name must be"),
        (lambda h: h.update(role="generator"), "role"),
        (lambda h: h.update(scale=7), "the header says scale 7, the network has 2"),
        (lambda h: h.update(scale="2"), "scale must be"),
        (lambda h: h.update(config=[]), "config must be"),
        (lambda h: h.update(commercial_use="yes"), "commercial_use must be"),
        (lambda h: h.update(nimg=-1), "nimg must be"),
        (lambda h: h.update(format=2), "Update this program"),
        (lambda h: h["config"].update(num_conv=3), "no tensor"),
        (lambda h: h["config"].update(num_conv=1), "unknown tensor|shape"),
        (lambda h: h["config"].update(num_feat=4096), r"shape \[8"),
        (lambda h: h["config"].update(num_feat=10**12), "num_feat must be"),
        (lambda h: h["config"].update(num_feat=True), "num_feat must be"),
        (lambda h: h["config"].update(surprise=1), "does not fit srvgg"),
        (lambda h: h["config"].pop("scale"), "does not fit srvgg"),
    ],
)
def test_a_wrong_header_says_which_field(change: Callable[[dict[str, Any]], Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    _write(path)
    _change_header(path, change)
    _refused(path, message)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(bad: float, tmp_path: Path) -> None:
    network, path = random_weights.srvgg(), tmp_path / "net.safetensors"
    network.state_dict()["body.2.bias"][0] = bad
    _write(path, network)
    _refused(path, r"body\.2\.bias.*NaN or infinity")


def test_a_negative_variance_is_refused(tmp_path: Path) -> None:
    network, path = random_weights.dcgan(), tmp_path / "net.safetensors"
    network.state_dict()["layers.1.norm.running_var"][0] = -5
    _write(path, network)
    _refused(path, "not finite")


def test_missing_and_foreign_tensors_are_listed(tmp_path: Path) -> None:
    network, path = random_weights.stylegan2(), tmp_path / "net.safetensors"
    state = network.state_dict()
    state["surprise"] = state.pop("synthesis.b8.conv0.weight")
    checkpoint.save(path, state, checkpoint.describe(network, name="net"))
    _refused(path, r"no tensor 'synthesis\.b8\.conv0\.weight'; unknown tensor 'surprise'")


def test_a_folder_or_a_missing_file_is_a_checkpoint_error(tmp_path: Path) -> None:
    _refused(tmp_path / "none.safetensors", "cannot be read")
    _refused(tmp_path, "not a file")


def test_the_index_lists_tensors_without_reading_them(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    _write(path)
    _, tensors = read_index(path)
    expected = {name: tuple(tensor.shape) for name, tensor in random_weights.srvgg().state_dict().items()}
    assert {name: info.shape for name, info in tensors.items()} == expected
