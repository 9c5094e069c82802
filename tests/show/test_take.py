"""Takes: what is written down gives the evening back; what was never written by this program is refused with a reason."""

from __future__ import annotations

import itertools
import json
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from installation.errors import InstallationError, TakeError
from installation.show.clock import LiveClock
from installation.show.glide import Glide
from installation.show.messages import ControlMessage, refusal
from installation.show.reading import parse
from installation.show.replay import Extent, Replay, after, extent, granted, timed
from installation.show.state import ShowState, first_state, to_json
from installation.show.step import step
from installation.show.take import (
    LONGEST_LINE,
    Beat,
    Header,
    NetworkMark,
    Scribe,
    header_bytes,
    network_fault,
    read_header,
    read_lines,
)
from tests.show.evenings import SHOW, evening, numbered
from tests.show.shows import make_show

MARK = NetworkMark("none", "/nets/none.safetensors", 123, "ab" * 32)


def records(lines, show=SHOW):
    return read_lines(numbered(lines), show)


def without_local(state: ShowState) -> ShowState:
    """What belongs to the performance: no HUD, no buttons of the moment."""
    values = {name: value for name, value in state.values.items() if not SHOW.table()[name].local}
    return replace(state, values=values, pressed=())


@pytest.mark.parametrize("seed", range(4))
def test_the_evening_comes_back_to_the_last_bit(seed: int) -> None:
    states, lines, start = evening(40, seed=seed)
    first, *beats = list(records(lines))
    assert first == start
    state = start
    assert len(beats) == len(states)
    for beat, lived in zip(beats, states, strict=True):
        assert isinstance(beat, Beat)
        state = after(state, beat, SHOW)
        assert without_local(state) == without_local(lived)


def motion(state: ShowState) -> list[tuple[str, int, float, float]]:
    """Where every strand is, and how far it has faded in."""
    return [(strand.mode, strand.seed, strand.position, strand.fade.at(state.t)) for strand in state.strands]


def walks(state: ShowState) -> list[tuple[str, int, Glide]]:
    return [(strand.mode, strand.seed, strand.fade) for strand in state.strands]


def apart(a, b) -> float:
    """Keyframes between two places of one walk; a loop's end is its beginning."""
    distance = abs(a[2] - b[2])
    return min(distance, SHOW.walk.loop_keyframes - distance) if a[0] == "loop" else distance


@pytest.mark.parametrize("rate", [Fraction(60), Fraction(24), Fraction(30000, 1001)])
def test_the_film_of_another_rate_is_the_evening_to_within_a_tick(rate: Fraction) -> None:
    """The film's frame lies between the live ticks around it: so do its positions, fades and every gliding parameter."""
    states, lines, start = evening(60, fps=30, seed=11)
    waiting = next(i for i, record in enumerate(records(lines)) if isinstance(record, Beat) and not record.hold) - 1
    lived = [start, *states][waiting:]
    times = [state.t - lived[0].t for state in lived]
    film = Replay(records(lines), SHOW)
    compared = jumps = 0
    for frame in range(int(rate * int(times[-1]))):
        t = float(frame / rate)
        shown = film.at(t)
        i = bisect_right(times, t + 1e-9) - 1
        before, behind = lived[i], lived[min(i + 1, len(lived) - 1)]
        assert shown.t - lived[0].t == pytest.approx(t, abs=1e-6)
        assert without_local(shown).values == without_local(before).values
        for name, glide in shown.glides.items():
            ends = (before.value(name), before.glides[name].at(behind.t))
            assert min(ends) - 1e-9 <= glide.at(shown.t) <= max(ends) + 1e-9
        if not walks(before) == walks(shown) == walks(behind):
            jumps += 1  # a jump begins or ends within this very tick
            continue
        fastest = max(abs(before.velocity.at(when)) for when in (before.t, behind.t))
        for a, b, c in zip(motion(before), motion(shown), motion(behind), strict=True):
            assert apart(a, b) <= fastest * (shown.t - before.t) + 1e-9
            assert apart(b, c) <= fastest * (behind.t - shown.t) + 1e-9
            assert min(a[3], c[3]) - 1e-9 <= b[3] <= max(a[3], c[3]) + 1e-9
            compared += 1
    assert compared > 20 * jumps > 0


