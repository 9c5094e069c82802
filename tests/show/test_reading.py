"""The show's file: every fault at once, with key and a did-you-mean."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from installation.errors import ConfigError
from installation.show.config import Show
from installation.show.reading import load, parse
from tests.show.shows import make_show

GOOD = """
title = "Test"
[cascade]
base = "dcgan-faces"
stages = ["x4"]
[params]
drift.speed = 0.2
latent.psi = 0.6
look.select = "silver"
[looks.neutral]
[looks.silver]
saturation = 0.0
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "show.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_good_show_is_read(tmp_path):
    show = load(write(tmp_path, GOOD))
    assert show.first_value("drift/speed") == 0.2
    assert show.first_value("look/select") == "silver"
    assert show.first_value("look/contrast") == 1.0


def test_a_show_survives_the_way_to_another_process(tmp_path):
    show = load(write(tmp_path, GOOD))
    assert Show.model_validate_json(show.model_dump_json()) == show


def test_all_faults_are_listed_together_with_file_key_and_did_you_mean(tmp_path):
    path = write(
        tmp_path,
        GOOD.replace("title", "titel").replace("drift.speed", "drift.sped").replace("stages", "stagez")
        + "saturaton = 1\n[osc]\nprot = 9000\n[screen]\nrotate = 45\n[[midi.map]]\nto = 'drift/sped'\ncc = 1\n",
    )
    with pytest.raises(ConfigError) as caught:
        load(path)
    text = str(caught.value)
    assert str(path) in text
    for line in (
        "titel: no such key; did you mean 'title'?",
        "params.drift.sped: no such parameter; did you mean 'drift.speed'?",
        "cascade.stagez: no such key; did you mean 'stages'?",
        "looks.silver.saturaton: no such key; did you mean 'saturation'?",
        "osc.prot: no such key; did you mean 'port'?",
        "screen.rotate",
    ):
        assert line in text


def test_a_midi_map_names_real_parameters():
    with pytest.raises(ConfigError, match=r"midi.map\[0\].to: no parameter 'drift/sped'; did you mean 'drift/speed'"):
        make_show(midi={"map": [{"to": "drift/sped", "cc": 1}]})


@pytest.mark.parametrize("text", ["title = ", "\x00", "[cascade]\nbase = 1", "title = 'x'", "[[cascade]]"])
def test_garbage_is_one_config_error(tmp_path, text):
    with pytest.raises(ConfigError, match=r"show\.toml"):
        load(write(tmp_path, text))


def test_binary_garbage_and_a_missing_file_are_config_errors(tmp_path):
    path = tmp_path / "show.toml"
    with pytest.raises(ConfigError, match="cannot be read"):
        load(path)
    path.write_bytes(bytes(range(256)))
    with pytest.raises(ConfigError, match="is not TOML"):
        load(path)


def test_first_values_outside_their_range_are_faults():
    with pytest.raises(ConfigError, match=r"params\.latent\.psi: 9 is outside 0 \.\. 1\.5"):
        make_show(params={"latent": {"psi": 9}})


def test_a_saved_latent_is_read_and_a_bad_one_refused(tmp_path):
    np.save(tmp_path / "anna.npy", np.arange(4, dtype=np.float32))
    np.save(tmp_path / "bad.npy", np.array([np.nan, 1.0]))
    tree = {"cascade": {"base": "x"}, "walk": {"tour": [{"latent": "anna.npy"}]}}
    assert parse(tree, where="t", folder=tmp_path).walk.tour[0].values == ((0.0, 1.0, 2.0, 3.0),)
    tree["walk"]["tour"] = [{"latent": "bad.npy"}, {"latent": "gone.npy"}, {"seed": 1, "latent": "anna.npy"}, {}]
    with pytest.raises(ConfigError) as caught:
        parse(tree, where="t", folder=tmp_path)
    for key in ("walk.tour[0].latent", "walk.tour[1].latent", "walk.tour[2]: either", "walk.tour[3]: either"):
        assert key in str(caught.value)


def test_a_latent_that_holds_a_pickle_is_not_run(tmp_path):
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ConfigError, match=r"evil\.npy"):
        make_show_in(tmp_path, tour=[{"latent": "evil.npy"}])


