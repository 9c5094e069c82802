"""Shader files that are edited while the show runs: what is wrong is said once, and the picture stays."""

import ctypes
import os
import shutil
import sys
from pathlib import Path

import moderngl
import numpy as np
import pytest

from installation.errors import DisplayError
from installation.output.compositor import Compositor
from installation.output.programs import VARIANTS
from installation.output.shader_check import FRAGMENT, ShaderCheck
from installation.output.shader_files import ShaderFault, ShaderFiles
from installation.show.look import Grade

SIZE = (32, 32)


@pytest.fixture
def folder(tmp_path: Path, shaders: Path) -> Path:
    return Path(shutil.copytree(shaders, tmp_path / "shaders"))


@pytest.fixture
def compositor(ctx: moderngl.Context, folder: Path):
    made = Compositor(ctx, folder, size=SIZE)
    made.upload(0, np.full((32, 32, 4), 200, np.uint8))
    yield made
    made.release()


def middle(compositor: Compositor, grade: Grade = Grade(), time_s: float = 0.0) -> list[int]:  # noqa: B008 (frozen)
    compositor.look(0, 0, 0.0, crossfade="mix", grade=grade, blackout=0.0, time_s=time_s)
    return compositor.read_look()[16, 16, :3].tolist()


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_a_changed_shader_is_used_after_a_reload(compositor: Compositor, folder: Path) -> None:
    assert middle(compositor) == [200, 200, 200]
    rewrite(folder / "look.frag", "o_light = vec4(light, 1.0)", "o_light = vec4(1.0, 0.0, 0.0, 1.0)")
    assert compositor.reload() is None
    assert middle(compositor) == [255, 0, 0]


def test_a_changed_include_counts_as_well(compositor: Compositor, folder: Path) -> None:
    assert compositor.reload_if_changed(1.0) is None
    rewrite(folder / "colour.glsl", "return mix(c * 12.92,", "return 0.5 * mix(c * 12.92,")
    assert compositor.reload_if_changed(2.0) is None
    assert middle(compositor) == [100, 100, 100]


def test_the_message_names_file_line_and_the_drivers_words(compositor: Compositor, folder: Path) -> None:
    rewrite(folder / "look.glsl", "    vec3 a = texture", "    vec3 a = txture")
    line = next(i for i, text in enumerate((folder / "look.glsl").read_text().splitlines(), 1) if "txture" in text)
    message = compositor.reload()
    assert message is not None
    assert message.startswith(f"look.glsl:{line}: ")
    assert "txture" in message


def test_a_fault_in_an_include_is_found_there(compositor: Compositor, folder: Path) -> None:
    rewrite(folder / "colour.glsl", "vec3 light_from_code(vec3 c) {", "vec3 light_from_code(vec3 c) { ouch;")
    line = next(i for i, text in enumerate((folder / "colour.glsl").read_text().splitlines(), 1) if "ouch" in text)
    assert str(compositor.reload()).startswith(f"colour.glsl:{line}: ")