def test_two_films_of_different_rates_agree_wherever_their_frames_meet() -> None:
    _, lines, _ = evening(40, seed=3)
    slow, fast = Replay(records(lines), SHOW), Replay(records(lines), SHOW)
    for frame in range(30 * 30):
        fast.at((2 * frame - 1) / 60 if frame else 0.0)
        assert slow.at(frame / 30) == fast.at(frame / 30)


def test_the_wait_for_the_first_picture_is_no_part_of_the_film() -> None:
    states, lines, _ = evening(10)
    first_moving = next(i for i, record in enumerate(records(lines)) if isinstance(record, Beat) and not record.hold)
    assert Replay(records(lines), SHOW).at(0.0).t == states[first_moving - 2].t
    assert extent(records(lines)).duration_s == pytest.approx(states[-1].t - states[first_moving - 2].t)


MODELS = make_show(models=[{"name": "people", "base": "b"}, {"name": "hills", "base": "c"}])
PEOPLE, HILLS, FACES = "people", "hills", MODELS.cascade.name
S = 1 / 30


def told(said: Mapping[int, ControlMessage], *, part: int = -1) -> tuple[Extent, list[list[str]]]:
    """An evening of two seconds in which these ticks heard these messages: what is in its take, and the models of each frame of its film.
    part: a tick after which the log begins anew."""
    numbers = iter(range(61))
    first, scribe, clock = first_state(MODELS), Scribe(MODELS.table()), LiveClock(lambda: next(numbers) * S)
    clock.tick()
    state, lines = first, [scribe.begin(first)]
    for number in range(60):
        tick, heard = clock.tick(), (said[number],) if number in said else ()
        state = step(state, heard, tick, MODELS)
        lines += scribe.add(tick, heard).splitlines(keepends=True)
        if number == part:
            lines += [*scribe.close().splitlines(keepends=True), scribe.begin(state)]
    lines += scribe.close().splitlines(keepends=True)
    found = extent(records(lines, MODELS))
    film = Replay(granted(records(lines, MODELS), found.refused), MODELS)
    return found, [[str(pick.value) for pick in film.at(number * S).picks["model/select"]] for number in range(60)]


def chosen(tick: int) -> float:
    """The show time at which that tick's messages take effect, as the state has it."""
    numbers = iter(range(61))
    clock = LiveClock(lambda: next(numbers) * S)
    clock.tick()
    return [clock.tick().t for _ in range(tick + 1)][-1]


def test_a_model_that_was_refused_is_never_chosen_in_the_film() -> None:
    """Chosen twice while it was being loaded, refused, and chosen again later, when it was there."""
    said = {
        3: ControlMessage("model/select", PEOPLE, 0.1, "osc"),
        9: ControlMessage("model/select", PEOPLE, None, "osc"),
        15: refusal(PEOPLE, chosen(3), FACES),
        40: ControlMessage("model/select", PEOPLE, 0.0, "osc"),
    }
    found, shown = told(said, part=12)  # a part of the log may begin at any time
    assert found.models == {FACES, PEOPLE}
    assert [name for name, _ in found.refused] == [PEOPLE, PEOPLE]
    assert shown[:39] == [[FACES]] * 39
    assert shown[-1] == [PEOPLE]


def test_a_model_that_was_refused_after_another_was_chosen_is_never_in_the_film() -> None:
    """Shown, left, deleted, chosen again; and before the engine found that out the artist had turned to another one."""
    said = {
        3: ControlMessage("model/select", PEOPLE, 0.0, "osc"),
        9: ControlMessage("model/select", FACES, 0.0, "osc"),
        20: ControlMessage("model/select", PEOPLE, 0.0, "osc"),
        22: ControlMessage("model/select", HILLS, 0.0, "osc"),
        24: ControlMessage("model/select", PEOPLE, 0.0, "osc"),
        26: ControlMessage("model/select", HILLS, 0.0, "osc"),
        30: refusal(PEOPLE, chosen(20), None),
    }
    found, shown = told(said)
    assert found.refused == ((PEOPLE, chosen(20)), (PEOPLE, chosen(24)))
    assert found.models == {FACES, PEOPLE, HILLS}
    assert [key for key, _ in itertools.groupby(itertools.chain.from_iterable(shown))] == [FACES, PEOPLE, FACES, HILLS]
    assert shown[21] == [FACES]
    assert shown[25] == [HILLS]