def test_a_rest_longer_than_its_leg_is_a_fault():
    with pytest.raises(ConfigError, match=r"walk\.tour\[0\]\.hold_s: a leg lasts 10 s"):
        make_show(walk={"tour": [{"seed": 1, "hold_s": 12}, {"seed": 2}]})


def test_a_tour_without_stops_is_a_fault():
    with pytest.raises(ConfigError, match=r"walk\.tour"):
        make_show(params={"walk": {"mode": "tour"}})


def faults_of(**tables: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        make_show(**tables)
    return str(caught.value)


def test_every_fault_of_a_midi_map_is_told():
    rows = [
        {"to": "walk/next"},
        {"to": "walk/next", "cc": 1, "note": 2},
        {"to": "latent/psi", "cc": 200},
        {"to": "latent/psi", "cc": 40, "bits": 14},
        {"to": "latent/psi", "note": 3, "bits": 14},
        {"to": "latent/psi", "cc": 3, "channel": 0},
        {"to": "latent/psi", "cc": 4, "takeover": "grab"},
    ]
    text = faults_of(midi={"map": rows})
    assert all(f"midi.map[{i}]" in text for i in range(len(rows)))


def test_the_low_half_of_a_14_bit_controller_is_taken():
    rows = [{"to": "latent/psi", "cc": 5, "bits": 14}, {"to": "look/gamma", "cc": 37}]
    assert "map[1].cc: 37 is the low half of map[0]" in faults_of(midi={"map": rows})


@pytest.mark.parametrize(
    ("high", "low"), [({}, {"channel": 1}), ({"channel": 1}, {}), ({"channel": 2}, {"channel": 2})]
)
def test_a_low_half_is_taken_on_every_channel_that_it_may_come_on(high, low):
    rows = [{"to": "latent/psi", "cc": 5, "bits": 14, **high}, {"to": "look/gamma", "cc": 37, **low}]
    assert "map[1].cc: 37 is the low half of map[0]" in faults_of(midi={"map": rows})


def test_a_low_half_on_another_channel_is_another_knob():
    rows = [{"to": "latent/psi", "cc": 5, "bits": 14, "channel": 1}, {"to": "look/gamma", "cc": 37, "channel": 2}]
    assert len(make_show(midi={"map": rows}).midi.map) == 2


SWITCHES = {
    "osc.port": {"osc": {"port": True}},
    "classes": {"classes": {"cat": True}},
    "screen.fps": {"screen": {"fps": True}},
    "screen.monitor": {"screen": {"monitor": False}},
    "record.live_fps": {"record": {"live_fps": True}},
    "looks.neutral.tint": {"looks": {"neutral": {"tint": [1, True, 1]}}},
    "walk.tour[0].hold_s": {"walk": {"tour": [{"seed": 1, "hold_s": False}]}},
    "axes[0].index": {"axes": [{"name": "smile", "index": True}]},
}


@pytest.mark.parametrize("key", SWITCHES)
def test_true_and_false_are_no_numbers(key):
    assert f"{key}: a number is wanted, not " in faults_of(**SWITCHES[key])


def test_switches_stay_switches():
    assert make_show(screen={"fullscreen": False}, walk={"repeat": False}).screen.fullscreen is False


ENDLESS = 1 << 20000
ENDLESS_NAMES = {
    "cascade.name": {"cascade": {"base": "x", "name": ENDLESS}},
    "models[0].name": {"models": [{"base": "x", "name": ENDLESS}]},
    "axes[0].name": {"axes": [{"name": ENDLESS, "index": 0}]},
    "screen.monitor": {"screen": {"monitor": ENDLESS}},
}


@pytest.mark.parametrize("key", ENDLESS_NAMES)
def test_an_endless_number_for_a_name_is_a_fault_of_its_key(key):
    assert f"{key}: " in faults_of(**ENDLESS_NAMES[key])


def test_bad_networks_and_a_missing_allow_list_are_told_before_anything_starts():
    text = faults_of(osc={"host": "0.0.0.0", "allow": ["10.0.0.0/8", "1.2.3.4/99", "hello"]})
    assert "osc.allow[1]: no network: '1.2.3.4/99'" in text
    assert "osc.allow[2]: no network: 'hello'" in text
    assert "osc: 0.0.0.0 can be reached from other machines" in faults_of(osc={"host": "0.0.0.0"})
    assert make_show(osc={"host": "0.0.0.0", "enabled": False}).osc.allow == ()


def test_faults_of_different_tables_are_told_at_once():
    text = faults_of(
        params={"latent": {"psi": 9}},
        walk={"tour": [{"latent": "gone.npy"}, {"seed": 1, "hold_s": 99}]},
        osc={"host": "0.0.0.0"},
        midi={"map": [{"to": "latent/ps", "cc": 1}]},
        screen={"fps": 0.5},
        titel="x",
    )
    assert text.startswith("test: 7 faults")
    for key in ("params.latent.psi", "tour[0].latent", "tour[1].hold_s", "osc:", "midi.map[0].to", "screen:"):
        assert key in text


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("drift.speed", True, "a number is wanted, not True"),
        ("drift.speed", "fast", "a number is wanted, not 'fast'"),
        ("drift.speed", float("nan"), "nan is outside"),
        ("drift.pause", 1, "true or false is wanted, not 1"),
        ("walk.seed", 1.5, "a whole number is wanted, not 1.5"),
        pytest.param("walk.seed", 10**5000, "an endless number is outside 0 .. 4294967295", id="endless"),
        ("walk.mode", 2, "a word is wanted, not 2"),
        ("walk.mode", "wandr", "no choice 'wandr'; there are wander, loop, tour, hold"),
        ("walk.next", True, "a button has no first value"),
        ("look.select", "noir", "no choice 'noir'"),
    ],
)
def test_first_values_must_be_of_their_kind(name, value, wanted):
    table, key = name.split(".")
    assert f"params.{name}: {wanted}" in faults_of(params={table: {key: value}})


