"""The wheel, built from a copy of the tree and installed into an environment of its own: what it holds, finds and loads."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

# Building fetches the build back-end from the package index, as `pip install .` does.
pytestmark = [pytest.mark.slow, pytest.mark.network]

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (
    "installation",
    "shaders",
    "show_configs",
    "checkpoints",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
)
DATA = ("shaders", "show_configs", "checkpoints")
# A network is shipped with its card.
SHIPPED = {path.stem for path in (ROOT / "checkpoints").glob("*.md")} - {"README"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel."""
    copy = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    out = tmp_path_factory.mktemp("wheel")
    _run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), str(copy)], out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment with the wheel in it; other packages come from the one that runs the tests."""
    folder = tmp_path_factory.mktemp("environment")
    _run([sys.executable, "-m", "venv", "--without-pip", str(folder)], folder)
    programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
    python = str(programs / "python")
    _run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", str(wheel)],
        folder,
    )
    site = _run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder).strip()
    # A plain path: .pth files over there, the checkout's own among them, are not read.
    Path(site, "tests.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    return programs


def _run(command: list[str], folder: Path) -> str:
    answer = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def _metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def test_the_wheel_holds_every_module_and_data_file_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = [path for name in ("installation", *DATA) for path in (ROOT / name).rglob("*") if path.is_file()]
    files = [path.relative_to(ROOT) for path in files if not {"__pycache__", ".ruff_cache", "states"} & set(path.parts)]
    # Of the networks not the cards' pictures, nor what somebody added or found out beside them.
    networks = {f"{name}.{kind}" for name in SHIPPED for kind in ("md", "safetensors")} | {"README.md"}
    files = [path for path in files if path.parts[0] != "checkpoints" or path.name in networks]
    expected = {
        path.as_posix() if path.parts[0] == "installation" else f"installation/_resources/{path.as_posix()}"
        for path in files
    }
    assert held == expected


def test_the_requirements_stay_light(wheel: Path) -> None:
    required = _metadata(wheel).get_all("Requires-Dist") or []
    core = [row for row in required if "extra ==" not in row]
    assert len(core) <= 14
    assert not [row for row in core if "==" in row or "<" in row], "floors only"
    extras = {"data", "dev", "eval", "farm", "midi", "onnx", "record", "train", "upscalers"}
    assert set(_metadata(wheel).get_all("Provides-Extra") or []) == extras


def test_the_licence_is_in_the_wheel(wheel: Path) -> None:
    assert _metadata(wheel)["License-Expression"] == "MIT"
    with zipfile.ZipFile(wheel) as archive:
        assert any(name.endswith(".dist-info/licenses/LICENSE") for name in archive.namelist())


def test_console_script_and_module_say_the_same(scripts: Path, tmp_path: Path) -> None:
    script = _run([str(scripts / "installation"), "--help"], tmp_path)
    module = _run([str(scripts / "python"), "-m", "installation", "--help"], tmp_path)
    assert "Usage: installation" in script
    assert module.replace("python -m installation", "installation").split() == script.split()


def test_shaders_and_shows_are_found_from_the_wheel(scripts: Path, tmp_path: Path) -> None:
    code = (
        "import json; from installation import resources as r;"
        "print(json.dumps([str(r.shaders_dir()), str(r.checkpoints_dir()), str(r.show_config('first_light')), r.shows()]))"
    )
    shaders, checkpoints, show, shows = json.loads(_run([str(scripts / "python"), "-c", code], tmp_path))
    environment = scripts.parent.resolve()
    assert all(environment in Path(place).resolve().parents for place in (shaders, checkpoints, show))
    assert {path.name for path in Path(shaders).iterdir()} == {path.name for path in (ROOT / "shaders").iterdir()}
    assert shows == sorted(path.stem for path in (ROOT / "show_configs").glob("*.toml"))


def test_the_default_show_is_read_from_the_wheel(scripts: Path, tmp_path: Path) -> None:
    code = (
        "from installation import resources; from installation.show import reading;"
        "print(reading.load(resources.show_config('first_light')))"
    )
    assert "dcgan-faces" in _run([str(scripts / "python"), "-c", code], tmp_path)


def test_help_loads_nothing_heavy(scripts: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['installation', '--help']\n"
        "from installation.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('LOADED', sorted({'torch', 'numpy', 'moderngl', 'glfw', 'PIL', 'imageio', 'mido', 'pydantic'} & set(sys.modules)))"
    )
    assert _run([str(scripts / "python"), "-c", code], tmp_path).splitlines()[-1] == "LOADED []"
