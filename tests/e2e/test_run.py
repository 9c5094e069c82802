"""`installation run` headless, as a technician, an artist with a fader and a careless user start it."""

from __future__ import annotations

import io
import json
import socket
import urllib.request

import imageio.v3 as iio
import numpy as np
import pytest

from tests.e2e.running import command, running
from tests.xserver import until


@pytest.fixture(scope="module")
def wall(tmp_path_factory, show_text):
    with running(tmp_path_factory.mktemp("run"), show_text) as run:
        run.wait_for_frames(5)
        yield run


def look(wall) -> np.ndarray:
    """What the preview page shows now."""
    with urllib.request.urlopen(f"http://127.0.0.1:{wall.preview_port}/frame.jpg", timeout=60) as reply:
        return np.asarray(iio.imread(io.BytesIO(reply.read())))


def test_it_says_that_there_is_no_display_and_where_the_wall_is(wall):
    assert "no display here: the show runs headless" in wall.log()
    assert f"http://127.0.0.1:{wall.preview_port}/" in wall.log()


def test_a_packet_changes_a_pixel(wall):
    assert until(lambda: look(wall).max() > 60)
    wall.say("/installation/look/blackout", "true", "0")
    assert until(lambda: look(wall).max() < 8)
    wall.say("/installation/look/blackout", "false", "0")
    assert until(lambda: look(wall).max() > 60)


def test_a_question_is_answered(wall, tmp_path):
    done = command(tmp_path, "osc-send", "--port", str(wall.osc_port), "/installation/drift/speed")
    assert done.returncode == 0
    assert float(done.stdout) == pytest.approx(2.0)


def test_how_it_is_is_answered_whether_or_not_anybody_looks(wall, tmp_path):
    def said() -> list[str]:
        return command(tmp_path, "osc-send", "--port", str(wall.osc_port), "/installation/status").stdout.split()

    assert until(lambda: said()[:2] == ["test", "cascade"] and said()[2] != "waiting")
    _, _, rate, age_s, recording = said()
    assert float(rate) > 0.0
    assert 0.0 <= float(age_s) < 60.0
    assert recording == "False"
    with urllib.request.urlopen(f"http://127.0.0.1:{wall.preview_port}/status.json", timeout=60) as answer:
        told = json.load(answer)["wall"]
    assert told["model"] == "cascade"
    assert told["pictures_per_s"] > 0.0


def test_a_fader_makes_it_drift_faster_without_a_jump(wall):
    wall.say("/installation/drift/speed", "0.5")
    assert until(lambda: abs(wall.state().velocity.at(wall.state().t) - 0.5) < 0.01)
    before = wall.state()
    wall.say("/installation/drift/speed", "4.0")
    after = wall.state()
    assert abs(after.strands[-1].position - before.strands[-1].position) <= 4.0 * (after.t - before.t) + 1e-6


HOURS = """
[scenes.closed]
fade_s = 600
look.blackout = true
[scenes.day]
fade_s = 0
latent.psi = 0.3
look.blackout = false
look.select = "silver"
[[cues]]
at = "00:00"
scene = "closed"
"""


def test_a_show_started_while_it_is_closed_is_dark_until_a_scene_is_pressed(tmp_path, show_text):
    with running(tmp_path, show_text + HOURS, "--take", str(tmp_path / "take")) as run:
        run.wait_for_frames()
        assert until(
            lambda: run.state().value("look/blackout") == 1.0
        )  # at once, though the scene fades for ten minutes
        assert look(run).max() < 8
        run.say("/installation/scene/day", "true")
        assert until(lambda: run.state().values["latent/psi"] == 0.3)
        assert run.state().values["look/select"] == "silver"
        assert until(lambda: look(run).max() > 60)
        assert "cue of " in run.log()
    taken = "".join(part.read_text() for part in (tmp_path / "take").glob("part-*.jsonl"))
    assert '"latent/psi"' in taken
    assert "scene/" not in taken