@pytest.mark.parametrize(
    ("table", "value"),
    [
        ("looks", {}),
        ("title", "a\x00b"),
        ("title", "x" * 201),
        ("cascade", {"base": "x", "device": "gpu"}),
        ("screen", {"fps": 1e400}),
    ],
)
def test_values_that_a_wall_cannot_use_are_faults(table, value):
    assert table in faults_of(**{table: value})


def test_a_rest_at_drift_speed_0_is_a_fault_and_a_negative_drift_is_none():
    tour = [{"seed": 1, "hold_s": 2}, {"seed": 2}]
    assert "hold_s: a rest is a part of a leg" in faults_of(walk={"tour": tour}, params={"drift": {"speed": 0}})
    assert make_show(walk={"tour": tour}, params={"drift": {"speed": -0.1}}).first_value("drift/speed") == -0.1


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 100_000 + "]" * 100_000,
        "a = " + "{a = " * 5000 + "1" + "}" * 5000,
        ".".join(["a"] * 100_000) + " = 1",
        ".".join(['"a"'] * 100_000) + " = 1",
        "[" + " . ".join(["a"] * 100_000) + "]",
        "a" * 1_000_000,
        '"' * 1_000_000,
        "[cascade]\nbase = 'x'\n[walk]\nloop_keyframes = " + "9" * 100_000,
        "[cascade]\nbase = 'x'\n[params]\nwalk.seed = 0x" + "f" * 100_000,
        "title = 'a'\ntitle = 'b'",
    ],
    ids=["arrays", "tables", "dotted", "quoted", "header", "word", "quotes", "decimal", "hexadecimal", "twice"],
)
def test_a_file_made_to_exhaust_the_reader_is_one_config_error(tmp_path, text):
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text))
    assert len(str(caught.value)) < 1000


def test_ten_thousand_faults_are_counted_and_not_all_printed():
    text = faults_of(**{f"k{i}": 1 for i in range(10_000)})
    assert "10000 faults" in text
    assert "and 9960 more" in text


