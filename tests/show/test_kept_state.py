"""A kept state that is damaged, absurd or of another show is refused as a whole, before anything is made of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from installation.show.state import first_state, from_json, resumed, to_json
from tests.show.shows import make_show

SHOW = make_show(looks={"neutral": {}, "silver": {"saturation": 0}})
GOOD = json.loads(to_json(replace(first_state(SHOW), t=1e7, index=600_000_000)))
STRAND = ["wander", 1, 0.5, [1.0, 1.0, 0.0, 0.0, "lag"]]
NAN, INF = float("nan"), float("inf")

ABSURD = {
    "index": [-1, 2**70],
    "t": [NAN, INF, 1e300],
    "velocity": [[0.0, 1e6, 0.0, 0.0, "lag"], [0.0, NAN, 0.0, 0.0, "lag"], [0.0, 1.0, 0.0, -1.0, "lag"]],
    "strands": [
        [],
        [STRAND] * 1000,
        [["waltz", *STRAND[1:]]],
        [["tour", *STRAND[1:]]],
        [["wander", -1, *STRAND[2:]]],
        [["wander", 1, 1e300, STRAND[3]]],
        [["wander", 1, 0.5, [1.0, 1.0, 0.0, 0.0, "spiral"]]],
    ],
    "values": [{}, GOOD["values"] | {"latent/psi": "much"}, GOOD["values"] | {"look/brightness": 1e9}],
    "glides": [{}, GOOD["glides"] | {"latent/psi": [0.0, 1e9, 0.0, 0.0, "lag"]}],
    "looks": [{}, {"gold": [1.0, 1.0, 0.0, 0.0, "lag"]}],
    "picks": [
        {},
        GOOD["picks"] | {"style/seed": []},
        GOOD["picks"] | {"style/seed": [[7, [1.0, 1.0, 0.0, 0.0, "lag"]]]},
        GOOD["picks"] | {"style/seed": [[0, [1.0, 9.0, 0.0, 0.0, "lag"]]]},
        GOOD["picks"] | {"style/seed": [[0, [1.0, 1.0, 0.0, 0.0, "lag"]]] * 5},
        GOOD["picks"] | {"model/select": [["../x", [1.0, 1.0, 0.0, 0.0, "lag"]]]},
        GOOD["picks"] | {"model/select": [[[], [1.0, 1.0, 0.0, 0.0, "lag"]]]},
    ],
    "show": ["", "another"],
    "pending": [[["waltz", *STRAND[1:]], 1.0], [STRAND, NAN]],
}


def kept(tree) -> object:
    try:
        return resumed(from_json(json.dumps(tree).encode()), SHOW)
    except ValueError:
        return None


def test_a_good_one_is_taken():
    assert kept(GOOD) is not None


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in ABSURD.items() for value in values])
def test_an_absurd_one_is_not(key, value):
    assert kept(GOOD | {key: value}) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(key=st.sampled_from(sorted(GOOD)), value=JSON)
def test_whatever_stands_in_it_nothing_but_a_value_error_comes(key, value):
    kept(GOOD | {key: value})


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b"null", b"[]", b'"x"', b"\xff\xfe"])
def test_something_else_is_a_value_error(data):
    with pytest.raises(ValueError):
        from_json(data)
