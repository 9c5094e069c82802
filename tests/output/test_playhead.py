"""The playhead's motion, simulated: engines of every pace, jitter, deaths and returns, at the display's own rate."""

import itertools
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from installation.output.playhead import GLIDE_RATE, GLIDE_SPAN_S, RATE_MAX, RATE_MIN, Playhead, View

PACES = (1.7, 12.0, 30.0, 60.0)


@dataclass
class Tick:
    now: float
    view: View
    position: float
    behind_s: float
    newest: int


@dataclass
class Run:
    ticks: list[Tick] = field(default_factory=list)
    stamps: dict[int, float] = field(default_factory=dict)

    def between(self, start: float, end: float) -> list[Tick]:
        return [tick for tick in self.ticks if start <= tick.now < end]

    def shown(self, tick: Tick) -> float:
        """Stamp of what is on the wall."""
        a, b = self.stamps[tick.view.a_index], self.stamps[tick.view.b_index]
        return a + tick.view.mix * (b - a)


def simulate(
    fps: float,
    seconds: float,
    *,
    jitter: float = 0.1,
    away: tuple[float, float] = (0.0, 0.0),
    hz: float = 60.0,
    display_jitter_s: float = 0.0,
    start: float = 0.0,
    seed: int = 0,
    history: int = 16,
) -> Run:
    """An engine of `fps` (intervals uneven by `jitter`) that makes nothing between `away`, and a display of `hz`."""
    chance = random.Random(seed)
    arrivals: list[tuple[float, float]] = []
    at = 0.0
    while at < seconds:
        took = chance.uniform(1 - jitter, 1 + jitter) / fps
        if not away[0] < at + took < away[1]:
            arrivals.append((at + took, at))
        at += took
    playhead, run, index = Playhead(history), Run(), 0
    for n in range(int(seconds * hz)):
        now = n / hz + chance.uniform(0.0, display_jitter_s)
        while index < len(arrivals) and arrivals[index][0] <= now:
            stamp = start + arrivals[index][1]
            index += 1
            run.stamps[index] = stamp
            spare = playhead.spare
            assert playhead.arrive(index, stamp, start + now) == spare
        view = playhead.view(start + now)
        if view is not None:
            run.ticks.append(Tick(now, view, playhead.position, playhead.behind_s, index))
    return run


def rates(ticks: list[Tick]) -> list[float]:
    return [(b.position - a.position) / (b.now - a.now) for a, b in itertools.pairwise(ticks)]


@pytest.mark.parametrize("fps", PACES)
@pytest.mark.parametrize("jitter", [0.0, 0.1, 0.3])
def test_normal_running_is_smooth(fps: float, jitter: float) -> None:
    run = simulate(fps, 25.0, jitter=jitter)
    steady = rates(run.between(12.0, 25.0))
    assert min(steady) >= RATE_MIN
    assert max(steady) <= 1.1
    assert sum(steady) / len(steady) == pytest.approx(1.0, abs=0.03)
    if jitter <= 0.1:
        assert min(steady) > 0.85


@pytest.mark.parametrize("fps", PACES)
def test_what_is_shown_moves_in_step_with_show_time(fps: float) -> None:
    run = simulate(fps, 20.0, jitter=0.1)
    ticks = run.between(12.0, 20.0)
    shown = [run.shown(tick) for tick in ticks]
    assert shown[-1] - shown[0] == pytest.approx(ticks[-1].now - ticks[0].now, rel=0.03)
    assert all(b > a for a, b in itertools.pairwise(shown))


@pytest.mark.parametrize(("fps", "most_s"), [(60.0, 0.045), (30.0, 0.07), (12.0, 0.15), (1.7, 0.95)])
def test_the_wall_is_about_one_engine_frame_late(fps: float, most_s: float) -> None:
    ticks = simulate(fps, 25.0, jitter=0.1).between(15.0, 25.0)
    assert max(tick.behind_s for tick in ticks) < most_s
    assert min(tick.behind_s for tick in ticks) > 0.0


@pytest.mark.parametrize("fps", PACES)
def test_the_picture_keeps_moving_while_the_engine_is_away(fps: float) -> None:
    run = simulate(fps, 40.0, jitter=0.2, away=(10.0, 30.0))
    ticks = run.between(8.0, 40.0)
    for i in range(len(ticks) - 12):
        window = [tick.position for tick in ticks[i : i + 13]]
        assert max(window) - min(window) > 0.004
    away = run.between(13.0, 30.0)
    assert max(abs(rate) for rate in rates(away)) <= GLIDE_RATE + 1e-6
    assert min(rates(away)) < -0.9 * GLIDE_RATE
    assert max(rates(away)) > 0.9 * GLIDE_RATE