def test_a_byte_order_mark_is_no_fault(tmp_path):
    path = tmp_path / "show.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load(path).title == "Test"


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def npy_with(header: str, body: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + body


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_latents_of_every_float_type_and_order_are_read_alike(tmp_path, dtype, order):
    rows = np.arange(12.0).reshape(3, 4)
    (tmp_path / "a.npy").write_bytes(npy(np.asarray(rows, dtype=dtype, order=order)))
    show = make_show_in(tmp_path, tour=[{"latent": "a.npy"}])
    assert show.walk.tour[0].values == tuple(map(tuple, rows.tolist()))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04" + bytes(100),
        b"\x80\x04cos\nsystem\n.",
        npy(np.zeros(4))[:-5],
        npy(np.zeros(4))[:20],
        npy(np.zeros(4)) + b"more",
        npy(np.zeros(0)),
        npy(np.zeros((4, 0))),
        npy(np.array(1.0)),
        npy(np.zeros((1, 2, 3))),
        npy(np.arange(4)),
        npy(np.zeros(4, complex)),
        npy(np.array([{}], dtype=object)),
        npy(np.full(4, 1e30)),
        npy_with("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }", bytes(64)),
        npy_with("{'descr': '<f8', 'fortran_order': False, 'shape': (0, 99999999999999999999999), }"),
        npy_with("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", bytes(8)),
        npy_with("{'descr': '|V0', 'fortran_order': False, 'shape': (1000000000,), }"),
        npy_with("{'descr': __import__('os').getpid(), 'fortran_order': False, 'shape': (1,), }", bytes(8)),
        npy_with("(" * 9000 + ")" * 9000),
    ],
)
def test_a_hostile_latent_is_one_config_error(tmp_path, data):
    (tmp_path / "evil.npy").write_bytes(data)
    with pytest.raises(ConfigError, match=r"walk\.tour\[0\]\.latent: 'evil\.npy': "):
        make_show_in(tmp_path, tour=[{"latent": "evil.npy"}])


WORDS = (
    "drift speed seed mode base tour hold_s latent neutral silver tint host allow map to cc note bits size fps values"
)
KEYS = st.sampled_from([*Show.model_fields, *WORDS.split(), "", "a.b", "drift/speed"])
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.just(10**400), st.floats(), st.text(max_size=8), st.datetimes(),
    st.sampled_from(["tour", "w", "silver", "127.0.0.1", "0.0.0.0", "../x.npy", "drift/speed", "\x00"]),
)  # fmt: skip
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


@settings(max_examples=400)
@given(st.dictionaries(KEYS, TREES, max_size=5))
def test_any_tree_is_a_show_or_a_config_error(tree):
    """What is accepted survives the way to the other processes."""
    try:
        show = parse({"cascade": {"base": "x"}, **tree}, where="tree", folder=Path("."))
    except ConfigError:
        return
    assert Show.model_validate_json(show.model_dump_json()) == show


def make_show_in(folder: Path, **walk) -> Show:
    return parse({"cascade": {"base": "none"}, "walk": walk}, where="test", folder=folder)


AXES = [
    {"name": "smile", "index": 3, "layers": [0, 5]},
    {"name": "age", "source": "sefa", "index": 0, "range": [-2, 4]},
]


def test_axes_are_rows_of_the_one_table_with_addresses_norms_and_first_values():
    show = make_show(axes=AXES, params={"axis": {"smile": 0.5}}, midi={"map": [{"to": "axis/age", "cc": 1}]})
    smile, age = show.table()["axis/smile"], show.table()["axis/age"]
    assert (smile.address, smile.lo, smile.hi, smile.default) == ("/installation/axis/smile", -3.0, 3.0, 0.0)
    assert show.first_value("axis/smile") == 0.5
    assert smile.from_norm(0.5) == 0.0
    assert age.from_norm(1.0) == 4.0
    assert "SeFa" in age.description
    assert Show.model_validate_json(show.model_dump_json()) == show


def test_an_axis_moves_the_models_that_share_its_models_base():
    models = [{"name": "finer", "base": "x"}, {"name": "hills", "base": "y"}]
    show = make_show(axes=[{**AXES[0], "model": "cascade"}, AXES[1]], models=models, cascade={"base": "x"})
    assert {name: [axis.name for axis in show.axes_of(name)] for name in show.chains()} == {
        "cascade": ["smile", "age"],
        "finer": ["smile", "age"],
        "hills": ["age"],
    }
    assert show.measured() == {"x", "y"}


