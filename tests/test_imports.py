"""Who may import whom, and what is never written: the house rules, read from every module's syntax tree and from what is loaded."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "installation"
MODULES = sorted(PACKAGE.rglob("*.py"))

ROOMS = {"show", "control", "latent", "models", "render", "engine", "output", "service"}

# Where sources and sinks are plugged together.
WIRING = {"cli", "children", "wall"}

# What every room may import, and what imports no other.
COMMON = {"errors", "files", "locks", "machine", "counted_log"}

# Room -> rooms it imports besides itself and the common ones, no more and no less. A room that is not named here fails.
EDGES: dict[str, set[str]] = {
    "resources": set(),
    "show": set(),
    "control": {"show"},
    "latent": {"show"},
    "models": set(),
    "render": {"show", "latent", "models"},
    "training": {"show", "models", "latent", "render"},
    "engine": {"show"},
    # The wall takes its pictures from the engine's board.
    "output": {"show", "engine"},
    # The supervisor makes the board; the doctor lists models and finds the files that ship with the program.
    "service": {"engine", "models", "resources"},
    "session": {"show"},
    "takes": {"show", "control", "models", "resources"},
    "terminal": set(),
    "opening": {"terminal", "session", "show", "models", "output", "resources", "service"},
    "film": ROOMS - {"control", "latent"} | {"session", "resources", "takes"},
    "wall": {"show", "control", "latent", "engine", "output"},
    "children": ROOMS - {"latent", "models"} | {"wall", "session", "resources"},
    "cli": {"*"},
    "__main__": {"cli"},
    "__init__": set(),
}

TORCH = {"torch", "torchvision", "spandrel", "safetensors.torch"}
GL = {"moderngl", "glcontext", "glfw", "OpenGL"}
MIDI = {"mido", "rtmidi"}
PICTURES = {"PIL", "imageio", "imageio_ffmpeg", "av"}

# What must not be loaded after every module of the room (or the one module) was imported.
UNLOADED = {
    "installation.show": TORCH | GL | MIDI | PICTURES | {"typer", "rich", "pythonosc"},
    "installation.control": TORCH | GL | MIDI | PICTURES,
    "installation.latent": TORCH | GL | MIDI | PICTURES,
    "installation.output": TORCH | MIDI,
    "installation.service": TORCH | GL | MIDI | PICTURES,
    "installation.resources": TORCH | GL | MIDI | PICTURES | {"numpy", "pydantic"},
    "installation.models.header": TORCH | GL | {"numpy"},
    "installation.models.library": TORCH | GL | {"numpy"},
    "installation.models.bring": TORCH | GL | {"numpy"},
    "installation.models.info": TORCH | GL | {"numpy"},
}

# Modules besides the command line that may read the environment.
ENVIRONMENT = {
    "models/importers/wheel.py": "hands it on to pip unchanged, but for the temporary folder",
}
# Third-party packages that only some rooms may import, wherever in a module that is.
OWNERS = {
    "torch": {"models", "render", "training"},
    "moderngl": {"output"},
    "glfw": {"output"},
    "mido": {"control"},
    "rtmidi": {"control"},
    "imageio_ffmpeg": {"output", "service", "training"},
    "pydantic": {"show", "session", "film"},
    "typer": {"cli", "terminal"},
    "rich": {"cli", "opening", "service", "terminal"},
}
# The doctor's questions to the drivers, each asked in a child process of its own.
PROBES = "service/doctor/probes.py"

POSIX_ONLY = {"fcntl", "grp", "posix", "pwd", "resource", "syslog", "termios", "tty"}
RUNS_FILES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


def _name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def _room(path: Path) -> str:
    part = path.relative_to(PACKAGE).parts[0]
    return part.removesuffix(".py")


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """(dotted module, line) of each import, lazy ones included. `from a import b` gives a.b: b may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports name the package in full"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def _siblings(path: Path) -> Iterator[tuple[str, int]]:
    """(room, line) of each import from this package."""
    for name, line in _imports(_tree(path)):
        parts = name.split(".")
        if parts[0] == "installation" and len(parts) > 1:
            yield parts[1], line


