"""transform: the matrix that moves what a network draws."""

from __future__ import annotations

import math

import torch

from installation.models.transform import transform


def test_at_rest_it_is_the_identity() -> None:
    assert torch.equal(transform(), torch.eye(3))


def test_it_leads_from_the_picture_back_to_the_plane() -> None:
    """A dot at (0.1, 0) is turned a quarter clockwise (y is down, so it lands at (0, 0.1)), then moved by (0.2, -0.3)."""
    matrix = transform(0.2, -0.3, 0.25)
    assert torch.allclose(matrix @ torch.tensor([0.2, -0.2, 1.0]), torch.tensor([0.1, 0.0, 1.0]), atol=1e-6)


def test_it_is_the_inverse_of_the_motion() -> None:
    angle = 0.1 * math.tau
    motion = torch.tensor(
        [[math.cos(angle), -math.sin(angle), 0.3], [math.sin(angle), math.cos(angle), 0.4], [0.0, 0.0, 1.0]]
    )
    assert torch.allclose(transform(0.3, 0.4, 0.1) @ motion, torch.eye(3), atol=1e-6)


def test_a_batch_has_a_matrix_each() -> None:
    assert torch.allclose(transform(torch.tensor([0.0, 0.5]), 0.0, 0.0)[1], transform(0.5))
