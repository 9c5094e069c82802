"""Which monitor is meant, and what happens when it goes away and comes back: pure rules, then two real monitors."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from dataclasses import replace

import pytest

from installation.errors import DisplayError
from installation.output.monitors import Monitor, MonitorWatch, Move, choose
from tests.xserver import missing_for_two_monitors, xorg_two_monitors, xvfb


def monitor(index: int, name: str, x: int, y: int = 0, *, primary: bool = False) -> Monitor:
    return Monitor(index, name, x, y, 1920, 1080, 60.0, (520, 290), primary)


DESK = monitor(0, "eDP-1", 0, primary=True)
WALL = monitor(1, "HDMI-1", 1920)
SIDE = monitor(2, "HDMI-2", -1920)
ALL = [DESK, WALL, SIDE]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, DESK),
        ("", DESK),
        ("primary", DESK),
        (1, WALL),
        ("1", WALL),
        ("left", SIDE),
        ("right", WALL),
        ("+1920+0", WALL),
        ("-1920+0", SIDE),
        ("HDMI-1", WALL),
        ("hdmi-2", SIDE),
        ("edp", DESK),
    ],
)
def test_a_monitor_is_chosen_by_index_place_or_name(wanted: str | int | None, expected: Monitor) -> None:
    assert choose(ALL, wanted) == expected


def test_a_whole_name_wins_over_part_of_another() -> None:
    ten = monitor(3, "HDMI-10", 5000)
    assert choose([WALL, ten], "HDMI-1") == WALL


def test_without_a_primary_monitor_the_first_is_taken() -> None:
    assert choose([WALL, SIDE], None) == WALL


def test_part_of_two_names_is_refused_with_both() -> None:
    with pytest.raises(DisplayError, match=r"fits 3 monitors.*eDP-1.*HDMI-1.*HDMI-2") as caught:
        choose(ALL, "d")
    assert caught.value.exit_code == 3


def test_an_unknown_name_lists_what_there_is_and_guesses() -> None:
    with pytest.raises(DisplayError, match=r"no monitor 'HDMI1'.*did you mean 'HDMI-1'\?.*1920x1080\+1920\+0 60 Hz"):
        choose(ALL, "HDMI1")


@pytest.mark.parametrize("wanted", [7, -1, "7", "+5+5", "*"])
def test_what_fits_nothing_is_refused(wanted: str | int) -> None:
    with pytest.raises(DisplayError, match="There are:"):
        choose(ALL, wanted)


def test_no_monitor_at_all_is_refused_by_choose() -> None:
    with pytest.raises(DisplayError, match="no monitor is connected"):
        choose([], None)


def placed(wanted: str | int | None, monitors: list[Monitor]) -> MonitorWatch:
    watch = MonitorWatch(wanted, fullscreen=True)
    watch.begin(monitors, 0.0)
    return watch


def test_it_begins_on_the_chosen_monitor() -> None:
    assert MonitorWatch("HDMI-1", fullscreen=True).begin(ALL, 0.0) == Move(WALL)


def test_it_begins_as_a_window_when_asked() -> None:
    assert MonitorWatch("HDMI-1", fullscreen=False).begin(ALL, 0.0) == Move(None)


def test_a_wrong_name_at_the_start_is_an_error() -> None:
    with pytest.raises(DisplayError):
        MonitorWatch("HDMI-7", fullscreen=True).begin(ALL, 0.0)


def test_no_monitor_at_the_start_is_waited_for() -> None:
    watch = MonitorWatch("HDMI-1", fullscreen=True)
    assert watch.begin([], 0.0) == Move(None)
    assert watch.state == "waiting"
    assert watch.decide(1.0, [WALL], None) == Move(WALL)


def test_all_well_means_no_move() -> None:
    watch = placed("HDMI-1", ALL)
    assert watch.decide(1.0, ALL, WALL) is None
    assert not watch.due(1.0 + MonitorWatch.CHECK_S / 2)
    assert watch.due(1.0 + MonitorWatch.CHECK_S)


def test_an_unplugged_monitor_makes_it_wait_once() -> None:
    watch = placed("HDMI-1", ALL)
    assert watch.decide(1.0, [DESK, SIDE], None) == Move(None)
    assert watch.state == "waiting"
    assert watch.decide(4.0, [DESK, SIDE], None) is None


def test_a_monitor_plugged_in_again_is_covered_again_wherever_its_index_went() -> None:
    watch = placed("HDMI-1", ALL)
    watch.decide(1.0, [DESK], None)
    watch.changed(5.0)
    assert not watch.due(5.0)
    assert watch.due(5.0 + MonitorWatch.SETTLE_S)
    back = replace(WALL, index=0, x=0)
    assert watch.decide(5.2, [back, replace(DESK, index=1)], None) == Move(back)
    assert watch.decide(6.0, [back, replace(DESK, index=1)], back) is None
    assert watch.state == "fullscreen"


@pytest.mark.parametrize("wanted", ["right", "+1920+0", 1])
def test_of_two_monitors_of_one_name_the_other_one_is_not_taken(wanted: str | int) -> None:
    left, right = replace(WALL, index=0, x=0), replace(WALL, index=1)
    watch = placed(wanted, [left, right])
    assert watch.decide(1.0, [left], None) == Move(None)
    assert watch.decide(2.0, [left], None) is None
    assert watch.decide(3.0, [left, right], None) == Move(right)


def test_two_monitors_of_one_name_in_other_corners_are_told_apart_by_what_was_asked_for() -> None:
    left, right = replace(WALL, index=0, x=0), replace(WALL, index=1)
    watch = placed("right", [left, right])
    further = replace(right, x=2560)
    assert watch.decide(1.0, [left, further], None) == Move(further)


def test_losing_another_monitor_changes_nothing() -> None:
    watch = placed(1, ALL)
    alone = replace(WALL, index=0)
    assert watch.decide(1.0, [alone], alone) is None


def test_an_index_never_lands_on_the_monitor_that_took_it_over() -> None:
    watch = placed(0, [replace(WALL, index=0), replace(DESK, index=1)])
    assert watch.decide(1.0, [replace(DESK, index=0)], None) == Move(None)


@pytest.mark.parametrize("wanted", ["left", "right"])
def test_an_outermost_place_never_lands_on_the_monitor_that_is_left(wanted: str) -> None:
    watch = placed(wanted, ALL)
    gone = choose(ALL, wanted)
    assert watch.decide(1.0, [m for m in ALL if m != gone], None) == Move(None)


def test_an_index_accepts_a_new_projector_in_the_place_of_the_broken_one() -> None:
    watch = placed(1, [DESK, WALL])
    watch.decide(1.0, [DESK], None)
    spare = replace(WALL, name="HDMI-9")
    assert watch.decide(2.0, [DESK, spare], None) == Move(spare)


def test_without_a_choice_the_next_primary_monitor_is_taken() -> None:
    watch = placed(None, ALL)
    assert watch.decide(1.0, [WALL], None) == Move(WALL)


def test_without_a_choice_it_returns_to_the_monitor_it_began_on() -> None:
    watch = placed(None, ALL)
    assert watch.decide(1.0, [WALL], WALL) is None
    assert watch.decide(2.0, ALL, WALL) == Move(DESK)


def test_the_first_monitor_to_come_is_remembered() -> None:
    watch = placed("left", [])
    assert watch.decide(1.0, [WALL], WALL) is None
    assert watch.decide(2.0, [WALL, SIDE], WALL) is None


def test_a_changed_resolution_is_covered_again() -> None:
    watch = placed("HDMI-1", ALL)
    smaller = replace(WALL, width=1280, height=720)
    assert watch.decide(3.0, [DESK, smaller], None) == Move(smaller)


def test_a_move_that_does_not_take_is_tried_again_with_growing_pauses_and_not_for_ever() -> None:
    watch, now, moves = placed("HDMI-1", ALL), 1.0, []
    for _ in range(10_000):
        if watch.due(now) and watch.decide(now, ALL, None) is not None:
            moves.append(now)
        now += 0.05
    pauses = [b - a for a, b in itertools.pairwise(moves)]
    assert len(moves) == MonitorWatch.TRIES
    assert all(late >= 1.8 * early for early, late in itertools.pairwise(pauses))
    watch.changed(now)
    assert watch.decide(now + 1, ALL, None) == Move(WALL)


def test_toggling_leaves_full_screen_and_takes_it_back_at_once() -> None:
    watch = placed("HDMI-1", ALL)
    watch.toggle()
    assert watch.due(0.0)
    assert watch.decide(0.0, ALL, WALL) == Move(None)
    assert watch.state == "windowed"
    watch.toggle()
    assert watch.decide(0.1, ALL, None) == Move(WALL)


def test_the_module_loads_no_glfw() -> None:
    code = "import sys, installation.output.monitors; sys.exit('glfw' in sys.modules or 'moderngl' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


_LIST = """
import json, dataclasses
from installation.output.monitors import list_monitors
print(json.dumps([dataclasses.asdict(m) for m in list_monitors()]))
"""


def test_the_monitors_of_an_x_server_are_listed() -> None:
    with xvfb(640, 360) as server:
        done = subprocess.run(
            [sys.executable, "-c", _LIST], env=server.environment(), capture_output=True, text=True, check=True
        )
    (found,) = json.loads(done.stdout)
    assert (found["name"], found["width"], found["height"], found["refresh_hz"]) == ("screen", 640, 360, 0.0)


def test_without_a_display_the_list_says_what_to_do() -> None:
    code = (
        "import os; os.environ.pop('DISPLAY', None); os.environ.pop('WAYLAND_DISPLAY', None)\n"
        "from installation.errors import DisplayError\nfrom installation.output.monitors import list_monitors\n"
        "try: list_monitors()\nexcept DisplayError as error: print(error); raise SystemExit(error.exit_code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (3, "")
    assert "run headless" in done.stdout


@pytest.mark.slow
def test_the_second_of_two_real_monitors_is_covered_unplugged_and_covered_again() -> None:
    if reason := missing_for_two_monitors():
        pytest.skip(reason)
    code = """
import sys, time
from installation.output.window import GlfwSurface
surface = GlfwSurface("wall", monitor="right")
print(surface.describe(), flush=True)
while True:
    for event in surface.poll():
        if event.kind == "monitor":
            print(event.name, surface.describe(), flush=True)
    surface.present()
    time.sleep(0.01)
"""
    with xorg_two_monitors() as server:
        wall = subprocess.Popen(
            [sys.executable, "-c", code], env=server.environment(), stdout=subprocess.PIPE, text=True
        )
        assert wall.stdout is not None
        try:
            assert wall.stdout.readline().startswith("fullscreen 640x480 on DUMMY1,")
            server.xrandr("--output", "DUMMY1", "--off")
            assert wall.stdout.readline().startswith("waiting")
            server.xrandr("--output", "DUMMY1", "--mode", "640x480", "--pos", "800x0")
            server.xrandr()
            assert wall.stdout.readline().startswith("fullscreen")
        finally:
            wall.kill()
            wall.wait(60)
            wall.stdout.close()
