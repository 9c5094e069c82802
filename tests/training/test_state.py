"""A state is whole or not there: killed, cut short, damaged, on a full disk."""

from __future__ import annotations

import errno
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from installation.errors import CheckpointError, OutputError
from installation.training import state as module
from installation.training.state import load_state, previous, save_state


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {
        "net.weight": torch.full((3, 4), value),
        "net.half": torch.full((2,), value, dtype=torch.bfloat16),
        "scalar": torch.tensor(value),
        "empty": torch.zeros(0),
    }


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    save_state(path, tensors(1.5), {"nimg": 7, "loop": {"x": None}})
    state = load_state(path)
    assert state is not None
    assert state.facts == {"nimg": 7, "loop": {"x": None}}
    assert set(state.part("net")) == {"weight", "half"}
    for name, tensor in tensors(1.5).items():
        assert torch.equal(state.tensors[name], tensor)
        assert state.tensors[name].dtype == tensor.dtype


def test_channels_last_tensors_keep_their_values(tmp_path: Path) -> None:
    tensor = torch.arange(2 * 3 * 4 * 4.0).reshape(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    save_state(tmp_path / "s.safetensors", {"x": tensor}, {})
    state = load_state(tmp_path / "s.safetensors")
    assert state is not None
    assert torch.equal(state.tensors["x"], tensor)


def test_no_file_is_no_state(tmp_path: Path) -> None:
    assert load_state(tmp_path / "state.safetensors") is None


def test_two_generations_are_kept_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    for nimg in range(4):
        save_state(path, tensors(nimg), {"nimg": nimg})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["state.previous.safetensors", "state.safetensors"]
    before = load_state(previous(path))
    assert before is not None
    assert before.facts["nimg"] == 2


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text", "gone"])
def test_a_damaged_state_gives_way_to_the_one_before(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "state.safetensors"
    for nimg in (1, 2):
        save_state(path, tensors(nimg), {"nimg": nimg})
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[-9] ^= 0x40
        path.write_bytes(data)
    elif damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("not a state")
    else:  # killed between the two renames
        path.unlink()
    state = load_state(path)
    assert state is not None
    assert state.facts["nimg"] == 1


def test_changed_facts_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    save_state(path, tensors(1), {"nimg": 1111})
    path.write_bytes(path.read_bytes().replace(b"1111", b"1112"))
    with pytest.raises(CheckpointError, match="checksum"):
        load_state(path)


def test_nothing_but_damage_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(b"\0" * 100)
    previous(path).write_bytes(b"\0" * 100)
    with pytest.raises(CheckpointError, match="no state in it can be read"):
        load_state(path)


def test_a_full_disk_is_said_and_the_old_state_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.safetensors"
    save_state(path, tensors(1), {"nimg": 1})

    def full(plain: object, file: Path, metadata: object) -> None:
        Path(file).write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(OutputError, match="disk is full"):
        save_state(path, tensors(2), {"nimg": 2})
    state = load_state(path)
    assert state is not None
    assert state.facts["nimg"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["state.safetensors"]


@pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no limit on a process's file size to stand for a full disk"
)
def test_a_disk_that_refuses_in_the_middle_of_a_file_costs_nothing(tmp_path: Path) -> None:
    code = f"""
    import resource, signal, torch
    from pathlib import Path
    from installation.errors import OutputError
    from installation.training.state import load_state, save_state

    path = Path({str(tmp_path)!r}) / "state.safetensors"
    save_state(path, {{"x": torch.ones(10)}}, {{"nimg": 1}})
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        save_state(path, {{"x": torch.ones(1_000_000)}}, {{"nimg": 2}})
    except OutputError as error:
        print("refused:", error.what)
    print(load_state(path).facts["nimg"])
    """
    answer = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[0].startswith("refused:")
    assert answer.stdout.splitlines()[1] == "1"
    assert [p.name for p in tmp_path.iterdir()] == ["state.safetensors"]


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
def test_the_last_refusal_before_the_renaming_costs_no_generation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.safetensors"
    for nimg in (1, 2):
        save_state(path, tensors(1.0), {"nimg": nimg})
    before = path.read_bytes(), previous(path).read_bytes()

    def refuse(self: Path, mode: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(OutputError, match="could not be written"):
        save_state(path, tensors(2.0), {"nimg": 3})
    assert (path.read_bytes(), previous(path).read_bytes()) == before
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([path.name, previous(path).name])


def test_facts_that_are_not_json_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        save_state(tmp_path / "state.safetensors", tensors(1), {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_a_state_can_be_read_while_it_is_saved_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    save_state(path, tensors(0), {"nimg": 0})
    code = f"""
    import torch
    from pathlib import Path
    from installation.training.state import save_state

    count = 0
    while True:
        count += 1
        save_state(Path({str(path)!r}), {{"x": torch.full((10_000,), float(count))}}, {{"nimg": count}})
    """
    writer = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    try:
        seen: set[int] = set()
        while len(seen) < 50:
            state = load_state(path)
            assert state is not None
            seen.add(state.facts["nimg"])
            assert writer.poll() is None
    finally:
        writer.kill()
        writer.wait()


def test_facts_nested_without_end_are_no_state(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    save_file({"x": torch.ones(1)}, path, metadata={"format": "1", "facts": "[" * 100_000, "sha256": ""})
    with pytest.raises(CheckpointError, match="no state in it can be read"):
        load_state(path)
