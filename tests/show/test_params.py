"""The table: ranges, coercion, the 0..1 twin."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from installation.show.params import ROWS, Param, parameter_table

TABLE = parameter_table(("neutral", "silver"))
CONTINUOUS = [row for row in ROWS if row.kind in ("float", "int")]


def test_names_are_unique_and_addresses_follow_from_them():
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert TABLE["drift/speed"].address == "/installation/drift/speed"


def test_every_row_is_described_and_its_default_lies_in_its_range():
    for row in TABLE:
        assert row.description.endswith(".")
        if row.kind != "button":
            assert row.coerce(row.default) == row.default


@pytest.mark.parametrize("row", CONTINUOUS, ids=lambda row: row.name)
@given(x=st.floats(0, 1))
def test_the_norm_twin_comes_back(row: Param, x: float):
    back = row.to_norm(row.from_norm(x))
    assert abs(back - x) < (1e-6 if row.kind == "float" else 1e-3)


@pytest.mark.parametrize("row", CONTINUOUS, ids=lambda row: row.name)
def test_the_ends_of_the_norm_twin_are_the_ends_of_the_range(row: Param):
    assert (row.from_norm(0), row.from_norm(1)) == (row.lo, row.hi)


def test_the_middle_of_the_drift_fader_stands_still():
    assert TABLE["drift/speed"].from_norm(0.5) == 0.0


@pytest.mark.parametrize("row", CONTINUOUS, ids=lambda row: row.name)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "0.5", None])
def test_no_number_is_refused(row: Param, value):
    with pytest.raises(ValueError, match=row.name):
        row.coerce(value)


@pytest.mark.parametrize("value", [1e38, -1e38, 10**400, -(10**400)])
def test_numbers_outside_are_clamped(value):
    for row in CONTINUOUS:
        assert row.lo <= float(row.coerce(value)) <= row.hi


def test_choices_go_by_name_or_number_and_nothing_else():
    select = TABLE["look/select"]
    assert (select.coerce("silver"), select.coerce(1), select.coerce(99)) == ("silver", "silver", "silver")
    with pytest.raises(ValueError, match="neutral, silver"):
        select.coerce("../../etc/passwd")