BROKEN = {
    "garbage": (os.urandom(200) + b"\xff\xfe", "not"),
    "zeros": (bytes(100), "not text"),
    "empty": (b"", "is empty"),
    "half": (b"#version 330 core\nin vec2 v_uv;\nout vec4 o_light;\nvoid main() {\n    o_li", "look.frag:"),
    "no main": (b"#version 330 core\nout vec4 o_light;\n", "look.frag"),
    "no version": (b"void main() {}\n", "no #version"),
    "huge": (b"#version 330 core\n" + b" " * (1 << 20), "larger than"),
    "wrong type": (
        b"#version 330 core\nuniform vec2 u_mix; out vec4 o_light; void main() { o_light = u_mix.xyxy; }",
        "u_mix is declared as vec2; it must be float",
    ),
    "array": (
        b"#version 330 core\nuniform float u_mix[2]; out vec4 o; void main() { o = vec4(u_mix[0] + u_mix[1]); }",
        "u_mix is declared as float[2]",
    ),
    "include circle": (b'#version 330 core\n#include "look.frag"\n', "included twice"),
    "include missing": (b'#version 330 core\n#include "nowhere.glsl"\n', "nowhere.glsl: "),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_keeps_the_picture_and_mending_it_works(compositor: Compositor, folder: Path, kind: str) -> None:
    good = (folder / "look.frag").read_bytes()
    (folder / "look.frag").write_bytes(BROKEN[kind][0])
    message = compositor.reload()
    assert message is not None
    assert BROKEN[kind][1] in message
    assert middle(compositor) == [200, 200, 200]
    (folder / "look.frag").write_bytes(good)
    assert compositor.reload() is None
    assert middle(compositor) == [200, 200, 200]


def test_a_deleted_file_a_folder_and_a_swapped_link(compositor: Compositor, folder: Path, tmp_path: Path) -> None:
    good = (folder / "mount.frag").read_bytes()
    (folder / "mount.frag").unlink()
    assert "mount.frag: " in str(compositor.reload_if_changed(1.0))
    (folder / "mount.frag").mkdir()
    assert "mount.frag: " in str(compositor.reload())
    (folder / "mount.frag").rmdir()
    for name, content in (("one", b"nonsense"), ("two", good)):
        (tmp_path / name).write_bytes(content)
    (folder / "mount.frag").symlink_to(tmp_path / "one")
    assert "no #version" in str(compositor.reload_if_changed(2.0))
    (folder / "mount.frag").unlink()
    (folder / "mount.frag").symlink_to(tmp_path / "two")
    assert compositor.reload_if_changed(3.0) is None
    assert middle(compositor) == [200, 200, 200]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_does_not_block_the_wall(compositor: Compositor, folder: Path) -> None:
    (folder / "hud.frag").unlink()
    os.mkfifo(folder / "hud.frag")
    assert "not a regular file" in str(compositor.reload())


def test_the_message_comes_once_a_change(compositor: Compositor, folder: Path) -> None:
    (folder / "look.frag").write_text("nonsense")
    assert compositor.reload_if_changed(1.0) is not None
    assert [compositor.reload_if_changed(2.0 + i) for i in range(5)] == [None] * 5
    (folder / "look.frag").write_text("more nonsense")
    assert compositor.reload_if_changed(10.0) is not None


def test_files_are_looked_at_twice_a_second_at_most(folder: Path) -> None:
    files = ShaderFiles(folder)
    files.read("look.frag")
    assert not files.changed(10.0)
    (folder / "look.frag").write_text("nonsense")
    assert not files.changed(10.4)
    assert files.changed(10.5)
    assert not files.changed(11.0)


def test_a_touch_is_no_change(folder: Path) -> None:
    files = ShaderFiles(folder)
    files.read("look.frag")
    os.utime(folder / "look.frag", (1, 1))
    assert not files.changed(1.0)


def test_at_start_up_a_broken_shader_is_a_display_error(ctx: moderngl.Context, folder: Path) -> None:
    rewrite(folder / "mount.frag", "void main()", "vod main()")
    with pytest.raises(DisplayError, match=r"mount\.frag:\d+: "):
        Compositor(ctx, folder, size=SIZE)
    with pytest.raises(DisplayError, match=r"screen\.vert"):
        Compositor(ctx, folder / "nowhere", size=SIZE)


def test_a_compositor_begins_with_the_shaders_that_worked_last_where_those_of_now_are_broken(
    ctx: moderngl.Context, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    red = "o_light = vec4(1.0, 0.0, 0.0, 1.0)"
    first = Compositor(ctx, folder, size=SIZE, kept=tmp_path / "kept")
    rewrite(folder / "look.frag", "o_light = vec4(light, 1.0)", red)
    assert first.reload() is None
    rewrite(folder / "look.frag", red, "broken(")
    assert first.reload() is not None
    first.release()
    second = Compositor(ctx, folder, size=SIZE, kept=tmp_path / "kept")
    assert middle(second) == [255, 0, 0]
    assert "The shader as it was before stays in use" in caplog.text
    rewrite(folder / "look.frag", "broken(", "o_light = vec4(0.0, 1.0, 0.0, 1.0)")
    assert second.reload_if_changed(1.0) is None
    assert middle(second) == [0, 255, 0]
    second.release()


def test_a_folder_that_refuses_the_kept_shaders_is_no_fault(
    ctx: moderngl.Context, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Compositor(ctx, folder, size=SIZE, kept=folder / "look.frag").release()
    assert "not kept" in caplog.text


def test_shaders_may_leave_out_any_uniform(compositor: Compositor, folder: Path) -> None:
    for name, out in (("look.frag", "o_light"), ("mount.frag", "o_code"), ("hud.frag", "o_code")):
        text = f"#version 330 core\nout vec4 {out};\nvoid main() {{ {out} = vec4(1.0); }}\n"
        (folder / name).write_text(text)
    assert compositor.reload() is None
    assert middle(compositor, Grade(contrast=1.2)) == [255, 255, 255]


def test_a_shader_that_makes_nan_gives_no_nan_on_the_wall(compositor: Compositor, folder: Path) -> None:
    rewrite(folder / "look.frag", "o_light = vec4(light, 1.0)", "o_light = vec4(vec3(u_mix / u_mix), 1.0)")
    assert compositor.reload() is None
    assert middle(compositor) in ([0, 0, 0], [255, 255, 255])


def test_time_reaches_a_shader_wrapped_and_exact(compositor: Compositor, folder: Path) -> None:
    rewrite(folder / "look.frag", "o_light = vec4(light, 1.0)", "o_light = vec4(vec3(fract(u_time)), 1.0)")
    assert compositor.reload() is None
    early, late = middle(compositor, time_s=0.25), middle(compositor, time_s=1e7 + 0.25)
    assert early == late
    first = compositor.signature(SIZE, fit="fill", rotate=0, hud=None)
    middle(compositor, time_s=1e7 + 0.5)
    assert compositor.signature(SIZE, fit="fill", rotate=0, hud=None) != first


def test_driver_messages_of_every_kind_are_understood(folder: Path) -> None:
    source = ShaderFiles(folder).read("look.frag").with_defines({"DISSOLVE": 1, "GRADE": 1})
    number = next(i for i, text in enumerate(source.text.splitlines(), 1) if "float grain(" in text)
    line = next(
        i for i, text in enumerate((folder / "look.glsl").read_text().splitlines(), 1) if "float grain(" in text
    )
    for log in (
        f"0:{number}(7): error: syntax error",
        f"0({number}) : error C0000: syntax error",
        f"ERROR: 0:{number}: syntax error",
        f"0:{number}(1): warning: dull\nERROR: 0:{number}: syntax error",
    ):
        assert source.explain(log) == f"look.glsl:{line}: syntax error"
    assert source.explain("") == "look.frag: the driver gave no reason"


def test_the_check_passes_what_compiles_and_gives_the_log_of_what_does_not(ctx: moderngl.Context) -> None:
    check = ShaderCheck(ctx)
    assert check(FRAGMENT, "#version 330 core\nvoid main() {}\n") is None
    assert "error" in str(check(FRAGMENT, "#version 330 core\nvoid main() { x }\n"))


def gl_objects(ctx: moderngl.Context) -> tuple[int, int]:
    """Living programs and shaders of the current context, from the driver itself."""
    gl = ctypes.CDLL("libGL.so.1")
    newest = gl.glCreateShader(FRAGMENT)
    gl.glDeleteShader(newest)
    names = range(1, newest)
    return sum(bool(gl.glIsProgram(i)) for i in names), sum(bool(gl.glIsShader(i)) for i in names)


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts objects through Linux' libGL")


@linux
def test_reloads_leave_no_gl_objects_behind(ctx: moderngl.Context, compositor: Compositor, folder: Path) -> None:
    good = (folder / "look.frag").read_text()
    before = gl_objects(ctx)
    for i in range(60):
        (folder / "look.frag").write_text(good + f"// {i}\n" + ("}" if i % 3 == 1 else ""))
        assert (compositor.reload() is None) == (i % 3 != 1)
    (folder / "look.frag").write_text(
        good.replace("void main()", "vec3 later();\nvoid main()").replace("vec4(light,", "vec4(later(),")
    )
    assert "later" in str(compositor.reload())
    assert gl_objects(ctx) == before
    assert before[0] >= len(VARIANTS)


@linux
@pytest.mark.slow
def test_ten_thousand_reloads_leave_nothing_behind(ctx: moderngl.Context, compositor: Compositor, folder: Path) -> None:
    import psutil

    good = (folder / "hud.frag").read_text()
    before = gl_objects(ctx)
    resident = 0
    for i in range(10_000):
        (folder / "hud.frag").write_text(good + ("}" if i % 2 else ""))
        compositor.reload()
        if i == 2_000:
            resident = psutil.Process().memory_info().rss
    assert gl_objects(ctx) == before
    assert psutil.Process().memory_info().rss - resident < 16 << 20


def test_faults_are_not_shown_as_other_errors(folder: Path) -> None:
    (folder / "look.frag").write_bytes(b"\xc3\x28")
    with pytest.raises(ShaderFault, match="UTF-8"):
        ShaderFiles(folder).read("look.frag")
