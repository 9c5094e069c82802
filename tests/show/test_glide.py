"""Glides: ends, continuity, and the integral against a numerical one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from installation.show.glide import Glide, smootherstep

SHAPES = ["lag", "ramp", "ease"]
VALUES = st.floats(-10, 10)


@pytest.mark.parametrize("shape", SHAPES)
@given(start=VALUES, target=VALUES, span=st.floats(0.01, 60), t0=st.floats(0, 1e7))
def test_it_leaves_from_the_start_and_arrives(shape, start, target, span, t0):
    glide = Glide(start, target, t0, span, shape)
    assert glide.at(t0) == pytest.approx(start)
    assert glide.at(t0 - 0.5 * span) == pytest.approx(start)
    late = t0 + 31 * span
    assert glide.arrived(late)
    assert glide.at(late) == pytest.approx(target)


@pytest.mark.parametrize("shape", SHAPES)
@given(start=VALUES, target=VALUES, span=st.floats(0.1, 10), until=st.floats(0, 20))
def test_the_integral_is_that_of_the_value(shape, start, target, span, until):
    glide = Glide(start, target, 5.0, span, shape)
    n = 4000
    midpoints = sum(glide.at(5.0 + until * (i + 0.5) / n) for i in range(n)) * until / n
    assert glide.integral(5.0 + until) == pytest.approx(midpoints, abs=1e-3)


@given(a=VALUES, b=VALUES, c=VALUES, when=st.floats(0, 3))
def test_a_new_target_never_jumps(a, b, c, when):
    first = Glide(a, b, 0.0, 1.0)
    second = first.to(c, when, 0.5)
    assert second.at(when) == pytest.approx(first.at(when))


def test_no_span_is_at_the_target_at_once():
    assert Glide(0.0, 3.0, 1.0, 0.0).at(1.0) == 3.0


def test_smootherstep_starts_and_ends_without_speed_or_acceleration():
    h = 1e-4
    assert smootherstep(h) < 1e-10
    assert 1 - smootherstep(1 - h) < 1e-10