@pytest.mark.parametrize("fps", PACES)
def test_the_glide_covers_seconds_even_of_a_fast_engine(fps: float) -> None:
    away = simulate(fps, 40.0, jitter=0.1, away=(12.0, 40.0)).between(14.0, 40.0)
    deepest = max(tick.behind_s for tick in away)
    assert 3.0 < deepest <= GLIDE_SPAN_S + 0.05
    assert min(tick.behind_s for tick in away) < 0.05
    assert len({tick.view.a_index for tick in away}) >= min(6, int(3 * fps))


@pytest.mark.parametrize("fps", PACES)
def test_when_frames_come_again_it_glides_to_the_newest(fps: float) -> None:
    run = simulate(fps, 45.0, jitter=0.1, away=(10.0, 25.0))
    back = run.between(25.0, 45.0)
    assert max(rates(back)) <= RATE_MAX + 1e-6
    usual = max(tick.behind_s for tick in run.between(8.0, 10.0))
    assert max(tick.behind_s for tick in back[-300:]) < 2.0 * usual + 0.1
    assert back[-1].view.b_index >= back[-1].newest - 2


def continuous(run: Run) -> None:
    """The picture never cuts: what was on the wall a tick ago lies beside what is there now."""
    chance_of_cut = RATE_MAX / 60.0 * 2.0
    for before, after in zip(run.ticks, run.ticks[1:], strict=False):
        step = abs(after.position - before.position)
        assert step <= RATE_MAX * (after.now - before.now) + 1e-9
        assert step < chance_of_cut
        assert before.view.a_index <= after.view.b_index or before.view.b_index >= after.view.a_index


@settings(max_examples=25)
@given(
    fps=st.floats(1.0, 75.0),
    jitter=st.floats(0.0, 0.9),
    seed=st.integers(0, 2**32 - 1),
    died=st.floats(0.5, 6.0),
    gone=st.floats(0.0, 8.0),
    history=st.integers(4, 20),
    display_jitter_s=st.floats(0.0, 0.008),
)
def test_motion_is_continuous_and_bounded_whatever_happens(
    fps: float, jitter: float, seed: int, died: float, gone: float, history: int, display_jitter_s: float
) -> None:
    run = simulate(
        fps,
        15.0,
        jitter=jitter,
        away=(died, died + gone),
        seed=seed,
        history=history,
        display_jitter_s=display_jitter_s,
    )
    continuous(run)
    for tick in run.ticks:
        assert 0.0 <= tick.view.mix <= 1.0
        assert tick.view.a_index <= tick.view.b_index <= tick.newest


@settings(max_examples=40)
@given(
    events=st.lists(
        st.tuples(st.sampled_from(["arrive", "view", "repeat", "hold"]), st.floats(0.0, 3.0), st.floats(-2.0, 5.0)),
        max_size=120,
    ),
    history=st.integers(4, 16),
    start=st.sampled_from([0.0, 1e7]),
)
def test_only_held_frames_are_shown_and_the_wall_never_jumps(
    events: list[tuple[str, float, float]], history: int, start: float
) -> None:
    playhead, slots = Playhead(history), {}
    now, stamp, index, before = start, start, 0, None
    for kind, wait, step in events:
        now += wait
        if kind == "arrive":
            index += 1 + int(wait)
            stamp += step
            slot = playhead.spare
            if before is not None:
                assert slot not in (before.a_slot, before.b_slot)
            assert playhead.arrive(index, stamp, now) == slot
            slots[slot] = index
        elif kind == "repeat" and index:
            assert playhead.arrive(index, stamp, now) is None
        else:
            was = playhead.position
            view = playhead.view(now, hold=kind == "hold")
            assert (view is None) == (index == 0)
            if view is not None:
                assert slots[view.a_slot] == view.a_index
                assert slots[view.b_slot] == view.b_index
                assert 0.0 <= view.mix <= 1.0
                assert abs(playhead.position - was) <= RATE_MAX * 0.25 + 1e-9
                before = view


def test_an_arrival_does_not_change_the_picture_of_the_moment() -> None:
    playhead = Playhead(6)
    for i in range(1, 60):
        now = i / 12
        before = playhead.view(now)
        playhead.arrive(i, now - 0.08, now)
        after = playhead.view(now)
        if before is not None and after is not None:
            place = {before.b_index: before.mix} | {before.a_index: 1 - before.mix}
            for index, share in ((after.a_index, 1 - after.mix), (after.b_index, after.mix)):
                if share > 1e-9:
                    assert place.get(index, 0.0) == pytest.approx(share, abs=1e-9)