@pytest.mark.slow
def test_the_next_run_goes_on_where_this_one_was_and_is_not_left_in_the_dark(tmp_path, show_text):
    with running(tmp_path, show_text) as run:
        run.wait_for_frames(30)
        run.say("/installation/look/blackout", "true")
        run.say("/installation/look/brightness", "1.5", "0")
        assert until(lambda: run.state().values["look/brightness"] == 1.5)
        before = run.state()
        assert run.stop() == 0
    with running(tmp_path, show_text) as run:
        run.wait_for_frames(3)
        after = run.state()
        assert "goes on where it was" in run.log()
        assert before.strands[-1].position <= after.strands[-1].position < before.strands[-1].position + 20
        assert after.values["look/brightness"] == 1.5
        assert after.values["look/blackout"] is False
        run.stop()
    with running(tmp_path, show_text, "--fresh") as run:
        run.wait_for_frames(1)
        assert run.state().values["look/brightness"] == 1.0


def test_a_second_show_of_the_same_file_is_refused(wall):
    done = command(wall.folder, "run", str(wall.folder / "show.toml"), "--headless")
    assert done.returncode == 6
    assert str(wall.process.pid) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_one_clear_error(tmp_path, networks, show_text):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        (tmp_path / "show.toml").write_text(show_text)
        done = command(tmp_path, "run", str(tmp_path / "show.toml"), "--osc-port", str(port), "--preview-port", "0")
    assert done.returncode == 6
    assert str(port) in done.stderr
    assert "Traceback" not in done.stderr


BAD = [
    (("run", "first_lihgt"), 2, "did you mean 'first_light'?"),
    (("run", "gone.toml"), 2, "there is no such file"),
    (("models", "info", "dcgan-facse"), 5, "dcgan-faces"),
    (("models", "add", "nobody"), 5, "nobody"),
    (("still", "--size", "12by3"), 2, "WIDTHxHEIGHT"),
    (("params", "--format", "xml"), 2, "table, markdown or json"),
    (("osc-send", "no-slash"), 2, "no-slash"),
]


@pytest.mark.parametrize(("args", "code", "words"), BAD, ids=[" ".join(row[0]) for row in BAD])
def test_bad_words_get_one_clear_error(tmp_path, args, code, words):
    done = command(tmp_path, *args)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_show_with_faults_names_them_all(tmp_path):
    (tmp_path / "bad.toml").write_text("titel = 'x'\n[cascade]\nbase = 'a'\nstagez = []\n")
    done = command(tmp_path, "run", str(tmp_path / "bad.toml"))
    assert done.returncode == 2
    assert "did you mean 'title'?" in done.stderr
    assert "did you mean 'stages'?" in done.stderr


def test_a_damaged_checkpoint_ends_the_start_with_a_model_error(tmp_path, networks, show_text):
    data = (networks / "base.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(data[: len(data) // 2])
    show = show_text.replace(str(networks / "base.safetensors"), str(tmp_path / "cut.safetensors"))
    (tmp_path / "show.toml").write_text(show)
    done = command(tmp_path, "run", str(tmp_path / "show.toml"))
    assert done.returncode == 5
    assert "cut.safetensors" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_still_makes_the_same_picture_twice_at_any_size(tmp_path, show_text):
    (tmp_path / "show.toml").write_text(show_text)
    for name in ("a.png", "b.png"):
        done = command(
            tmp_path,
            "still",
            str(tmp_path / "show.toml"),
            "--at",
            "12.5",
            "--size",
            "200x120",
            "-o",
            str(tmp_path / name),
        )
        assert done.returncode == 0, done.stderr
    a, b = (np.asarray(iio.imread(tmp_path / name)) for name in ("a.png", "b.png"))
    assert a.shape[:2] == (120, 200)
    assert np.array_equal(a, b)
    assert a[..., :3].std() > 5


def test_params_come_as_table_markdown_and_json(tmp_path):
    for form in ("table", "markdown", "json"):
        done = command(tmp_path, "params", "--format", form)
        assert done.returncode == 0
        assert "drift/speed" in done.stdout