def test_a_part_that_begins_while_a_refused_model_fades_out_does_not_bring_it_back() -> None:
    """The state at its beginning says no more when it was chosen; and it had been on the wall before."""
    said = {
        1: ControlMessage("model/select", PEOPLE, 0.0, "osc"),
        3: ControlMessage("model/select", FACES, 0.0, "osc"),
        5: ControlMessage("model/select", PEOPLE, 0.5, "osc"),
        7: ControlMessage("model/select", HILLS, 1.0, "osc"),
        10: refusal(PEOPLE, chosen(5), None),
    }
    found, shown = told(said, part=15)
    assert {name for name, _ in found.refused} == {PEOPLE}
    assert not any(PEOPLE in names for names in shown[4:])
    assert shown[-1] == [HILLS]


def test_a_model_refused_twice_is_not_in_the_part_that_began_between() -> None:
    said = {
        5: ControlMessage("model/select", PEOPLE, 0.0, "osc"),
        7: ControlMessage("model/select", HILLS, 0.0, "osc"),
        10: refusal(PEOPLE, chosen(5), None),
        40: ControlMessage("model/select", PEOPLE, 0.0, "osc"),
        55: refusal(PEOPLE, chosen(40), HILLS),
    }
    found, shown = told(said, part=50)
    assert found.models == {FACES, HILLS}
    assert not any(PEOPLE in names for names in shown)


def test_a_hole_in_the_log_is_a_cut_in_the_film() -> None:
    states, lines, _ = evening(20)
    later, more, start = evening(20, seed=5, state=replace(states[-1], t=states[-1].t + 500.0, pressed=()))
    both = lines + more
    there = extent(records(lines)).duration_s
    film = Replay(records(both), SHOW)
    assert film.at(there - 0.01).t < states[-1].t
    assert film.at(there + 0.01).t == pytest.approx(start.t + 0.01)
    assert extent(records(both)).parts == 2
    assert film.at(extent(records(both)).duration_s).t == pytest.approx(later[-1].t)


def test_a_take_that_went_back_in_time_plays_on() -> None:
    """A wall that came back without its board begins at the show's beginning."""
    _, lines, _ = evening(5)
    film = Replay(records(lines * 2), SHOW)
    length = extent(records(lines)).duration_s
    assert film.at(length - 0.01).t > film.at(length + 0.01).t


def test_after_the_end_the_walk_goes_on() -> None:
    show = make_show(params={"drift": {"speed": 1.0}})
    line = b'{"state":' + to_json(replace(evening(0.1, show=show)[2])) + b"}\n"
    film = Replay(read_lines(numbered([line, b'{"us":[16667]}\n']), show), show)
    assert film.at(2.0).strands[-1].position == pytest.approx(2.0)


def test_local_messages_are_not_written_down() -> None:
    from installation.show.clock import Tick
    from installation.show.messages import ControlMessage
    from installation.show.take import Scribe

    scribe = Scribe(SHOW.table())
    said = [ControlMessage("hud/show", True), ControlMessage("drift/speed", 1.0), ControlMessage("snapshot", None)]
    assert json.loads(scribe.add(Tick(1, 0.1, 0.1), said)) == {"us": [100000], "say": [["drift/speed", 1.0, None, ""]]}


def test_a_killed_wall_loses_half_a_second() -> None:
    _, lines, _ = evening(30)
    longest = max(
        sum(record.us for record, _ in timed(records([lines[0], line])) if isinstance(record, Beat))
        for line in lines[1:]
    )
    assert longest <= 600_000