def test_classes_and_models_are_choices_by_name():
    show = make_show(models=[{"name": "hills", "base": "y"}], classes={"cat": 3, "dog": 5})
    assert show.table()["model/select"].choices == ("cascade", "hills")
    select = show.table()["class/select"]
    assert (select.choices, select.coerce("dog"), select.coerce(5)) == (("cat", "dog"), "dog", "dog")
    with pytest.raises(ValueError, match=r"class/select: no choice has the number 1; there are cat \(3\), dog \(5\)"):
        select.coerce(1)
    assert [select.from_norm(select.to_norm(name)) for name in ("cat", "dog")] == ["cat", "dog"]
    assert show.class_number("dog") == 5
    assert make_show().table()["class/select"].kind == "int"


NAMING = [
    ({"axes": [AXES[0], AXES[0]]}, r"axes: two are named 'smile'"),
    ({"axes": [{"name": "a", "index": 64}]}, r"axes\[0\]\.index"),
    ({"axes": [{"name": "a", "index": 0, "layers": [4, 2]}]}, r"axes\[0\]: layers \[4, 2\] are not first and last"),
    ({"axes": [{"name": "a", "index": 0, "range": [1, 2]}]}, r"axes\[0\]: the range \[1\.0, 2\.0\] does not hold 0"),
    ({"axes": [{"name": "a/b", "index": 0}]}, r"axes\[0\]\.name"),
    ({"axes": [{"name": "a", "index": 0, "model": "hils"}], "models": [{"name": "hills", "base": "y"}]}, "'hills'"),
    ({"models": [{"name": "cascade", "base": "y"}]}, r"models: two are named 'cascade'"),
    ({"models": [{"name": "b"}]}, r"models\[0\]\.base: is missing"),
    ({"models": 3}, r"models"),
    ({"axes": "smile"}, r"axes"),
    ({"classes": {"cat": -1}}, r"classes\.cat"),
    (
        {"params": {"axis": {"smil": 1}}, "axes": AXES},
        r"params\.axis\.smil: no such parameter; did you mean 'axis\.smile'",
    ),
    ({"midi": {"map": [{"to": "axis/smle", "cc": 1}]}, "axes": AXES}, r"did you mean 'axis/smile'"),
]


@pytest.mark.parametrize(("tables", "words"), NAMING, ids=[words for _, words in NAMING])
def test_names_given_twice_or_for_nothing_are_faults(tables, words):
    with pytest.raises(ConfigError, match=words):
        make_show(**tables)


@pytest.mark.parametrize(
    ("osc", "fault"),
    [
        ({"feedback": ["127.0.0.1"]}, "no address with a port"),
        ({"feedback": ["desk.local:9001"]}, "no address with a port"),
        ({"feedback": ["127.0.0.1:0"]}, "no address with a port"),
        ({"feedback": ["127.0.0.1:99999999999999"]}, "no address with a port"),
        ({"feedback": ["::1:9001"]}, "no address with a port"),
        ({"feedback": ["127.0.0.1:9000"]}, "the wall's own port"),
        ({"feedback": ["192.168.1.5:9001"]}, "outside of allow"),
        ({"feedback": ["192.168.2.5:9001"], "host": "0.0.0.0", "allow": ["192.168.1.0/24"]}, "outside of allow"),
        ({"feedback": ["192.168.1.5:9001"], "allow": ["192.168.1.0/24"]}, "cannot be reached from 127.0.0.1"),
        ({"feedback": ["[::1]:9001"]}, 'use host = "::"'),
        ({"feedback": ["127.0.0.1:9001"] * 17}, "at most 16"),
    ],
)
def test_who_is_told_of_changes_lies_within_reach(osc: dict[str, object], fault: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(fault)):
        make_show(osc=osc)


def test_who_is_told_of_changes_may_be_named() -> None:
    told = ["192.168.1.5:9001", "127.0.0.1:9002", "[::1]:9001", "[fe80::1]:9001"]
    show = make_show(osc={"host": "::", "allow": ["192.168.1.0/24", "fe80::/10"], "feedback": told})
    assert list(show.osc.feedback) == told