def test_ten_million_seconds_in_it_is_as_smooth_as_at_the_start() -> None:
    early, late = (simulate(12.0, 15.0, jitter=0.3, start=start) for start in (0.0, 1e7))
    for a, b in zip(early.ticks, late.ticks, strict=True):
        assert (a.view.a_index, a.view.b_index) == (b.view.a_index, b.view.b_index)
        assert a.view.mix == pytest.approx(b.view.mix, abs=1e-5)


def test_thirty_and_sixty_hertz_agree() -> None:
    slow, fast = (simulate(12.0, 20.0, jitter=0.1, hz=hz).between(10.0, 20.0) for hz in (30.0, 60.0))
    assert rates(slow)[-1] == pytest.approx(rates(fast)[-1], abs=0.05)
    assert slow[-1].behind_s == pytest.approx(fast[-1].behind_s, abs=0.08)


def feed(playhead: Playhead, count: int, *, first: int = 1, start: float = 0.0, fps: float = 12.0) -> float:
    """Frames at an even pace with a view a tick; gives the time of the last."""
    now = start
    for i in range(count):
        now = start + i / fps
        playhead.arrive(first + i, now - 0.08, now)
        for n in range(5):
            playhead.view(now + n / 60)
    return now


def test_a_pause_asked_for_settles_on_the_newest_frame_and_stays() -> None:
    playhead = Playhead()
    now = feed(playhead, 40)
    views = [playhead.view(now + i / 60, hold=True) for i in range(1, 200)]
    assert views[-1] is not None
    assert views[-1].b_index == 40
    assert views[-1].a_index == 40
    late = [playhead.view(now + 4 + i / 60, hold=True) for i in range(60)]
    assert len({(view.a_index, view.b_index, round(view.mix, 3)) for view in late if view}) == 1
    assert views[-1] == views[-2]
    still = playhead.position
    for i in range(60):
        playhead.view(now + 6 + i / 60)
    assert abs(playhead.position - still) > 0.1


def test_stamps_that_stand_still_keep_their_order_and_a_gap_in_them_is_no_jump() -> None:
    playhead = Playhead()
    now = feed(playhead, 24)
    seen, last = [], playhead.position
    for i in range(25, 80):
        now += 1 / 12
        stamp = 1.92 if i < 50 else 1.92 + 100.0 + i / 12
        playhead.arrive(i, stamp, now)
        for n in range(5):
            view = playhead.view(now + n / 60)
            assert view is not None
            seen.append(view.a_index)
            assert abs(playhead.position - last) < 1.3 / 60
            last = playhead.position
    assert seen == sorted(seen)
    assert playhead.behind_s < 0.3


def test_starved_means_later_than_a_second_and_three_intervals() -> None:
    playhead = Playhead()
    assert playhead.starved(0.0)
    now = feed(playhead, 20)
    assert not playhead.starved(now + 0.99)
    assert playhead.starved(now + 1.01)
    slow = Playhead()
    now = feed(slow, 10, fps=1.0)
    assert not slow.starved(now + 2.9)
    assert slow.starved(now + 3.1)


def test_one_frame_stands_and_none_gives_none() -> None:
    playhead = Playhead()
    assert playhead.view(0.0) is None
    playhead.arrive(7, 0.0, 0.1)
    view = playhead.view(5.0)
    assert view is not None
    assert view == View(7, 7, 0.0, view.a_slot, view.a_slot)


def test_a_display_that_stood_still_does_not_fling_the_playhead() -> None:
    playhead = Playhead()
    now = feed(playhead, 40)
    before = playhead.position
    playhead.view(now + 60.0)
    assert abs(playhead.position - before) <= 0.5


def test_a_clock_that_runs_backwards_moves_nothing() -> None:
    playhead = Playhead()
    now = feed(playhead, 40)
    playhead.view(now + 0.1)
    before = playhead.position
    playhead.view(now - 5.0)
    assert playhead.position == before


def test_too_short_a_history_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 4"):
        Playhead(3)


def test_a_still_from_an_earlier_run_leads_into_the_first_frames() -> None:
    playhead = Playhead()
    playhead.arrive(0, -1.5, 0.0)
    for i in range(240):
        view = playhead.view(i / 60)
        assert view == View(0, 0, 0.0, view.a_slot, view.a_slot) if view else False
    now = feed(playhead, 30, start=4.0)
    assert not playhead.starved(now + 0.9)
    assert playhead.starved(now + 1.1)
    assert playhead.behind_s < 0.8