def test_a_state_of_an_older_version_takes_the_first_values_of_new_parameters() -> None:
    tree = json.loads(to_json(evening(1)[2]))
    del tree["values"]["look/gamma"], tree["glides"]["look/gamma"]
    del tree["values"]["model/select"], tree["picks"]["model/select"]
    tree["show"] = "another digest"
    (state,) = records([json.dumps({"state": tree}).encode()])
    assert isinstance(state, ShowState)
    assert state == evening(1)[2]


GOOD = evening(1)[1][0]
BAD_LINES = {
    "garbage": b"\x00\xff\x17garbage\n",
    "no object": b"[1, 2]\n",
    "unknown key": b'{"us":[1],"more":1}\n',
    "no ticks": b'{"us":[]}\n',
    "a tick of an hour": b'{"us":[3600000000]}\n',
    "back in time": b'{"us":[-1]}\n',
    "true is no number": b'{"us":[true]}\n',
    "NaN ticks": b'{"us":[NaN]}\n',
    "hold is a number": b'{"us":[1],"hold":1}\n',
    "unknown parameter": b'{"us":[1],"say":[["no/such",1,null,""]]}\n',
    "path for a name": b'{"us":[1],"say":[["../../etc/passwd",1,null,""]]}\n',
    "NaN": b'{"us":[1],"say":[["drift/speed",NaN,null,""]]}\n',
    "infinity": b'{"us":[1],"say":[["drift/speed",1e999,null,""]]}\n',
    "out of range": b'{"us":[1],"say":[["drift/speed",99,null,""]]}\n',
    "a word for a number": b'{"us":[1],"say":[["drift/speed","fast",null,""]]}\n',
    "a list for a number": b'{"us":[1],"say":[["drift/speed",[1],null,""]]}\n',
    "a value for a button": b'{"us":[1],"say":[["walk/next",1,null,""]]}\n',
    "no value": b'{"us":[1],"say":[["drift/speed",null,null,""]]}\n',
    "no model, and nobody refused one": b'{"us":[1],"say":[["model/select",null,null,"engine"]]}\n',
    "a refusal of no time": b'{"us":[1],"say":[["model/select",null,null,"engine people nan"]]}\n',
    "unknown choice": b'{"us":[1],"say":[["look/select","gold",null,""]]}\n',
    "endless ramp": b'{"us":[1],"say":[["drift/speed",1,1e300,""]]}\n',
    "NaN ramp": b'{"us":[1],"say":[["drift/speed",1,NaN,""]]}\n',
    "short message": b'{"us":[1],"say":[["drift/speed",1]]}\n',
    "endless source": b'{"us":[1],"say":[["drift/speed",1,null,"' + b"x" * 1000 + b'"]]}\n',
    "deep": b"[" * 100_000 + b"\n",
    "long": b'{"us":[' + b"1," * (LONGEST_LINE // 2) + b"1]}\n",
    "endless integer": b'{"us":[' + b"9" * 5000 + b"]}\n",
    "no state": b'{"state":{}}\n',
    "state with NaN": GOOD.replace(b'"t":0.0', b'"t":NaN'),
    "state far away": GOOD.replace(b'"t":0.0', b'"t":1e300'),
    "state of lists": GOOD.replace(b'"values":{', b'"values":{"x":[],'),
}


@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES)
def test_a_hostile_line_is_refused_with_its_place(line: bytes) -> None:
    with pytest.raises(TakeError, match="line 2"):
        list(records([GOOD, line]))


@given(st.binary(max_size=80), st.integers(0, 10_000))
@settings(max_examples=150)
def test_damage_gives_records_or_one_error(noise: bytes, place: int) -> None:
    lines = evening(1)[1]
    whole = b"".join(lines)
    place %= len(whole)
    damaged = (whole[:place] + noise + whole[place + len(noise) :]).splitlines(keepends=True)
    try:
        film = Replay(records(damaged), SHOW)
        film.at(5.0)
    except TakeError:
        pass


def test_a_log_without_a_state_is_refused() -> None:
    with pytest.raises(TakeError, match="does not begin with a state"):
        list(records([b'{"us":[1]}\n']))


