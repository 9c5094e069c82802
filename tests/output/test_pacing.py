"""Pacing, on a clock made of numbers: every rule without waiting, and one look at the real clock."""

from __future__ import annotations

import itertools
import time

import pytest

from installation.output.pacing import DEFAULT_FPS, WINDOW, Pacer


class World:
    """A clock that only moves when somebody sleeps, draws or swaps."""

    def __init__(self, *, oversleep: float = 0.0) -> None:
        self.now = 1000.0
        self.oversleep = oversleep
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds + self.oversleep

    def takes(self, seconds: float) -> None:
        self.now += seconds

    def pacer(self, refresh_hz: float, fps: float | None = None) -> Pacer:
        return Pacer(refresh_hz, fps=fps, clock=self.clock, sleep=self.sleep)

    def vsync(self, hz: float) -> None:
        """A swap that blocks until the next refresh."""
        self.now = (int(self.now * hz) + 1) / hz


def run(world: World, pacer: Pacer, frames: int, *, draw: float = 0.002, swap: float = 0.0005) -> list[float]:
    """Draw and swap; the times at which each frame started."""
    starts = []
    for _ in range(frames):
        starts.append(world.now)
        world.takes(draw)
        pacer.frame(lambda: world.takes(swap))
    return starts


def test_unknown_rate_is_limited_to_sixty() -> None:
    world = World()
    starts = run(world, world.pacer(0.0), 601)
    assert starts[-1] - starts[0] == pytest.approx(600 / DEFAULT_FPS, abs=1e-6)


def test_deadlines_do_not_drift_when_sleep_wakes_late() -> None:
    world = World(oversleep=0.0003)
    starts = run(world, world.pacer(0.0, fps=50.0), 10_001)
    assert starts[-1] - starts[0] == pytest.approx(200.0, abs=0.001)


def test_a_late_waker_is_asked_earlier_and_wakes_on_time() -> None:
    world = World(oversleep=0.0003)
    starts = run(world, world.pacer(0.0), 200)
    offsets = [(t - starts[0]) * 60 - i for i, t in enumerate(starts)]
    assert max(abs(x) for x in offsets[100:]) / 60 < 0.00005


def test_a_short_delay_is_made_up_for() -> None:
    world = World()
    pacer = world.pacer(0.0, fps=100.0)
    run(world, pacer, 10)
    world.takes(0.008)
    starts = run(world, pacer, 10)
    assert (starts[-1] - 1000.0) * 100 == pytest.approx(19.0, abs=1e-6)


def test_a_stall_is_not_followed_by_a_burst() -> None:
    world = World()
    pacer = world.pacer(0.0, fps=100.0)
    run(world, pacer, 10)
    world.takes(3.0)
    starts = run(world, pacer, 10)
    gaps = [b - a for a, b in itertools.pairwise(starts)]
    assert min(gaps[1:]) > 0.0099
    assert sum(gap < 0.0099 for gap in gaps) <= 1


def test_frames_slower_than_the_target_never_wait() -> None:
    world = World()
    pacer = world.pacer(0.0, fps=60.0)
    starts = run(world, pacer, 300, draw=0.018)
    assert (starts[-1] - starts[0]) / 299 == pytest.approx(0.0185, rel=0.03)


def test_a_swap_that_blocks_is_left_to_pace() -> None:
    world = World()
    pacer = world.pacer(60.0)
    for _ in range(300):
        world.takes(0.003)
        pacer.frame(lambda: world.vsync(60.0))
    assert pacer.paced_by == "swap"
    assert world.slept == []
    assert pacer.stats().fps == pytest.approx(60.0, rel=1e-3)


def test_a_swap_that_does_not_block_is_found_out() -> None:
    world = World()
    pacer = world.pacer(60.0)
    run(world, pacer, 30)
    assert pacer.paced_by == "own"
    starts = run(world, pacer, 61)
    assert starts[-1] - starts[0] == pytest.approx(1.0, abs=0.001)


def test_a_swap_that_stops_blocking_is_noticed() -> None:
    world = World()
    pacer = world.pacer(60.0)
    for _ in range(100):
        pacer.frame(lambda: world.vsync(60.0))
    run(world, pacer, 130)
    assert pacer.paced_by == "own"


def test_a_swap_that_blocks_again_is_given_the_pace_back() -> None:
    world = World()
    pacer = world.pacer(60.0)
    run(world, pacer, 200)
    assert pacer.paced_by == "own"
    for _ in range(60 * 40):
        world.takes(0.002)
        pacer.frame(lambda: world.vsync(59.94))
    assert pacer.paced_by == "swap"


def test_one_slow_frame_while_measuring_decides_nothing() -> None:
    world = World()
    pacer = world.pacer(60.0)
    run(world, pacer, 8)
    world.takes(2.0)
    run(world, pacer, 30)
    assert pacer.paced_by == "own"


def test_a_limit_below_the_refresh_rate_is_kept() -> None:
    world = World()
    pacer = world.pacer(60.0, fps=30.0)
    for _ in range(101):
        world.takes(0.001)
        pacer.frame(lambda: world.vsync(60.0))
    assert pacer.stats().fps == pytest.approx(30.0, rel=0.02)


def test_a_limit_next_to_the_refresh_rate_is_the_refresh_rate() -> None:
    assert World().pacer(59.94, fps=60.0).period_s == pytest.approx(1 / 59.94)


def test_another_monitor_is_measured_afresh_and_the_same_one_is_not() -> None:
    world = World()
    pacer = world.pacer(60.0)
    run(world, pacer, 30)
    pacer.retarget(60.0)
    assert pacer.paced_by == "own"
    pacer.retarget(144.0)
    assert (pacer.paced_by, pacer.period_s) == ("measuring", pytest.approx(1 / 144))


@pytest.mark.parametrize("hz", [float("nan"), float("inf"), -60.0])
def test_a_senseless_rate_counts_as_unknown(hz: float) -> None:
    assert World().pacer(hz).refresh_hz == 0.0


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf")])
def test_a_senseless_limit_is_refused(fps: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Pacer(60.0, fps=fps)


def test_late_frames_are_counted() -> None:
    world = World()
    pacer = world.pacer(0.0)
    run(world, pacer, 100)
    run(world, pacer, 1, draw=0.040)
    run(world, pacer, 1, swap=60.0)
    assert pacer.stats().late == 2


def test_statistics_cover_a_bounded_window() -> None:
    world = World()
    pacer = world.pacer(0.0)
    run(world, pacer, 2, swap=5.0)
    run(world, pacer, WINDOW + 2)
    stats = pacer.stats()
    assert (stats.frames, stats.late) == (WINDOW + 4, 1)
    assert stats.fps == pytest.approx(60.0)
    assert stats.p50_ms == pytest.approx(1000 / 60, abs=0.01)
    assert stats.p99_ms == pytest.approx(1000 / 60, abs=0.01)


def test_statistics_before_the_first_frame_are_zero() -> None:
    stats = World().pacer(60.0).stats()
    assert (stats.fps, stats.p50_ms, stats.frames, stats.paced_by) == (0.0, 0.0, 0, "measuring")


def test_on_the_real_clock_it_waits_without_burning_the_processor() -> None:
    pacer = Pacer(0.0, fps=100.0)
    began, cpu = time.perf_counter(), time.thread_time()
    for _ in range(51):
        pacer.frame(lambda: None)
    took, cpu = time.perf_counter() - began, time.thread_time() - cpu
    assert took >= 0.505
    assert cpu < 0.25 * took
