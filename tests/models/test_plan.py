"""What a chain makes, from headers alone."""

from __future__ import annotations

import pytest

from installation.errors import ModelError
from installation.models import random_weights
from installation.models.cascade import Cascade
from installation.models.checkpoint import describe
from installation.models.header import Header
from installation.models.network import Network
from installation.models.plan import picture_size
from installation.models.stage import Stage


def header(network: Network) -> Header:
    return describe(network, name="net")


BASE, X2, X4 = random_weights.stylegan2(base=[4, 6]), random_weights.srvgg(), random_weights.srvgg(scale=4)


def test_the_size_is_the_cascades_own() -> None:
    assert picture_size(header(BASE), [header(X2), header(X4)]) == Cascade(BASE, [X2, X4], device="cpu").size


def test_networks_in_the_wrong_place_are_named_with_their_key() -> None:
    with pytest.raises(ModelError, match=r"cascade\.base: net enlarges pictures"):
        picture_size(header(X2), [])
    with pytest.raises(ModelError, match=r"cascade\.stages\[1\]: net makes pictures"):
        picture_size(header(BASE), [header(X2), header(BASE)])


def test_a_stage_for_another_w_is_refused_as_the_cascade_does() -> None:
    fits, other = (header(Stage(widths=[4], blocks=[0], scale=2, w_dim=w_dim)) for w_dim in (BASE.w_dim, 7))
    assert picture_size(header(BASE), [fits]) == (2 * BASE.shape[1], 2 * BASE.shape[0])
    with pytest.raises(ModelError, match=r"cascade\.stages\[1\]: net is conditioned on a w of 7"):
        picture_size(header(BASE), [fits, other])


def test_a_picture_beyond_every_screen_is_refused() -> None:
    with pytest.raises(ModelError, match=r"cascade\.stages\[4\]: it would give 49152x32768"):
        picture_size(header(BASE), [header(X4)] * 5)