def test_the_header_gives_a_show_of_several_models_back() -> None:
    show = make_show(
        models=[{"name": "hills", "base": "hills", "stages": ["x4"]}],
        axes=[{"name": "smile", "index": 2, "layers": [0, 5]}, {"name": "slope", "index": 0, "model": "hills"}],
        classes={"cat": 3, "dog": 5},
        params={"model": {"select": "hills"}, "class": {"select": "dog"}, "axis": {"smile": 1.5}},
    )
    marks = tuple(replace(MARK, name=name) for name in ("none", "hills", "x4"))
    assert read_header(header_bytes(Header(show, marks), version="1", made=""), "take.json") == Header(show, marks)


def test_the_header_gives_the_show_back() -> None:
    show = make_show(walk={"tour": [{"seed": 5}], "space": "w"}, looks={"neutral": {}, "ember": {"grain": 0.1}})
    data = header_bytes(Header(show, (MARK,)), version="1.0", made="2026-01-01")
    assert read_header(data, "take.json") == Header(show, (MARK,))


def test_a_latent_of_the_show_rides_in_the_header(tmp_path) -> None:
    import numpy as np

    np.save(tmp_path / "anna.npy", np.random.default_rng(1).normal(size=32))
    tree = {"cascade": {"base": "none"}, "walk": {"tour": [{"latent": "anna.npy", "hold_s": 1}, {"seed": 2}]}}
    show = parse(tree, where="test", folder=tmp_path)
    data = header_bytes(Header(show, (MARK,)), version="", made="")
    (tmp_path / "anna.npy").unlink()
    assert read_header(data, "take.json").show == show


def test_the_command_line_lies_over_a_takes_show() -> None:
    data = header_bytes(Header(make_show(), (MARK,)), version="", made="")
    assert not read_header(data, "take.json", {"screen": {"fullscreen": False}}).show.screen.fullscreen


def edited(**changes):
    tree = json.loads(header_bytes(Header(make_show(walk={"tour": [{"seed": 1}]}), (MARK,)), version="", made=""))
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = tree
        for key in parents:
            node = node[int(key) if key.isdecimal() else key]
        node[last] = value
    return json.dumps(tree).encode()


HOSTILE_HEADERS = {
    "nothing": b"",
    "garbage": b"\x7fELF\x00\x01",
    "deep": b"[" * 100_000,
    "a list": b"[]",
    "another format": edited(take=2),
    "no format": edited(take="one"),
    "no show": edited(show=None),
    "unknown key": edited(show__evil=1),
    "NaN": edited(show__params={"drift/speed": float("nan")}),
    "another parameter": edited(show__params={"drift/sped": 1.0}),
    "latent without numbers": edited(show__walk={"tour": [{"latent": "../../etc/passwd"}]}),
    "latent of words": edited(show__walk={"tour": [{"latent": "a.npy", "values": [["a"]]}]}),
    "ragged latent": edited(show__walk={"tour": [{"latent": "a.npy", "values": [[1.0], [1.0, 2.0]]}]}),
    "huge latent": edited(show__walk={"tour": [{"latent": "a.npy", "values": [[1e30]]}]}),
    "no networks": edited(networks=[]),
    "another network": edited(networks__0__name="other"),
    "no hash": edited(networks__0__sha256="abc"),
    "size is text": edited(networks__0__size="many"),
    "name with a nul": edited(networks__0__file="/a\0b"),
}


@pytest.mark.parametrize("data", HOSTILE_HEADERS.values(), ids=HOSTILE_HEADERS)
def test_a_hostile_header_is_refused_with_its_place(data: bytes) -> None:
    with pytest.raises(InstallationError, match=r"take\.json"):
        read_header(data, "take.json")


def test_a_changed_network_is_named_with_both_hashes() -> None:
    assert network_fault(MARK, "/x", MARK.size, MARK.sha256) is None
    fault = network_fault(MARK, "/x", MARK.size, "cd" * 32)
    assert fault is not None
    assert all(part in str(fault) for part in ("'none'", "/x", "abab", "cdcd", "Put the file"))
    assert "124 bytes" in str(network_fault(MARK, "/x", 124, ""))