def _dotted(node: ast.AST) -> str:
    """`os.environ` for that expression; "" for one that is no plain name."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield _dotted(node.func), node


each_module = pytest.mark.parametrize("path", MODULES, ids=_name)


@each_module
def test_a_room_imports_only_the_rooms_it_may(path: Path) -> None:
    room = _room(path)
    assert room in EDGES or room in COMMON, f"{room} is a new room: say in EDGES what it may import"
    allowed = set() if room in COMMON else EDGES[room] | COMMON
    wrong = [
        f"line {line}: {room} → {other}"
        for other, line in _siblings(path)
        if "*" not in allowed and other not in allowed | {room}
    ]
    assert not wrong


def test_no_room_may_import_what_it_does_not() -> None:
    unused = {room: others - {"*"} for room, others in EDGES.items()}
    for path in MODULES:
        if (room := _room(path)) in unused:
            unused[room] = unused[room] - {other for other, _ in _siblings(path)}
    assert not any(unused.values()), unused


def test_the_allowed_directions_hold_no_circle() -> None:
    done: set[str] = set()
    while ready := {room for room, others in EDGES.items() if room not in done and others <= done | {"*"}}:
        done |= ready
    assert done == set(EDGES)


def test_control_and_output_never_meet() -> None:
    wrong = [
        _name(path)
        for path in MODULES
        if _room(path) not in WIRING and {"control", "output"} <= {room for room, _ in _siblings(path)}
    ]
    assert not wrong


@each_module
def test_a_package_is_imported_only_in_its_rooms(path: Path) -> None:
    if _name(path) == PROBES:
        return
    rooms = {name: OWNERS[name.split(".")[0]] for name, _ in _imports(_tree(path)) if name.split(".")[0] in OWNERS}
    wrong = [name for name, owners in rooms.items() if _room(path) not in owners]
    assert not wrong


@each_module
def test_only_the_command_line_reads_arguments_and_environment(path: Path) -> None:
    if _room(path) in ("cli", "__main__") or _name(path) in ENVIRONMENT:
        return
    tree = _tree(path)
    forbidden = {"os.environ", "os.getenv", "os.environb", "sys.argv", "sys.orig_argv"}
    wrong = [f"line {line}: {name}" for name, line in _imports(tree) if name in forbidden]
    wrong += [
        f"line {node.lineno}: {_dotted(node)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and _dotted(node) in forbidden
    ]
    assert not wrong


@each_module
def test_nothing_runs_what_a_file_holds(path: Path) -> None:
    tree = _tree(path)
    wrong = [
        f"line {line}: import {name}"
        for name, line in _imports(tree)
        # The error that torch.load(weights_only=True) refuses a hostile file with; only its name comes from there.
        if name.split(".")[0] in RUNS_FILES and name != "pickle.UnpicklingError"
    ]
    for name, call in _calls(tree):
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if name in ("eval", "exec", "__import__", "builtins.eval", "builtins.exec"):
            wrong.append(f"line {call.lineno}: {name}")
        if name == "torch.load" and keywords.get("weights_only") != "True":
            wrong.append(f"line {call.lineno}: torch.load without weights_only=True")
        if name in ("np.load", "numpy.load") and keywords.get("allow_pickle", "False") != "False":
            wrong.append(f"line {call.lineno}: numpy's load with pickles allowed")
    assert not wrong


@each_module
def test_no_module_needs_posix_to_be_imported(path: Path) -> None:
    wrong = [
        name for statement in _tree(path).body for name, _ in _imports(statement) if name.split(".")[0] in POSIX_ONLY
    ]
    assert not wrong


@pytest.mark.parametrize("target", UNLOADED)
def test_importing_loads_nothing_heavy(target: str) -> None:
    assert _loaded(target, UNLOADED[target]) == []


def test_the_command_line_loads_nothing_heavy() -> None:
    assert _loaded("installation.cli", TORCH | GL | MIDI | PICTURES | {"numpy", "pydantic"}) == []


def _loaded(target: str, unwanted: set[str]) -> list[str]:
    """Which of the unwanted modules are loaded after `target` and all its submodules were imported in a fresh process."""
    place = PACKAGE.joinpath(*target.split(".")[1:])
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in files]
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"print(*sorted(set({sorted(unwanted)!r}) & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.split()
